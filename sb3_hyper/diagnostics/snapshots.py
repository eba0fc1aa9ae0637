"""
Put an environment back to where it was, and run it again from there.

A snapshot holds the random generator and the plain attributes of the environment and all its wrappers (the time limit's
counter among them), and of the simulator:

- MuJoCo: all of ``MjData``. The integration state alone is not enough: some environments read quantities that MuJoCo
  derives, in the state that the last step left them in.
- an environment with methods ``get_snapshot()`` and ``set_snapshot(snapshot)``: what they give.
- any other: a deep copy of its attributes, which :func:`check_repeatable` puts to the test.
"""

import copy
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import gymnasium as gym
import mujoco
import numpy as np
from gymnasium.envs.mujoco.mujoco_env import MujocoEnv

PLAIN = (bool, int, float, complex, str, bytes, type(None), np.ndarray, np.generic)
# What renders is no part of the state, and cannot be copied
RENDERING = ("viewer", "screen", "clock", "window", "surf", "mujoco_renderer", "_viewers", "isopen")


@runtime_checkable
class Snapshotable(Protocol):
    """An environment that knows how to store and restore its state."""

    def get_snapshot(self) -> Any:
        """Return the state, a copy."""

    def set_snapshot(self, snapshot: Any) -> None:
        """Go back to a state; it may be used again."""


@dataclass(frozen=True)
class Snapshot:
    """
    The state of an environment.

    :param layers: Plain attributes of the environment and its wrappers, from the outermost inwards.
    :param core: State of the simulator.
    :param random_state: State of the random generator.
    :param observation: The observation of that state.
    """

    layers: list[dict[str, Any]]
    core: Any
    random_state: Mapping[str, Any]
    observation: Any


def take_snapshot(env: gym.Env, observation: Any) -> Snapshot:
    """
    :param env: An environment.
    :param observation: What its last reset or step gave. (It is stored, for it may not be a function of the state.)
    :return: Its state, which has no part in common with it.
    """
    core = env.unwrapped
    state: Any
    if isinstance(core, Snapshotable):
        state = core.get_snapshot()
    elif isinstance(core, MujocoEnv):
        state = copy.copy(core.data)
    else:
        # one copy for all, so that what is shared inside stays shared
        state = copy.deepcopy({name: value for name, value in vars(core).items() if _is_state(name)})
    layers = [_plain_attributes(layer) for layer in _layers(env)]
    return Snapshot(layers, state, dict(core.np_random.bit_generator.state), copy.deepcopy(observation))


def restore_snapshot(env: gym.Env, snapshot: Snapshot) -> Any:
    """
    :param env: The environment that the snapshot is of, or one made like it and reset once.
    :param snapshot: The state to go to; it may be used again.
    :return: The observation.
    """
    core = env.unwrapped
    if isinstance(core, Snapshotable):
        core.set_snapshot(snapshot.core)
    elif isinstance(core, MujocoEnv):
        mujoco.mj_copyData(core.data, core.model, snapshot.core)
    else:
        vars(core).update(copy.deepcopy(snapshot.core))
    for layer, attributes in zip(_layers(env), snapshot.layers, strict=True):
        vars(layer).update(copy.deepcopy(attributes))
    core.np_random.bit_generator.state = dict(snapshot.random_state)
    return copy.deepcopy(snapshot.observation)


def check_repeatable(env: gym.Env, snapshot: Snapshot, n_steps: int = 20) -> None:
    """
    See whether two runs from one snapshot agree, to the last digit.

    :param env: The environment.
    :param snapshot: A state of it.
    :param n_steps: Length of the runs.
    :raises RuntimeError: If they do not; the message says what is missing.
    """
    rng = np.random.default_rng(0)
    low, high = env.action_space.low, env.action_space.high  # type: ignore[attr-defined]
    actions = [rng.uniform(np.maximum(low, -1), np.minimum(high, 1)).astype(low.dtype) for _ in range(n_steps)]
    runs = []
    for _ in range(2):
        restore_snapshot(env, snapshot)
        run = []
        for action in actions:
            observation, reward, terminated, truncated, _ = env.step(action)
            run.append((copy.deepcopy(observation), reward, terminated, truncated))
            if terminated or truncated:
                break
        runs.append(run)
    restore_snapshot(env, snapshot)
    if len(runs[0]) != len(runs[1]) or not all(_same(one, other) for one, other in zip(*runs, strict=True)):
        raise RuntimeError(
            f"{env} does not repeat itself from a copy of its attributes: give {type(env.unwrapped).__name__} methods "
            "get_snapshot() and set_snapshot(snapshot) that store and restore all of its state"
        )


def _layers(env: gym.Env) -> list[gym.Env]:
    layers = [env]
    while isinstance(layers[-1], gym.Wrapper):
        layers.append(layers[-1].env)
    return layers


def _plain_attributes(layer: gym.Env) -> dict[str, Any]:
    return copy.deepcopy({name: value for name, value in vars(layer).items() if _is_plain(value) and _is_state(name)})


def _is_state(name: str) -> bool:
    return name not in RENDERING and name not in ("_np_random", "spec", "_cached_spec", "model", "data")


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_plain(item) for item in value.values())
    if isinstance(value, (list, tuple, set, deque)):
        return all(_is_plain(item) for item in value)
    return isinstance(value, PLAIN)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return all(_same(one[key], other[key]) for key in one)
    if isinstance(one, tuple):
        return all(_same(a, b) for a, b in zip(one, other, strict=True))
    return bool(np.array_equal(one, other))
