"""Episodes of several tasks, and what a linear baseline makes of them."""

from typing import NamedTuple

import numpy as np
import torch as th

RIDGE = 1e-5
RIDGE_STEP, RIDGE_TRIES = 10.0, 5


class Episodes(NamedTuple):
    """
    Episodes of several tasks, padded with zeros to the longest.

    :param observations: ``(n_tasks, n_episodes, n_steps, obs_dim)``
    :param actions: ``(n_tasks, n_episodes, n_steps, action_dim)``, as the policy drew them
    :param rewards: ``(n_tasks, n_episodes, n_steps)``
    :param mask: 1 for steps that were made, 0 for padding, ``(n_tasks, n_episodes, n_steps)``
    :param successes: 1 or 0, NaN where the environment does not say, ``(n_tasks, n_episodes)``
    """

    observations: th.Tensor
    actions: th.Tensor
    rewards: th.Tensor
    mask: th.Tensor
    successes: np.ndarray

    @property
    def returns(self) -> np.ndarray:
        """Undiscounted returns, ``(n_tasks, n_episodes)``"""
        return self.rewards.sum(dim=-1).cpu().numpy().astype(np.float64)


class Batch(NamedTuple):
    """
    Steps of several tasks, without regard to the episodes they come from.

    :param observations: ``(n_tasks, n, obs_dim)``
    :param actions: ``(n_tasks, n, action_dim)``
    :param advantages: Normalised per task, ``(n_tasks, n)``
    :param weights: ``(n_tasks, n)``: each task's sum to one, padding has none. A mean over steps is a product with them.
    """

    observations: th.Tensor
    actions: th.Tensor
    advantages: th.Tensor
    weights: th.Tensor


def discounted_sums(values: th.Tensor, discount: float) -> th.Tensor:
    """
    :param values: ``(..., n_steps)``
    :param discount: Discount factor.
    :return: ``y_t = x_t + discount * y_{t+1}``, ``(..., n_steps)``
    """
    sums, total = th.empty_like(values), th.zeros_like(values[..., 0])
    for step in reversed(range(values.shape[-1])):
        total = values[..., step] + discount * total
        sums[..., step] = total
    return sums


class LinearBaseline:
    """
    Ridge regression of discounted returns, for each task by itself, on observation, its square, and powers of the time:
    ``[s, s^2, t/100, (t/100)^2, (t/100)^3, 1]``, t counting from 1. (Duan et al., ICML 2016.)

    :param discount: Discount factor.
    """

    def __init__(self, discount: float) -> None:
        self.discount = discount
        self.coefficients: th.Tensor | None = None

    @staticmethod
    def features(episodes: Episodes) -> th.Tensor:
        """
        :param episodes: Episodes.
        :return: ``(n_tasks, n_episodes, n_steps, 2 * obs_dim + 4)``, float64
        """
        obs = episodes.observations.double()
        time = th.arange(1, obs.shape[2] + 1, dtype=obs.dtype, device=obs.device) / 100
        powers = th.stack([time, time**2, time**3, th.ones_like(time)], dim=-1).expand(*obs.shape[:2], -1, -1)
        return th.cat([obs, obs**2, powers], dim=-1) * episodes.mask.unsqueeze(-1)

    def fit(self, episodes: Episodes) -> "LinearBaseline":
        """
        :param episodes: Episodes.
        :return: The baseline.
        """
        features = self.features(episodes).flatten(1, 2)  # (n_tasks, n, n_features)
        returns = discounted_sums(episodes.rewards.double() * episodes.mask, self.discount) * episodes.mask
        gram = features.transpose(1, 2) @ features
        target = features.transpose(1, 2) @ returns.flatten(1, 2).unsqueeze(-1)
        identity = th.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
        ridge = RIDGE
        for _ in range(RIDGE_TRIES):
            coefficients, failed = th.linalg.solve_ex(gram + ridge * identity, target)
            if not failed.any() and bool(coefficients.isfinite().all()):
                break
            ridge += RIDGE_STEP
        self.coefficients = coefficients.nan_to_num()  # (n_tasks, n_features, 1)
        return self

    def values(self, episodes: Episodes) -> th.Tensor:
        """
        :param episodes: Episodes of the same tasks.
        :return: ``(n_tasks, n_episodes, n_steps)``, 0 for padding
        """
        assert self.coefficients is not None
        return (self.features(episodes) @ self.coefficients.unsqueeze(1)).squeeze(-1)


def make_batch(episodes: Episodes, baseline: LinearBaseline, discount: float, gae_lambda: float) -> Batch:
    """
    Generalised advantage estimation; a state after the last step has value 0, a time limit's too.

    :param episodes: Episodes.
    :param baseline: A fitted baseline.
    :param discount: Discount factor.
    :param gae_lambda: Lambda of GAE.
    :return: Steps with advantages that have mean 0 and variance 1 over each task's.
    """
    mask = episodes.mask.double()
    values = baseline.values(episodes)
    next_values = th.cat([values[..., 1:], th.zeros_like(values[..., :1])], dim=-1)  # padding has value 0
    errors = (episodes.rewards.double() + discount * next_values - values) * mask
    advantages = discounted_sums(errors, discount * gae_lambda).flatten(1, 2)
    weights = mask.flatten(1, 2)
    weights = weights / weights.sum(dim=1, keepdim=True)
    centred = advantages - (advantages * weights).sum(dim=1, keepdim=True)
    std = (centred.square() * weights).sum(dim=1, keepdim=True).sqrt()
    dtype = episodes.observations.dtype
    return Batch(
        episodes.observations.flatten(1, 2),
        episodes.actions.flatten(1, 2),
        (centred / (std + 1e-8)).to(dtype),
        weights.to(dtype),
    )
