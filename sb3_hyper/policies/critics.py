"""Critics with Stable-Baselines3's interface, chosen by name."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import ContinuousCritic
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

from sb3_hyper.networks.baselines import D2RLQ, layernorm_mlp_like
from sb3_hyper.networks.layers import ALL_MEMBERS
from sb3_hyper.networks.q_networks import ASHyperQ, EmbHyperQ, SAHyperQ
from sb3_hyper.networks.spec import HyperNetworkSpec

FIRST_MEMBER = slice(0, 1)


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """
    What is computed inside records no graph towards the module's parameters.

    :param module: Its parameters require no gradient inside; their own setting returns afterwards.
    """
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def frozen_in_actor_step(critic: "MlpCritic | EnsembleCritic", actions: th.Tensor) -> AbstractContextManager[None]:
    """
    Freeze the critic while the actor is improved.

    SB3's algorithms differentiate the critic with respect to its parameters in the actor's step too, and throw the
    result away. Only there do the actions carry a gradient, so that is what tells the steps apart. The actor's
    gradient is the same with and without; a critic whose weights depend on the state alone builds no graph at all
    of its primary network.

    Losses of one's own that differentiate a critic's parameters at actions which carry a gradient (a penalty on the
    action gradient, say) need ``critic.skip_parameter_gradients = False``.

    :param critic: The critic.
    :param actions: The actions it is given.
    """
    return frozen(critic) if critic.skip_parameter_gradients and actions.requires_grad else nullcontext()


class MlpCritic(ContinuousCritic):
    """SB3's own critic (the paper's MLP-Standard when ``net_arch=[256, 256]``), frozen in the actor's step."""

    skip_parameter_gradients = True

    def forward(self, obs: th.Tensor, actions: th.Tensor) -> tuple[th.Tensor, ...]:
        """
        :param obs: Observations
        :param actions: ``(batch, action_dim)``, scaled to [-1, 1]
        :return: One ``(batch, 1)`` tensor per critic
        """
        with frozen_in_actor_step(self, actions):
            return super().forward(obs, actions)

    def q1_forward(self, obs: th.Tensor, actions: th.Tensor) -> th.Tensor:
        """
        :param obs: Observations
        :param actions: ``(batch, action_dim)``, scaled to [-1, 1]
        :return: Values of the first critic, ``(batch, 1)``
        """
        with frozen_in_actor_step(self, actions):
            return super().q1_forward(obs, actions)


class EnsembleCritic(ContinuousCritic):
    """
    SB3's critic interface over a Q-network that evaluates all critics at once.

    :param make_q_network: Makes, from features_dim, action_dim and n_critics, a module that maps features
        ``(batch, features_dim)``, actions ``(batch, action_dim)`` and a slice of critics to values
        ``(critics, batch, 1)``, such as :class:`~sb3_hyper.networks.q_networks.SAHyperQ`.
    :param n_critics: Number of critics.
    :param kwargs: The remaining arguments of SB3's ``ContinuousCritic``.
    """

    skip_parameter_gradients = True

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Box,
        features_extractor: BaseFeaturesExtractor,
        features_dim: int,
        make_q_network: Callable[[int, int, int], nn.Module],
        n_critics: int = 2,
        **kwargs: Any,
    ) -> None:
        # n_critics=0: the parent's multi-layer perceptrons are not built
        super().__init__(
            observation_space,
            action_space,
            features_extractor=features_extractor,
            features_dim=features_dim,
            n_critics=0,
            **kwargs,
        )
        del self.q_networks  # the parent's list, empty and misleading
        self.n_critics = n_critics
        self.q_network = make_q_network(features_dim, get_action_dim(action_space), n_critics)

    def forward(self, obs: th.Tensor, actions: th.Tensor) -> tuple[th.Tensor, ...]:
        """
        :param obs: Observations
        :param actions: ``(batch, action_dim)``, scaled to [-1, 1]
        :return: One ``(batch, 1)`` tensor per critic
        """
        with frozen_in_actor_step(self, actions):
            # SB3's rule: a shared features extractor learns from the policy loss only
            with th.set_grad_enabled(th.is_grad_enabled() and not self.share_features_extractor):
                features = self.extract_features(obs, self.features_extractor)
            return self.q_network(features, actions, ALL_MEMBERS).unbind(0)

    def q1_forward(self, obs: th.Tensor, actions: th.Tensor) -> th.Tensor:
        """
        :param obs: Observations
        :param actions: ``(batch, action_dim)``, scaled to [-1, 1]
        :return: Values of the first critic, ``(batch, 1)``
        """
        with frozen_in_actor_step(self, actions):
            with th.no_grad():
                features = self.extract_features(obs, self.features_extractor)
            return self.q_network(features, actions, FIRST_MEMBER)[0]


# name -> (state_dim, action_dim, spec, n_members) -> Q-network
HYPER_CRITICS: dict[str, Callable[[int, int, HyperNetworkSpec, int], nn.Module]] = {
    "sa_hyper": SAHyperQ,
    "as_hyper": ASHyperQ,
    "emb_hyper": EmbHyperQ,
}
BASELINE_CRITICS: dict[str, Callable[[int, int, HyperNetworkSpec, int], nn.Module]] = {
    "layernorm_mlp": layernorm_mlp_like,
    "q_d2rl": D2RLQ,
}
CRITICS = (*HYPER_CRITICS, *BASELINE_CRITICS, "mlp")


def make_critic(name: str, spec: HyperNetworkSpec, **critic_kwargs: Any) -> ContinuousCritic:
    """
    Make a critic.

    :param name: One of :data:`CRITICS`.
    :param spec: The hypernetwork's architecture, or that which ``"layernorm_mlp"`` equals in size.
    :param critic_kwargs: The arguments of SB3's ``ContinuousCritic``.
    :return: The critic.
    """
    if name == "mlp":
        return MlpCritic(**critic_kwargs)
    make = (HYPER_CRITICS | BASELINE_CRITICS)[name]
    return EnsembleCritic(
        make_q_network=lambda state_dim, action_dim, n_critics: make(state_dim, action_dim, spec, n_critics),
        **critic_kwargs,
    )
