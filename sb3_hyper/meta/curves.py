"""Adaptation curves: what came of adapting to tasks, episode after episode."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from sb3_hyper.tasks.interface import Task
from sb3_hyper.tasks.vectorized import reset_to_tasks

EPISODE_LIMIT = 100_000  # steps after which an episode without an end is an error


class AdaptationCurve(NamedTuple):
    """
    What came of adapting to some tasks. Episode 0 is played without any knowledge of the task.

    :param returns: Undiscounted returns, ``(n_tasks, n_episodes)``
    :param lengths: Steps of an episode, ``(n_tasks, n_episodes)``; means where a point is more than one.
    :param successes: 1 for an episode that succeeded (``info["is_success"]`` at its end), 0 for one that did not, NaN where
        the environment does not say, ``(n_tasks, n_episodes)``; means where a point is more than one.
    """

    returns: np.ndarray
    lengths: np.ndarray
    successes: np.ndarray

    @classmethod
    def empty(cls, n_tasks: int, n_episodes: int) -> "AdaptationCurve":
        """
        :param n_tasks: Number of tasks.
        :param n_episodes: Number of points.
        :return: A curve to be filled.
        """
        shape = n_tasks, n_episodes
        return cls(np.zeros(shape), np.zeros(shape), np.full(shape, np.nan))


def mean_of_known(values: np.ndarray, axis: int | None = None) -> Any:
    """
    :param values: Numbers, some of them perhaps NaN.
    :param axis: Over which axis; None: over all.
    :return: Mean of the others, NaN where there are none.
    """
    return np.ma.filled(np.ma.masked_invalid(values).mean(axis=axis), np.nan)


def success(info: dict[str, Any]) -> float:
    """
    :param info: What an environment said at the end of an episode.
    :return: Whether the episode succeeded, NaN if it did not say.
    """
    return float(info.get("is_success", np.nan))


def check_episodes_end(n_steps: int) -> None:
    """
    :param n_steps: How long no episode has ended.
    :raises ValueError: If that is too long.
    """
    if n_steps > EPISODE_LIMIT:
        raise ValueError(
            f"No episode has ended for {EPISODE_LIMIT} steps: the environment needs a time limit, such as "
            "gymnasium.wrappers.TimeLimit"
        )


def adaptation_curve(
    adapt: Callable[[VecEnv], AdaptationCurve], env: VecEnv, tasks: Sequence[Task], seed: int = 0
) -> AdaptationCurve:
    """
    Adapt to tasks, as many at a time as there are environments.

    :param adapt: Adapts to the tasks that are set in a vectorized environment, each by itself.
    :param env: A vectorized task environment.
    :param tasks: The tasks.
    :param seed: Seed of the environment. (MAML seeds it anew, from numpy's generator, whenever it plays.)
    :return: The curve of each task.
    """
    n_envs, curves = env.num_envs, []
    for start in range(0, len(tasks), n_envs):
        group = list(tasks[start : start + n_envs])
        env.seed(seed + start)
        reset_to_tasks(env, group + [group[0]] * (n_envs - len(group)))
        curve = adapt(env)
        curves.append(AdaptationCurve(*(array[: len(group)] for array in curve)))
    return AdaptationCurve(*(np.concatenate(arrays) for arrays in zip(*curves, strict=True)))


def play_once(env: VecEnv, act: Callable[[], np.ndarray]) -> AdaptationCurve:
    """
    An episode without any learning, in each environment.

    :param env: A vectorized environment that has been reset.
    :param act: Gives actions, ``(n_envs, action_dim)``
    :return: The curve, of one point.
    """
    curve, running = AdaptationCurve.empty(env.num_envs, 1), np.ones(env.num_envs, dtype=bool)
    for n_steps in itertools.count():
        check_episodes_end(n_steps)
        _, rewards, dones, infos = env.step(act())
        curve.returns[running, 0] += rewards[running]
        curve.lengths[running] += 1
        for i in np.flatnonzero(running & dones):
            curve.successes[i] = success(infos[i])
        running &= ~dones
        if not running.any():
            break
    return curve


def do_nothing_returns(env: VecEnv, tasks: Sequence[Task], seed: int = 0) -> np.ndarray:
    """
    The anchor of every curve: what an agent gets that gives zeros as actions.

    :param env: A vectorized task environment.
    :param tasks: The tasks.
    :param seed: Seed of the environment.
    :return: Return of an episode in each task, ``(n_tasks,)``
    """
    space = env.action_space
    assert isinstance(space, gym.spaces.Box)
    nothing = np.clip(np.zeros((env.num_envs, *space.shape), dtype=space.dtype), space.low, space.high)
    return adaptation_curve(lambda env: play_once(env, lambda: nothing), env, tasks, seed).returns[:, 0]
