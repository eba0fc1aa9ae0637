"""Task inference: from transitions to a Gaussian belief about the latent task variable (PEARL, Sec. 4.1)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch as th
import torch.nn.functional as F
from torch import nn

from sb3_hyper.meta.pearl.networks import Mlp

MIN_VARIANCE = 1e-7  # of one transition's factor


class Belief(NamedTuple):
    """
    A Gaussian with diagonal covariance for each task.

    :param mean: ``(n_tasks, latent_dim)``
    :param variance: ``(n_tasks, latent_dim)``
    """

    mean: th.Tensor
    variance: th.Tensor

    def sample(self) -> th.Tensor:
        """
        :return: Reparameterised samples, ``(n_tasks, latent_dim)``
        """
        return self.mean + self.variance.sqrt() * th.randn_like(self.mean)

    def divergence_from_prior(self) -> th.Tensor:
        """
        ``KL(N(mean, variance) || N(0, 1))``, summed over the latent dimensions.

        :return: ``(n_tasks,)``
        """
        return 0.5 * (self.variance + self.mean.square() - 1 - self.variance.log()).sum(dim=-1)


def prior(n_tasks: int, latent_dim: int, device: th.device | str = "cpu") -> Belief:
    """
    :param n_tasks: Number of tasks.
    :param latent_dim: Size of the latent variable.
    :param device: torch device.
    :return: Unit Gaussians.
    """
    return Belief(th.zeros(n_tasks, latent_dim, device=device), th.ones(n_tasks, latent_dim, device=device))


def product_of_gaussians(mean: th.Tensor, variance: th.Tensor, mask: th.Tensor | None = None) -> Belief:
    """
    The normalised product of Gaussian factors: ``1 / var = sum_n 1 / var_n``, ``mean = var sum_n mean_n / var_n``.

    :param mean: ``(n_tasks, n_factors, latent_dim)``
    :param variance: ``(n_tasks, n_factors, latent_dim)``; not below 1e-7.
    :param mask: ``(n_tasks, n_factors)``, which factors count, at least one of each task; all by default.
    :return: One Gaussian per task.
    """
    precision = variance.clamp(min=MIN_VARIANCE).reciprocal()
    if mask is not None:
        precision = precision * mask.unsqueeze(-1)
    product_variance = precision.sum(dim=-2).reciprocal()
    return Belief(product_variance * (mean * precision).sum(dim=-2), product_variance)


class ContextEncoder(nn.Module):
    """
    Each transition of the context is a factor of the belief: a perceptron gives its mean and, through a softplus, its
    variance. The order of transitions is of no account.

    :param transition_dim: Size of a transition: observation, action, reward, perhaps the next observation.
    :param latent_dim: Size of the latent variable.
    :param widths: Widths of the hidden layers.
    """

    def __init__(self, transition_dim: int, latent_dim: int, widths: Sequence[int] = (200, 200, 200)) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.network = Mlp([transition_dim, *widths, 2 * latent_dim])

    def forward(self, context: th.Tensor, mask: th.Tensor | None = None) -> Belief:
        """
        :param context: ``(n_tasks, n_transitions, transition_dim)``
        :param mask: ``(n_tasks, n_transitions)``, which transitions count, at least one of each task; all by default.
        :return: The belief about each task.
        """
        mean, raw_variance = self.network(context).chunk(2, dim=-1)
        return product_of_gaussians(mean, F.softplus(raw_variance), mask)
