"""Critics with Stable-Baselines3's interface over Q-networks."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import sb3_contrib.tqc.policies as tqc
import torch as th
from stable_baselines3.common.policies import BaseModel, ContinuousCritic
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import nn

from sb3_hyper.networks.layers import ALL_MEMBERS
from sb3_hyper.networks.q_networks import takes_many_actions

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


class FreezingCritic(BaseModel):
    """
    What all critics here have in common, whatever algorithm they are for.

    SB3's algorithms differentiate the critic with respect to its parameters in the actor's step too, and throw the
    result away. Only there do the actions carry a gradient, so that is what tells the steps apart. The actor's
    gradient is the same with and without; a critic whose weights depend on the state alone builds no graph at all
    of its primary network.

    Losses of one's own that differentiate a critic's parameters at actions which carry a gradient (a penalty on the
    action gradient, say) need ``policy_kwargs=dict(skip_parameter_gradients=False)``.
    """

    skip_parameter_gradients = True
    features_extractor: BaseFeaturesExtractor
    share_features_extractor: bool
    n_critics: int

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError as error:
            if name != "quantiles_total":
                raise
            raise AttributeError(
                f"{type(self).__name__} has no quantiles, which TQC asks for: HyperTQCPolicy, HyperTQCCnnPolicy and "
                "HyperTQCMultiInputPolicy have critics with them"
            ) from error

    def frozen_in_actor_step(self, actions: th.Tensor) -> AbstractContextManager[None]:
        """
        Freeze the critic while the actor is improved.

        :param actions: The actions it is given.
        """
        return frozen(self) if self.skip_parameter_gradients and actions.requires_grad else nullcontext()

    def action_values(self, obs: PyTorchObs, actions: th.Tensor) -> th.Tensor:
        """
        Evaluate many actions per state. Features, and the weights of SA-Hyper, are computed once per state.

        :param obs: Observations
        :param actions: ``(batch, n, action_dim)``, scaled to [-1, 1]
        :return: Action-values, ``(n_critics, batch, n)``; of a distribution its mean.
        """
        with self.frozen_in_actor_step(actions):
            features = self.extract_state(obs)
            return self.values(features, actions, ALL_MEMBERS).mean(dim=-1)

    def extract_state(self, obs: PyTorchObs) -> th.Tensor:
        """
        :param obs: Observations
        :return: Features, ``(batch, features_dim)``, with SB3's rule: a shared features extractor learns from the policy
            loss only.
        """
        with th.set_grad_enabled(th.is_grad_enabled() and not self.share_features_extractor):
            return self.extract_features(obs, self.features_extractor)

    def values(self, features: th.Tensor, actions: th.Tensor, members: slice) -> th.Tensor:
        """
        :param features: ``(batch, features_dim)``
        :param actions: ``(batch, n, action_dim)``
        :param members: Which critics to evaluate.
        :return: ``(critics, batch, n, n_outputs)``
        """
        batch, n_actions = actions.shape[:2]
        rows = features.repeat_interleave(n_actions, dim=0)
        return self.evaluate_rows(rows, actions.flatten(0, 1), members).unflatten(1, (batch, n_actions))

    def evaluate_rows(self, features: th.Tensor, actions: th.Tensor, members: slice) -> th.Tensor:
        """
        :param features: ``(batch, features_dim)``
        :param actions: ``(batch, action_dim)``
        :param members: Which critics to evaluate.
        :return: ``(critics, batch, n_outputs)``
        """
        raise NotImplementedError


class MlpCritic(FreezingCritic, ContinuousCritic):
    """SB3's own critic (the paper's MLP-Standard when ``net_arch=[256, 256]``), frozen in the actor's step."""

    def forward(self, obs: PyTorchObs, actions: th.Tensor) -> tuple[th.Tensor, ...]:
        """
        :param obs: Observations
        :param actions: ``(batch, action_dim)``, scaled to [-1, 1]
        :return: One ``(batch, 1)`` tensor per critic
        """
        with self.frozen_in_actor_step(actions):
            return super().forward(obs, actions)  # type: ignore[arg-type]

    def q1_forward(self, obs: PyTorchObs, actions: th.Tensor) -> th.Tensor:
        """
        :param obs: Observations
        :param actions: ``(batch, action_dim)``, scaled to [-1, 1]
        :return: Values of the first critic, ``(batch, 1)``
        """
        with self.frozen_in_actor_step(actions):
            return super().q1_forward(obs, actions)  # type: ignore[arg-type]

    def evaluate_rows(self, features: th.Tensor, actions: th.Tensor, members: slice) -> th.Tensor:
        """As in the parent."""
        inputs = th.cat([features, actions], dim=1)
        return th.stack([q_network(inputs) for q_network in self.q_networks[members]])


class MlpQuantileCritic(FreezingCritic, tqc.Critic):
    """sb3-contrib's own TQC critic, frozen in the actor's step."""

    def forward(self, obs: PyTorchObs, action: th.Tensor) -> th.Tensor:
        """
        :param obs: Observations
        :param action: ``(batch, action_dim)``, scaled to [-1, 1]
        :return: Quantiles, ``(batch, n_critics, n_quantiles)``
        """
        with self.frozen_in_actor_step(action):
            return super().forward(obs, action)

    def evaluate_rows(self, features: th.Tensor, actions: th.Tensor, members: slice) -> th.Tensor:
        """As in the parent."""
        inputs = th.cat([features, actions], dim=1)
        return th.stack([q_network(inputs) for q_network in self.q_networks[members]])


class QNetworkCritic(FreezingCritic):
    """
    A critic whose values come from one Q-network with an ensemble axis.

    :param make_q_network: Makes, from features_dim, action_dim, n_critics and n_outputs, a module that maps features
        ``(batch, features_dim)``, actions ``(batch, action_dim)`` and a slice of critics to values
        ``(critics, batch, n_outputs)``, such as :class:`~sb3_hyper.networks.q_networks.SAHyperQ`.
    :param n_critics: Number of critics.
    :param kwargs: The remaining arguments of the algorithm's own critic.
    """

    def __init__(self, make_q_network: Callable[[int, int, int, int], nn.Module], n_critics: int = 2, **kwargs: Any) -> None:
        # n_critics=0: the parent's multi-layer perceptrons are not built
        super().__init__(n_critics=0, **kwargs)  # type: ignore[call-arg]
        del self.q_networks  # the parent's list, empty and misleading
        self.n_critics = n_critics
        action_dim = get_action_dim(self.action_space)
        self.q_network = make_q_network(kwargs["features_dim"], action_dim, n_critics, self.n_outputs)

    @property
    def n_outputs(self) -> int:
        """Numbers per action-value."""
        return 1

    def values(self, features: th.Tensor, actions: th.Tensor, members: slice) -> th.Tensor:
        """As in the parent."""
        if takes_many_actions(self.q_network):
            return self.q_network(features, actions, members)
        return super().values(features, actions, members)

    def evaluate_rows(self, features: th.Tensor, actions: th.Tensor, members: slice) -> th.Tensor:
        """As in the parent."""
        return self.q_network(features, actions, members)


class EnsembleCritic(QNetworkCritic, ContinuousCritic):
    """SB3's critic interface (TD3, DDPG, SAC) over a Q-network; arguments: :class:`QNetworkCritic`."""

    def forward(self, obs: PyTorchObs, actions: th.Tensor) -> tuple[th.Tensor, ...]:
        """
        :param obs: Observations
        :param actions: ``(batch, action_dim)``, scaled to [-1, 1]
        :return: One ``(batch, 1)`` tensor per critic
        """
        with self.frozen_in_actor_step(actions):
            return self.q_network(self.extract_state(obs), actions, ALL_MEMBERS).unbind(0)

    def q1_forward(self, obs: PyTorchObs, actions: th.Tensor) -> th.Tensor:
        """
        :param obs: Observations
        :param actions: ``(batch, action_dim)``, scaled to [-1, 1]
        :return: Values of the first critic, ``(batch, 1)``
        """
        with self.frozen_in_actor_step(actions):
            with th.no_grad():
                features = self.extract_features(obs, self.features_extractor)
            return self.q_network(features, actions, FIRST_MEMBER)[0]


class QuantileEnsembleCritic(QNetworkCritic, tqc.Critic):
    """
    sb3-contrib's TQC critic interface over a Q-network, whose outputs are the quantiles; arguments:
    :class:`QNetworkCritic`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.quantiles_total = self.n_quantiles * self.n_critics

    @property
    def n_outputs(self) -> int:
        """Numbers per action-value."""
        return self.n_quantiles

    def forward(self, obs: PyTorchObs, action: th.Tensor) -> th.Tensor:
        """
        :param obs: Observations
        :param action: ``(batch, action_dim)``, scaled to [-1, 1]
        :return: Quantiles, ``(batch, n_critics, n_quantiles)``
        """
        with self.frozen_in_actor_step(action):
            return self.q_network(self.extract_state(obs), action, ALL_MEMBERS).transpose(0, 1)
