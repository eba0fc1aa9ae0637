"""Heads: latent z -> dynamic weights."""

from collections.abc import Sequence

import torch as th
from torch import nn

from sb3_hyper.networks.dynamic import DynamicLayout, DynamicWeights
from sb3_hyper.networks.initialization import uniform_rows_
from sb3_hyper.networks.layers import ALL_MEMBERS, EnsembleLinear


class DenseHeads(nn.Module):
    """
    The paper's heads: for each dynamic layer one linear map from ``z`` to its weight, one to its bias and one to its
    gain. They all read the same ``z``, so they are stored and evaluated as a single linear map.

    :param latent_dim: Size of ``z``.
    :param layout: Sizes of the dynamic network.
    :param bounds: For each output of each layer, the half-width of the uniform distribution which the rows that
        generate its weight, bias and gain start from. Biases of the heads start at zero.
    :param n_members: Size of the ensemble axis, or None.
    """

    def __init__(
        self, latent_dim: int, layout: DynamicLayout, bounds: Sequence[th.Tensor], n_members: int | None = None
    ) -> None:
        super().__init__()
        self.layout = layout
        self.linear = EnsembleLinear(latent_dim, layout.size, n_members)
        uniform_rows_(self.linear.weight, layout.spread(bounds))
        nn.init.zeros_(self.linear.bias)

    def forward(self, z: th.Tensor, members: slice = ALL_MEMBERS) -> DynamicWeights:
        """
        :param z: ``(*members, batch, latent_dim)``
        :param members: Which members to evaluate.
        :return: The dynamic weights of each row.
        """
        return self.layout.split(self.linear(z, members))
