"""Q-networks that a hypernetwork is compared with: the baselines of App. D.4, and the control that the paper lacks."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import torch as th
import torch.nn.functional as F
from torch import nn

from sb3_hyper.networks.initialization import PYTORCH_GAIN
from sb3_hyper.networks.layers import ALL_MEMBERS, EnsembleLayerNorm, EnsembleLinear
from sb3_hyper.networks.primary import PrimaryNetwork, ResidualBlock
from sb3_hyper.networks.q_networks import SAHyperQ
from sb3_hyper.networks.spec import HyperNetworkSpec

SMALL_WIDTHS = (256,)  # of MLP-Small, which has the shape of the paper's dynamic network
LARGE_WIDTHS = (2900, 2900)  # of MLP-Large, which has as many parameters as the paper's hypernetwork
N_FEATURES = 10  # of ResNet-Features
RESNET35 = 35, 256  # blocks, width


class JointQ(nn.Module):
    """An action-value function that reads state and action side by side."""

    def forward(self, states: th.Tensor, actions: th.Tensor, members: slice = ALL_MEMBERS) -> th.Tensor:
        """
        :param states: ``(batch, state_dim)``
        :param actions: ``(batch, action_dim)``
        :param members: Which members to evaluate.
        :return: ``(n_members, batch, n_outputs)``
        """
        return self.evaluate(th.cat([states, actions], dim=-1), members)

    def evaluate(self, x: th.Tensor, members: slice) -> th.Tensor:
        """
        :param x: States and actions, ``(batch, state_dim + action_dim)``
        :param members: Which members to evaluate.
        :return: ``(n_members, batch, n_outputs)``
        """
        raise NotImplementedError


class MlpQ(JointQ):
    """
    A multi-layer perceptron of state and action: MLP-Small ``(256,)``, MLP-Large ``(2900, 2900)``.

    :param state_dim: Size of the state (or of its features).
    :param action_dim: Size of the action.
    :param widths: Widths of the hidden layers.
    :param n_members: Number of independent action-value functions.
    :param n_outputs: Numbers per action-value.
    """

    def __init__(self, state_dim: int, action_dim: int, widths: Sequence[int], n_members: int, n_outputs: int = 1) -> None:
        super().__init__()
        sizes = [state_dim + action_dim, *widths]
        self.hidden = nn.ModuleList([EnsembleLinear(*pair, n_members) for pair in itertools.pairwise(sizes)])
        self.output = EnsembleLinear(sizes[-1], n_outputs, n_members)

    def evaluate(self, x: th.Tensor, members: slice) -> th.Tensor:
        """As in the parent."""
        for layer in self.hidden:
            x = F.relu(layer(x, members))
        return self.output(x, members)


class ResNetFeaturesQ(nn.Module):
    """
    ResNet-Features: the hypernetwork's primary network turns the state into ten features, and MLP-Small reads them beside
    the action (App. D.4, form of the authors' SAC code; their TD3 code and Sec. 5.2 differ from it). The primary's
    weights start as PyTorch's linear layers do.

    :param state_dim: Size of the state (or of its features).
    :param action_dim: Size of the action.
    :param spec: Its primary network's architecture.
    :param n_members: Number of independent action-value functions.
    :param n_outputs: Numbers per action-value.
    """

    def __init__(self, state_dim: int, action_dim: int, spec: HyperNetworkSpec, n_members: int, n_outputs: int = 1) -> None:
        super().__init__()
        spec = replace(spec, primary_gain=PYTORCH_GAIN, initialization="paper", heads="dense")
        self.primary = PrimaryNetwork(state_dim, spec, n_members)
        self.features = EnsembleLinear(self.primary.latent_dim, N_FEATURES, n_members)
        self.hidden = EnsembleLinear(N_FEATURES + action_dim, *SMALL_WIDTHS, n_members)
        self.output = EnsembleLinear(SMALL_WIDTHS[-1], n_outputs, n_members)

    def forward(self, states: th.Tensor, actions: th.Tensor, members: slice = ALL_MEMBERS) -> th.Tensor:
        """
        :param states: ``(batch, state_dim)``
        :param actions: ``(batch, action_dim)``
        :param members: Which members to evaluate.
        :return: ``(n_members, batch, n_outputs)``
        """
        features = self.features(self.primary(states, members), members)
        x = th.cat([features, actions.expand(len(features), *actions.shape)], dim=-1)
        return self.output(F.relu(self.hidden(x, members)), members)


class ResNetQ(JointQ):
    """
    ResNet35 (App. D.4): ``Linear -> 35 x [x + L2(relu(L1(relu(x))))] -> relu -> Linear``, 256 wide. (The authors' TD3
    code has 70 blocks, their SAC code and the paper 35.)

    :param state_dim: Size of the state (or of its features).
    :param action_dim: Size of the action.
    :param n_blocks: Number of residual blocks.
    :param width: Width of all layers.
    :param n_members: Number of independent action-value functions.
    :param n_outputs: Numbers per action-value.
    """

    def __init__(self, state_dim: int, action_dim: int, n_blocks: int, width: int, n_members: int, n_outputs: int = 1) -> None:
        super().__init__()
        self.input = EnsembleLinear(state_dim + action_dim, width, n_members)
        self.blocks = nn.ModuleList([ResidualBlock(width, False, n_members) for _ in range(n_blocks)])
        self.output = EnsembleLinear(width, n_outputs, n_members)

    def evaluate(self, x: th.Tensor, members: slice) -> th.Tensor:
        """As in the parent."""
        x = self.input(x, members)
        for block in self.blocks:
            x = block(x, members)
        return self.output(F.relu(x), members)


class LayerNormMlpQ(JointQ):
    """
    The control: a pre-norm residual network of state and action, with everything that makes the slim hypernetwork
    trainable (residual blocks, layer normalisation, size) but the hypernetwork.

    ``Linear -> n_blocks x [x + L2(relu(L1(relu(LayerNorm(x)))))] -> LayerNorm -> Linear``

    :param state_dim: Size of the state (or of its features).
    :param action_dim: Size of the action.
    :param width: Width of all layers.
    :param n_blocks: Number of residual blocks.
    :param n_members: Number of independent action-value functions.
    :param n_outputs: Numbers per action-value.
    """

    def __init__(self, state_dim: int, action_dim: int, width: int, n_blocks: int, n_members: int, n_outputs: int = 1) -> None:
        super().__init__()
        self.input = EnsembleLinear(state_dim + action_dim, width, n_members)
        self.blocks = nn.ModuleList([ResidualBlock(width, True, n_members) for _ in range(n_blocks)])
        self.norm = EnsembleLayerNorm(width, n_members)
        self.output = EnsembleLinear(width, n_outputs, n_members)

    def evaluate(self, x: th.Tensor, members: slice) -> th.Tensor:
        """As in the parent."""
        x = self.input(x, members)
        for block in self.blocks:
            x = block(x, members)
        return self.output(self.norm(x, members), members)


def layernorm_mlp_like(
    state_dim: int, action_dim: int, spec: HyperNetworkSpec, n_members: int, n_outputs: int = 1
) -> LayerNormMlpQ:
    """
    Make the control for an SA-Hyper critic: as many residual blocks, and as many parameters as whole widths allow.

    :param state_dim: Size of the state (or of its features).
    :param action_dim: Size of the action.
    :param spec: The architecture of the hypernetwork.
    :param n_members: Number of independent action-value functions.
    :param n_outputs: Numbers per action-value.
    :return: The network.
    """
    with th.device("meta"):  # counts without allocating or drawing
        hyper = SAHyperQ(state_dim, action_dim, spec, n_members, n_outputs)
    n_parameters = sum(parameter.numel() for parameter in hyper.parameters()) // n_members  # members may share some
    n_blocks = spec.n_blocks * len(spec.widths)
    width = layernorm_mlp_width(state_dim + action_dim, n_blocks, n_parameters, n_outputs)
    return LayerNormMlpQ(state_dim, action_dim, width, n_blocks, n_members, n_outputs)


def layernorm_mlp_width(n_inputs: int, n_blocks: int, n_parameters: int, n_outputs: int = 1) -> int:
    """
    The width at which a :class:`LayerNormMlpQ` has as many parameters as another network.

    One network of width w has ``2 n_blocks w^2 + (n_inputs + 4 n_blocks + 3 + n_outputs) w + n_outputs`` parameters.

    :param n_inputs: Size of state and action together.
    :param n_blocks: Number of residual blocks.
    :param n_parameters: How many parameters it shall have.
    :param n_outputs: Numbers per action-value.
    :return: The whole number that comes nearest.
    """
    quadratic, linear = 2 * n_blocks, n_inputs + 4 * n_blocks + 3 + n_outputs
    if quadratic == 0:
        return max(1, round((n_parameters - n_outputs) / linear))
    root = (math.sqrt(linear**2 + 4 * quadratic * (n_parameters - n_outputs)) - linear) / (2 * quadratic)
    return max(1, round(root))


class D2RLQ(JointQ):
    """
    Q-D2RL (App. D.4): four hidden layers, with the input concatenated again before the second, third and fourth.

    :param state_dim: Size of the state (or of its features).
    :param action_dim: Size of the action.
    :param width: Width of the hidden layers.
    :param n_members: Number of independent action-value functions.
    :param n_outputs: Numbers per action-value.
    """

    def __init__(self, state_dim: int, action_dim: int, width: int, n_members: int, n_outputs: int = 1) -> None:
        super().__init__()
        n_inputs = state_dim + action_dim
        sizes = [n_inputs, *3 * [width + n_inputs]]
        self.hidden = nn.ModuleList([EnsembleLinear(size, width, n_members) for size in sizes])
        self.output = EnsembleLinear(width, n_outputs, n_members)

    def evaluate(self, x: th.Tensor, members: slice) -> th.Tensor:
        """As in the parent."""
        first, *rest = self.hidden
        inputs, x = x, F.relu(first(x, members))
        inputs = inputs.expand(len(x), *inputs.shape)
        for layer in rest:
            x = F.relu(layer(th.cat([x, inputs], dim=-1), members))
        return self.output(x, members)


@th.no_grad()
def xavier_(module: nn.Module) -> None:
    """
    Give all linear layers Xavier-uniform weights and zero biases, as the authors' SAC code does with its baselines.

    :param module: A network.
    """
    for layer in module.modules():
        if isinstance(layer, (EnsembleLinear, nn.Linear)):
            bound = math.sqrt(6 / sum(layer.weight.shape[-2:]))
            layer.weight.uniform_(-bound, bound)
            if layer.bias is not None:
                layer.bias.zero_()
