"""The hypernetwork of "Recomposing the Reinforcement Learning Building Blocks with Hypernetworks" (Fig. 1)."""

from collections.abc import Sequence
from numbers import Integral
from typing import cast

import torch as th
from torch import nn

from sb3_hyper.networks.dynamic import DynamicWeights, dynamic_network
from sb3_hyper.networks.heads import HEADS
from sb3_hyper.networks.layers import ALL_MEMBERS
from sb3_hyper.networks.primary import PrimaryNetwork
from sb3_hyper.networks.spec import HyperNetworkSpec


class HyperNetwork(nn.Module):
    """
    ``f_{w(meta)}(base)``: a primary network and heads generate, for each row of the meta variable, the weights of a
    small dynamic network that maps the base variable to the outputs.

    :param meta_dim: Size of the meta variable.
    :param base_dim: Size of the base variable.
    :param output_dims: Size of the output, or of several outputs that share the hidden layers of the dynamic network
        (mean and log-std of a policy). Outputs come concatenated: ``out.split(output_dims, dim=-1)``.
    :param spec: The architecture; the paper's by default.
    :param n_members: Evaluate an ensemble of independent hypernetworks at once: every result has a leading axis of
        that size. None: one hypernetwork, no such axis.
    :param output_bounds: Half-width of the initial uniform distribution of each output's heads,
        ``spec.output_head_bound`` for all by default.

    Example::

        q_network = HyperNetwork(meta_dim=17, base_dim=6, output_dims=1)
        q_network(states, actions)  # (B, 17), (B, 6) -> (B, 1)
        q_network(states, candidates)  # (B, 17), (B, N, 6) -> (B, N, 1), the weights are generated once per state
    """

    def __init__(
        self,
        meta_dim: int,
        base_dim: int,
        output_dims: int | Sequence[int],
        spec: HyperNetworkSpec | None = None,
        n_members: int | None = None,
        output_bounds: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        spec = HyperNetworkSpec() if spec is None else spec
        output_dims = [int(output_dims)] if isinstance(output_dims, Integral) else list(cast(Sequence[int], output_dims))
        sizes = {"meta_dim": meta_dim, "base_dim": base_dim, "output_dims": min(output_dims, default=0)}
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name} must be positive, got {size}")
        output_bounds = [spec.output_head_bound] * len(output_dims) if output_bounds is None else output_bounds
        if len(output_bounds) != len(output_dims):
            raise ValueError(f"One output bound per output is needed: got {len(output_bounds)} for {len(output_dims)} outputs")
        self.meta_dim, self.base_dim, self.output_dims = meta_dim, base_dim, output_dims
        self.n_members = n_members
        self.spec = spec
        bounds = [th.full((width,), spec.hidden_head_bound) for width in spec.dynamic_widths]
        bounds.append(th.cat([th.full((dim,), bound) for dim, bound in zip(output_dims, output_bounds, strict=True)]))
        layer_sizes = [base_dim, *spec.dynamic_widths, sum(output_dims)]
        self.primary = PrimaryNetwork(meta_dim, spec, None if spec.shared_primary else n_members)
        self.heads = HEADS[spec.heads](self.primary.latent_dim, layer_sizes, bounds, spec, n_members)

    def generate(self, meta: th.Tensor, members: slice = ALL_MEMBERS) -> DynamicWeights:
        """
        Generate the dynamic weights of each row.

        :param meta: ``(batch, meta_dim)``
        :param members: Which members of the ensemble to evaluate.
        :return: For each dynamic layer a :class:`~sb3_hyper.networks.dynamic.DynamicLayer`, or a
            :class:`~sb3_hyper.networks.dynamic.FactoredLayer` from heads of low rank.
        """
        return self.heads(self.primary(meta, members), members)

    def forward(self, meta: th.Tensor, base: th.Tensor, members: slice = ALL_MEMBERS) -> th.Tensor:
        """
        :param meta: ``(batch, meta_dim)``
        :param base: ``(batch, base_dim)``, or ``(batch, n, base_dim)`` for n values per row of ``meta``.
        :param members: Which members of the ensemble to evaluate.
        :return: ``(*members, batch, out)`` or ``(*members, batch, n, out)``
        """
        weights = self.generate(meta, members)
        if base.dim() == 2:
            return self.evaluate(weights, base.unsqueeze(1)).squeeze(-2)
        return self.evaluate(weights, base)

    def evaluate(self, weights: DynamicWeights, base: th.Tensor) -> th.Tensor:
        """
        Evaluate the dynamic network with weights that were generated before.

        :param weights: What :meth:`generate` gave.
        :param base: ``(batch, n, base_dim)``
        :return: ``(*members, batch, n, out)``
        """
        return dynamic_network(weights, base, self.spec.dynamic_layer_norm, self.spec.dynamic_weight_norm)
