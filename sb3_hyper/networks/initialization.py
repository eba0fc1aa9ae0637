"""
Initial distributions of the learnable parameters, by name.

A head generates, for each output of a dynamic layer with ``n_in`` inputs, ``n_in`` weights, a bias and a gain. A name
says how the primary network's linear weights and the rows of the heads start; biases of the primary network have
PyTorch's default everywhere.

=============== ================================ ======================================= ==============================
name            primary's weights                heads' weights                          heads' biases
=============== ================================ ======================================= ==============================
``paper``       fan-in uniform, spec's gain      U(+-bound), the spec's bounds           0
``sac_code``    the same, gain 1/sqrt(6)         U(+-bound), the spec's bounds           0
``bias_hyper``  fan-in uniform, spec's gain      0                                       an ordinary network's weights
``hyperfan_in`` fan-in uniform, spec's gain      variance g^2 / (2 n_in d_z) (weights),  0
                                                 g^2 / (2 d_z) (biases), 0 (gains)
``kaiming``     fan-in uniform, gain sqrt(2)     fan-in uniform in d_z, gain sqrt(2)     0
=============== ================================ ======================================= ==============================

Sources: ``paper``: Sec. 5.2; ``sac_code``: the authors' SAC code, which differs from their paper; ``bias_hyper``: Beck et
al., "Hypernetworks in Meta-Reinforcement Learning" (CoRL 2022); ``hyperfan_in``: Chang et al., "Principled Weight
Initialization for Hypernetworks" (ICLR 2020), g^2 being 2 before a ReLU and 1 at the output, for a latent of unit
variance; ``kaiming``: the negative control, which takes the heads for ordinary layers.
"""

import math

import torch as th

from sb3_hyper.networks.dynamic import DynamicLayout
from sb3_hyper.networks.spec import HyperNetworkSpec

PYTORCH_GAIN = 1 / math.sqrt(3)
PRIMARY_GAINS = {"sac_code": 1 / math.sqrt(6), "kaiming": math.sqrt(2)}


@th.no_grad()
def uniform_fan_in_(tensor: th.Tensor, fan_in: int, gain: float = PYTORCH_GAIN) -> th.Tensor:
    """
    Fan-in Kaiming-uniform: U(+-gain * sqrt(3 / fan_in)), in place.

    The default gain gives U(+-1 / sqrt(fan_in)), PyTorch's own for linear weights and biases. The paper's gain for the
    weights of the primary network is 1/sqrt(12), i.e. U(+-1 / (2 sqrt(fan_in))).

    :param tensor: What to fill.
    :param fan_in: Number of inputs that are summed.
    :param gain: Kaiming gain.
    :return: The same tensor.
    """
    bound = gain * math.sqrt(3 / fan_in)
    return tensor.uniform_(-bound, bound)


@th.no_grad()
def uniform_columns_(weight: th.Tensor, bounds: th.Tensor) -> th.Tensor:
    """
    U(+-bound) with a bound of its own for each output, in place.

    :param weight: ``(*members, in, out)``
    :param bounds: ``(out,)``
    :return: The same tensor.
    """
    return weight.uniform_(-1, 1).mul_(bounds.to(weight))


def primary_gain(spec: HyperNetworkSpec) -> float:
    """
    :param spec: The architecture.
    :return: Kaiming gain of the primary network's linear weights.
    """
    return PRIMARY_GAINS.get(spec.initialization, spec.primary_gain)


@th.no_grad()
def initialize_heads_(
    weight: th.Tensor, bias: th.Tensor, initialization: str, layout: DynamicLayout, bounds: th.Tensor
) -> None:
    """
    Fill the linear map from ``z`` to all dynamic weights.

    :param weight: ``(*members, d_z, layout.size)``
    :param bias: ``(*members, layout.size)``
    :param initialization: Its name.
    :param layout: Where each generated number lies.
    :param bounds: ``(layout.size,)``, the bounds of ``"paper"``.
    """
    d_z = weight.shape[-2]
    bias.zero_()
    if initialization == "bias_hyper":
        weight.zero_()
        for layer, (n_in, _) in zip(layout.split(bias), layout.shapes, strict=True):
            uniform_fan_in_(layer.weight, n_in)
            uniform_fan_in_(layer.bias, n_in)
    elif initialization == "hyperfan_in":
        variances = []
        for index, (n_in, n_out) in enumerate(layout.shapes):
            g_squared = 1 if index == len(layout.shapes) - 1 else 2
            variances += [th.full((n_in * n_out,), g_squared / (2 * n_in * d_z)), th.full((n_out,), g_squared / (2 * d_z))]
            variances += [th.zeros(n_out)] if layout.gain else []
        uniform_columns_(weight, (3 * th.cat(variances)).sqrt())
    elif initialization == "kaiming":
        uniform_fan_in_(weight, d_z, gain=math.sqrt(2))
    else:
        uniform_columns_(weight, bounds)
