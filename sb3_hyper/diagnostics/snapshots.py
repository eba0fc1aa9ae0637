"""
Put an environment back to where it was, or another one like it.

A snapshot holds the random generator, the plain attributes of all wrappers (the time limit's counter among them), and of the
innermost environment:

- MuJoCo: all of ``MjData``, the model (tasks may change masses), and the plain attributes. The integration state alone is not
  enough: some environments read quantities that MuJoCo derives, in the state that the last step left them in.
- any other: a deep copy of its attributes.
- an environment with methods ``get_snapshot()`` and ``set_snapshot(snapshot)``: what they give, and nothing else. Wrappers can
  have them too.

:func:`~sb3_hyper.diagnostics.repeating.check_repeatable` puts all that to the test.
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
# Handles of what renders are no part of the state, and cannot be copied
RENDERING = ("viewer", "screen", "clock", "window", "surf", "mujoco_renderer", "_viewers", "isopen")
REGISTRATION = ("spec", "_cached_spec")
SIMULATOR = ("model", "data")  # of a MuJoCo environment


@runtime_checkable
class Snapshotable(Protocol):
    """An environment or wrapper that knows how to store and restore its state."""

    def get_snapshot(self) -> Any:
        """Return the state, a copy."""

    def set_snapshot(self, snapshot: Any) -> None:
        """Go back to a state; it may be used again."""


@dataclass(frozen=True)
class Snapshot:
    """
    The state of an environment.

    :param layers: Of each wrapper from the outermost inwards, and at last of a MuJoCo environment itself: plain attributes, or
        what its ``get_snapshot`` gave.
    :param core: State of the innermost environment, or of its simulator.
    :param random_state: State of the random generator.
    :param observation: The observation of that state.
    """

    layers: list[Any]
    core: Any
    random_state: Mapping[str, Any]
    observation: Any


def take_snapshot(env: gym.Env, observation: Any) -> Snapshot:
    """
    :param env: An environment.
    :param observation: What its last reset or step gave. (It is stored, for it may not be a function of the state.)
    :return: Its state, which has no part in common with it.
    :raises RuntimeError: If the environment cannot be copied.
    """
    core = env.unwrapped
    state: Any
    if isinstance(core, Snapshotable):
        state = core.get_snapshot()
    elif isinstance(core, MujocoEnv):
        state = copy.deepcopy(core.data)  # with a model of its own
    else:
        try:
            # one copy for all, so that what is shared inside stays shared
            state = copy.deepcopy({name: value for name, value in vars(core).items() if is_state(name, value)})
        except Exception as error:  # whatever the attributes raise
            raise RuntimeError(f"{core} cannot be copied ({error}): {ask_for_methods(core)}") from error
    layers = [layer.get_snapshot() if isinstance(layer, Snapshotable) else _plain_attributes(layer) for layer in _copied(env)]
    return Snapshot(layers, state, dict(core.np_random.bit_generator.state), copy.deepcopy(observation))


def restore_snapshot(env: gym.Env, snapshot: Snapshot, seed: int | None = None) -> Any:
    """
    :param env: The environment that the snapshot is of, or one made like it and reset once.
    :param snapshot: The state to go to; it may be used again.
    :param seed: Of the random numbers from here on; None: those that followed the snapshot.
    :return: The observation.
    """
    core = env.unwrapped
    if isinstance(core, Snapshotable):
        core.set_snapshot(snapshot.core)
    elif isinstance(core, MujocoEnv):
        _copy_model(core.model, snapshot.core.model)
        mujoco.mj_copyData(core.data, core.model, snapshot.core)
    else:
        vars(core).update(copy.deepcopy(snapshot.core))
    for layer, state in zip(_copied(env), snapshot.layers, strict=True):
        if isinstance(layer, Snapshotable):
            layer.set_snapshot(state)
        else:
            _set_attributes(layer, state)
    generator = core.np_random.bit_generator
    generator.state = dict(snapshot.random_state) if seed is None else type(generator)(seed).state
    return copy.deepcopy(snapshot.observation)


def layers_of(env: gym.Env) -> list[gym.Env]:
    """
    :param env: An environment.
    :return: Its wrappers from the outermost inwards, and the innermost environment.
    """
    layers = [env]
    while isinstance(layers[-1], gym.Wrapper):
        layers.append(layers[-1].env)
    return layers


def is_state(name: str, value: Any, simulator: bool = False) -> bool:
    """
    :param name: Name of an attribute.
    :param value: The attribute.
    :param simulator: Whether it is a MuJoCo environment's.
    :return: Whether it is part of the state.
    """
    if name in REGISTRATION or (simulator and name in SIMULATOR):
        return False
    # an environment may count its steps in ``clock``; None and the like is what a handle is before anything was drawn
    return name not in RENDERING or (is_plain(value) and value is not None)


def is_plain(value: Any) -> bool:
    """
    :param value: An attribute.
    :return: Whether it is made of numbers, text, arrays and containers alone.
    """
    if isinstance(value, dict):
        return all(is_plain(item) for item in value.values())
    if isinstance(value, (list, tuple, set, deque)):
        return all(is_plain(item) for item in value)
    return isinstance(value, PLAIN)


def ask_for_methods(layer: gym.Env) -> str:
    """
    :param layer: An environment or wrapper whose state is not known.
    :return: What to do.
    """
    name = type(layer).__name__
    return f"give {name} methods get_snapshot() and set_snapshot(snapshot) that store and restore all of its state"


def _copied(env: gym.Env) -> list[gym.Env]:
    """The layers of which attributes are copied: of another innermost environment its own copy holds them already."""
    *wrappers, core = layers_of(env)
    return [*wrappers, core] if isinstance(core, MujocoEnv) and not isinstance(core, Snapshotable) else wrappers


def _plain_attributes(layer: gym.Env) -> dict[str, Any]:
    simulator = isinstance(layer, MujocoEnv)
    attributes = vars(layer).items()
    return copy.deepcopy({name: value for name, value in attributes if is_plain(value) and is_state(name, value, simulator)})


def _set_attributes(layer: gym.Env, state: dict[str, Any]) -> None:
    for name, value in copy.deepcopy(state).items():
        present: Any = vars(layer).get(name)
        if _is_view(present) and isinstance(value, np.ndarray) and present.shape == value.shape:
            present[...] = value  # of the simulator's memory, perhaps: a copy in its place would no longer follow it
        else:
            vars(layer)[name] = value


def _is_view(value: Any) -> bool:
    return isinstance(value, np.ndarray) and not value.flags.owndata and value.flags.writeable


def _copy_model(target: mujoco.MjModel, source: mujoco.MjModel) -> None:
    """All of a model's numbers, if any of them differs."""
    if mujoco.mj_sizeModel(target) != mujoco.mj_sizeModel(source):
        raise RuntimeError("Two environments that were made alike have models of different size: make_env must fix the model")
    if np.array_equal(_bytes_of(target), _bytes_of(source)):
        return
    for ours, theirs in ((target, source), (target.opt, source.opt), (target.stat, source.stat)):
        for name in dir(theirs):
            value = getattr(theirs, name)
            if isinstance(value, np.ndarray) and value.flags.writeable:
                getattr(ours, name)[...] = value
            elif ours is not target and isinstance(value, (int, float)):  # the sizes of a model are fixed
                setattr(ours, name, value)


def _bytes_of(model: mujoco.MjModel) -> np.ndarray:
    buffer = np.empty(mujoco.mj_sizeModel(model), np.uint8)
    mujoco.mj_saveModel(model, None, buffer)
    return buffer
