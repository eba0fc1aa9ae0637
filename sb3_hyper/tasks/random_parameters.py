"""
Walker and Hopper with random physics: masses, inertias, damping and friction are the task.

After Rakelly et al. (PEARL, ICML 2019), whose models can no longer be loaded. Here they are gymnasium's, at the timestep of
theirs, twice gymnasium's.
"""

from typing import Any

import mujoco
import numpy as np
from gymnasium.utils import EzPickle

from sb3_hyper.tasks.interface import Task, check_split
from sb3_hyper.tasks.mujoco import MujocoTaskEnv, render_metadata, squares

# Field of the model -> b: each of its numbers is multiplied by b^u, u uniform in [-3, 3]
BASES = {"body_inertia": 1.5, "body_mass": 1.5, "dof_damping": 1.3, "geom_friction": 1.5}
LOG_SCALE_LIMIT = 3.0
TIMESTEP = 0.004
CONTROL_COST = 1e-3
LARGEST_VELOCITY = 10.0  # that is seen


class RandomParametersEnv(MujocoTaskEnv):
    """
    A body whose physics are the task: reward ``v_x + 1 - 0.001 |a|^2``.

    Tasks: ``{"body_mass": ..., "body_inertia": ..., "dof_damping": ..., "geom_friction": ...}``: what each number of these
    fields of the model is multiplied by, lists in the shape of the field. Numbers that are zero in the model, the world's mass
    for one, have multipliers without effect, as in the source. As a context: the exponents u of ``multiplier = b^u``.

    The inertias are such as no solid body has; they can be set, but not be written to a model file.

    :param xml: Model file.
    :param frame_skip: Steps of the simulator in one of the environment.
    :param variant: ``"hyperl"``, ``"oyster"`` and ``"promp"`` agree.
    :param set_const: Whether MuJoCo computes again what it derives from these fields once: the inverse weights that
        regularise constraints. The source does not, so that contacts are as of the nominal body.
    :param camera: Configuration of the free camera.
    :param kwargs: ``render_mode`` and the like.
    """

    reset_noise = 0.005
    normal_velocities = False

    def __init__(
        self, xml: str, frame_skip: int, variant: str, set_const: bool, camera: dict[str, Any], **kwargs: Any
    ) -> None:
        self.set_const = set_const
        super().__init__(xml, frame_skip, variant, camera, **kwargs)

    def _initialize_simulation(self) -> tuple[mujoco.MjModel, mujoco.MjData]:
        model, data = super()._initialize_simulation()
        model.opt.timestep = TIMESTEP
        # Copies: the fields are views of what set_task writes to
        self.nominal = {field: getattr(model, field).copy() for field in BASES}
        return model, data

    def position(self) -> float:
        """X."""
        return float(self.data.qpos[0])

    def observation(self) -> np.ndarray:
        """Positions without x, velocities clipped to +-10."""
        return np.concatenate([self.data.qpos[1:], np.clip(self.data.qvel, -LARGEST_VELOCITY, LARGEST_VELOCITY)])

    def sample_tasks(self, n: int, rng: np.random.Generator, split: str = "train") -> list[Task]:
        """Multipliers that are log-uniform and independent of each other."""
        check_split(split, self.splits)
        limit = LOG_SCALE_LIMIT
        return [
            {field: (base ** rng.uniform(-limit, limit, self.nominal[field].shape)).tolist() for field, base in BASES.items()}
            for _ in range(n)
        ]

    def set_task(self, task: Task) -> None:
        """Write the task's physics into the model."""
        if set(task) != set(BASES):
            raise ValueError(f"A task has multipliers of {', '.join(BASES)}, got {', '.join(map(str, task)) or 'none'}")
        multipliers = {field: np.asarray(task[field], dtype=np.float64) for field in BASES}
        for field, factor in multipliers.items():
            shape = self.nominal[field].shape
            if factor.shape != shape or not (np.isfinite(factor).all() and (factor > 0).all()):
                raise ValueError(f"{field} must be positive multipliers of shape {shape}, got {task[field]}")
        for field, factor in multipliers.items():
            getattr(self.model, field)[:] = self.nominal[field] * factor
        if self.set_const:
            mujoco.mj_setConst(self.model, mujoco.MjData(self.model))  # it overwrites the state it is given
        self.task = task

    def task_parameters(self, task: Task) -> np.ndarray:
        """The exponents of all multipliers, in [-3, 3], ``(n_parameters,)``: 65 of Walker, 41 of Hopper."""
        return np.concatenate([np.log(np.ravel(task[field])) / np.log(base) for field, base in BASES.items()])

    def reward_terms(self, velocity: float, action: np.ndarray) -> dict[str, float]:
        """The velocity, survival, and the cost of the torques."""
        return {"reward_task": velocity, "reward_survival": 1.0, "reward_control": -CONTROL_COST * squares(action)}


def _camera(distance: float) -> dict[str, Any]:
    return {"trackbodyid": 2, "distance": distance, "lookat": np.array((0.0, 0.0, 1.15)), "elevation": -20.0}


class WalkerRandomParamsEnv(RandomParametersEnv):
    """
    Walker with random physics; see :class:`RandomParametersEnv` for reward and tasks.

    - Observation, 17: 8 positions, 9 velocities. Action: 6 torques in [-1, 1]. A step lasts 0.02 s.
    - An episode ends unless the torso is 0.8 to 2 m high and leans by less than 1 radian.

    :param variant: ``"hyperl"``, ``"oyster"`` and ``"promp"`` agree.
    :param set_const: See :class:`RandomParametersEnv`.
    :param kwargs: ``render_mode`` and the like.
    """

    metadata = render_metadata(50)

    def __init__(self, variant: str = "hyperl", set_const: bool = False, **kwargs: Any) -> None:
        EzPickle.__init__(self, variant, set_const, **kwargs)
        super().__init__("walker2d_v5.xml", 5, variant, set_const, _camera(4.0), **kwargs)

    def has_ended(self) -> bool:
        """Whether it has fallen."""
        _, height, angle = self.data.qpos[:3]
        return not (0.8 < height < 2.0 and -1.0 < angle < 1.0)


class HopperRandomParamsEnv(RandomParametersEnv):
    """
    Hopper with random physics; see :class:`RandomParametersEnv` for reward and tasks.

    - Observation, 11: 5 positions, 6 velocities. Action: 3 torques in [-1, 1]. A step lasts 0.016 s.
    - An episode ends unless the torso is above 0.7 m and leans by less than 0.2 radian, and all other positions and velocities
      are between -100 and 100.

    :param variant: ``"hyperl"``, ``"oyster"`` and ``"promp"`` agree.
    :param set_const: See :class:`RandomParametersEnv`.
    :param kwargs: ``render_mode`` and the like.
    """

    metadata = render_metadata(62)  # 62.5, rounded to even as gymnasium's check does

    def __init__(self, variant: str = "hyperl", set_const: bool = False, **kwargs: Any) -> None:
        EzPickle.__init__(self, variant, set_const, **kwargs)
        super().__init__("hopper.xml", 4, variant, set_const, _camera(3.0), **kwargs)

    def has_ended(self) -> bool:
        """Whether it has fallen, or moves as nothing should."""
        _, height, angle = self.data.qpos[:3]
        return not (height > 0.7 and abs(angle) < 0.2 and (np.abs(self.state_vector()[2:]) < 100).all())
