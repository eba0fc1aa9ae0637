"""The dynamic network: layers whose weights are inputs (Eq. 1 of the paper), as pure functions."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch as th
import torch.nn.functional as F


class DynamicLayer(NamedTuple):
    """
    The generated weights of one dynamic layer, one set per row of the meta variable.

    :param weight: ``(*members, batch, in, out)``
    :param bias: ``(*members, batch, out)``
    :param gain: ``(*members, batch, out)``; the layer scales by ``1 + gain``. None: it does not scale.
    """

    weight: th.Tensor
    bias: th.Tensor
    gain: th.Tensor | None


class FactoredLayer(NamedTuple):
    """
    A dynamic layer whose weight is a product, ``W = fixed + left diag(scale) right``, and is not multiplied out.

    :param left: ``(*members, 1, in, rank)``, the same for all rows
    :param scale: ``(*members, batch, rank)``, generated
    :param right: ``(*members, 1, rank, out)``, the same for all rows
    :param fixed: ``(*members, 1, in, out)``, the same for all rows; None: zero.
    :param bias: ``(*members, batch, out)``
    :param gain: ``(*members, batch, out)`` or None
    """

    left: th.Tensor
    scale: th.Tensor
    right: th.Tensor
    fixed: th.Tensor | None
    bias: th.Tensor
    gain: th.Tensor | None

    @property
    def weight(self) -> th.Tensor:
        """``(*members, batch, in, out)``"""
        change = self.left @ (self.scale.unsqueeze(-1) * self.right)
        return change if self.fixed is None else self.fixed + change


DynamicWeights = tuple[DynamicLayer | FactoredLayer, ...]


class DynamicLayout:
    """
    Where each layer's weight, bias and gain lie in the flat vector that a head emits.

    :param layer_sizes: Sizes of the dynamic network from its input to its output.
    :param gain: Whether its layers have gains.
    """

    def __init__(self, layer_sizes: Sequence[int], gain: bool = True) -> None:
        self.shapes = list(pairwise(layer_sizes))
        self.gain = gain
        self.sections = [size for n_in, n_out in self.shapes for size in (n_in * n_out, n_out, n_out)[: 3 if gain else 2]]
        self.size = sum(self.sections)

    def spread(self, per_output: Sequence[th.Tensor]) -> th.Tensor:
        """
        :param per_output: A value for each output of each layer, ``(out,)`` each.
        :return: ``(size,)``: for each generated number, the value of the output it belongs to.
        """
        n_vectors = 2 if self.gain else 1  # bias and gain, beside the rows of the weight
        return th.cat([values.repeat(n_in + n_vectors) for (n_in, _), values in zip(self.shapes, per_output, strict=True)])

    def split(self, flat: th.Tensor) -> DynamicWeights:
        """
        :param flat: ``(*members, batch, size)``
        :return: One :class:`DynamicLayer` per layer; views of ``flat``.
        """
        parts = iter(flat.split(self.sections, dim=-1))
        return tuple(
            DynamicLayer(next(parts).unflatten(-1, shape), next(parts), next(parts) if self.gain else None)
            for shape in self.shapes
        )


def dynamic_layer(layer: DynamicLayer | FactoredLayer, x: th.Tensor) -> th.Tensor:
    """
    Eq. 1: ``y = (1 + g) * (x W) + b``. The gain multiplies before the bias is added.

    :param layer: The generated weights.
    :param x: ``(batch, n, in)`` or ``(*members, batch, n, in)``: n inputs share a row's weights.
    :return: ``(*members, batch, n, out)``
    """
    bias = layer.bias.unsqueeze(-2)
    if isinstance(layer, FactoredLayer):
        product = _same_for_all(_same_for_all(x, layer.left) * layer.scale.unsqueeze(-2), layer.right)
        if layer.fixed is not None:
            product = product + _same_for_all(x, layer.fixed)
    elif layer.gain is not None and x.shape[-2] > x.shape[-1]:
        # more inputs than a weight has rows: the gain is cheaper to apply to the weight
        return _affine(x, layer.weight * (1 + layer.gain.unsqueeze(-2)), bias)
    else:
        product = x @ layer.weight
    if layer.gain is None:
        return product + bias
    return th.addcmul(product + bias, product, layer.gain.unsqueeze(-2))


def _same_for_all(x: th.Tensor, weight: th.Tensor) -> th.Tensor:
    # ``(*members, batch, n, in)`` times ``(*members, 1, in, out)``. Broadcast, it would be a small product for each row, of
    # a copy of the weight for each.
    return (x.flatten(-3, -2) @ weight.squeeze(-3)).unflatten(-2, x.shape[-3:-1])


def _affine(x: th.Tensor, weight: th.Tensor, bias: th.Tensor) -> th.Tensor:
    if x.shape[-3] != weight.shape[-3]:
        return x @ weight + bias
    rows = x.expand(*weight.shape[:-2], *x.shape[-2:])
    # one pass over a result that may be large
    return th.baddbmm(bias.flatten(0, -3), rows.flatten(0, -3), weight.flatten(0, -3)).unflatten(0, weight.shape[:-2])


def unit_scale(layer: DynamicLayer | FactoredLayer) -> th.Tensor:
    """
    :param layer: The generated weights.
    :return: One over the length of each output's weights, its bias among them, ``(*members, batch, out)``.
    """
    squares = layer.weight.square().sum(dim=-2)
    if layer.gain is not None:
        squares = squares * (1 + layer.gain).square()
    return (squares + layer.bias.square() + 1e-12).rsqrt()


def dynamic_network(
    weights: DynamicWeights, base: th.Tensor, layer_norm: bool = False, weight_norm: bool = False
) -> th.Tensor:
    """
    Dynamic layers with ReLU between them and none after the last.

    :param weights: The generated weights.
    :param base: ``(batch, n, base_dim)`` or ``(*members, batch, n, base_dim)``. ``batch`` may be any size where the
        weights' is 1, and the other way round.
    :param layer_norm: Whether hidden layers are normalised before the ReLU.
    :param weight_norm: Whether the weights of each hidden unit, its bias among them, are scaled to length one.
    :return: ``(*members, batch, n, out)``
    """
    x = base
    for layer in weights[:-1]:
        x = dynamic_layer(layer, x)
        if weight_norm:  # of what enters the unit and not of the weights: there are fewer of them
            x = x * unit_scale(layer).unsqueeze(-2)
        x = F.relu_(F.layer_norm(x, x.shape[-1:]) if layer_norm else x)  # in place: nothing else needs the sum
    return dynamic_layer(weights[-1], x)
