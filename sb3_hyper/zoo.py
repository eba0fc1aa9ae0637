"""
The rl-zoo3 front door: ``python -m sb3_hyper.zoo train|enjoy ...``.

Takes the arguments of ``rl_zoo3.train`` and ``rl_zoo3.enjoy``. Hyperparameters come from this package's YAML files
where none are named, and training ends with a learning curve. ``train`` has two arguments more: ``--preset slim|paper``
chooses among the YAML files; with ``--resume`` a run that was interrupted goes on when the command is repeated.
"""

import argparse
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import rl_zoo3.enjoy
import rl_zoo3.exp_manager
import rl_zoo3.train
import yaml
from filelock import FileLock, Timeout
from gymnasium import Env
from rl_zoo3.hyperparams_opt import HYPERPARAMS_SAMPLER
from rl_zoo3.utils import ALGOS
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import EvalCallback, ProgressBarCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv

import sb3_hyper  # noqa: F401 (registers policies and environments)
from sb3_hyper.common.files import read_json, write_json
from sb3_hyper.experiments.checkpoints import BUSY, COMPLETE, RepeatableResets, ResumableRun, remove_checkpoints
from sb3_hyper.experiments.evaluations import load_evaluations, write_csv
from sb3_hyper.experiments.hyperparams import HYPERPARAMS, hyperparams_file, refuse_numbers_as_text
from sb3_hyper.experiments.plots import plot_learning_curve
from sb3_hyper.networks.spec import PRESETS

EVALUATION_SEED = 10_000  # is added to a run's seed where it is evaluated: training's initial states are not the test


class ExperimentManager(rl_zoo3.exp_manager.ExperimentManager):
    """rl-zoo3's experiment manager, with this package's hyperparameters and a learning curve at the end."""

    def __init__(self, args: argparse.Namespace, algo: str, *positional: Any, **kwargs: Any) -> None:
        if kwargs.get("config") is None and (packaged := hyperparams_file(algo)) is not None:
            kwargs["config"] = str(packaged)
        super().__init__(args, algo, *positional, **kwargs)

    def read_hyperparameters(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """
        Read the YAML entry.

        :return: The hyperparameters, and a copy to save.
        :raises ValueError: If a number was read as text.
        """
        hyperparams, saved = super().read_hyperparameters()
        refuse_numbers_as_text(hyperparams)
        return hyperparams, saved

    def create_log_folder(self) -> None:
        """Make the run's folder, and no other run's."""
        while True:
            try:
                os.makedirs(self.save_path)
                break
            except FileExistsError:  # a run that started at the same time
                prefix, _, run_id = self.save_path.rpartition("_")
                if not run_id.isdecimal():
                    raise
                self.save_path = f"{prefix}_{int(run_id) + 1}"
                self.params_path = f"{self.save_path}/{self.env_name}"
        os.makedirs(self.params_path)

    def create_envs(self, n_envs: int, eval_env: bool = False, no_log: bool = False) -> VecEnv:
        """
        Create the environment. That of evaluations has a seed of its own.

        :param n_envs: How many.
        :param eval_env: Whether it is for evaluations.
        :param no_log: Whether its episodes are not logged.
        :return: The vectorized environment.
        """
        seed = self.seed
        self.seed += EVALUATION_SEED if eval_env else 0
        try:
            return super().create_envs(n_envs, eval_env, no_log)
        finally:
            self.seed = seed

    def create_callbacks(self) -> None:
        """Create rl-zoo3's callbacks, the progress bar first: it is the first one that an interruption closes."""
        super().create_callbacks()
        self.callbacks.sort(key=lambda callback: not isinstance(callback, ProgressBarCallback))

    def hyperparameters_optimization(self) -> None:
        """Search for hyperparameters. What is sampled for the policy is added to the file's, in place of replacing it."""
        policy_kwargs = self._hyperparams.get("policy_kwargs", {})
        sampler = HYPERPARAMS_SAMPLER[self.algo]

        def add(*args: Any) -> dict[str, Any]:
            sampled = sampler(*args)
            return {**sampled, "policy_kwargs": {**policy_kwargs, **sampled.get("policy_kwargs", {})}}

        HYPERPARAMS_SAMPLER[self.algo] = add  # type: ignore[assignment]
        super().hyperparameters_optimization()

    def save_trained_model(self, model: BaseAlgorithm) -> None:
        """
        Save the model, and the learning curve if there were evaluations.

        :param model: The trained model.
        """
        if model.num_timesteps < self.n_timesteps:
            print(f"Interrupted at step {model.num_timesteps} of {self.n_timesteps}")
        if isinstance(model, OffPolicyAlgorithm) and model._n_updates == 0:
            print(f"No gradient step was taken: learning starts after {model.learning_starts} steps")
        super().save_trained_model(model)
        folder = Path(self.save_path)
        what = "The model lies"
        if (folder / "evaluations.npz").is_file():
            what = "Model, evaluations and learning curve lie"
            steps, returns = load_evaluations(folder / "evaluations.npz")
            write_csv(folder / "evaluations.csv", steps, returns)
            label = f"{type(model.policy).__name__}, {returns.shape[1]} episodes each (mean, middle half)"
            title = f"{self.algo.upper()} on {self.env_name.gym_id}"
            plot_learning_curve(folder / "learning_curve.png", {label: (steps, returns)}, title)
            print(f"Mean return of the last evaluation: {returns[-1].mean():.0f} at {steps[-1]} steps")
        elif self.eval_freq > 0:
            print(
                f"No evaluation, no learning curve: the first is due after {self.eval_freq * self.n_envs} steps (--eval-freq)"
            )
        print(f"{what} in {folder}.")
        run_id = folder.name.rpartition("_")[2]
        if run_id.isdecimal():  # rl_zoo3.enjoy finds runs by their number
            print(f"Watch the agent:\n  {self._enjoy_command(run_id)}")

    def _enjoy_command(self, run_id: str) -> str:
        # the interpreter of a virtual environment by its path, so that the command can be pasted
        python = "python" if sys.prefix == sys.base_prefix else os.path.relpath(sys.executable)
        command = [python, "-m", "sb3_hyper.zoo", "enjoy", "--algo", self.algo, "--env", self.env_name.gym_id]
        command += ["-f", self.log_folder, "--exp-id", run_id]
        if self.args.gym_packages:
            command += ["--gym-packages", *self.args.gym_packages]
        return shlex.join(command)


class ResumingExperimentManager(ExperimentManager):
    """Goes on with the first run of its log folder, from its last checkpoint."""

    def __init__(self, args: argparse.Namespace, *positional: Any, **kwargs: Any) -> None:
        for option in ("uuid", "optimize_hyperparameters", "trained_agent"):
            if getattr(args, option):
                sys.exit(f"--resume cannot be combined with --{option.replace('_', '-')}")
        super().__init__(args, *positional, **kwargs)
        self.save_path = os.path.join(self.log_path, f"{self.env_name}_1")
        self.params_path = f"{self.save_path}/{self.env_name}"
        if os.path.isfile(f"{self.params_path}/config.yml") and not os.path.isfile(os.path.join(self.save_path, "lock")):
            sys.exit(
                f"{self.save_path} holds a run that was not started with --resume and cannot go on. "
                "Give this run a log folder of its own: -f FOLDER"
            )
        os.makedirs(self.params_path, exist_ok=True)
        self._check_same_run()
        if (Path(self.save_path) / COMPLETE).is_file():
            remove_checkpoints(Path(self.save_path))  # a kill may have come between the mark and this
            print(f"Complete: {self.save_path}")
            sys.exit(0)
        self.lock = FileLock(Path(self.save_path) / "lock")
        try:
            self.lock.acquire(timeout=1)  # held until the process ends, however it ends; a moment, for who asks takes it too
        except Timeout:
            print(f"Another process works on {self.save_path}")
            sys.exit(BUSY)

    def _check_same_run(self) -> None:
        """A folder holds one run: what another command asks for is neither gone on with nor written over it."""
        with open(self.config, encoding="utf-8") as file:
            entries = yaml.safe_load(file) if self.config.endswith((".yml", ".yaml")) else {}
        names = (
            "algo",
            "env",
            "seed",
            "n_timesteps",
            "eval_freq",
            "eval_episodes",
            "n_eval_envs",
            "hyperparams",
            "env_kwargs",
        )
        asked = {name: getattr(self.args, name) for name in names}
        asked["settings"] = entries.get(self.env_name.gym_id, entries.get("default"))
        asked = json.loads(json.dumps(asked, default=str))
        path = Path(self.save_path) / "asked.json"
        there = read_json(path)
        if there is None:
            write_json(path, asked)
        elif there != asked:
            different = [
                f"{name} {there.get(name)!r}, not {asked[name]!r}" for name in asked if there.get(name) != asked[name]
            ]
            sys.exit(
                f"{self.save_path} holds another run: {'; '.join(different)}. Repeat the command that started it, or give "
                "this run a log folder of its own: -f FOLDER"
            )

    def create_log_folder(self) -> None:
        """The folder is there."""

    def _preprocess_hyperparams(self, hyperparams: dict[str, Any]) -> Any:
        hyperparams, env_wrapper, callbacks, vec_env_wrapper = super()._preprocess_hyperparams(hyperparams)

        def repeatable(env: Env) -> Env:
            return RepeatableResets(env if env_wrapper is None else env_wrapper(env))

        return hyperparams, repeatable, callbacks, vec_env_wrapper

    def create_callbacks(self) -> None:
        """Add the one that takes checkpoints, behind the evaluation."""
        super().create_callbacks()
        evaluations = [callback for callback in self.callbacks if isinstance(callback, EvalCallback)]
        if not evaluations:
            raise ValueError("--resume needs evaluations: --eval-freq must be positive")
        self.run = ResumableRun(self.save_path, self.n_timesteps, evaluations[0], save_freq=self.eval_freq)
        self.callbacks.append(self.run)

    def create_envs(self, n_envs: int, eval_env: bool = False, no_log: bool = False) -> VecEnv:
        """
        Create the environment. A run that goes on adds to its log of episodes.

        :param n_envs: How many.
        :param eval_env: Whether it is for evaluations.
        :param no_log: Whether its episodes are not logged.
        :return: The vectorized environment.
        """
        if not eval_env and self.run.has_checkpoint():
            self.monitor_kwargs = {**self.monitor_kwargs, "override_existing": False}
        return super().create_envs(n_envs, eval_env, no_log)

    def setup_experiment(self) -> tuple[BaseAlgorithm, dict[str, Any]] | None:
        """
        Make the model, or load the one of the last checkpoint.

        :return: The model and its hyperparameters.
        """
        results = super().setup_experiment()
        assert results is not None
        model, hyperparams = results
        assert model.env is not None
        if not isinstance(model, OffPolicyAlgorithm):
            return results
        loaded = self.run.load(ALGOS[self.algo], model.env, str(self.device), self.seed)  # type: ignore[arg-type]
        if loaded is not None:
            print(f"Going on at step {loaded.num_timesteps}", flush=True)
        return loaded or model, hyperparams

    def learn(self, model: BaseAlgorithm) -> None:
        """
        Train for the steps that are left. An interrupted run is not complete, and does not become so here.

        :param model: The model.
        """
        kwargs: dict[str, Any] = {}
        if self.log_interval != -1:
            kwargs["log_interval"] = self.log_interval if self.log_interval > 0 else None
        remaining = self.n_timesteps - model.num_timesteps
        try:
            model.learn(remaining, callback=self.callbacks, reset_num_timesteps=False, **kwargs)
        except KeyboardInterrupt:
            self.callbacks[0].on_training_end()  # of the progress bar
            print(f"Interrupted at step {model.num_timesteps} of {self.n_timesteps}: the same command goes on", flush=True)
            sys.exit(130)
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
    :param arguments: The command line of ``train``.
    :return: The command line for rl-zoo3, and whether to resume.
    """
    parser = argparse.ArgumentParser(prog="python -m sb3_hyper.zoo train", add_help=False, allow_abbrev=False)
    parser.add_argument("--preset", choices=sorted(PRESETS), help="which of this package's hyperparameters to use")
    parser.add_argument("--resume", action="store_true", help="go on with the run in the log folder if it was interrupted")
    own, rest = parser.parse_known_args(arguments)
    if {"-h", "--help"} & set(rest):
        print(parser.format_help(), "\nand the arguments of rl_zoo3.train:\n")
    if own.preset is not None:
        known = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        known.add_argument("--algo", default="ppo")
        known.add_argument("-conf", "--conf-file")
        others = known.parse_known_args(rest)[0]
        if others.conf_file is not None:
            parser.error("--preset chooses the file of hyperparameters: give either --preset or --conf-file")
        path = hyperparams_file(others.algo, own.preset)
        if path is None:
            parser.error(f"no hyperparameters for --algo {others.algo} with --preset {own.preset} are in {HYPERPARAMS}")
        rest += ["--conf-file", str(path)]
    if own.resume and "--seed" not in rest:
        rest += ["--seed", "0"]  # rl-zoo3 would draw another one each time
    return rest, own.resume


def main() -> None:
    """Run ``train`` or ``enjoy`` with the arguments of the command line."""
    command, arguments = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("", [])
    if command not in ("train", "enjoy"):
        print("usage: python -m sb3_hyper.zoo train|enjoy [arguments of rl_zoo3.train or rl_zoo3.enjoy]")
        print(f"train only: [--preset {'|'.join(PRESETS)}] [--resume]")
        sys.exit(0 if command in ("-h", "--help") else 2)
    resume = False
    if command == "train":
        arguments, resume = _take_own_arguments(arguments)
    sys.argv = [f"{sys.argv[0]} {command}", *arguments]
    if command == "enjoy":
        no_display = sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ)
        if no_display and not {"--no-render", "-h", "--help"} & set(arguments):
            print("There is no display: going on with --no-render")
            sys.argv.append("--no-render")
        rl_zoo3.enjoy.enjoy()
        return
    # rl_zoo3.train looks the name up when it runs
    manager = ResumingExperimentManager if resume else ExperimentManager
    setattr(rl_zoo3.train, "ExperimentManager", manager)  # noqa: B010 (mypy: not exported)
    rl_zoo3.train.train()


if __name__ == "__main__":
    main()
