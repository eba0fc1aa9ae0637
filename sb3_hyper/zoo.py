"""
The rl-zoo3 front door: ``python -m sb3_hyper.zoo train|enjoy ...``.

Takes the arguments of ``rl_zoo3.train`` and ``rl_zoo3.enjoy``. Hyperparameters come from this package's YAML files
where none are named, and training ends with a learning curve. Two arguments are its own: ``--preset slim|paper``
chooses among the YAML files; with ``--resume`` a run that was interrupted goes on when the command is repeated.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import rl_zoo3.enjoy
import rl_zoo3.exp_manager
import rl_zoo3.train
from filelock import FileLock, Timeout
from gymnasium import Env
from rl_zoo3.utils import ALGOS
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

import sb3_hyper  # noqa: F401 (registers policies and environments)
from sb3_hyper.experiments.checkpoints import BUSY, COMPLETE, RepeatableResets, ResumableRun
from sb3_hyper.experiments.evaluations import load_evaluations, write_csv
from sb3_hyper.experiments.hyperparams import HYPERPARAMS, hyperparams_file
from sb3_hyper.experiments.plots import plot_learning_curve
from sb3_hyper.networks.spec import PRESETS


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


class ResumingExperimentManager(ExperimentManager):
    """Goes on with the first run of its log folder, from its last checkpoint."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.save_path = os.path.join(self.log_path, f"{self.env_name}_1")
        self.params_path = f"{self.save_path}/{self.env_name}"
        os.makedirs(self.save_path, exist_ok=True)
        if (Path(self.save_path) / COMPLETE).is_file():
            print(f"Complete: {self.save_path}")
            sys.exit(0)
        self.lock = FileLock(Path(self.save_path) / "lock")
        try:
            self.lock.acquire(blocking=False)  # held until the process ends, however it ends
        except Timeout:
            print(f"Another process works on {self.save_path}")
            sys.exit(BUSY)

    def _preprocess_hyperparams(self, hyperparams: dict[str, Any]) -> Any:
        hyperparams, env_wrapper, callbacks, vec_env_wrapper = super()._preprocess_hyperparams(hyperparams)

        def repeatable(env: Env) -> Env:
            return RepeatableResets(env if env_wrapper is None else env_wrapper(env))

        return hyperparams, repeatable, callbacks, vec_env_wrapper

    def create_callbacks(self) -> None:
        """Add the one that takes checkpoints, behind rl-zoo3's own."""
        super().create_callbacks()
        evaluations = [callback for callback in self.callbacks if isinstance(callback, EvalCallback)]
        if not evaluations:
            raise ValueError("--resume needs evaluations: --eval-freq must be positive")
        self.run = ResumableRun(self.save_path, self.n_timesteps, evaluations[0], save_freq=self.eval_freq)
        self.callbacks.append(self.run)

    def setup_experiment(self) -> tuple[BaseAlgorithm, dict[str, Any]] | None:
        """
        Make the model, or load the one of the last checkpoint.

        :return: The model and its hyperparameters.
        """
        results = super().setup_experiment()
        assert results is not None
        model, hyperparams = results
        if not isinstance(model, OffPolicyAlgorithm):
            raise ValueError(f"--resume is for off-policy algorithms, got {self.algo}")
        assert model.env is not None
        loaded = self.run.load(ALGOS[self.algo], model.env, str(self.device))  # type: ignore[arg-type]
        if loaded is not None:
            print(f"Going on at step {loaded.num_timesteps}")
        return loaded or model, hyperparams

    def learn(self, model: BaseAlgorithm) -> None:
        """
        Train for the steps that are left. An interrupted run is not complete, and does not become so here.

        :param model: The model.
        """
        log_interval = {-1: 4}.get(self.log_interval, self.log_interval if self.log_interval > 0 else None)
        remaining = self.n_timesteps - model.num_timesteps
        model.learn(remaining, callback=self.callbacks, log_interval=log_interval, reset_num_timesteps=False)  # type: ignore[arg-type]
        assert model.env is not None
        model.env.close()

    def save_trained_model(self, model: BaseAlgorithm) -> None:
        """
        Save the model, and mark the run as complete.

        :param model: The trained model.
        """
        super().save_trained_model(model)
        self.run.finish()


def _take_own_arguments(arguments: list[str]) -> tuple[list[str], bool]:
    """
    :param arguments: The command line.
    :return: The command line for rl-zoo3, and whether to resume.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--preset", choices=sorted(PRESETS))
    parser.add_argument("--resume", action="store_true")
    own, rest = parser.parse_known_args(arguments)
    if own.preset is not None:
        algo_parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        algo_parser.add_argument("--algo", default="ppo")
        algo = algo_parser.parse_known_args(rest)[0].algo
        path = hyperparams_file(algo, own.preset)
        if path is None:
            parser.error(f"no hyperparameters for --algo {algo} with --preset {own.preset} are packaged in {HYPERPARAMS}")
        rest += ["--conf-file", str(path)]
    return rest, own.resume


def main() -> None:
    """Run ``train`` or ``enjoy`` with the arguments of the command line."""
    commands = {"train": rl_zoo3.train.train, "enjoy": rl_zoo3.enjoy.enjoy}
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command not in commands:
        own = f"--preset {'|'.join(PRESETS)}] [--resume"
        print(f"usage: python -m sb3_hyper.zoo {'|'.join(commands)} [arguments of rl_zoo3.train or enjoy] [{own}]")
        sys.exit(0 if command in ("-h", "--help") else 2)
    arguments, resume = _take_own_arguments(sys.argv[2:])
    sys.argv = [f"{sys.argv[0]} {command}", *arguments]
    # rl_zoo3.train looks the name up when it runs
    manager = ResumingExperimentManager if resume else ExperimentManager
    setattr(rl_zoo3.train, "ExperimentManager", manager)  # noqa: B010 (mypy: not exported)
    commands[command]()


if __name__ == "__main__":
    main()
