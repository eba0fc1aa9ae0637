"""Whether an environment can be gone back to, and run again from there, side by side with others."""

import copy
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.mujoco.mujoco_env import MujocoEnv

from sb3_hyper.diagnostics.snapshots import (
    Snapshotable,
    ask_for_methods,
    is_plain,
    is_state,
    layers_of,
    restore_snapshot,
    take_snapshot,
)

N_STEPS_BEFORE = 10  # of the snapshot, so that it differs from what a reset leaves
# What every layer has, and what no step changes
ALWAYS_THERE = ("env", "_np_random", "_action_space", "_observation_space", "action_space", "observation_space", "_metadata")


def check_repeatable(make_env: Callable[[], gym.Env], n_steps: int = 20) -> None:
    """
    See whether three runs from one state agree, to the last digit: one that went on, one in the same environment after it was
    put back, and one in another environment that was put there.

    :param make_env: Makes the environment.
    :param n_steps: Length of the runs.
    :raises RuntimeError: If they do not; the message says what is missing.
    """
    difference = _difference(make_env, n_steps)
    if difference is None:
        return
    env = make_env()
    env.reset(seed=0)  # some attributes are made here
    layers = layers_of(env)
    env.close()
    blamed = 0
    for index in reversed(range(len(layers))):  # the innermost that differs makes all around it differ
        if _difference(lambda index=index: layers_of(make_env())[index], n_steps) is not None:  # type: ignore[misc]
            blamed = index
            break
    raise RuntimeError(f"{env} does not go on {difference} as it did before: {_advice(layers[blamed])}")


def _difference(make_env: Callable[[], gym.Env], n_steps: int) -> str | None:
    """Where the runs differ, in words."""
    env, other = make_env(), make_env()
    try:
        observation, _ = env.reset(seed=1)
        other.reset(seed=2)
        space = copy.deepcopy(env.action_space)
        space.seed(0)
        for _ in range(N_STEPS_BEFORE):
            observation, _, terminated, truncated, _ = env.step(space.sample())
            if terminated or truncated:
                observation, _ = env.reset()
        snapshot = take_snapshot(env, observation)
        actions = [space.sample() for _ in range(n_steps)]
        (went_on,) = _runs([env], actions)
        for one in (env, other):
            restore_snapshot(one, snapshot)
        # in turn, as branches run: what they shared would show
        again, elsewhere = _runs([env, other], actions)
    finally:
        env.close()
        other.close()
    if not _same(went_on, again):
        return "after it was put back"
    return None if _same(went_on, elsewhere) else "in another environment that was put there"


def _runs(envs: list[gym.Env], actions: list[Any]) -> list[list[Any]]:
    """What each environment gives, to the end of its episode at most."""
    runs: list[list[Any]] = [[] for _ in envs]
    for action in actions:
        for env, run in zip(envs, runs, strict=True):
            if not (run and (run[-1][2] or run[-1][3])):
                run.append(copy.deepcopy(env.step(action)[:4]))
    return runs


def _advice(layer: gym.Env) -> str:
    """What is to be done about a wrapper or an innermost environment."""
    objects = ", ".join(_objects_of(layer))
    lost = f" (objects such as {objects} are not copied)" if objects and not isinstance(layer, Snapshotable) else ""
    if isinstance(layer, (gym.wrappers.NormalizeObservation, gym.wrappers.NormalizeReward)):
        return (
            f"the wrapper {type(layer).__name__} is at fault, which goes on learning its scale{lost}. Train with "
            "Stable-Baselines3's VecNormalize in its place, which is taken into account"
        )
    if isinstance(layer, gym.Wrapper):
        return f"the wrapper {type(layer).__name__} is at fault{lost}: leave it out of make_env, or {ask_for_methods(layer)}"
    return ask_for_methods(layer) + (lost if isinstance(layer, MujocoEnv) else "")


def _objects_of(layer: gym.Env) -> list[str]:
    simulator = isinstance(layer, MujocoEnv)
    return [
        name
        for name, value in vars(layer).items()
        if name not in ALWAYS_THERE and not is_plain(value) and is_state(name, value, simulator)
    ]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(_same(a, b) for a, b in zip(one, other, strict=True))
    return bool(np.array_equal(one, other, equal_nan=np.asarray(one).dtype.kind == "f"))
