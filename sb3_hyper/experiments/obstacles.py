"""What keeps a run from going on, after an interruption, to the end that it would have had."""

from gymnasium.wrappers import NormalizeObservation, NormalizeReward
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import (
    VecCheckNan,
    VecEnvWrapper,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
    VecVideoRecorder,
    unwrap_vec_wrapper,
)

from sb3_hyper.meta.maml.maml import MAML
from sb3_hyper.meta.pearl.pearl import PEARL

# They keep nothing that training depends on, and give the observations that the environment gives
HARMLESS = (VecCheckNan, VecMonitor, VecTransposeImage, VecVideoRecorder)


def obstacle(model: BaseAlgorithm) -> str | None:
    """
    :param model: A model with its environment.
    :return: Why a run of it cannot be interrupted and go on to the same end; None if it can.
    """
    env = model.env
    assert env is not None
    if not isinstance(model, OffPolicyAlgorithm) and not begins_afresh(model):
        return f"{type(model).__name__} is no off-policy algorithm"
    if env.num_envs != 1 and not begins_afresh(model):
        return f"it has {env.num_envs} training environments"
    if getattr(model, "use_sde", False):
        return "gSDE's noise is not part of a model"
    if unwrap_vec_wrapper(env, VecNormalize) is not None or any(
        any(env.env_is_wrapped(wrapper)) for wrapper in (NormalizeObservation, NormalizeReward)
    ):
        return "its environment keeps running averages"
    if unwrap_vec_wrapper(env, VecFrameStack) is not None:
        return "its environment stacks frames"
    while isinstance(env, VecEnvWrapper):
        if type(env) not in HARMLESS and not begins_afresh(model):
            return f"{type(env).__name__} may change observations, or keep something"
        env = env.venv
    return None


def begins_afresh(model: BaseAlgorithm) -> bool:
    """
    :param model: A model.
    :return: Whether each of its rollouts resets the environments, with seeds drawn from numpy's generator: between two
        rollouts, nothing of an environment needs to be kept.
    """
    return isinstance(model, (MAML, PEARL))
