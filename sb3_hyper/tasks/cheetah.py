"""
Half-Cheetah: run at a given speed, or forwards or backwards.

Tasks of Finn et al. (ICML 2017). Two versions are in use. They differ in what is seen, not in what is paid:

- ``"hyperl"`` (the authors' code of Sarafian et al., ICML 2021) and ``"oyster"`` (PEARL; Rakelly et al., ICML 2019): 20
  numbers, the last of which are the torso's coordinates. They tell the distance covered, from which a speed can be read.
- ``"promp"`` (Rothfuss et al., ICLR 2019): 17, those of gymnasium's HalfCheetah.

ProMP and other MAML code let policies act in [-10, 10] and divide by ten. That is no matter of the environment: a normal
policy of standard deviation 1 there is one of 0.1 here.
"""

from typing import Any, ClassVar

import numpy as np
from gymnasium.utils import EzPickle

from sb3_hyper.tasks.families import DirectionTasks, VelocityTasks
from sb3_hyper.tasks.mujoco import ASSETS, MujocoTaskEnv, render_metadata, squares

CONTROL_COST = 0.05
FRAME_SKIP = 5


class HalfCheetahEnv(MujocoTaskEnv):
    """
    The body. It never falls, so that no state is terminal.

    - Observation: 8 positions (``qpos`` without x), 9 velocities (``qvel``); in the variants of 20 numbers, the torso's x, y
      and z as MuJoCo's kinematics have them, one step of the simulator (0.01 s) behind ``qpos``.
    - Action: 6 torques in [-1, 1]. A step lasts 0.05 s.

    :param variant: ``"hyperl"``, ``"oyster"`` (the same), or ``"promp"``.
    :param kwargs: ``render_mode`` and the like.
    """

    metadata = render_metadata(20)

    def __init__(self, variant: str = "hyperl", **kwargs: Any) -> None:
        EzPickle.__init__(self, variant, **kwargs)
        # gymnasium's file sets the total mass in a way that MuJoCo 4 deprecates, with a warning and a file beside the caller
        super().__init__(str(ASSETS / "half_cheetah.xml"), FRAME_SKIP, variant, {"distance": 4.0}, **kwargs)

    def position(self) -> float:
        """X."""
        return float(self.data.qpos[0])

    def observation(self) -> np.ndarray:
        """Positions and velocities, ``(17,)`` or ``(20,)``."""
        parts = [self.data.qpos[1:], self.data.qvel]
        return np.concatenate(parts if self.variant == "promp" else [*parts, self.data.xpos[1]])


class HalfCheetahVelEnv(VelocityTasks, HalfCheetahEnv):
    """
    Run at the velocity of the task: reward ``-|v_x - v| - 0.05 |a|^2``.

    Tasks: ``{"velocity": v}``, v uniform in [0, 3] for training and test, in [3, 4] for ``"ood"``.
    """

    def reward_terms(self, velocity: float, action: np.ndarray) -> dict[str, float]:
        """Minus the distance to the task's velocity, and the cost of the torques."""
        return {"reward_task": -abs(velocity - self.velocity), "reward_control": -CONTROL_COST * squares(action)}


class HalfCheetahVelMediumEnv(HalfCheetahVelEnv):
    """
    Half-Cheetah-Vel with tests out of the training distribution (Sarafian et al., 2021).

    Tasks: ``{"velocity": v}``, v uniform in [0, 2.5] for training, in [2.5, 3] for test and ``"ood"``.
    """

    ranges: ClassVar[dict[str, tuple[float, float]]] = {"train": (0.0, 2.5), "test": (2.5, 3.0), "ood": (2.5, 3.0)}


class HalfCheetahFwdBackEnv(DirectionTasks, HalfCheetahEnv):
    """
    Run forwards or backwards: reward ``d v_x - 0.05 |a|^2``.

    Tasks: ``{"direction": 1.0}`` and ``{"direction": -1.0}``, for training and test.
    """

    def reward_terms(self, velocity: float, action: np.ndarray) -> dict[str, float]:
        """The velocity in the task's direction, and the cost of the torques."""
        return {"reward_task": self.direction * velocity, "reward_control": -CONTROL_COST * squares(action)}
