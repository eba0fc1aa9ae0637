"""Q-networks that a hypernetwork is compared with."""

import math

import torch as th
import torch.nn.functional as F
from torch import nn

from sb3_hyper.networks.layers import ALL_MEMBERS, EnsembleLayerNorm, EnsembleLinear
from sb3_hyper.networks.primary import ResidualBlock
from sb3_hyper.networks.q_networks import SAHyperQ
from sb3_hyper.networks.spec import HyperNetworkSpec


class LayerNormMlpQ(nn.Module):
    """
    The control: a pre-norm residual network of state and action, with everything that makes the slim hypernetwork
    trainable (residual blocks, layer normalisation, size) but the hypernetwork.

    ``Linear -> n_blocks x [x + L2(relu(L1(relu(LayerNorm(x)))))] -> LayerNorm -> Linear``

    :param state_dim: Size of the state (or of its features).
    :param action_dim: Size of the action.
    :param width: Width of all layers.
    :param n_blocks: Number of residual blocks.
    :param n_members: Number of independent action-value functions.
    """

    def __init__(self, state_dim: int, action_dim: int, width: int, n_blocks: int, n_members: int) -> None:
        super().__init__()
        self.input = EnsembleLinear(state_dim + action_dim, width, n_members)
        self.blocks = nn.ModuleList([ResidualBlock(width, True, n_members) for _ in range(n_blocks)])
        self.norm = EnsembleLayerNorm(width, n_members)
        self.output = EnsembleLinear(width, 1, n_members)

    def forward(self, states: th.Tensor, actions: th.Tensor, members: slice = ALL_MEMBERS) -> th.Tensor:
        """
        :param states: ``(batch, state_dim)``
        :param actions: ``(batch, action_dim)``
        :param members: Which members to evaluate.
        :return: ``(n_members, batch, 1)``
        """
        x = self.input(th.cat([states, actions], dim=-1), members)
        for block in self.blocks:
            x = block(x, members)
        return self.output(self.norm(x, members), members)


def layernorm_mlp_like(state_dim: int, action_dim: int, spec: HyperNetworkSpec, n_members: int) -> LayerNormMlpQ:
    """
    Make the control for an SA-Hyper critic: as many residual blocks, and as many parameters as whole widths allow.

    :param state_dim: Size of the state (or of its features).
    :param action_dim: Size of the action.
    :param spec: The architecture of the hypernetwork.
    :param n_members: Number of independent action-value functions.
    :return: The network.
    """
    with th.device("meta"):  # counts without allocating or drawing
        hyper = SAHyperQ(state_dim, action_dim, spec, n_members=1)
    n_parameters = sum(parameter.numel() for parameter in hyper.parameters())
    n_blocks = spec.n_blocks * len(spec.widths)
    width = layernorm_mlp_width(state_dim + action_dim, n_blocks, n_parameters)
    return LayerNormMlpQ(state_dim, action_dim, width, n_blocks, n_members)


def layernorm_mlp_width(n_inputs: int, n_blocks: int, n_parameters: int) -> int:
    """
    The width at which a :class:`LayerNormMlpQ` has as many parameters as another network.

    One network of width w has ``2 n_blocks w^2 + (n_inputs + 4 n_blocks + 4) w + 1`` parameters.

    :param n_inputs: Size of state and action together.
    :param n_blocks: Number of residual blocks.
    :param n_parameters: How many parameters it shall have.
    :return: The whole number that comes nearest.
    """
    quadratic, linear = 2 * n_blocks, n_inputs + 4 * n_blocks + 4
    if quadratic == 0:
        return max(1, round((n_parameters - 1) / linear))
    root = (math.sqrt(linear**2 + 4 * quadratic * (n_parameters - 1)) - linear) / (2 * quadratic)
    return max(1, round(root))


class D2RLQ(nn.Module):
    """
    Q-D2RL (App. D.4): four hidden layers, with the input concatenated again before the second, third and fourth.

    :param state_dim: Size of the state (or of its features).
    :param action_dim: Size of the action.
    :param spec: Unused: every Q-network is made from the same four arguments.
    :param n_members: Number of independent action-value functions.
    :param width: Width of the hidden layers.
    """

    def __init__(
        self, state_dim: int, action_dim: int, spec: HyperNetworkSpec | None, n_members: int, width: int = 256
    ) -> None:
        super().__init__()
        n_inputs = state_dim + action_dim
        sizes = [n_inputs, *3 * [width + n_inputs]]
        self.hidden = nn.ModuleList([EnsembleLinear(size, width, n_members) for size in sizes])
        self.output = EnsembleLinear(width, 1, n_members)

    def forward(self, states: th.Tensor, actions: th.Tensor, members: slice = ALL_MEMBERS) -> th.Tensor:
        """
        :param states: ``(batch, state_dim)``
        :param actions: ``(batch, action_dim)``
        :param members: Which members to evaluate.
        :return: ``(n_members, batch, 1)``
        """
        inputs = th.cat([states, actions], dim=-1)
        first, *rest = self.hidden
        x = F.relu(first(inputs, members))
        inputs = inputs.expand(len(x), *inputs.shape)
        for layer in rest:
            x = F.relu(layer(th.cat([x, inputs], dim=-1), members))
        return self.output(x, members)
