"""
The rl-zoo3 front door: ``python -m sb3_hyper.zoo train|enjoy ...``.

Takes the arguments of ``rl_zoo3.train`` and ``rl_zoo3.enjoy``. Hyperparameters come from this package's YAML files
where none are named, ``--preset slim|paper`` chooses among them, and training ends with a learning curve.
"""

import argparse
import os
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import rl_zoo3.enjoy
import rl_zoo3.exp_manager
import rl_zoo3.train
from stable_baselines3.common.base_class import BaseAlgorithm

import sb3_hyper  # noqa: F401 (registers policies and environments)
from sb3_hyper.experiments.evaluations import load_evaluations, write_csv
from sb3_hyper.experiments.plots import plot_learning_curve
from sb3_hyper.networks.spec import PRESETS

HYPERPARAMS = Path(str(resources.files("sb3_hyper.hyperparams")))


def hyperparams_file(algo: str, preset: str = "slim") -> Path | None:
    """
    Find the hyperparameters that this package ships.

    :param algo: rl-zoo3's name of the algorithm.
    :param preset: The hypernetwork they are for.
    :return: The YAML file; None if there is none.
    """
    path = HYPERPARAMS / (f"{algo}.yml" if preset == "slim" else f"{algo}_{preset}.yml")
    return path if path.is_file() else None


class ExperimentManager(rl_zoo3.exp_manager.ExperimentManager):
    """rl-zoo3's experiment manager, with this package's hyperparameters and a learning curve at the end."""

    def __init__(self, args: argparse.Namespace, algo: str, *positional: Any, **kwargs: Any) -> None:
        if kwargs.get("config") is None and (packaged := hyperparams_file(algo)) is not None:
            kwargs["config"] = str(packaged)
        super().__init__(args, algo, *positional, **kwargs)

    @staticmethod
    def _preprocess_schedules(hyperparams: dict[str, Any]) -> dict[str, Any]:
        rate = hyperparams.get("learning_rate")
        if isinstance(rate, str) and not rate.startswith("lin_"):
            raise ValueError(
                f"learning_rate must be a number or a linear schedule such as lin_0.001, got the text {rate!r}. "
                "(YAML reads 1e-3 as text: write 0.001 or !!float 1e-3.)"
            )
        return rl_zoo3.exp_manager.ExperimentManager._preprocess_schedules(hyperparams)

    def save_trained_model(self, model: BaseAlgorithm) -> None:
        """
        Save the model, and the learning curve if there were evaluations.

        :param model: The trained model.
        """
        super().save_trained_model(model)
        folder = Path(self.save_path)
        if (folder / "evaluations.npz").is_file():
            steps, returns = load_evaluations(folder / "evaluations.npz")
            write_csv(folder / "evaluations.csv", steps, returns)
            label = f"{type(model.policy).__name__}, {returns.shape[1]} episodes each (mean, middle half)"
            title = f"{self.algo.upper()} on {self.env_name.gym_id}"
            plot_learning_curve(folder / "learning_curve.png", {label: (steps, returns)}, title)
            print(f"Mean return of the last evaluation: {returns[-1].mean():.0f} at {steps[-1]} steps")
        run_id = folder.name.rpartition("_")[2]
        # the interpreter of a virtual environment by its path, so that the command can be pasted
        python = "python" if sys.prefix == sys.base_prefix else os.path.relpath(sys.executable)
        print(
            f"Model, evaluations and learning curve lie in {folder}. Watch the agent:\n"
            f"  {python} -m sb3_hyper.zoo enjoy --algo {self.algo} --env {self.env_name.gym_id} "
            f"-f {self.log_folder} --exp-id {run_id}"
        )


def _choose_hyperparams(arguments: list[str]) -> list[str]:
    """Replace ``--preset`` by the file it stands for."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--preset", choices=sorted(PRESETS))
    parser.add_argument("--algo", default="ppo")
    known, _ = parser.parse_known_args(arguments)
    if known.preset is None:
        return arguments
    path = hyperparams_file(known.algo, known.preset)
    if path is None:
        parser.error(f"no hyperparameters for --algo {known.algo} with --preset {known.preset} are packaged in {HYPERPARAMS}")
    rest = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    rest.add_argument("--preset")
    return [*rest.parse_known_args(arguments)[1], "--conf-file", str(path)]


def main() -> None:
    """Run ``train`` or ``enjoy`` with the arguments of the command line."""
    commands = {"train": rl_zoo3.train.train, "enjoy": rl_zoo3.enjoy.enjoy}
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command not in commands:
        print(f"usage: python -m sb3_hyper.zoo {'|'.join(commands)} [arguments of rl_zoo3] [--preset {'|'.join(PRESETS)}]")
        sys.exit(0 if command in ("-h", "--help") else 2)
    sys.argv = [f"{sys.argv[0]} {command}", *_choose_hyperparams(sys.argv[2:])]
    # rl_zoo3.train looks the name up when it runs
    setattr(rl_zoo3.train, "ExperimentManager", ExperimentManager)  # noqa: B010 (mypy: not exported)
    commands[command]()


if __name__ == "__main__":
    main()
