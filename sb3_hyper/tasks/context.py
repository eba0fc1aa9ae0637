"""The oracle context: an observation that tells the task."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from sb3_hyper.tasks.interface import Task


class ContextScaler:
    """
    Brings the parameters of tasks to the range that the training tasks span.

    :param parameters: Parameters of the training tasks, ``(n_tasks, n_parameters)``
    :param scaling: ``"min_max"``: to [0, 1]; other tasks may leave it. ``"max"``: division by the largest absolute value, so
        that directions are +-1. ``"none"``: as they are.
    """

    def __init__(self, parameters: np.ndarray, scaling: str = "min_max") -> None:
        if scaling == "min_max":
            self.shift, scale = parameters.min(axis=0), np.ptp(parameters, axis=0)
        elif scaling in ("max", "none"):
            self.shift = np.zeros(parameters.shape[1])
            scale = np.abs(parameters).max(axis=0) if scaling == "max" else np.ones(parameters.shape[1])
        else:
            raise ValueError(f"scaling must be 'min_max', 'max' or 'none', got {scaling!r}")
        self.scale = np.where(scale > 0, scale, 1.0)  # of a parameter that all tasks share

    def __call__(self, parameters: np.ndarray) -> np.ndarray:
        """
        :param parameters: ``(..., n_parameters)``
        :return: The same, scaled, float32.
        """
        return ((parameters - self.shift) / self.scale).astype(np.float32)


class OracleContext(gym.ObservationWrapper):
    """
    Shows the agent which task it has.

    :param env: A task environment.
    :param tasks: The training tasks; they define the scaling.
    :param as_dict: Whether observations become ``{"observation": ..., "context": ...}``. Otherwise the context is appended.
    """

    def __init__(self, env: gym.Env, tasks: Sequence[Task], as_dict: bool = False) -> None:
        super().__init__(env)
        if not env.has_wrapper_attr("task_parameters"):
            raise ValueError(f"{env} has no tasks: it must be a TaskEnv, or wrapped in a TaskWrapper")
        if not tasks:
            raise ValueError("OracleContext needs the training tasks, got none")
        self.as_dict = as_dict
        self._parameters = env.get_wrapper_attr("task_parameters")
        self.scaler = ContextScaler(
            np.stack([self._parameters(task) for task in tasks]), env.get_wrapper_attr("context_scaling")
        )
        n_parameters = len(self.scaler.shift)
        context = spaces.Box(-np.inf, np.inf, (n_parameters,), np.float32)
        space = env.observation_space
        if as_dict:
            self.observation_space: spaces.Space = spaces.Dict({"observation": space, "context": context})
        elif isinstance(space, spaces.Box) and len(space.shape) == 1:
            low, high = (np.concatenate([bound, end]) for bound, end in ((space.low, context.low), (space.high, context.high)))
            self.observation_space = spaces.Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)
        else:
            raise ValueError(f"A context can be appended to flat observations; with {space} use as_dict=True")

    def observation(self, observation: Any) -> Any:
        """
        :param observation: The environment's.
        :return: It, and the context of the task that is set.
        """
        context = self.scaler(self._parameters(self.env.get_wrapper_attr("task")))
        if self.as_dict:
            return {"observation": observation, "context": context}
        return np.concatenate([observation, context]).astype(np.float32)
