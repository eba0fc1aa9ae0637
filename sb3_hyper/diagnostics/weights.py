"""How generated weights are distributed, and how far from an ordinary network's (the paper's Figs. 10, 11 and Table 2)."""

import math
from collections.abc import Sequence

import numpy as np
import torch as th
from torch import nn

from sb3_hyper.networks.hypernetwork import HyperNetwork
from sb3_hyper.networks.layers import EnsembleLinear
from sb3_hyper.networks.q_networks import SeparateMembers


def find_hypernetworks(module: nn.Module) -> dict[str, HyperNetwork]:
    """
    :param module: A policy, critic or actor.
    :return: Name -> hypernetwork, for those in it.
    """
    return {name: part for name, part in module.named_modules() if isinstance(part, HyperNetwork)}


@th.no_grad()
def generated_weights(network: HyperNetwork, meta: th.Tensor, member: int = 0) -> list[np.ndarray]:
    """
    The weights of each dynamic layer, as they come out of the heads: without gains, as in the authors' code.

    :param network: A hypernetwork.
    :param meta: Meta variables, ``(batch, meta_dim)``
    :param member: Which member of an ensemble.
    :return: For each layer all entries of all weights, ``(batch * in * out,)``
    """
    weights = network.generate(meta) if network.n_members is None else network.generate(meta, slice(member, member + 1))
    return [layer.weight.flatten().cpu().numpy() for layer in weights]


def common_bins(samples: Sequence[np.ndarray], n_bins: int = 200) -> np.ndarray:
    """
    :param samples: Samples of several distributions.
    :param n_bins: Number of bins.
    :return: Edges of bins of equal width that cover all of them that are finite, ``(n_bins + 1,)``
    """
    finite = [values[np.isfinite(values)] for values in samples]
    ends = [float(end) for values in finite if len(values) for end in (values.min(), values.max())]
    return np.histogram_bin_edges(ends, n_bins)


def total_variation(one: np.ndarray, other: np.ndarray, bins: np.ndarray) -> float:
    """
    Total-variation distance of two histograms, ``1/2 sum_k |p_k - q_k|``: 0 for equal ones, 1 for disjoint ones.

    The numbers of the paper's Table 2 are percentages, and look like half of this: ``25 sum_k |p_k - q_k|``.

    :param one: Samples.
    :param other: Samples.
    :param bins: Edges of bins that cover both.
    :return: The distance.
    """
    p, q = (np.histogram(values, bins)[0] / len(values) for values in (one, other))
    return float(np.abs(p - q).sum() / 2)


def total_variation_of_histograms(
    one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray], n_bins: int = 200
) -> float:
    """
    Total-variation distance of two samples of which only histograms are left, as in :func:`total_variation` with bins that
    cover both. Within a bin the samples are taken to lie evenly.

    :param one: Counts, ``(n,)``, and edges of bins, ``(n + 1,)``
    :param other: Counts and edges of bins, as many or not.
    :param n_bins: Number of common bins.
    :return: The distance; not a number where a histogram is empty.
    """
    if not (one[0].any() and other[0].any()):
        return float("nan")
    bins = common_bins([one[1], other[1]], n_bins)
    p, q = (np.diff(np.interp(bins, edges, np.cumsum([0, *counts]))) / counts.sum() for counts, edges in (one, other))
    return float(np.abs(p - q).sum() / 2)


def distance_to_initial(weights: np.ndarray, n_inputs: int, bins: np.ndarray) -> float:
    """
    Total-variation distance to the weights that PyTorch gives a linear layer at first, uniform between
    ``-1 / sqrt(n_inputs)`` and ``1 / sqrt(n_inputs)``. That distribution is known and not sampled: the distance has no noise
    of its own.

    :param weights: Samples.
    :param n_inputs: Inputs of the linear layer.
    :param bins: Edges of bins that cover both.
    :return: The distance, as in :func:`total_variation`; not a number where a weight is not finite.
    """
    if not np.isfinite(weights).all():
        return float("nan")
    bound = initial_bound(n_inputs)
    p = np.histogram(weights, bins)[0] / len(weights)
    q = np.diff(np.clip(bins, -bound, bound)) / (2 * bound)
    return float(np.abs(p - q).sum() / 2)


def initial_bound(n_inputs: int) -> float:
    """
    :param n_inputs: Inputs of a linear layer.
    :return: Half-width of the uniform distribution that PyTorch draws its weights from.
    """
    return 1 / math.sqrt(n_inputs)


def linear_layers(module: nn.Module) -> list[nn.Linear | EnsembleLinear]:
    """
    :param module: An ordinary network.
    :return: Its linear layers; of a list of independent networks, those of the first.
    """
    if isinstance(module, SeparateMembers):
        module = module.members[0]
    return [part for part in module.modules() if isinstance(part, (nn.Linear, EnsembleLinear))]


def linear_weights(module: nn.Module, member: int = 0) -> list[np.ndarray]:
    """
    The weights of an ordinary network, layer by layer, to compare with.

    :param module: A network of linear layers, such as MLP-Small.
    :param member: Which member, where layers hold the weights of an ensemble.
    :return: For each layer all entries of its weight.
    """
    weights = [layer.weight if layer.weight.dim() == 2 else layer.weight[member] for layer in linear_layers(module)]
    return [weight.detach().flatten().cpu().numpy() for weight in weights]


def n_inputs(layer: nn.Linear | EnsembleLinear) -> int:
    """
    :param layer: A linear layer.
    :return: Size of its input.
    """
    return layer.in_features if isinstance(layer, nn.Linear) else layer.weight.shape[-2]
