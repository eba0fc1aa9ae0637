"""Gymnasium ids of the environments that this package adds."""

import gymnasium as gym


def register_envs() -> None:
    """Register the environments. Importing :mod:`sb3_hyper` does it."""
    # Sec. 5: "Ant-v2 with reduced control cost"; the authors' code removes that cost. 111 observations, contact forces
    # among them, and the v2 reward otherwise.
    if "PaperAnt-v4" in gym.registry:
        return
    gym.register(
        id="PaperAnt-v4",
        entry_point="gymnasium.envs.mujoco.ant_v4:AntEnv",
        max_episode_steps=1000,
        kwargs={"ctrl_cost_weight": 0.0, "use_contact_forces": True},
    )
