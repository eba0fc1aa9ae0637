"""Point-Goal: a point in the plane that has to find its goal. For tests and first steps."""

from typing import Any

import numpy as np
from gymnasium import spaces

from sb3_hyper.tasks.interface import Task, TaskEnv, check_split

STEP = 0.1  # length of the longest step along an axis
RADIUS = 0.2  # of the goal in the sparse variant


class PointGoalEnv(TaskEnv):
    """
    The agent starts at the origin and sees its position, not the goal. (Point robot of Rakelly et al., ICML 2019.)

    Tasks: ``{"goal": [x, y]}`` on the unit circle's upper half (training and test) or its lower half (``"ood"``).

    :param variant: ``"dense"``: the reward is minus the distance to the goal. ``"sparse"``: 1 minus the distance within 0.2
        of the goal, 0 elsewhere.
    :param render_mode: ``"rgb_array"`` or None.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 (gymnasium's)
    splits = ("train", "test", "ood")
    context_scaling = "max"

    def __init__(self, variant: str = "dense", render_mode: str | None = None) -> None:
        if variant not in ("dense", "sparse"):
            raise ValueError(f"variant must be 'dense' or 'sparse', got {variant!r}")
        self.variant, self.render_mode = variant, render_mode
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.position = np.zeros(2)
        self.set_task({"goal": [0.0, 1.0]})

    def sample_tasks(self, n: int, rng: np.random.Generator, split: str = "train") -> list[Task]:
        """Goals with uniform angles: [0, pi], or [pi, 2 pi] for ``"ood"``."""
        check_split(split, self.splits)
        angles = rng.uniform(0, np.pi, n) + (np.pi if split == "ood" else 0)
        return [{"goal": [float(np.cos(angle)), float(np.sin(angle))]} for angle in angles]

    def set_task(self, task: Task) -> None:
        """Take a goal."""
        goal = np.asarray(task.get("goal", ()), dtype=np.float64)
        if set(task) != {"goal"} or goal.shape != (2,):
            raise ValueError(f"A task of Point-Goal is {{'goal': [x, y]}}, got {task}")
        self.task, self.goal = task, goal

    def task_parameters(self, task: Task) -> np.ndarray:
        """The goal, ``(2,)``."""
        return np.asarray(task["goal"], dtype=np.float64)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin at the origin."""
        super().reset(seed=seed, options=options)
        self.position = np.zeros(2)
        return self.position.astype(np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Move by a tenth of the action."""
        self.position = self.position + STEP * np.clip(action, -1, 1)
        distance = float(np.linalg.norm(self.position - self.goal))
        reward = -distance if self.variant == "dense" else max(0.0, 1 - distance) * (distance < RADIUS)
        return self.position.astype(np.float32), reward, False, False, {"distance": distance}

    def render(self) -> np.ndarray | None:
        """
        :return: A picture of [-1.5, 1.5] x [-1.5, 1.5]: the goal green, the point black, ``(150, 150, 3)``; None without a
            render mode.
        """
        if self.render_mode is None:
            return None
        picture = np.full((150, 150, 3), 255, dtype=np.uint8)
        for (x, y), colour, half in ((self.goal, (60, 160, 60), 6), (self.position, (0, 0, 0), 3)):
            row, column = (int(np.clip(50 * (1.5 + value), half, 149 - half)) for value in (-y, x))
            picture[row - half : row + half + 1, column - half : column + half + 1] = colour
        return picture
