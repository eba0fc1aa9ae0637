"""The primary network: meta variable -> latent z (Fig. 1, App. D.1)."""

import torch as th
import torch.nn.functional as F
from torch import nn

from sb3_hyper.networks.initialization import primary_gain, uniform_fan_in_
from sb3_hyper.networks.layers import ALL_MEMBERS, EnsembleLayerNorm, EnsembleLinear
from sb3_hyper.networks.spec import HyperNetworkSpec


class ResidualBlock(nn.Module):
    """
    Pre-activation residual block, ``y = x + L2(relu(L1(relu(norm(x)))))``.

    :param width: Size of input and output.
    :param layer_norm: Whether ``norm`` is a layer normalisation; the paper has none.
    :param n_members: Size of the ensemble axis, or None.
    """

    def __init__(self, width: int, layer_norm: bool, n_members: int | None = None) -> None:
        super().__init__()
        self.norm = EnsembleLayerNorm(width, n_members) if layer_norm else None
        self.linear1 = EnsembleLinear(width, width, n_members)
        self.linear2 = EnsembleLinear(width, width, n_members)

    def forward(self, x: th.Tensor, members: slice = ALL_MEMBERS) -> th.Tensor:
        """
        :param x: ``(*members, batch, width)``
        :param members: Which members to evaluate.
        :return: ``(*members, batch, width)``
        """
        hidden = x if self.norm is None else self.norm(x, members)
        hidden = self.linear1(F.relu(hidden), members)
        return x + self.linear2(F.relu(hidden), members)


class PrimaryNetwork(nn.Module):
    """
    Stages of one linear map to a new width and residual blocks of that width. In the paper ``z`` is the raw sum that
    leaves the last block; with ``primary="normed"`` it is normalised.

    :param meta_dim: Size of the meta variable.
    :param spec: Widths, depth, normalisation and initial gain.
    :param n_members: Size of the ensemble axis, or None.
    """

    def __init__(self, meta_dim: int, spec: HyperNetworkSpec, n_members: int | None = None) -> None:
        super().__init__()
        normed = spec.primary == "normed"
        layers: list[nn.Module] = []
        width = meta_dim
        for next_width in spec.widths:
            layers.append(EnsembleLinear(width, next_width, n_members))
            layers += [ResidualBlock(next_width, normed, n_members) for _ in range(spec.n_blocks)]
            width = next_width
        if normed:
            layers.append(EnsembleLayerNorm(width, n_members))
        self.layers = nn.ModuleList(layers)
        self.latent_dim = width
        for module in self.modules():
            if isinstance(module, EnsembleLinear):
                uniform_fan_in_(module.weight, module.weight.shape[-2], primary_gain(spec))

    def forward(self, meta: th.Tensor, members: slice = ALL_MEMBERS) -> th.Tensor:
        """
        :param meta: ``(batch, meta_dim)`` or ``(*members, batch, meta_dim)``
        :param members: Which members to evaluate.
        :return: ``z``, ``(*members, batch, latent_dim)``
        """
        z = meta
        for layer in self.layers:
            z = layer(z, members)
        return z
