"""What measuring callbacks have in common: when they measure, where they keep it, and that they leave no trace."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import HumanOutputFormat, Logger
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.type_aliases import TrainFrequencyUnit

from sb3_hyper.common.arguments import refuse_less
from sb3_hyper.common.random_states import untouched_random_states
from sb3_hyper.diagnostics.agents import Agent
from sb3_hyper.diagnostics.branches import Branches, make_branches
from sb3_hyper.diagnostics.environments import check_env, like_training
from sb3_hyper.diagnostics.records import Records


class MeasuringCallback(BaseCallback):
    """
    What callbacks have in common that measure every so many steps, log, and keep every measurement in a file.

    Training goes on as if they had not measured. Their random numbers depend on ``seed`` and the step alone, so that a run
    that was interrupted measures what an uninterrupted one does.

    :param file_name: Name of the file.
    :param eval_freq: Steps between measurements.
    :param log_path: Folder of the file, one for each run; None: the logger's, if it writes files (``tensorboard_log``, or
        ``model.set_logger``); if it does not, measurements are kept in :attr:`records` only.
    :param seed: Seed of the measurements.
    :param verbose: Verbosity: 1 prints each measurement.
    :raises ValueError: If ``eval_freq`` is not positive.
    """

    def __init__(self, file_name: str, eval_freq: int, log_path: str | Path | None, seed: int, verbose: int) -> None:
        super().__init__(verbose)
        refuse_less(1, eval_freq=eval_freq)
        self.file_name = file_name
        self.eval_freq = eval_freq
        self.log_path = log_path
        self.seed = seed
        self.records = Records(None)
        self._next = 0
        self._started = False

    def _first_step(self) -> int:
        """Number of steps at the first measurement, as training starts."""
        return 0

    def _prepare(self) -> None:
        """See whether it can be measured, and what that needs."""

    def _is_possible(self) -> bool:
        """Whether it can be measured now; a measurement that is due waits."""
        return True

    def _on_training_start(self) -> None:
        first_step = self._first_step()
        self._prepare()
        folder = self.log_path if self.log_path is not None else _folder_of(self.logger)
        rows = self.records.rows
        self.records = Records(None if folder is None else Path(folder) / self.file_name)
        self.records.rows = rows  # of an earlier learn()
        self.records.go_on_from(self.num_timesteps, self._made_with())
        measured = int(self.records.rows[-1]["timesteps"]) if self.records.rows else None
        self._next = first_step if measured is None else (measured // self.eval_freq + 1) * self.eval_freq
        self._started = True

    def _on_rollout_start(self) -> None:
        # the networks are those that the last train() left
        if self.num_timesteps >= self._next and self._is_possible():
            self.measure()
            self._next = (self.num_timesteps // self.eval_freq + 1) * self.eval_freq

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        if not self._started:  # rl-zoo3 ends callbacks that failed to start, too
            return
        if not self.records.rows:  # it ends before learning starts
            self._next = min(self._next, max(1, self.num_timesteps))
        self._on_rollout_start()

    def measure(self) -> None:
        """Measure now, log and store."""
        training = self.model.policy.training
        try:
            with untouched_random_states():
                self.model.policy.set_training_mode(False)
                seed = [self.seed, self.num_timesteps]
                th.manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))  # of actions that are drawn
                stored, logged = self._measure(np.random.default_rng(seed))
        finally:
            self.model.policy.set_training_mode(training)
        self.records.add(self.num_timesteps, **stored)
        for name, value in logged.items():
            self.logger.record(name, value)

    def _measure(self, rng: np.random.Generator) -> tuple[dict[str, Any], dict[str, float]]:
        """What to store, and what to log."""
        raise NotImplementedError

    def _settings(self) -> dict[str, Any]:
        """What a measurement depends on, by name."""
        return {}

    def _made_with(self) -> str:
        """Whose measurements these are."""
        made_with = {
            "algorithm": type(self.model).__name__,
            "policy": type(getattr(self.model.policy, "_orig_mod", self.model.policy)).__name__,  # of one that was compiled
            "policy_kwargs": self.model.policy_kwargs,
            "gamma": getattr(self.model, "gamma", None),
            "observations": str(self.model.observation_space),
            "actions": str(self.model.action_space),
            "seed of the model": self.model.seed,
            "seed": self.seed,
            **self._settings(),
        }
        return json.dumps(made_with, default=_name)


class RolloutCallback(MeasuringCallback):
    """
    What callbacks have in common that let the policy run in environments of their own, before the first update and after
    every ``eval_freq`` steps.

    :param file_name: Name of the file that keeps the measurements.
    :param n_branches: Environments that run side by side.
    :param make_env: Makes an environment like that of training; None: what training's environment is registered as, with the
        task that is set in it, if it has tasks.
    :param eval_freq: Steps between measurements.
    :param horizon: Steps after which a rollout ends; None: when its episode does.
    :param n_processes: Processes to spread the rollouts over; with more than one, a script needs an
        ``if __name__ == "__main__"``.
    :param log_path: Folder of the file; None: the logger's, if it has one.
    :param seed: Seed of the measurements.
    :param verbose: Verbosity: 1 prints each measurement.
    :param deterministic: Whether rollouts follow the policy's mean action, as evaluations do. False: they draw actions, as
        the policy does whose values SAC, TQC and CrossQ learn.
    :raises ValueError: If the model has no critic of continuous actions, the environment no time limit or, one beside the
        other, several tasks, or a number is not positive.
    """

    branches: Branches

    def __init__(
        self,
        file_name: str,
        n_branches: int,
        make_env: Callable[[], gym.Env] | None,
        eval_freq: int,
        horizon: int | None,
        n_processes: int,
        log_path: str | Path | None,
        seed: int,
        verbose: int,
        deterministic: bool,
    ) -> None:
        super().__init__(file_name, eval_freq, log_path, seed, verbose)
        refuse_less(1, n_processes=n_processes, horizon=1 if horizon is None else horizon)
        self.n_branches = n_branches
        self.make_env = make_env
        self.horizon = horizon
        self.n_processes = n_processes
        self.deterministic = deterministic

    def _prepare(self) -> None:
        self.agent = Agent(self.model, self.deterministic)
        make_env = self.make_env or like_training(self.training_env)
        with untouched_random_states():
            self.max_episode_steps = check_env(make_env, self.horizon, self.agent)
            self.branches = make_branches(make_env, self.n_branches, self.n_processes)

    def _settings(self) -> dict[str, Any]:
        return {"horizon": self.horizon, "deterministic": self.deterministic}

    def _on_training_end(self) -> None:
        super()._on_training_end()
        if hasattr(self, "branches"):
            self.branches.close()


def _folder_of(logger: Logger) -> Path | None:
    """Where a logger writes files; SB3's loggers have a folder, a temporary one, if they write none, too."""
    writes = any(not isinstance(output, HumanOutputFormat) or output.own_file for output in logger.output_formats)
    folder = logger.get_dir()
    return Path(folder) if writes and folder is not None else None


def _name(thing: Any) -> str:
    """A thing's name in a mark that is the same in every process."""
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        return repr(thing)
    return getattr(thing, "__qualname__", type(thing).__qualname__)


def has_stored_observations(model: Any) -> bool:
    """
    :param model: An off-policy model.
    :return: Whether its replay buffer holds any; that of a model that was loaded without it is empty.
    """
    return model.replay_buffer is not None and model.replay_buffer.size() > 0


def last_step_without_training(model: Any) -> int:
    """
    When a measurement on the replay buffer shows an untrained network and has as many states as can be.

    :param model: An off-policy model.
    :return: The last number of steps at which a rollout starts and nothing has been trained yet; 1 at least. (Of rollouts of
        whole episodes the lengths are not known: the first one that starts after that number comes later.)
    :raises ValueError: If the model is none.
    """
    if not isinstance(model, OffPolicyAlgorithm):
        raise ValueError(f"{type(model).__name__} has no replay buffer to draw states from")
    frequency: Any = model.train_freq
    per_rollout = model.n_envs * (frequency.frequency if frequency.unit == TrainFrequencyUnit.STEP else 1)
    return max(1, model.learning_starts // per_rollout * per_rollout)
