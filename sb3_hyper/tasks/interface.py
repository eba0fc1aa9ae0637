"""
What a family of tasks is: an environment whose task can be set, and fixed sets of tasks to train and to test on.

A task is plain data, a dict that JSON can hold: ``{"velocity": 1.3}``. It is set by ``env.reset(options={"task": task})``
and stays, through all further resets (those that a vectorized environment does by itself among them), until another one
is set.
"""

import hashlib
import json
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from sb3_hyper.common.arguments import refuse_less
from sb3_hyper.common.files import read_json, write_json

Task = dict[str, Any]
SPLITS = ("train", "test", "ood")


def take_task(options: Mapping[str, Any] | None) -> tuple[Task | None, dict[str, Any] | None]:
    """
    :param options: What ``reset`` was given.
    :return: The task in it, and the other options; None where there is none.
    """
    rest = dict(options or {})
    task = rest.pop("task", None)
    if task is not None and not isinstance(task, dict):
        raise ValueError(f"A task is a dict, got {task!r}")
    return task, rest or None


class TaskEnv(gym.Env):
    """
    An environment that can be given different tasks.

    A family defines :meth:`sample_tasks`, :meth:`set_task` and :meth:`task_parameters`; put it first where there are several
    base classes: ``class CheetahVel(TaskEnv, MujocoEnv)``. Its constructor ends with a ``set_task`` of some default.
    :func:`~sb3_hyper.tasks.checker.check_task_env` tells what is wrong with one.
    """

    task: Task
    #: The distributions of tasks there are.
    splits: tuple[str, ...] = ("train", "test")
    #: How an oracle context scales parameters: ``"min_max"`` to [0, 1], ``"max"`` to [-1, 1], on the training tasks.
    context_scaling: str = "min_max"

    @abstractmethod
    def sample_tasks(self, n: int, rng: np.random.Generator, split: str = "train") -> list[Task]:
        """
        Draw tasks.

        :param n: How many. Of a finite family they come evenly, each as often as the others or once more.
        :param rng: The only source of randomness.
        :param split: ``"train"``, ``"test"``, or ``"ood"`` where the family has tasks out of the training distribution.
        :return: The tasks, plain data.
        """

    @abstractmethod
    def set_task(self, task: Task) -> None:
        """
        Take a task; it counts from now on.

        :param task: One that :meth:`sample_tasks` could have given.
        :raises ValueError: If it is none.
        """

    @abstractmethod
    def task_parameters(self, task: Task) -> np.ndarray:
        """
        :param task: A task.
        :return: What defines it, as numbers, ``(n_parameters,)``: the unscaled oracle context.
        """

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """
        :param seed: Seed of the environment's random generator.
        :param options: ``{"task": task}`` sets a task.
        :return: Observation and info.
        """
        task, rest = take_task(options)
        if task is not None:
            self.set_task(task)
        return super().reset(seed=seed, options=rest)


class TaskWrapper(gym.Wrapper):
    """
    Makes a :class:`TaskEnv` of any environment that can be changed from outside.

    :param env: The environment.
    :param set_task: ``set_task(env, task)`` changes the innermost environment. Text: the name of a method of the
        environment that takes a task.
    :param sample_tasks: ``sample_tasks(n, rng, split)`` gives tasks.
    :param task_parameters: ``task_parameters(task)`` gives a task as numbers; the task's values in the order of its keys by
        default.
    :param splits: The distributions ``sample_tasks`` knows.
    """

    def __init__(
        self,
        env: gym.Env,
        set_task: Callable[[Any, Task], None] | str,
        sample_tasks: Callable[[int, np.random.Generator, str], Sequence[Task]],
        task_parameters: Callable[[Task], np.ndarray] | None = None,
        splits: Sequence[str] = ("train", "test"),
    ) -> None:
        super().__init__(env)
        if isinstance(set_task, str) and not env.has_wrapper_attr(set_task):
            raise ValueError(f"{env} has no method {set_task!r}")
        self.splits = tuple(splits)
        self.context_scaling = "min_max"
        self._set, self._sample, self._parameters = set_task, sample_tasks, task_parameters
        self._task: Task | None = None

    @property
    def task(self) -> Task:
        """The task that is set; the first of the family (random seed 0) if none has been."""
        if self._task is None:
            self.set_task(self.sample_tasks(1, np.random.default_rng(0), self.splits[0])[0])
        assert self._task is not None
        return self._task

    def sample_tasks(self, n: int, rng: np.random.Generator, split: str = "train") -> list[Task]:
        """As :meth:`TaskEnv.sample_tasks`."""
        check_split(split, self.splits)
        return list(self._sample(n, rng, split))

    def set_task(self, task: Task) -> None:
        """As :meth:`TaskEnv.set_task`."""
        if isinstance(self._set, str):
            self.env.get_wrapper_attr(self._set)(task)
        else:
            self._set(self.unwrapped, task)
        self._task = task

    def task_parameters(self, task: Task) -> np.ndarray:
        """As :meth:`TaskEnv.task_parameters`."""
        if self._parameters is not None:
            return np.asarray(self._parameters(task), dtype=np.float64)
        return np.concatenate([np.ravel(np.asarray(task[key], dtype=np.float64)) for key in sorted(task)])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """As :meth:`TaskEnv.reset`."""
        task, rest = take_task(options)
        self.set_task(self.task if task is None else task)
        return super().reset(seed=seed, options=rest)


def check_split(split: str, accepted: Sequence[str]) -> None:
    """
    :param split: A split's name.
    :param accepted: Those there are.
    :raises ValueError: If it is none of them.
    """
    if split not in accepted:
        raise ValueError(f"split must be one of {', '.join(map(repr, accepted))}, got {split!r}")


def evenly(tasks: Sequence[Task], n: int, rng: np.random.Generator) -> list[Task]:
    """
    Draw from a finite family, every task as often as the others or once more.

    :param tasks: The family.
    :param n: How many to draw.
    :param rng: Decides which come once more, and the order beyond the first round.
    :return: The tasks; for ``n == len(tasks)`` the family in its own order.
    """
    rounds, rest = divmod(n, len(tasks))
    more = rng.permutation(len(tasks))[:rest]
    return [dict(task) for _ in range(rounds) for task in tasks] + [dict(tasks[index]) for index in more]


@dataclass(frozen=True)
class TaskSet:
    """
    Fixed tasks: what a run is trained on and what it is tested on.

    :param train: Training tasks.
    :param test: Test tasks. A finite family's are the training tasks.
    :param ood: Tasks out of the training distribution, where the family has any.
    """

    train: tuple[Task, ...]
    test: tuple[Task, ...]
    ood: tuple[Task, ...] = ()

    @classmethod
    def sample(cls, env: gym.Env, n_train: int, n_test: int, n_ood: int = 0, seed: int = 0) -> "TaskSet":
        """
        :param env: A task environment, perhaps wrapped.
        :param n_train: Number of training tasks.
        :param n_test: Number of test tasks.
        :param n_ood: Number of tasks out of the training distribution.
        :param seed: Each split has a random generator of its own, spawned from this seed.
        :return: The tasks.
        :raises ValueError: If the environment has no tasks, or not that split.
        """
        sample = env.get_wrapper_attr("sample_tasks") if env.has_wrapper_attr("sample_tasks") else None
        if sample is None:
            raise ValueError(f"{env} has no tasks: it must be a TaskEnv, or wrapped in a TaskWrapper")
        return cls.draw(sample, n_train, n_test, n_ood, seed)

    @classmethod
    def draw(cls, sample: Callable[..., list[Task]], n_train: int, n_test: int, n_ood: int = 0, seed: int = 0) -> "TaskSet":
        """
        :param sample: A ``sample_tasks`` method; the other parameters are those of :meth:`sample`.
        :param n_train: Number of training tasks.
        :param n_test: Number of test tasks.
        :param n_ood: Number of tasks out of the training distribution.
        :param seed: Seed.
        :return: The tasks.
        """
        refuse_less(1, n_train=n_train)
        refuse_less(0, n_test=n_test, n_ood=n_ood)
        seeds = np.random.SeedSequence(seed).spawn(len(SPLITS))
        draws = zip(SPLITS, (n_train, n_test, n_ood), seeds, strict=True)
        return cls(*(tuple(sample(n, np.random.default_rng(own), split)) if n else () for split, n, own in draws))

    @property
    def hash(self) -> str:
        """Twelve characters that differ between sets that differ in any task or in their order."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:12]

    def to_dict(self) -> dict[str, list[Task]]:
        """
        :return: The tasks of each split, plain data.
        """
        return {split: list(tasks) for split, tasks in self}

    @classmethod
    def from_dict(cls, tasks: Mapping[str, Sequence[Task]]) -> "TaskSet":
        """
        :param tasks: What :meth:`to_dict` gave.
        :return: The tasks.
        :raises ValueError: If there are other splits.
        """
        for split in tasks:
            check_split(split, SPLITS)
        return cls(*(tuple(tasks.get(split, ())) for split in SPLITS))

    def save(self, path: str | Path) -> None:
        """
        :param path: A JSON file.
        """
        write_json(Path(path), self.to_dict())

    @classmethod
    def load(cls, path: str | Path) -> "TaskSet":
        """
        :param path: A JSON file.
        :return: The tasks.
        :raises FileNotFoundError: If there is no such file.
        """
        tasks = read_json(Path(path))
        if tasks is None:
            raise FileNotFoundError(path)
        return cls.from_dict(tasks)

    def __iter__(self) -> Iterator[tuple[str, tuple[Task, ...]]]:
        """Names and tasks of the splits."""
        return iter(zip(SPLITS, (self.train, self.test, self.ood), strict=True))
