"""
Is an action gradient right? Estimates from sampled returns, and what a critic says (Sec. 3.2 and App. B of the paper).

Pure functions of arrays. Estimates are made in float64: returns of a thousand differ by one.
"""

from typing import NamedTuple

import numpy as np

EPSILON = float(np.finfo(np.float64).eps)
# Singular values below this part of the largest one, or of the largest action, count as zero: some roundings of float32, which
# actions are. The policy's own may be tanh(8.5) where all others are clipped to 1, which is 1.2e-7 more.
RELATIVE_CUTOFF = 1e-6


class GradientFit(NamedTuple):
    """
    Local linear fits.

    :param gradients: ``(n_states, action_dim)``, zero in directions in which the actions do not vary; not a number where an
        action or a return is not finite
    :param ranks: In how many directions the actions of each state vary, ``(n_states,)``
    """

    gradients: np.ndarray
    ranks: np.ndarray


def fit_gradients(actions: np.ndarray, returns: np.ndarray, rounding: np.ndarray | float = 0.0) -> GradientFit:
    """
    Estimate the gradient of the return with respect to the action, state by state.

    The paper's estimator (App. B) minimises ``sum_ij ((a_j - a_i) g - q_j + q_i)^2`` over all pairs. That sum is 2 N times
    the centred one, so its minimum is ordinary least squares with an intercept; of all minima the one of least norm.

    Where returns differ by no more than rounding does, their gradient is zero, not a direction made of rounding errors.

    :param actions: Sampled actions, ``(n_states, n_actions, action_dim)``
    :param returns: Their returns, ``(n_states, n_actions)``
    :param rounding: What was lost where returns were not computed in float64 throughout: the size of a rounding error,
        of any shape that broadcasts to that of the returns.
    :return: The gradients and their ranks.
    :raises ValueError: If the shapes do not fit.
    """
    actions, returns = np.asarray(actions, dtype=np.float64), np.asarray(returns, dtype=np.float64)
    if actions.ndim != 3 or returns.shape != actions.shape[:2]:
        raise ValueError(
            "actions (n_states, n_actions, action_dim) and returns (n_states, n_actions) are expected, "
            f"got {actions.shape} and {returns.shape}"
        )
    finite = np.isfinite(actions).all(axis=(1, 2)) & np.isfinite(returns).all(axis=1)
    actions = np.where(finite[:, None, None], actions, 0.0)  # the decomposition fails on others
    centred = actions - actions.mean(axis=1, keepdims=True)
    differences = _differences(returns, rounding)
    left, singular, right = np.linalg.svd(centred, full_matrices=False)
    # a direction counts if it is above rounding, both of this state's samples and of the actions themselves
    scale = np.maximum(singular[:, :1], np.abs(actions).max(axis=(1, 2), initial=0)[:, None])
    kept = singular > RELATIVE_CUTOFF * scale
    inverse = np.divide(1, singular, out=np.zeros_like(singular), where=kept)
    projected = np.einsum("snk,sn->sk", left, differences) * inverse
    gradients = np.einsum("ska,sk->sa", right, projected)
    return GradientFit(np.where(finite[:, None], gradients, np.nan), kept.sum(axis=1))


def cosine_similarity(gradients: np.ndarray, others: np.ndarray) -> np.ndarray:
    """
    The cosine of the angle between two gradients, state by state.

    :param gradients: ``(n_states, action_dim)``
    :param others: ``(n_states, action_dim)``
    :return: ``(n_states,)``; not a number where a gradient is zero, or not finite, and has no direction.
    """
    gradients, others = np.asarray(gradients, dtype=np.float64), np.asarray(others, dtype=np.float64)
    return np.clip((_unit(gradients) * _unit(others)).sum(axis=-1), -1, 1)


def _unit(vectors: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        vectors = vectors / np.abs(vectors).max(axis=-1, keepdims=True)  # the square of a small number may vanish
        return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def value_correlation(
    values: np.ndarray, returns: np.ndarray, values_rounding: np.ndarray | float = 0.0, rounding: np.ndarray | float = 0.0
) -> np.ndarray:
    """
    Pearson's correlation of a critic's values with returns over the actions sampled in a state: does it know which of them
    are better? It asks less than the gradient does, which is taken at one action, where the actor has made it small.

    :param values: The critic's values, ``(n_states, n_actions)``
    :param returns: The returns, ``(n_states, n_actions)``
    :param values_rounding: The size of a rounding error of the values, see :func:`fit_gradients`.
    :param rounding: That of the returns.
    :return: ``(n_states,)``; not a number where either of them does not depend on the action, or is not finite.
    """
    values, returns = np.asarray(values, dtype=np.float64), np.asarray(returns, dtype=np.float64)
    return cosine_similarity(_differences(values, values_rounding), _differences(returns, rounding))


def _differences(returns: np.ndarray, rounding: np.ndarray | float) -> np.ndarray:
    """What each return is above its state's mean: zero where they differ by rounding only, NaN where one is not finite."""
    returns = np.where(np.isfinite(returns).all(axis=1, keepdims=True), returns, np.nan)
    differences = returns - returns.mean(axis=1, keepdims=True)
    # a mean of n equal numbers is off by up to n roundings
    error = returns.shape[1] * (EPSILON * np.abs(returns) + rounding).max(axis=1, initial=0)
    flat = np.abs(differences).max(axis=1, initial=0) <= error
    return np.where(flat[:, None], 0.0, differences)


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


def noise_floor(actions: np.ndarray, returns: np.ndarray, rounding: np.ndarray | float = 0.0) -> np.ndarray:
    """
    How well two estimates agree that share no sample: the fit on every other action against that on the rest.

    Each has half the samples of the fit that critics are compared with, so a critic can agree better with that one than the
    halves do with each other: see :func:`ceiling`.

    :param actions: ``(n_states, n_actions, action_dim)``
    :param returns: ``(n_states, n_actions)``
    :param rounding: As in :func:`fit_gradients`.
    :return: Cosine similarities, ``(n_states,)``
    """
    rounding = np.broadcast_to(rounding, np.shape(returns))
    halves = [fit_gradients(actions[:, start::2], returns[:, start::2], rounding[:, start::2]).gradients for start in (0, 1)]
    return cosine_similarity(*halves)


def ceiling(noise_floor: np.ndarray | float) -> np.ndarray:
    """
    About what the cosine similarity of a perfect critic would be, from how well two halves of the samples agree:
    ``sqrt(2 c / (1 + c))`` for ``c > 0``, else 0.

    Let S be the squared norm of the true gradient and N that of an estimate's error from half of the samples. Errors of two
    halves are independent of each other, and in many dimensions nearly orthogonal to the gradient, so the halves have the
    cosine ``c = S / (S + N)``. All samples together have half the error, N / 2, and the true gradient has the cosine
    ``sqrt(S / (S + N / 2))`` with their fit. Solved for S / N that is the formula.

    It is approximate. Give it a mean over states, for single ones are noisy; that takes all states for alike, and where
    they are not it is too high, for the formula is concave (half of the states clean, half of them mostly noise: 0.8, where
    0.65 is right). Where there are few samples for each direction twice as many more than halve the error, and it is too
    low. It fails where halves have no residual freedom left, see :func:`halves_are_too_small`. And it knows of the noise of
    samples only, not of what a linear fit over some distance misses of the gradient at one action.

    :param noise_floor: Cosine similarities of two half fits, any shape.
    :return: Cosine similarities, of the same shape.
    """
    agreement = np.maximum(noise_floor, 0.0)  # keeps what is not a number
    return np.sqrt(2 * agreement / (1 + agreement))


def halves_are_too_small(n_actions: int, action_dim: int) -> bool:
    """
    Whether the smaller half of the samples leaves a linear fit no residual: it then follows every error, or leaves
    directions open.

    :param n_actions: Actions per state.
    :param action_dim: Size of an action.
    :return: Whether noise floor and ceiling say little.
    """
    return action_dim + 1 >= n_actions // 2  # the intercept takes one
