"""Tell the author of a task environment what is wrong with it."""

import json
import warnings
from typing import Any

import gymnasium as gym
import numpy as np

from sb3_hyper.tasks.interface import SPLITS

METHODS = ("sample_tasks", "set_task", "task_parameters")


class TaskEnvError(ValueError):
    """A task environment does not keep its promises; the message says which."""


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise TaskEnvError(message)


def check_task_env(env: gym.Env, n_tasks: int = 4) -> None:
    """
    Check that an environment keeps the promises of :class:`~sb3_hyper.tasks.interface.TaskEnv`.

    :param env: The environment, as ``gymnasium.make`` gives it, or bare. It is reset and stepped.
    :param n_tasks: How many tasks to try.
    :raises TaskEnvError: At the first fault; the message says what to do.
    """
    for name in METHODS:
        _check(env.has_wrapper_attr(name), f"{env} has no {name}(): derive it from TaskEnv, or wrap it in TaskWrapper")
    sample, parameters = env.get_wrapper_attr("sample_tasks"), env.get_wrapper_attr("task_parameters")
    splits = env.get_wrapper_attr("splits")
    _check("train" in splits and set(splits) <= set(SPLITS), f"splits must be of {SPLITS}, with 'train', got {splits}")
    for split in splits:
        _check_sampling(sample, parameters, n_tasks, split)
    try:
        sample(1, np.random.default_rng(0), "no such split")
        raise TaskEnvError("sample_tasks must raise ValueError for a split it does not have")
    except ValueError as error:
        if isinstance(error, TaskEnvError):
            raise
    tasks = sample(n_tasks, np.random.default_rng(0), "train")
    episodes = [_check_task_stays(env, task) for task in tasks]
    try:
        env.get_wrapper_attr("set_task")({"no such": "task"})
        raise TaskEnvError("set_task must raise an error for a task that is none of the family's")
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, TaskEnvError):
            raise
    different = [task for task in tasks if task != tasks[0]]
    if different and all(episode == episodes[0] for episode in episodes):
        warnings.warn(
            "Different tasks gave the same observations and rewards in a few steps: does set_task change anything that counts?"
        )


def _check_sampling(sample: Any, parameters: Any, n_tasks: int, split: str) -> None:
    tasks = sample(n_tasks, np.random.default_rng(0), split)
    _check(len(tasks) == n_tasks, f"sample_tasks({n_tasks}, rng, {split!r}) gave {len(tasks)} tasks")
    _check(all(isinstance(task, dict) for task in tasks), f"A task is a dict, got {tasks[0]!r}")
    try:
        there_and_back = json.loads(json.dumps(tasks))
    except TypeError as error:
        raise TaskEnvError(f"A task must be plain data that JSON can hold, got {tasks[0]!r}: {error}") from error
    _check(there_and_back == tasks, f"A task must come back from JSON as it was (lists, no tuples), got {tasks[0]!r}")
    global_state = np.random.get_state()
    np.random.seed(0)  # the global generator must not matter
    again = sample(n_tasks, np.random.default_rng(0), split)
    np.random.set_state(global_state)
    _check(tasks == again, "sample_tasks must draw from the generator it is given, and from nothing else")
    shapes = {np.shape(parameters(task)) for task in tasks}
    _check(len(shapes) == 1 and len(next(iter(shapes))) == 1, f"task_parameters must give (n_parameters,), got {shapes}")
    finite = all(np.all(np.isfinite(parameters(task))) for task in tasks)
    _check(finite, "task_parameters must be finite numbers")


def _check_task_stays(env: gym.Env, task: dict[str, Any]) -> list[Any]:
    env.reset(seed=0, options={"task": task})
    _check(env.get_wrapper_attr("task") == task, f"reset(options={{'task': {task}}}) must set the task")
    before = env.reset()[0]
    _check(env.get_wrapper_attr("task") == task, "The task must stay through a reset without options")
    inside = env.observation_space.contains(before)
    _check(inside, f"The observation lies outside of observation_space: {before!r} in {env.observation_space}")
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(3)]

    def episode() -> list[Any]:
        env.reset(seed=0)
        steps = (env.step(action) for action in actions)
        return [(str(observation), float(reward)) for observation, reward, *_ in steps]

    first = episode()
    _check(first == episode(), "Two episodes from one seed with the same actions must give the same rewards")
    _check(env.get_wrapper_attr("task") == task, "The task must stay while the environment is stepped")
    return first
