"""Families of tasks that several bodies share."""

import math
from collections.abc import Sequence
from numbers import Real
from typing import ClassVar

import numpy as np

from sb3_hyper.tasks.interface import Task, TaskEnv, check_split, evenly


def read_numbers(task: Task, key: str, n: int) -> list[float]:
    """
    Read a task that has a single entry.

    :param task: The task.
    :param key: Name of its only entry.
    :param n: How many numbers there should be; one that stands alone is no list.
    :return: The numbers.
    :raises ValueError: If the task is anything else.
    """
    value = task.get(key)
    numbers = list(value) if isinstance(value, Sequence) and n > 1 else [value]
    if set(task) != {key} or len(numbers) != n or not all(isinstance(x, Real) and math.isfinite(x) for x in numbers):
        form = "a finite number" if n == 1 else f"a list of {n} finite numbers"
        raise ValueError(f"A task of this family is {{{key!r}: {form}}}, got {task}")
    return [float(x) for x in numbers]  # type: ignore[arg-type]


class VelocityTasks(TaskEnv):
    """
    Tasks ``{"velocity": v}``: a speed along the x axis, in metres per second.

    :meth:`set_task` takes any velocity, so that policies can be tested where no split has tasks.
    """

    #: Each split's slowest and fastest task.
    ranges: ClassVar[dict[str, tuple[float, float]]] = {"train": (0.0, 3.0), "test": (0.0, 3.0), "ood": (3.0, 4.0)}
    splits = ("train", "test", "ood")
    context_scaling = "min_max"

    def sample_tasks(self, n: int, rng: np.random.Generator, split: str = "train") -> list[Task]:
        """Velocities that are uniform in the split's range."""
        check_split(split, self.splits)
        return [{"velocity": float(velocity)} for velocity in rng.uniform(*self.ranges[split], n)]

    def set_task(self, task: Task) -> None:
        """Take a velocity."""
        (self.velocity,) = read_numbers(task, "velocity", 1)
        self.task = task

    def task_parameters(self, task: Task) -> np.ndarray:
        """The velocity, ``(1,)``."""
        return np.array([task["velocity"]], dtype=np.float64)


class DirectionTasks(TaskEnv):
    """Tasks ``{"direction": d}``, of a finite family that is both trained and tested on."""

    #: The family.
    directions: ClassVar[tuple[float, ...]] = (1.0, -1.0)
    splits = ("train", "test")
    context_scaling = "max"

    def sample_tasks(self, n: int, rng: np.random.Generator, split: str = "train") -> list[Task]:
        """Each direction as often as the others, or once more."""
        check_split(split, self.splits)
        return evenly([{"direction": direction} for direction in self.directions], n, rng)

    def set_task(self, task: Task) -> None:
        """Take a direction."""
        (direction,) = read_numbers(task, "direction", 1)
        if direction not in self.directions:
            raise ValueError(f"direction must be one of {self.directions}, got {direction}")
        self.task, self.direction = task, direction

    def task_parameters(self, task: Task) -> np.ndarray:
        """The direction as a number, ``(1,)``."""
        return np.array([task["direction"]], dtype=np.float64)
