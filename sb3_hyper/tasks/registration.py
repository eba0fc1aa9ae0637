"""Gymnasium ids of the environments that this package adds."""

import gymnasium as gym

HORIZON = 200  # steps of an episode of the meta-RL tasks on MuJoCo
# id -> entry point, horizon, arguments
TASK_ENVS: dict[str, tuple[str, int, dict[str, object]]] = {
    "PointGoal-v0": ("sb3_hyper.tasks.point:PointGoalEnv", 20, {}),
    # Meta-World is imported when one of them is made. ML1 needs an env_name: gym.make("MetaWorldML1-v0", env_name="reach-v3")
    "MetaWorldML1-v0": ("sb3_hyper.tasks.metaworld:MetaWorldEnv", 500, {"benchmark": "ML1"}),
    "MetaWorldML10-v0": ("sb3_hyper.tasks.metaworld:MetaWorldEnv", 500, {"benchmark": "ML10"}),
    "MetaWorldML45-v0": ("sb3_hyper.tasks.metaworld:MetaWorldEnv", 500, {"benchmark": "ML45"}),
    "HalfCheetahVel-v0": ("sb3_hyper.tasks.cheetah:HalfCheetahVelEnv", HORIZON, {}),
    "HalfCheetahVelMedium-v0": ("sb3_hyper.tasks.cheetah:HalfCheetahVelMediumEnv", HORIZON, {}),
    "HalfCheetahFwdBack-v0": ("sb3_hyper.tasks.cheetah:HalfCheetahFwdBackEnv", HORIZON, {}),
    "AntVel-v0": ("sb3_hyper.tasks.ant:AntVelEnv", HORIZON, {}),
    "AntFwdBack-v0": ("sb3_hyper.tasks.ant:AntFwdBackEnv", HORIZON, {}),
    "AntForwardBackward-v0": ("sb3_hyper.tasks.ant:AntForwardBackwardEnv", HORIZON, {}),
    "AntGoal-v0": ("sb3_hyper.tasks.ant:AntGoalEnv", HORIZON, {}),
    "HumanoidDir-v0": ("sb3_hyper.tasks.humanoid:HumanoidDirEnv", HORIZON, {}),
    "WalkerRandomParams-v0": ("sb3_hyper.tasks.random_parameters:WalkerRandomParamsEnv", HORIZON, {}),
    "HopperRandomParams-v0": ("sb3_hyper.tasks.random_parameters:HopperRandomParamsEnv", HORIZON, {}),
}


def register_envs() -> None:
    """Register the environments. Importing :mod:`sb3_hyper` does it."""
    if "PaperAnt-v4" in gym.registry:
        return
    # Sec. 5: "Ant-v2 with reduced control cost"; the authors' code removes that cost. 111 observations, contact forces
    # among them, and the v2 reward otherwise.
    gym.register(
        id="PaperAnt-v4",
        entry_point="gymnasium.envs.mujoco.ant_v4:AntEnv",
        max_episode_steps=1000,
        kwargs={"ctrl_cost_weight": 0.0, "use_contact_forces": True},
    )
    for name, (entry_point, horizon, kwargs) in TASK_ENVS.items():
        gym.register(id=name, entry_point=entry_point, max_episode_steps=horizon, kwargs=kwargs)
