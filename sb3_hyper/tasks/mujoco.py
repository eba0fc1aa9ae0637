"""What the task environments on MuJoCo have in common."""

from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.envs.mujoco.ant_v5 import AntEnv
from gymnasium.utils import EzPickle

from sb3_hyper.tasks.interface import TaskEnv

ASSETS = Path(__file__).with_name("assets")
CONTACT_COST = 0.5e-3  # of Ant, for the sum of its squared contact forces, each clipped to +-1


def render_metadata(fps: int) -> dict[str, Any]:
    """
    :param fps: Steps of the environment in a second.
    :return: ``metadata`` of an environment. The modes are those that the installed gymnasium asks of a MuJoCo environment.
    """
    return {"render_modes": list(AntEnv.metadata["render_modes"]), "render_fps": fps}


class MujocoTaskEnv(TaskEnv, MujocoEnv, EzPickle):
    """
    A body in MuJoCo that is paid for how it moves.

    A body defines :meth:`position`, :meth:`observation` and :meth:`has_ended`, a family of tasks :meth:`reward_terms`. The
    reward is the sum of its terms; ``info`` has each of them, and the velocity.

    Velocities are differences of positions over ``dt``, as in all published versions of these tasks. The task that is set
    survives pickling.

    :param xml: Model file, in gymnasium's folder if the path is relative.
    :param frame_skip: Steps of the simulator in one of the environment.
    :param variant: Whose version of the environment.
    :param camera: Configuration of the free camera.
    :param kwargs: ``render_mode``, ``width``, ``height``, ``camera_name``, ... of gymnasium's ``MujocoEnv``.
    """

    #: Whose versions of the environment there are.
    variants: tuple[str, ...] = ("hyperl", "oyster", "promp")
    #: Half the width of the uniform noise of the initial positions, and the scale of that of the velocities.
    reset_noise: float = 0.1
    #: Whether the noise of the initial velocities is normal, not uniform.
    normal_velocities: bool = True

    def __init__(self, xml: str, frame_skip: int, variant: str, camera: dict[str, Any], **kwargs: Any) -> None:
        if variant not in self.variants:
            raise ValueError(f"variant must be one of {', '.join(map(repr, self.variants))}, got {variant!r}")
        self.variant = variant
        kwargs = {"default_camera_config": camera, **kwargs}
        MujocoEnv.__init__(self, xml, frame_skip, observation_space=None, **kwargs)
        self.observation_space = spaces.Box(-np.inf, np.inf, self.observation().shape, np.float64)
        self.set_task(self.sample_tasks(1, np.random.default_rng(0))[0])

    def position(self) -> Any:
        """
        :return: What the velocity is the derivative of, in metres; a copy, no view of the simulator's data.
        """
        raise NotImplementedError

    def observation(self) -> np.ndarray:
        """
        :return: What the agent sees, ``(n_observations,)``.
        """
        raise NotImplementedError

    def has_ended(self) -> bool:
        """
        :return: Whether the state is a terminal one.
        """
        return False

    def reward_terms(self, velocity: Any, action: np.ndarray) -> dict[str, float]:
        """
        :param velocity: Of the last step, in metres per second.
        :param action: Of the last step.
        :return: What the reward is the sum of, by name.
        """
        raise NotImplementedError

    def reset_model(self) -> np.ndarray:
        """Begin near the initial state of the model."""
        scale, rng = self.reset_noise, self.np_random
        qpos = self.init_qpos + rng.uniform(-scale, scale, self.model.nq)
        n_velocities = self.model.nv
        noise = (
            scale * rng.standard_normal(n_velocities) if self.normal_velocities else rng.uniform(-scale, scale, n_velocities)
        )
        self.set_state(qpos, self.init_qvel + noise)
        return self.observation()

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:  # type: ignore[override]
        """Apply torques for ``frame_skip`` steps of the simulator."""
        before = self.position()
        self.do_simulation(action, self.frame_skip)
        velocity = (self.position() - before) / self.dt
        terms = self.reward_terms(velocity, action)
        if self.render_mode == "human":
            self.render()
        return self.observation(), sum(terms.values()), self.has_ended(), False, {"velocity": velocity, **terms}

    def __getstate__(self) -> dict[str, Any]:
        return {**EzPickle.__getstate__(self), "task": self.task}

    def __setstate__(self, state: dict[str, Any]) -> None:
        EzPickle.__setstate__(self, state)
        self.set_task(state["task"])


def squares(action: np.ndarray) -> float:
    """
    :param action: An action.
    :return: The sum of its squares.
    """
    return float(np.square(action).sum())
