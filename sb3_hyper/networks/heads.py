"""Heads: latent z -> dynamic weights. Each kind by its name in a spec."""

from collections.abc import Callable, Sequence

import torch as th
from torch import nn

from sb3_hyper.networks.dynamic import DynamicLayout, DynamicWeights, FactoredLayer
from sb3_hyper.networks.initialization import initialize_heads_, uniform_columns_, uniform_fan_in_
from sb3_hyper.networks.layers import ALL_MEMBERS, EnsembleLinear, choose_members
from sb3_hyper.networks.spec import HyperNetworkSpec


class DenseHeads(nn.Module):
    """
    The paper's heads: for each dynamic layer one linear map from ``z`` to its weight, one to its bias and one to its
    gain. They all read the same ``z``, so they are stored and evaluated as a single linear map.

    :param latent_dim: Size of ``z``.
    :param layer_sizes: Sizes of the dynamic network from its input to its output.
    :param bounds: For each output of each layer, the half-width of the uniform distribution which the rows that
        generate its weight, bias and gain start from. Biases of the heads start at zero.
    :param spec: The architecture.
    :param n_members: Size of the ensemble axis, or None.
    """

    def __init__(
        self,
        latent_dim: int,
        layer_sizes: Sequence[int],
        bounds: Sequence[th.Tensor],
        spec: HyperNetworkSpec,
        n_members: int | None = None,
    ) -> None:
        super().__init__()
        self.layout = DynamicLayout(layer_sizes, spec.gain)
        self.linear = EnsembleLinear(latent_dim, self.layout.size, n_members)
        initialize_heads_(self.linear.weight, self.linear.bias, spec.initialization, self.layout, self.layout.spread(bounds))

    def forward(self, z: th.Tensor, members: slice = ALL_MEMBERS) -> DynamicWeights:
        """
        :param z: ``(*members, batch, latent_dim)``
        :param members: Which members to evaluate.
        :return: The dynamic weights of each row.
        """
        return self.layout.split(self.linear(z, members))


class LowRankHeads(nn.Module):
    """
    Weights in CP form: ``W(z) = L diag(V z + c) R``, so that ``x W(z) = ((x L) * (V z + c)) R``. Biases and gains are
    linear in ``z`` as in the paper, and c starts at zero as all biases of heads do.

    A head costs ``(in + d_z + 1 + out) rank`` numbers where a dense one costs ``in out d_z``, and no weight is written out
    (but for ``dynamic_weight_norm``, which needs their lengths). Entries of L and R start with variance 1/sqrt(rank), V within
    the spec's bounds: generated weights start as wide as those of dense heads. (Multiplicative interactions: Jayakumar et al.,
    ICLR 2020.)

    :param latent_dim: Size of ``z``.
    :param layer_sizes: Sizes of the dynamic network from its input to its output.
    :param bounds: For each output of each layer the half-width of initial head weights; a layer's scales take its mean.
    :param spec: The architecture; its ``rank`` counts here.
    :param n_members: Size of the ensemble axis, or None.
    """

    has_fixed_weights = False

    def __init__(
        self,
        latent_dim: int,
        layer_sizes: Sequence[int],
        bounds: Sequence[th.Tensor],
        spec: HyperNetworkSpec,
        n_members: int | None = None,
    ) -> None:
        super().__init__()
        layout = DynamicLayout(layer_sizes, spec.gain)
        members = () if n_members is None else (n_members,)
        n_vectors = 2 if spec.gain else 1
        self.sections = [size for _, n_out in layout.shapes for size in (spec.rank, *n_vectors * [n_out])]
        self.gain = spec.gain
        self.linear = EnsembleLinear(latent_dim, sum(self.sections), n_members)
        # one bound per generated number: a layer's scales, then its biases and gains
        head_bounds = [part for bound in bounds for part in (bound.mean().expand(spec.rank), *n_vectors * [bound])]
        uniform_columns_(self.linear.weight, th.cat(head_bounds))
        nn.init.zeros_(self.linear.bias)
        std = spec.rank**-0.25
        self.left = nn.ParameterList([std * th.randn(*members, 1, n_in, spec.rank) for n_in, _ in layout.shapes])
        # a layer's scales have one bound, its outputs may have several
        self.right = nn.ParameterList(
            [std * th.randn(*members, 1, spec.rank, len(bound)) * (bound / bound.mean()) for bound in bounds]
        )
        self.fixed = nn.ParameterList()
        if self.has_fixed_weights:
            self._start_as_an_ordinary_network(layout, members)

    def _start_as_an_ordinary_network(self, layout: DynamicLayout, members: tuple[int, ...]) -> None:
        with th.no_grad():
            self.linear.weight.zero_()
            parts = iter(self.linear.bias.split(self.sections, dim=-1))
            for n_in, n_out in layout.shapes:
                self.fixed.append(nn.Parameter(uniform_fan_in_(th.empty(*members, 1, n_in, n_out), n_in)))
                next(parts)  # the scales start at zero, and with them the change
                uniform_fan_in_(next(parts), n_in)
                if self.gain:
                    next(parts)

    def forward(self, z: th.Tensor, members: slice = ALL_MEMBERS) -> DynamicWeights:
        """
        :param z: ``(*members, batch, latent_dim)``
        :param members: Which members to evaluate.
        :return: The dynamic weights of each row.
        """
        parts = iter(self.linear(z, members).split(self.sections, dim=-1))

        def chosen(parameter: th.Tensor) -> th.Tensor:
            return choose_members(parameter, members) if parameter.dim() == 4 else parameter

        return tuple(
            FactoredLayer(
                chosen(left),
                next(parts),
                chosen(right),
                chosen(self.fixed[index]) if self.has_fixed_weights else None,
                next(parts),
                next(parts) if self.gain else None,
            )
            for index, (left, right) in enumerate(zip(self.left, self.right, strict=True))
        )


class ResidualHeads(LowRankHeads):
    """
    Learned weights and a change that depends on ``z``: ``W(z) = W0 + L diag(V z + c) R``, ``b(z) = b0 + B z``.

    V, c, B and the gain's head start at zero, W0 and b0 as PyTorch's linear layers do: at first the dynamic network is an
    ordinary one, the same for all rows. (Ortiz et al., "Magnitude Invariant Parametrizations Improve Hypernetwork
    Learning", ICLR 2024; the low-rank change is LoRA's, Hu et al., ICLR 2022.)
    """

    has_fixed_weights = True


HEADS: dict[str, Callable[..., nn.Module]] = {"dense": DenseHeads, "low_rank": LowRankHeads, "residual": ResidualHeads}
