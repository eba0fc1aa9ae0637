"""What an SB3 model says about states and actions: any off-policy algorithm with continuous actions, ours or stock."""

import inspect
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from sb3_contrib import TQC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import VecNormalize, unwrap_vec_wrapper

from sb3_hyper.diagnostics.branches import Observations


class Agent:
    """
    An SB3 model whose critic is to be looked at. Actions are in the critic's space, scaled to [-1, 1]; observations are the
    environment's, and are normalised here if training does so.

    :param model: The model.
    :param deterministic: Whether rollouts follow the policy's mean action. False: they draw actions as SAC, TQC and CrossQ
        do, whose critics learn the values of that policy.
    :raises ValueError: If it has no critic of continuous actions, or draws actions with gSDE, whose noise is not one for
        each state.
    """

    def __init__(self, model: BaseAlgorithm, deterministic: bool = True) -> None:
        if not isinstance(model, OffPolicyAlgorithm) or not isinstance(model.action_space, spaces.Box):
            raise ValueError(
                "A model with a critic of continuous actions is needed (TD3, DDPG, SAC, TQC, CrossQ), "
                f"got {type(model).__name__} in {model.action_space}"
            )
        if not deterministic and model.use_sde:
            raise ValueError("With gSDE (use_sde=True) only the deterministic policy can be measured: deterministic=True")
        normalization = model.get_vec_normalize_env()
        if normalization is not None and unwrap_vec_wrapper(normalization.venv, VecNormalize) is not None:
            raise ValueError("Of two VecNormalize, one around the other, a model knows the outer one only: train with one")
        self.model = model
        self.deterministic = deterministic
        self.policy: Any = model.policy
        critic = getattr(self.policy, "critic", None)
        if critic is None or len(needed := _needed(critic.forward)) > 2:
            reads = "there is none" if critic is None else f"the critic reads {', '.join(needed)}"
            raise ValueError(f"A critic of observations and actions alone is needed; in {type(model).__name__}, {reads}")

    @property
    def _normalization(self) -> VecNormalize | None:
        return self.model.get_vec_normalize_env()

    @property
    def reward_scale(self) -> float:
        """What rewards are multiplied with to be in the critic's units (which ``VecNormalize`` clips in training, too)."""
        normalization = self._normalization
        if normalization is None or not normalization.norm_reward:
            return 1.0
        return float(1 / np.sqrt(normalization.ret_rms.var + normalization.epsilon))

    @property
    def handle_timeout_termination(self) -> bool:
        """Whether values go on where time runs out; False: the replay buffer takes that for the end of an episode."""
        return getattr(self.model.replay_buffer, "handle_timeout_termination", True)

    def _tensor(self, observations: Observations) -> Any:
        if self._normalization is not None:
            observations = self._normalization.normalize_obs(observations)
        return self.policy.obs_to_tensor(observations)[0]

    def act(self, observations: Observations) -> np.ndarray:
        """
        The policy that rollouts follow.

        :param observations: A batch.
        :return: Actions as the environment takes them, ``(n, *action_shape)``
        """
        return self.to_env(self._predict(observations, self.deterministic))

    def actions(self, observations: Observations) -> np.ndarray:
        """
        The deterministic policy: where gradients and values are compared.

        :param observations: A batch.
        :return: Actions, ``(n, action_dim)``
        """
        return self._predict(observations, deterministic=True)

    def _predict(self, observations: Observations, deterministic: bool) -> np.ndarray:
        self.policy.set_training_mode(False)
        with th.no_grad():
            actions = self.policy._predict(self._tensor(observations), deterministic=deterministic)
        return actions.cpu().numpy()

    def to_env(self, actions: np.ndarray) -> np.ndarray:
        """
        :param actions: Actions, ``(n, action_dim)``
        :return: The same as the environment takes them, ``(n, *action_shape)``
        """
        space = self.model.action_space
        assert isinstance(space, spaces.Box)
        actions = actions.reshape(-1, *space.shape)
        return np.clip(self.policy.unscale_action(actions), space.low, space.high)

    def values(self, observations: Observations, actions: np.ndarray, target: bool = False) -> np.ndarray:
        """
        :param observations: A batch.
        :param actions: One action for each, ``(n, action_dim)``
        :param target: Whether to ask the target critic, where there is one.
        :return: Action-values of all critics, ``(n_critics, n)``; of a distribution the mean.
        """
        self.policy.set_training_mode(False)
        with th.no_grad():
            actions_tensor = th.as_tensor(actions, dtype=th.float32, device=self.model.device)
            return self._values(self._tensor(observations), actions_tensor, target).cpu().numpy().astype(np.float64)

    def _values(self, observations: Any, actions: th.Tensor, target: bool = False) -> th.Tensor:
        critic = getattr(self.policy, "critic_target", None) if target else None
        critic = self.policy.critic if critic is None else critic
        values = critic(observations, actions)
        return values.mean(dim=2).T if isinstance(self.model, TQC) else th.cat(values, dim=1).T

    def action_gradients(self, observations: Observations) -> np.ndarray:
        """
        The gradient of the first critic's value with respect to the action, where the policy acts.

        :param observations: A batch.
        :return: ``(n, action_dim)``
        """
        actions = th.as_tensor(self.actions(observations), device=self.model.device).requires_grad_()
        with th.enable_grad():
            values = self._values(self._tensor(observations), actions)[0]
            (gradients,) = th.autograd.grad(values.sum(), actions)
        return gradients.cpu().numpy().astype(np.float64)

    def stored_observations(self, n: int, rng: np.random.Generator) -> list[Any]:
        """
        :param n: How many.
        :param rng: Random generator.
        :return: Observations drawn from the replay buffer, as the environment gave them (images as the policy reads them,
            channels first).
        :raises ValueError: If there are none yet.
        """
        buffer = self.model.replay_buffer
        if buffer is None or buffer.size() == 0:
            raise ValueError("The replay buffer is empty")
        stored: Any = buffer.observations
        space: Any = self.model.observation_space
        rows, columns = rng.integers(buffer.size(), size=n), rng.integers(buffer.n_envs, size=n)
        # buffers keep the number of a Discrete space as an array of one
        if isinstance(stored, dict):
            drawn = {key: values[rows, columns].reshape(n, *space[key].shape) for key, values in stored.items()}
            return [{key: values[index] for key, values in drawn.items()} for index in range(n)]
        return list(stored[rows, columns].reshape(n, *space.shape))

    def time_out_values(self, observations: Observations) -> np.ndarray:
        """
        What the policy that rollouts follow earns from here on, by the smallest of the target critics.

        :param observations: A batch.
        :return: ``(n,)``
        """
        actions = self._predict(observations, self.deterministic)
        return self.values(observations, actions, target=True).min(axis=0)


def _needed(function: Any) -> list[str]:
    """Names of the arguments that cannot be left out."""
    parameters = inspect.signature(function).parameters.values()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [one.name for one in parameters if one.default is one.empty and one.kind in positional]
