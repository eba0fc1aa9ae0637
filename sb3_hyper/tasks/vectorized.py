"""Tasks in vectorized environments: one for each of them."""

from collections.abc import Sequence

import numpy as np
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs

from sb3_hyper.tasks.interface import Task, TaskSet


def has_tasks(env: VecEnv) -> bool:
    """
    :param env: A vectorized environment.
    :return: Whether the environments in it have tasks.
    """
    return bool(env.has_attr("sample_tasks"))


def sample_task_set(env: VecEnv, n_train: int, n_test: int, n_ood: int = 0, seed: int = 0) -> TaskSet:
    """
    :param env: A vectorized task environment; the parameters are those of :meth:`TaskSet.sample`.
    :param n_train: Number of training tasks.
    :param n_test: Number of test tasks.
    :param n_ood: Number of tasks out of the training distribution.
    :param seed: Seed.
    :return: The tasks.
    """

    def sample(n: int, rng: np.random.Generator, split: str) -> list[Task]:
        return env.env_method("sample_tasks", n, rng, split, indices=0)[0]

    return TaskSet.draw(sample, n_train, n_test, n_ood, seed)


def reset_to_tasks(env: VecEnv, tasks: Sequence[Task]) -> VecEnvObs:
    """
    Begin an episode in every environment, each with its own task, which stays until it is replaced.

    :param env: A vectorized task environment.
    :param tasks: One task per environment.
    :return: Observations.
    :raises ValueError: If the environment is not vectorized or has no tasks, does not take them, or there are more or fewer
        tasks than it has environments.
    """
    if not isinstance(env, VecEnv):
        raise ValueError(
            f"A vectorized environment is needed (make_vec_env), got {env}; a single one takes its task by "
            'env.reset(options={"task": task})'
        )
    if isinstance(tasks, TaskSet):
        raise ValueError("One task per environment is needed, got a TaskSet: give some of its train, test or ood tasks")
    if len(tasks) != env.num_envs:
        raise ValueError(f"One task per environment is needed: got {len(tasks)} for {env.num_envs}")
    if not has_tasks(env):
        raise ValueError("The environments have no tasks: derive them from TaskEnv, or wrap them in TaskWrapper")
    env.set_options([{"task": task} for task in tasks])
    obs = env.reset()
    for index, (own, task) in enumerate(zip(env.get_attr("task"), tasks, strict=True)):
        if not _same(env, own, task):
            raise ValueError(
                f"Environment {index} has not taken its task: got {own} in place of {task}. Is there a wrapper that does not "
                "hand on the options of reset?"
            )
    return obs


def _same(env: VecEnv, one: Task, other: Task) -> bool:
    try:
        if one == other:
            return True
    except ValueError:  # of arrays
        pass
    return np.allclose(*task_parameters(env, [one, other]))


def task_parameters(env: VecEnv, tasks: Sequence[Task]) -> np.ndarray:
    """
    :param env: A vectorized task environment.
    :param tasks: Tasks.
    :return: What defines them, as numbers, ``(n_tasks, n_parameters)``
    """
    return np.stack([env.env_method("task_parameters", task, indices=0)[0] for task in tasks])
