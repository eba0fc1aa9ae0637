"""Runs that go on when their command is repeated: ``--resume``."""

import argparse
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout
from gymnasium import Env
from rl_zoo3.utils import ALGOS
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import EvalCallback, ProgressBarCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from sb3_hyper.common.files import read_json, write_json
from sb3_hyper.experiments.checkpoints import BUSY, COMPLETE, INTERRUPTED, ResumableRun, remove_checkpoints
from sb3_hyper.experiments.obstacles import begins_afresh
from sb3_hyper.experiments.repeatable_resets import RepeatableResets
from sb3_hyper.zoo.managers import ExperimentManager
from sb3_hyper.zoo.restarted_logs import RestartLogs

ASKED = "asked.json"  # what the command asked for: written before all else that a run with --resume writes


class ResumingExperimentManager(ExperimentManager):
    """Goes on with the first run of its log folder, from its last checkpoint."""

    def __init__(self, args: argparse.Namespace, *positional: Any, **kwargs: Any) -> None:
        for option in ("uuid", "optimize_hyperparameters", "trained_agent"):
            if getattr(args, option):
                sys.exit(f"--resume cannot be combined with --{option.replace('_', '-')}")
        super().__init__(args, *positional, **kwargs)
        self.save_path = os.path.join(self.log_path, f"{self.env_name}_1")
        self.params_path = f"{self.save_path}/{self.env_name}"
        if os.path.isfile(f"{self.params_path}/config.yml") and not (Path(self.save_path) / ASKED).is_file():
            sys.exit(
                f"{self.save_path} holds a run that was not started with --resume and cannot go on. "
                "Give this run a log folder of its own: -f FOLDER"
            )
        if self.config.endswith((".yml", ".yaml", ".py")) and not os.path.isfile(self.config):
            sys.exit(f"There is no file {self.config}")
        os.makedirs(self.params_path, exist_ok=True)
        self.lock = FileLock(Path(self.save_path) / "lock")
        try:
            self.lock.acquire(timeout=1)  # held until the process ends, however it ends; a moment, for who asks takes it too
        except Timeout:
            print(f"Another process works on {self.save_path}")
            sys.exit(BUSY)
        self._check_same_run()  # behind the lock: it notes what this run is
        if (Path(self.save_path) / COMPLETE).is_file():
            remove_checkpoints(Path(self.save_path))  # a kill may have come between the mark and this
            print(f"Complete: {self.save_path}")
            sys.exit(0)

    def _check_same_run(self) -> None:
        """A folder holds one run: what another command asks for is neither gone on with nor written over it."""
        text = Path(self.config).read_text(encoding="utf-8") if os.path.isfile(self.config) else self.config
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
            "eval_env_kwargs",
            "storage",
            "study_name",
            "trial_id",
        )
        asked = {name: getattr(self.args, name) for name in names}
        if self.config.endswith((".yml", ".yaml")):
            entries = yaml.safe_load(text)
            asked["settings"] = entries.get(self.env_name.gym_id, entries.get("default"))
        else:
            asked["settings"] = hashlib.sha256(text.encode()).hexdigest()[:8]  # of a Python file: all of it
        asked = json.loads(json.dumps(asked, default=str))
        path = Path(self.save_path) / ASKED
        has_begun = (Path(self.save_path) / "progress.json").is_file()
        there = read_json(path) if has_begun else None
        if there is None:  # or another command failed before it began
            write_json(path, asked)
            return
        different = [f"{name} {there.get(name)!r}, not {asked[name]!r}" for name in asked if there.get(name) != asked[name]]
        if different:
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
        if self.algo == "ars" and self.n_envs > 1:
            raise ValueError(f"--resume, and with it a study, takes ARS with n_envs: 1, got {self.n_envs}")
        super().create_callbacks()
        evaluations = [callback for callback in self.callbacks if isinstance(callback, EvalCallback)]
        if not evaluations:
            raise ValueError("--resume needs evaluations: --eval-freq must be positive")
        self.run = ResumableRun(
            self.save_path,
            self.n_timesteps,
            evaluations[0],
            save_freq=self.eval_freq * self.n_envs,
            callbacks=self.callbacks,
        )
        self.callbacks += [self.run, RestartLogs()]

    def create_envs(self, n_envs: int, eval_env: bool = False, no_log: bool = False) -> VecEnv:
        """
        Create the environment. A run that goes on adds to its log of episodes.

        :param n_envs: How many.
        :param eval_env: Whether it is for evaluations.
        :param no_log: Whether its episodes are not logged.
        :return: The vectorized environment.
        """
        env_id = self.env_name.gym_id
        if ExperimentManager.is_robotics_env(env_id) or "parking-v0" in env_id:
            self.monitor_kwargs = {"info_keywords": ("is_success",), **self.monitor_kwargs}
        if not eval_env and self.run.has_checkpoint() and (Path(self.save_path) / "0.monitor.csv").is_file():
            self.monitor_kwargs = {**self.monitor_kwargs, "override_existing": False}
        return super().create_envs(n_envs, eval_env, no_log)

    @staticmethod
    def is_robotics_env(env_id: str) -> bool:
        """
        :param env_id: Id of an environment.
        :return: False: rl-zoo3 would replace the Monitor's arguments, which :meth:`create_envs` adds to.
        """
        return False

    def setup_experiment(self) -> tuple[BaseAlgorithm, dict[str, Any]] | None:
        """
        Make the model, or load the one of the last checkpoint.

        :return: The model and its hyperparameters.
        """
        results = super().setup_experiment()
        assert results is not None
        model, hyperparams = results
        assert model.env is not None
        if not isinstance(model, OffPolicyAlgorithm) and not begins_afresh(model):
            return results
        loaded = self.run.load(ALGOS[self.algo], model.env, str(self.device), self.seed)
        if loaded is not None:
            loaded.tensorboard_log = model.tensorboard_log
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
            for callback in self.callbacks:
                if isinstance(callback, ProgressBarCallback):
                    callback.on_training_end()
            print(f"Interrupted at step {model.num_timesteps} of {self.n_timesteps}: the same command goes on", flush=True)
            sys.exit(INTERRUPTED)
        assert model.env is not None
        model.env.close()

    def save_trained_model(self, model: BaseAlgorithm) -> None:
        """
        Save the model, and mark the run as complete.

        :param model: The trained model.
        """
        super().save_trained_model(model)
        self.run.finish()
