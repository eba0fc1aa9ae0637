"""Initial distributions of the learnable parameters (Sec. 4.2 of the paper)."""

import math

import torch as th


@th.no_grad()
def uniform_fan_in_(tensor: th.Tensor, fan_in: int, gain: float = 1 / math.sqrt(3)) -> th.Tensor:
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
def uniform_rows_(weight: th.Tensor, bounds: th.Tensor) -> th.Tensor:
    """
    U(+-bound) with a bound of its own for each output, in place: the heads of the paper.

    :param weight: ``(*members, in, out)``
    :param bounds: ``(out,)``
    :return: The same tensor.
    """
    return weight.uniform_(-1, 1).mul_(bounds.to(weight))
