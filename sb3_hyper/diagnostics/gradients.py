"""
Is an action gradient right? Estimates from sampled returns, and what a critic says (Sec. 3.2 and App. B of the paper).

Pure functions of arrays. Estimates are made in float64: returns of a thousand differ by one.
"""

from typing import NamedTuple

import numpy as np

RELATIVE_CUTOFF = 1e-10  # singular values below this part of the largest one count as zero


class GradientFit(NamedTuple):
    """
    Local linear fits.

    :param gradients: ``(n_states, action_dim)``, zero in directions in which the actions do not vary
    :param ranks: In how many directions the actions of each state vary, ``(n_states,)``
    """

    gradients: np.ndarray
    ranks: np.ndarray

    @property
    def degenerate(self) -> np.ndarray:
        """States whose actions leave some direction of the gradient open, ``(n_states,)``."""
        return self.ranks < self.gradients.shape[-1]


def fit_gradients(actions: np.ndarray, returns: np.ndarray) -> GradientFit:
    """
    Estimate the gradient of the return with respect to the action, state by state.

    The paper's estimator (App. B) minimises ``sum_ij ((a_j - a_i) g - q_j + q_i)^2`` over all pairs. That sum is 2 N times
    the centred one, so its minimum is ordinary least squares with an intercept; of all minima the one of least norm.

    :param actions: Sampled actions, ``(n_states, n_actions, action_dim)``
    :param returns: Their returns, ``(n_states, n_actions)``
    :return: The gradients and their ranks.
    :raises ValueError: If the shapes do not fit.
    """
    actions, returns = np.asarray(actions, dtype=np.float64), np.asarray(returns, dtype=np.float64)
    if actions.ndim != 3 or returns.shape != actions.shape[:2]:
        raise ValueError(
            "actions (n_states, n_actions, action_dim) and returns (n_states, n_actions) are expected, "
            f"got {actions.shape} and {returns.shape}"
        )
    centred = actions - actions.mean(axis=1, keepdims=True)
    differences = returns - returns.mean(axis=1, keepdims=True)
    left, singular, right = np.linalg.svd(centred, full_matrices=False)
    # a direction counts if it is above rounding, both of this state's samples and of the actions themselves
    scale = np.maximum(singular[:, :1], np.abs(actions).max(axis=(1, 2), initial=0)[:, None])
    kept = singular > RELATIVE_CUTOFF * scale
    inverse = np.divide(1, singular, out=np.zeros_like(singular), where=kept)
    projected = np.einsum("snk,sn->sk", left, differences) * inverse
    return GradientFit(np.einsum("ska,sk->sa", right, projected), kept.sum(axis=1))


def cosine_similarity(gradients: np.ndarray, others: np.ndarray) -> np.ndarray:
    """
    The cosine of the angle between two gradients, state by state.

    :param gradients: ``(n_states, action_dim)``
    :param others: ``(n_states, action_dim)``
    :return: ``(n_states,)``; not a number where a gradient is zero, and has no direction.
    """
    gradients, others = np.asarray(gradients, dtype=np.float64), np.asarray(others, dtype=np.float64)
    return np.clip((_unit(gradients) * _unit(others)).sum(axis=-1), -1, 1)


def _unit(vectors: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        vectors = vectors / np.abs(vectors).max(axis=-1, keepdims=True)  # the square of a small number may vanish
        return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def learnable_share(cosines: np.ndarray, thresholds: np.ndarray | float) -> np.ndarray:
    """
    The share of learnable states (Fig. 3a-c): those whose cosine similarity is above a threshold.

    :param cosines: ``(n_states,)``; a state without a direction is not learnable.
    :param thresholds: Any shape.
    :return: Shares, of the thresholds' shape.
    """
    cosines = np.asarray(cosines, dtype=np.float64)
    above = cosines.reshape(-1, *np.ndim(thresholds) * [1]) > np.asarray(thresholds)
    return above.mean(axis=0)


def noise_floor(actions: np.ndarray, returns: np.ndarray) -> np.ndarray:
    """
    How well two estimates agree that share no sample: the fit on every other action against that on the rest. No critic
    can be measured more exactly than this.

    :param actions: ``(n_states, n_actions, action_dim)``
    :param returns: ``(n_states, n_actions)``
    :return: Cosine similarities, ``(n_states,)``
    """
    halves = [fit_gradients(actions[:, start::2], returns[:, start::2]).gradients for start in (0, 1)]
    return cosine_similarity(*halves)
