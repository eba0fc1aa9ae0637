"""rl-zoo3's experiment manager, with this package's hyperparameters, algorithms and learning curves."""

import argparse
import os
import shlex
import shutil
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import rl_zoo3.enjoy
import rl_zoo3.exp_manager
import rl_zoo3.train
import yaml
from rl_zoo3.hyperparams_opt import HYPERPARAMS_SAMPLER
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import EvalCallback, ProgressBarCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv

import sb3_hyper  # noqa: F401 (registers policies and environments)
from sb3_hyper.diagnostics.measuring import MeasuringCallback
from sb3_hyper.experiments.algorithms import META_ALGORITHMS
from sb3_hyper.experiments.evaluations import load_evaluations, write_evaluations
from sb3_hyper.experiments.hyperparams import hyperparams_file, refuse_numbers_as_text
from sb3_hyper.experiments.plots import plot_learning_curve
from sb3_hyper.meta.progress import StepsProgressBar
from sb3_hyper.zoo.meta import meta_evaluation

EVALUATION_SEED = 10_000  # is added to a run's seed where it is evaluated: training's initial states are not the test


class ExperimentManager(rl_zoo3.exp_manager.ExperimentManager):
    """rl-zoo3's experiment manager, with this package's hyperparameters and a learning curve at the end."""

    _made_folder: Path | None = None

    def __init__(self, args: argparse.Namespace, algo: str, *positional: Any, **kwargs: Any) -> None:
        if kwargs.get("config") is None and (packaged := hyperparams_file(algo)) is not None:
            kwargs["config"] = str(packaged)
        super().__init__(args, algo, *positional, **kwargs)

    def read_hyperparameters(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """
        Read the YAML entry, and what a search has tried, if that is asked for.

        :return: The hyperparameters, and a copy to save.
        :raises ValueError: If a number was read as text.
        """
        trial_id, self.trial_id = self.trial_id, None
        hyperparams, saved = super().read_hyperparameters()
        self.trial_id = trial_id
        refuse_numbers_as_text(hyperparams)
        if gone := self._dropped():
            print(f"-params replaces all of policy_kwargs; {self.config} also has {gone}")
        if self.storage and self.study_name and trial_id is not None:
            tried = self.load_trial(self.storage, self.study_name, trial_id)
            print(f"Trial {trial_id} of {self.study_name}: {tried}")
            hyperparams = self._with_trial(hyperparams, tried)
            saved = OrderedDict(sorted(hyperparams.items()))
        return hyperparams, saved

    def _dropped(self) -> dict[str, Any]:
        """What the file has in ``policy_kwargs`` and ``-params`` leaves out of them."""
        given = (self.custom_hyperparams or {}).get("policy_kwargs")
        if not isinstance(given, dict) or Path(self.config).suffix not in (".yml", ".yaml"):
            return {}
        entries = yaml.safe_load(Path(self.config).read_text(encoding="utf-8"))
        own = entries.get(self.env_name.gym_id, entries.get("default", {})).get("policy_kwargs")
        return {name: value for name, value in own.items() if name not in given} if isinstance(own, dict) else {}

    def _with_trial(self, hyperparams: dict[str, Any], tried: dict[str, Any]) -> dict[str, Any]:
        """What a search has tried, with the file's settings, as the search had them; ``-params`` go before both."""
        policy_kwargs = hyperparams.get("policy_kwargs", {})
        if isinstance(policy_kwargs, str):
            sys.exit(
                f"policy_kwargs of {self.config} is text, to which those of a trial cannot be added: write it as a mapping"
            )
        given = self.custom_hyperparams or {}
        joined = {**hyperparams, **{name: value for name, value in tried.items() if name not in given}}
        return {**joined, "policy_kwargs": {**policy_kwargs, **tried.get("policy_kwargs", {})}}

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
        self._made_folder = Path(self.save_path).absolute()

    def setup_experiment(self) -> tuple[BaseAlgorithm, dict[str, Any]] | None:
        """
        Make the model. If that fails, the run's new folder goes: ``enjoy`` would take it for the latest run.

        :return: The model and its hyperparameters; None if these are to be searched for.
        """
        try:
            return super().setup_experiment()
        except BaseException:
            if self._made_folder is not None:
                _remove_if_nothing_ran(self._made_folder)
            raise

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
        """
        Create rl-zoo3's callbacks, the progress bar first: it is the first one that an interruption closes.

        What measures without a ``log_path`` of its own keeps its file in the run's folder.
        """
        eval_freq = self.eval_freq
        super().create_callbacks()
        if self.algo in META_ALGORITHMS:
            for index, callback in enumerate(self.callbacks):
                if isinstance(callback, EvalCallback):
                    n_points = self.n_eval_episodes if self.algo == "pearl" else None  # MAML: its inner steps and one
                    self.callbacks[index] = meta_evaluation(callback, n_points, eval_freq)
                elif isinstance(callback, ProgressBarCallback):
                    self.callbacks[index] = StepsProgressBar()
        for callback in self.callbacks:
            if isinstance(callback, MeasuringCallback) and callback.log_path is None:
                callback.log_path = self.save_path
        self.callbacks.sort(key=lambda callback: not isinstance(callback, ProgressBarCallback))

    def hyperparameters_optimization(self) -> None:
        """Search for hyperparameters. What is sampled for the policy is added to the file's, in place of replacing it."""
        if self.algo not in HYPERPARAMS_SAMPLER:
            sys.exit(f"There is no search space for --algo {self.algo}. There is one for {', '.join(HYPERPARAMS_SAMPLER)}")
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
            print(f"Ended at step {model.num_timesteps} of {self.n_timesteps}")
        if isinstance(model, OffPolicyAlgorithm) and model.num_timesteps <= model.learning_starts:
            print(f"No gradient step was taken: learning starts after {model.learning_starts} steps")
        super().save_trained_model(model)
        folder = Path(self.save_path)
        what = "The model lies"
        if (folder / "evaluations.npz").is_file():
            what = "Model, evaluations and learning curve lie"
            steps, returns = load_evaluations(folder / "evaluations.npz")
            write_evaluations(folder / "evaluations.csv", steps, returns)
            label = f"{type(model.policy).__name__}, {returns.shape[1]} episodes each (mean, middle half)"
            title = f"{self.algo.upper()} on {self.env_name.gym_id}"
            plot_learning_curve(folder / "learning_curve.png", {label: (steps, returns)}, title)
            print(f"Mean return of the last evaluation: {returns[-1].mean():.4g} at {steps[-1]} steps")
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
        python = "python" if sys.prefix == sys.base_prefix else _shortest(sys.executable)
        command = [python, "-m", "sb3_hyper.zoo", "enjoy", "--algo", self.algo, "--env", self.env_name.gym_id]
        command += ["-f", self.log_folder, "--exp-id", run_id]
        if self.args.gym_packages:
            command += ["--gym-packages", *self.args.gym_packages]
        return shlex.join(command)


def _shortest(path: str) -> str:
    try:
        return os.path.relpath(path)
    except ValueError:  # on another of Windows' drives
        return path


def _remove_if_nothing_ran(folder: Path) -> None:
    """Remove what a run makes before it begins, unless there is anything else: another process may have come there."""
    if all(path.is_dir() or path.name.endswith(".monitor.csv") for path in folder.rglob("*")):
        shutil.rmtree(folder, ignore_errors=True)
