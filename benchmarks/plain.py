"""
The paper's hypernetwork critic written the plain way: one module per head, one network per critic, no sharing of work.

It is what :mod:`sb3_hyper` is measured against (``benchmarks/speed.py``) and tested against.
"""

import math
from typing import Any

import torch as th
import torch.nn.functional as F
from stable_baselines3.common.policies import ContinuousCritic
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import TD3Policy
from torch import nn


class PlainResidualBlock(nn.Module):
    """``y = x + L2(relu(L1(relu(x))))``"""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(width, width)
        self.linear2 = nn.Linear(width, width)

    def forward(self, x: th.Tensor) -> th.Tensor:
        """``(batch, width)`` -> ``(batch, width)``"""
        return x + self.linear2(F.relu(self.linear1(F.relu(x))))


class PlainHead(nn.Module):
    """The three linear maps from z to one dynamic layer's weight, bias and gain."""

    def __init__(self, latent_dim: int, n_in: int, n_out: int, bound: float) -> None:
        super().__init__()
        self.n_in, self.n_out = n_in, n_out
        self.weight = nn.Linear(latent_dim, n_in * n_out)
        self.bias = nn.Linear(latent_dim, n_out)
        self.gain = nn.Linear(latent_dim, n_out)
        for linear in (self.weight, self.bias, self.gain):
            nn.init.uniform_(linear.weight, -bound, bound)
            nn.init.zeros_(linear.bias)

    def forward(self, z: th.Tensor, x: th.Tensor) -> th.Tensor:
        """``z (batch, latent_dim)``, ``x (batch, n_in, 1)`` -> ``(batch, n_out, 1)``"""
        weight = self.weight(z).view(-1, self.n_out, self.n_in)
        scale = 1 + self.gain(z).unsqueeze(2)
        return th.bmm(weight, x) * scale + self.bias(z).unsqueeze(2)


class PlainHyperQ(nn.Module):
    """One SA-Hyper Q-network of the paper's size."""

    def __init__(self, state_dim: int, action_dim: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        n_in = state_dim
        for width in (256, 512, 1024):
            layers += [nn.Linear(n_in, width), PlainResidualBlock(width), PlainResidualBlock(width)]
            n_in = width
        self.primary = nn.Sequential(*layers)
        for module in self.primary.modules():
            if isinstance(module, nn.Linear):
                bound = 1 / (2 * math.sqrt(module.in_features))
                nn.init.uniform_(module.weight, -bound, bound)
        self.head1 = PlainHead(1024, action_dim, 256, 0.05)
        self.head2 = PlainHead(1024, 256, 1, 0.008)

    def forward(self, states: th.Tensor, actions: th.Tensor) -> th.Tensor:
        """``(batch, state_dim)``, ``(batch, action_dim)`` -> ``(batch, 1)``"""
        z = self.primary(states)
        hidden = F.relu(self.head1(z, actions.unsqueeze(2)))
        return self.head2(z, hidden).squeeze(2)


class PlainCritic(ContinuousCritic):
    """SB3's critic with plain hypernetworks instead of its multi-layer perceptrons."""

    def __init__(self, features_dim: int, n_critics: int, **kwargs: Any) -> None:
        super().__init__(features_dim=features_dim, n_critics=0, **kwargs)
        self.n_critics = n_critics
        networks = [PlainHyperQ(features_dim, get_action_dim(self.action_space)) for _ in range(n_critics)]
        self.networks = nn.ModuleList(networks)

    def forward(self, obs: th.Tensor, actions: th.Tensor) -> tuple[th.Tensor, ...]:
        """``(batch, 1)`` from each critic"""
        features = self.extract_features(obs, self.features_extractor)
        return tuple(network(features, actions) for network in self.networks)

    def q1_forward(self, obs: th.Tensor, actions: th.Tensor) -> th.Tensor:
        """``(batch, 1)`` from the first critic"""
        return self.networks[0](self.extract_features(obs, self.features_extractor), actions)


class PlainTD3Policy(TD3Policy):
    """TD3's policy with the plain critic."""

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> ContinuousCritic:
        """Make a critic, or its target."""
        return PlainCritic(**self._update_features_extractor(self.critic_kwargs, features_extractor)).to(self.device)


class PlainSACPolicy(SACPolicy):
    """SAC's policy with the plain critic."""

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> ContinuousCritic:
        """Make a critic, or its target."""
        return PlainCritic(**self._update_features_extractor(self.critic_kwargs, features_extractor)).to(self.device)
