"""Environments to measure in: made like training's, and checked before anything is measured in them."""

import dataclasses
import re
import sys
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import (
    VecCheckNan,
    VecEnv,
    VecEnvWrapper,
    VecExtractDictObs,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
    VecVideoRecorder,
)

from sb3_hyper.diagnostics.agents import Agent
from sb3_hyper.diagnostics.branches import stack
from sb3_hyper.diagnostics.repeating import check_repeatable
from sb3_hyper.diagnostics.snapshots import layers_of

# Wrappers that change nothing: they watch the training
WATCHING = ("Monitor", "RepeatableResets", "RecordVideo", "RecordEpisodeStatistics", "HumanRendering", "RenderCollection")
# Wrappers of vectorized environments that rollouts do without, or repeat, or whose absence the shape of observations shows
KNOWN_AROUND = (
    VecNormalize,
    VecMonitor,
    VecTransposeImage,
    VecCheckNan,
    VecVideoRecorder,
    VecFrameStack,
    VecExtractDictObs,
)
NEEDS_RENDERING = "AddRenderObservation"
# Wrappers that gymnasium has inside an environment's time limit
INSIDE = (gym.wrappers.OrderEnforcing, gym.wrappers.PassiveEnvChecker)
# Each of their steps is one step of what they wrap
SAME_STEPS = (gym.ActionWrapper, gym.ObservationWrapper, gym.RewardWrapper)


def like_training(env: VecEnv) -> Callable[[], gym.Env]:
    """
    :param env: Training's environment.
    :return: Makes one like it: as it is registered, with its task, and without what only watches it.
    :raises ValueError: If that cannot be told.
    """
    around: VecEnv = env
    while isinstance(around, VecEnvWrapper):
        if not isinstance(around, KNOWN_AROUND):
            raise ValueError(
                f"Rollouts would do without {type(around).__name__}, which wraps training's vectorized environment: give "
                "make_env, a function that makes an environment which does the same"
            )
        around = around.venv
    for one in getattr(around, "envs", []):  # out of reach where they are in processes of their own
        _check_time_limit(one)
    specs = [_without_watching(spec) for spec in env.get_attr("spec")]
    if len({_written_out(spec) for spec in specs}) > 1:
        raise ValueError(
            "Training's environments are made in different ways: give make_env, a function that makes the one to measure in"
        )
    if not (env.has_attr("sample_tasks") and env.has_attr("task")):
        return lambda: gym.make(specs[0])
    tasks = env.get_attr("task")
    if any(task != tasks[0] for task in tasks):
        raise ValueError(
            "Training's environments have different tasks: give make_env, a function that makes an environment with the task "
            "to measure in"
        )

    def make_env_with_task() -> gym.Env:
        made = gym.make(specs[0])
        made.reset(seed=0, options={"task": tasks[0]})
        return made

    return make_env_with_task


def _check_time_limit(env: gym.Env) -> None:
    """A spec tells how long an episode is; neither that other wrappers are inside the limit, nor that there are two."""
    layers = layers_of(env)
    limits = [layer for layer in layers if isinstance(layer, gym.wrappers.TimeLimit)]
    # what is inside gymnasium's own wrappers the entry point has wrapped, and wraps again
    last = max((index for index, layer in enumerate(layers) if isinstance(layer, INSIDE)), default=-1)
    for layer in layers[layers.index(limits[0]) + 1 : last] if limits else []:
        name = type(layer).__name__
        is_longer = isinstance(layer, gym.wrappers.TimeLimit) and layer._max_episode_steps >= limits[0]._max_episode_steps
        if not (isinstance(layer, (*INSIDE, *SAME_STEPS)) or name in WATCHING or is_longer):
            raise ValueError(
                f"Training's environment has {name} inside a TimeLimit, and one that is made like it could end its episodes "
                "at another time: give make_env, a function that makes an environment which does the same"
            )


def _written_out(spec: Any) -> str:
    """The same for copies: neither arrays nor functions among the arguments compare."""
    with np.printoptions(threshold=sys.maxsize):
        return re.sub(r" at 0x[0-9a-f]+", "", repr(spec))


def _without_watching(spec: Any) -> Any:
    if spec is None:
        raise ValueError("Training's environment is not a registered one: give make_env, a function that makes one like it")
    kept = tuple(wrapper for wrapper in spec.additional_wrappers if wrapper.name not in WATCHING)
    unknown = [wrapper.name for wrapper in kept if wrapper.kwargs is None]
    if unknown:
        raise ValueError(
            f"Training's environment has wrappers that cannot be made again ({', '.join(unknown)}): give make_env, a "
            "function that makes an environment like it"
        )
    kwargs = dict(spec.kwargs)
    if not any(wrapper.name == NEEDS_RENDERING for wrapper in kept):
        kwargs.pop("render_mode", None)
    return dataclasses.replace(spec, additional_wrappers=kept, kwargs=kwargs)


def check_env(make_env: Callable[[], gym.Env], horizon: int | None, agent: Agent) -> int:
    """
    See whether an environment can be gone back to, and whether an agent knows what it shows.

    :param make_env: Makes it.
    :param horizon: Length of rollouts, if that is limited.
    :param agent: The agent.
    :return: The length of an episode.
    :raises ValueError: If neither episodes nor rollouts are limited, or observations are not what the agent reads.
    :raises RuntimeError: If the environment does not repeat itself.
    """
    env, other = make_env(), make_env()
    if other.unwrapped is env.unwrapped:
        raise ValueError("make_env gave the same environment twice: it must make a new one each time")
    other.close()
    max_episode_steps = _time_limit(env)
    observation = env.reset(seed=0)[0]
    env.close()
    try:
        agent.actions(stack([observation]))
    except Exception as error:  # a model can fail in many ways on what it does not know
        raise ValueError(
            f"Observations of {env} are not what the model reads ({error!r}). The environment to measure in (make_env, in "
            "callbacks) needs a wrapper of gymnasium for each wrapper of vectorized environments that changes them "
            "(VecFrameStack, ...)"
        ) from error
    check_repeatable(make_env)
    if max_episode_steps is None and horizon is None:
        raise ValueError(f"{env} has no time limit: give a horizon, the number of steps after which a rollout ends")
    return max_episode_steps or horizon or 0


def _time_limit(env: gym.Env) -> int | None:
    if env.spec is not None and env.spec.max_episode_steps is not None:
        return env.spec.max_episode_steps
    # of environments that are not registered
    limits = [layer._max_episode_steps for layer in layers_of(env) if isinstance(layer, gym.wrappers.TimeLimit)]
    return min(limits, default=None)
