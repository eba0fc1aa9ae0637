"""How generated weights are distributed, and how far from an ordinary network's (App. E: Figs. 10, 11 and Table 2)."""

from collections.abc import Sequence

import numpy as np
import torch as th
from torch import nn

from sb3_hyper.networks.hypernetwork import HyperNetwork


def find_hypernetworks(module: nn.Module) -> dict[str, HyperNetwork]:
    """
    :param module: A policy, critic or actor.
    :return: Name -> hypernetwork, for those in it.
    """
    return {name: part for name, part in module.named_modules() if isinstance(part, HyperNetwork)}


@th.no_grad()
def generated_weights(network: HyperNetwork, meta: th.Tensor, member: int = 0) -> list[np.ndarray]:
    """
    The weights of each dynamic layer, as they come out of the heads: without gains, which the paper leaves out too.

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
    :return: Edges of bins of equal width that cover all of them, ``(n_bins + 1,)``
    """
    low, high = min(float(values.min()) for values in samples), max(float(values.max()) for values in samples)
    if low == high:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, n_bins + 1)


def total_variation(one: np.ndarray, other: np.ndarray, bins: np.ndarray) -> float:
    """
    Total-variation distance of two histograms, ``1/2 sum_k |p_k - q_k|``: 0 for equal ones, 1 for disjoint ones.

    The numbers of the paper's Table 2 look like half of this, in percent.

    :param one: Samples.
    :param other: Samples.
    :param bins: Edges of bins that cover both.
    :return: The distance.
    """
    p, q = (np.histogram(values, bins)[0] / len(values) for values in (one, other))
    return float(np.abs(p - q).sum() / 2)


def linear_weights(module: nn.Module) -> list[np.ndarray]:
    """
    The weights of an ordinary network, layer by layer, to compare with.

    :param module: A network of linear layers, such as MLP-Small.
    :return: For each layer all entries of its weight.
    """
    return [part.weight.detach().flatten().cpu().numpy() for part in module.modules() if isinstance(part, nn.Linear)]
