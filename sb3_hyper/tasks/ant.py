"""
Ant: run at a given speed, along a heading, or to a place.

The published versions differ in what is seen, in what torques and survival weigh, and in when an episode ends:

=============================  ============  ======================  ========  ===============
variant                        observation   torques, per ``|a|^2``  survival  ends unless
=============================  ============  ======================  ========  ===============
``"hyperl"``                   27            0.005                   0.05      0.2 <= z <= 1
``"oyster"``                   27            0.5                     1         0.2 <= z <= 1
``"promp"``                    111           0.5                     1         0 <= z <= 1
=============================  ============  ======================  ========  ===============

``"hyperl"``: Sarafian et al. (ICML 2021), ``"oyster"``: Rakelly et al. (PEARL, ICML 2019), ``"promp"``: Rothfuss et al.
(ICLR 2019). The gears are those of gymnasium's Ant, 150. ProMP and other MAML code let policies act in [-10, 10] and divide by
ten; see :mod:`sb3_hyper.tasks.cheetah`.

All of them subtract ``0.0005 sum(clip(f, -1, 1)^2)``, f the contact forces ``cfrc_ext``. The MuJoCo bindings that most results
were obtained with left these at zero; ``contact_forces=False`` does, too.
"""

import math
from typing import Any, ClassVar

import numpy as np
from gymnasium.utils import EzPickle

from sb3_hyper.tasks.families import DirectionTasks, VelocityTasks, read_numbers
from sb3_hyper.tasks.interface import Task, check_split
from sb3_hyper.tasks.mujoco import CONTACT_COST, MujocoTaskEnv, render_metadata, squares

FRAME_SKIP = 5
TORSO = 1  # the body after the world


class AntEnv(MujocoTaskEnv):
    """
    The body. An episode ends when the torso is too low or too high, or the state is not finite.

    - Observation: 13 positions (``qpos`` without x and y), 14 velocities (``qvel``); in ``"promp"`` 84 contact forces, clipped
      to +-1.
    - Action: 8 torques in [-1, 1]. A step lasts 0.05 s.

    :param variant: See the variants' table.
    :param contact_forces: Whether contact forces are seen and paid for.
    :param kwargs: ``render_mode`` and the like.
    """

    #: Variant -> cost of torques, reward for survival, lowest torso, whether contact forces are seen.
    weights: ClassVar[dict[str, tuple[float, float, float, bool]]] = {
        "hyperl": (0.005, 0.05, 0.2, False),
        "oyster": (0.5, 1.0, 0.2, False),
        "promp": (0.5, 1.0, 0.0, True),
    }
    metadata = render_metadata(20)

    def __init__(self, variant: str = "hyperl", contact_forces: bool = True, **kwargs: Any) -> None:
        EzPickle.__init__(self, variant, contact_forces, **kwargs)
        self.contact_forces = contact_forces
        if variant in self.weights:
            self.control_cost, self.survival, self.lowest, self.shows_contacts = self.weights[variant]
        super().__init__("ant.xml", FRAME_SKIP, variant, {"distance": 4.0}, **kwargs)

    def position(self) -> np.ndarray:
        """The torso's x and y by MuJoCo's kinematics: at the last stage of its Runge-Kutta step, close to ``qpos``."""
        return self.data.xpos[TORSO, :2].copy()

    def contacts(self) -> np.ndarray:
        """
        :return: Contact forces, clipped to +-1, ``(84,)``.
        """
        forces = self.data.cfrc_ext.ravel()
        return np.clip(forces, -1, 1) if self.contact_forces else np.zeros_like(forces)

    def observation(self) -> np.ndarray:
        """Positions, velocities, and perhaps contact forces, ``(27,)`` or ``(111,)``."""
        parts = [self.data.qpos[2:], self.data.qvel]
        return np.concatenate([*parts, self.contacts()] if self.shows_contacts else parts)

    def has_ended(self) -> bool:
        """Whether the torso is out of its bounds, or the state not finite."""
        return not (self.lowest <= self.data.qpos[2] <= 1.0 and np.isfinite(self.state_vector()).all())

    def costs(self, action: np.ndarray) -> dict[str, float]:
        """
        :param action: Of the last step.
        :return: The terms of the reward that all tasks have.
        """
        contact = CONTACT_COST * squares(self.contacts()) if self.contact_forces else 0.0
        control = self.control_cost * squares(action)
        return {"reward_control": -control, "reward_contact": -contact, "reward_survival": self.survival}


class AntVelEnv(VelocityTasks, AntEnv):
    """
    Run at the velocity of the task: reward ``1 - |v_x - v| - 0.005 |a|^2 - contacts + 0.05``.

    Tasks: ``{"velocity": v}``, v uniform in [0, 3] for training and test, in [3, 4] for ``"ood"``.
    """

    variants = ("hyperl",)

    def reward_terms(self, velocity: np.ndarray, action: np.ndarray) -> dict[str, float]:
        """One minus the distance to the task's velocity, and the body's terms."""
        return {"reward_task": 1.0 - abs(float(velocity[0]) - self.velocity), **self.costs(action)}


class AntForwardBackwardEnv(DirectionTasks, AntEnv):
    """
    Run along the task's heading: reward ``(v_x, v_y) (cos d, sin d) - torques - contacts + survival``.

    Tasks: ``{"direction": d}``, d an angle in radians: 0 (forwards) and pi (backwards). As a context: +-1, the cosine.
    """

    directions: ClassVar[tuple[float, ...]] = (0.0, math.pi)

    def set_task(self, task: Task) -> None:
        """Take a heading."""
        super().set_task(task)
        self.heading = np.array([math.cos(self.direction), math.sin(self.direction)])

    def task_parameters(self, task: Task) -> np.ndarray:
        """The cosine of the heading, ``(1,)``. (Its sine is no number to divide by: 0 and 1e-16.)"""
        return np.array([math.cos(task["direction"])])

    def reward_terms(self, velocity: np.ndarray, action: np.ndarray) -> dict[str, float]:
        """The velocity along the task's heading, and the body's terms."""
        return {"reward_task": float(velocity @ self.heading), **self.costs(action)}


class AntFwdBackEnv(AntForwardBackwardEnv):
    """
    Ant-Fwd-Back as the code of Sarafian et al. (2021) has it: the directions +-1 are taken for radians.

    The headings are thus 57.3 degrees to the left and to the right of forwards.

    Tasks: ``{"direction": d}``, d = 1 and d = -1 radian, which is also the context.
    """

    directions: ClassVar[tuple[float, ...]] = (1.0, -1.0)

    def task_parameters(self, task: Task) -> np.ndarray:
        """The angle, ``(1,)``."""
        return np.array([task["direction"]], dtype=np.float64)


class AntGoalEnv(AntEnv):
    """
    Walk to a place: reward ``-|x - g_x| - |y - g_y| - 0.1 |a|^2 - contacts``. Nothing ends an episode.

    The observation has 113 numbers: all 15 positions, 14 velocities, 84 contact forces. All variants agree.

    Tasks: ``{"goal": [x, y]}``, uniform in the disc of radius 3 m.
    """

    context_scaling = "max"
    weights: ClassVar[dict[str, tuple[float, float, float, bool]]] = dict.fromkeys(AntEnv.weights, (0.1, 0.0, -np.inf, True))
    radius = 3.0

    def observation(self) -> np.ndarray:
        """Positions with x and y, velocities, contact forces, ``(113,)``."""
        return np.concatenate([self.data.qpos, self.data.qvel, self.contacts()])

    def has_ended(self) -> bool:
        """Never."""
        return False

    def sample_tasks(self, n: int, rng: np.random.Generator, split: str = "train") -> list[Task]:
        """Goals that are uniform in the disc."""
        check_split(split, self.splits)
        angles, radii = rng.uniform(0, 2 * np.pi, n), self.radius * np.sqrt(rng.uniform(0, 1, n))
        return [{"goal": [float(r * np.cos(a)), float(r * np.sin(a))]} for a, r in zip(angles, radii, strict=True)]

    def set_task(self, task: Task) -> None:
        """Take a goal."""
        self.goal = np.array(read_numbers(task, "goal", 2))
        self.task = task

    def task_parameters(self, task: Task) -> np.ndarray:
        """The goal, ``(2,)``."""
        return np.asarray(task["goal"], dtype=np.float64)

    def reward_terms(self, velocity: np.ndarray, action: np.ndarray) -> dict[str, float]:
        """Minus the distance along the axes, and the body's terms."""
        return {"reward_task": -float(np.abs(self.position() - self.goal).sum()), **self.costs(action)}
