"""Humanoid: run along a heading (Rakelly et al., ICML 2019; Rothfuss et al., ICLR 2019)."""

import math
from typing import Any

import numpy as np
from gymnasium.utils import EzPickle

from sb3_hyper.tasks.families import read_numbers
from sb3_hyper.tasks.interface import Task, check_split
from sb3_hyper.tasks.mujoco import MujocoTaskEnv, render_metadata, squares

FRAME_SKIP = 5
# The sources divide the way of a whole step by the duration of one of the simulator's, and weigh it by a quarter
VELOCITY_WEIGHT = 0.25 * FRAME_SKIP
CONTROL_COST = 0.1
IMPACT_COST, LARGEST_IMPACT_COST = 0.5e-6, 10.0
SURVIVAL = 5.0
CAMERA = {"trackbodyid": 1, "distance": 4.0, "lookat": np.array((0.0, 0.0, 2.0)), "elevation": -20.0}


class HumanoidDirEnv(MujocoTaskEnv):
    """
    Run along the task's heading: reward ``1.25 v (cos d, sin d) - 0.1 |a|^2 - min(0.5e-6 |f|^2, 10) + 5``.

    v is the velocity of the centre of mass, f the contact forces ``cfrc_ext``.

    - Observation, 376: 22 positions (``qpos`` without x and y), 23 velocities (``qvel``), 140 inertias (``cinert``), 84
      velocities of bodies (``cvel``), 23 forces of actuators (``qfrc_actuator``), 84 contact forces.
    - Action: 17 torques in [-0.4, 0.4]. A step lasts 0.015 s.
    - An episode ends unless the torso is 1 to 2 m high.

    Tasks: ``{"direction": d}``, an angle in radians, uniform in [0, 2 pi]. As a context: its cosine and sine.

    The model is gymnasium's; the left hip's range differs by ten degrees from that of gym's older Humanoids.

    :param variant: ``"hyperl"``, ``"oyster"`` and ``"promp"`` agree.
    :param contact_forces: Whether contact forces are seen and paid for. The MuJoCo bindings that most results were obtained
        with left them at zero.
    :param kwargs: ``render_mode`` and the like.
    """

    context_scaling = "none"
    reset_noise = 0.01
    normal_velocities = False
    metadata = render_metadata(67)

    def __init__(self, variant: str = "hyperl", contact_forces: bool = True, **kwargs: Any) -> None:
        EzPickle.__init__(self, variant, contact_forces, **kwargs)
        self.contact_forces = contact_forces
        super().__init__("humanoid.xml", FRAME_SKIP, variant, CAMERA, **kwargs)
        self.mass_fractions = self.model.body_mass / self.model.body_mass.sum()  # (n_bodies,)

    def position(self) -> np.ndarray:
        """X and y of the centre of mass."""
        return self.mass_fractions @ self.data.xipos[:, :2]

    def contacts(self) -> np.ndarray:
        """
        :return: Contact forces, ``(84,)``.
        """
        forces = self.data.cfrc_ext.ravel()
        return forces if self.contact_forces else np.zeros_like(forces)

    def observation(self) -> np.ndarray:
        """The state and what MuJoCo derives from it, ``(376,)``."""
        data = self.data
        derived = (data.cinert.ravel(), data.cvel.ravel(), data.qfrc_actuator, self.contacts())
        return np.concatenate((data.qpos[2:], data.qvel, *derived))

    def has_ended(self) -> bool:
        """Whether the torso is lower than 1 m or higher than 2 m."""
        return not 1.0 <= self.data.qpos[2] <= 2.0

    def sample_tasks(self, n: int, rng: np.random.Generator, split: str = "train") -> list[Task]:
        """Headings that are uniform on the circle."""
        check_split(split, self.splits)
        return [{"direction": float(angle)} for angle in rng.uniform(0, 2 * np.pi, n)]

    def set_task(self, task: Task) -> None:
        """Take a heading."""
        (angle,) = read_numbers(task, "direction", 1)
        self.heading = np.array([math.cos(angle), math.sin(angle)])
        self.task = task

    def task_parameters(self, task: Task) -> np.ndarray:
        """Cosine and sine of the heading, ``(2,)``."""
        return np.array([math.cos(task["direction"]), math.sin(task["direction"])])

    def reward_terms(self, velocity: np.ndarray, action: np.ndarray) -> dict[str, float]:
        """The velocity along the task's heading, the costs of torques and impacts, survival."""
        return {
            "reward_task": VELOCITY_WEIGHT * float(velocity @ self.heading),
            "reward_control": -CONTROL_COST * squares(action),
            "reward_contact": -min(IMPACT_COST * squares(self.contacts()), LARGEST_IMPACT_COST),
            "reward_survival": SURVIVAL,
        }
