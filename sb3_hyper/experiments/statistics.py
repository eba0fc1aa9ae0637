"""
What to say about scores of few runs. Pure functions of arrays.

Sources: Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice" (NeurIPS 2021) for
interquartile mean, stratified bootstrap, performance profile and probability of improvement; Patterson et al.,
"Empirical Design in Reinforcement Learning" (JMLR 2024) for area under the curve and final scores.

A score that is not a number (a run that diverged) is not dropped: the result is not a number either.
"""

from collections.abc import Callable, Sequence

import numpy as np

# runs of each task, ``(n_runs, ...)`` -> ``(...)``
Statistic = Callable[[Sequence[np.ndarray]], np.ndarray | float]

N_LAST = 5  # evaluations at a run's end that its final score is the mean of
N_NUMBERS_AT_ONCE = 4_000_000  # of resampled scores: 32 MB


# Share of 95 % intervals that hold the truth: stratified_bootstrap of the mean of n normally distributed scores, simulated
COVERAGE = {2: 0.50, 3: 0.75, 4: 0.79, 5: 0.83, 10: 0.90}
COVERS = (
    "too narrow where seeds are few: they hold the truth in about half of all cases with 2, in three quarters with 3, in five "
    "sixths with 5"
)


def interquartile_mean(scores: Sequence[np.ndarray]) -> np.ndarray | float:
    """
    Mean of the middle half of all runs' scores.

    Every task weighs the same, and its runs share that weight, so a task with more seeds does not count for more. What is
    left out is a quarter of the weight at either end, fractions of a run included. With equally many runs per task, in
    all a multiple of four, this is the trimmed mean of rliable.

    :param scores: One array ``(n_runs, ...)`` per task, comparable between tasks; numbers of runs may differ.
    :return: ``(...)``
    """
    scores = _tasks(scores)
    weights = np.concatenate([np.full(len(task), 1 / (len(task) * len(scores))) for task in scores])
    pooled = np.concatenate(scores)
    order = np.argsort(pooled, axis=0)
    ends = np.cumsum(weights[order], axis=0)
    inside = np.clip(ends, 0.25, 0.75) - np.clip(ends - weights[order], 0.25, 0.75)
    middle = 2 * (inside * np.take_along_axis(pooled, order, axis=0)).sum(axis=0)
    # sorting puts what is not a number at the end, where it would be cut off
    return np.where(np.isnan(pooled).any(axis=0), np.nan, middle)[()]


def stratified_bootstrap(
    scores: Sequence[np.ndarray],
    statistic: Statistic,
    n_resamples: int = 2000,
    confidence: float = 0.95,
    *,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """
    Percentile interval of a statistic of all runs; the runs are drawn with replacement within each task.

    A task with one run contributes that run every time: if all have one run, the interval is a point, which says that
    nothing is known about the spread, not that there is none. With few runs per task intervals are somewhat too
    narrow, since the spread within ``n`` runs is ``sqrt((n - 1) / n)`` of the true one on average.

    :param scores: One array ``(n_runs, ...)`` per task; numbers of runs may differ. Runs are drawn whole.
    :param statistic: Maps the runs of each task, ``(n_runs, n, ...)``, to their statistic by reducing the first axis:
        ``(n, ...)``. ``n`` resamples are given at once.
    :param n_resamples: How many resamples are drawn. More: ends of the interval that depend less on chance.
    :param confidence: Probability that the interval holds the true value.
    :param rng: Source of randomness.
    :return: Lower and upper end, each of the shape of the statistic.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    scores = _tasks(scores)
    n_at_once = max(1, N_NUMBERS_AT_ONCE // sum(task.size for task in scores))
    values = []
    for start in range(0, n_resamples, n_at_once):
        n = min(n_at_once, n_resamples - start)
        drawn = [task[rng.integers(len(task), size=(len(task), n))] for task in scores]  # (n_runs, n, ...)
        values.append(statistic(drawn))
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(values), [tail, 1 - tail], axis=0)
    return low, high


def area_under_curve(steps: np.ndarray, curve: np.ndarray) -> float:
    """
    Return averaged over time: the trapezoids below the curve, divided by the span of the steps.

    :param steps: Increasing, ``(n_evaluations,)``
    :param curve: Return at each step, ``(n_evaluations,)``
    :return: The average; the return itself if there is one evaluation only.
    """
    steps, curve = _curve(steps, curve)
    if len(steps) == 1:
        return float(curve[0])
    areas = np.diff(steps) * (curve[1:] + curve[:-1]) / 2
    return float(areas.sum() / (steps[-1] - steps[0]))


def final_score(curve: np.ndarray, n: int = N_LAST) -> float:
    """
    Mean of the last evaluations.

    :param curve: Return of each evaluation, ``(n_evaluations,)``
    :param n: How many; all, if there are fewer.
    :return: The mean.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    return float(_not_empty(curve, "curve")[-n:].mean())


def highest_score(curve: np.ndarray) -> float:
    """
    The paper's "highest reward" (Tables 4 and 6): the best evaluation of a run. It rises with every further evaluation.

    :param curve: Return of each evaluation, ``(n_evaluations,)``
    :return: The maximum.
    """
    return float(_not_empty(curve, "curve").max())


def probability_of_improvement(scores_x: Sequence[np.ndarray], scores_y: Sequence[np.ndarray]) -> np.ndarray | float:
    """
    Mean over tasks of P(X > Y) + P(X = Y) / 2, from all pairs of a run of X and a run of Y.

    :param scores_x: One array ``(n_runs, ...)`` per task.
    :param scores_y: The same tasks, in the same order; numbers of runs may differ.
    :return: ``(...)``, between 0 and 1; 0.5 for equals.
    """
    if len(scores_x) != len(scores_y):
        raise ValueError(f"X and Y must have the same tasks, got {len(scores_x)} and {len(scores_y)} of them")
    if not len(scores_x):
        raise ValueError("scores_x and scores_y are empty")
    tasks = []
    for x, y in zip(scores_x, scores_y, strict=True):
        x, y = _not_empty(x, "scores_x")[:, None], _not_empty(y, "scores_y")[None]
        wins = np.where(np.isnan(x) | np.isnan(y), np.nan, (x > y) + 0.5 * (x == y))  # (n_runs_x, n_runs_y, ...)
        tasks.append(wins.mean(axis=(0, 1)))
    return np.mean(tasks, axis=0)


def improvement_interval(
    scores_x: Sequence[np.ndarray],
    scores_y: Sequence[np.ndarray],
    n_resamples: int = 2000,
    confidence: float = 0.95,
    *,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """
    Bootstrap interval of :func:`probability_of_improvement`; runs of X and of Y are drawn independently in each task.

    :param scores_x: One array ``(n_runs,)`` per task.
    :param scores_y: The same tasks, in the same order.
    :param n_resamples: As in :func:`stratified_bootstrap`.
    :param confidence: Likewise.
    :param rng: Source of randomness.
    :return: Lower and upper end.
    """

    def statistic(tasks: Sequence[np.ndarray]) -> np.ndarray | float:
        return probability_of_improvement(tasks[: len(scores_x)], tasks[len(scores_x) :])

    return stratified_bootstrap([*scores_x, *scores_y], statistic, n_resamples, confidence, rng=rng)


def shortfall(curve: np.ndarray) -> float:
    """
    How unsteady a run is: how far its evaluations lie below the best one so far, on average. Zero if it never falls back.

    :param curve: Return at each evaluation, ``(n_evaluations,)``
    :return: In units of the return.
    """
    curve = _not_empty(curve, "curve")
    return float((np.maximum.accumulate(curve) - curve).mean())


def performance_profile(scores: Sequence[np.ndarray], thresholds: np.ndarray) -> np.ndarray:
    """
    Share of runs above each threshold, the mean over tasks: every task counts the same.

    :param scores: One array ``(n_runs, ...)`` per task, comparable between tasks; numbers of runs may differ.
    :param thresholds: ``(n_thresholds,)``
    :return: ``(..., n_thresholds)``
    """

    def shares(runs: np.ndarray) -> np.ndarray:
        above = (runs[..., None] > np.asarray(thresholds)).mean(axis=0)
        return np.where(np.isnan(runs).any(axis=0)[..., None], np.nan, above)

    return np.mean([shares(runs) for runs in _tasks(scores)], axis=0)


def steps_to_reach(steps: np.ndarray, curve: np.ndarray, target: float) -> float:
    """
    The first step at which a learning curve, drawn with straight lines, reaches a target.

    :param steps: Increasing, ``(n_evaluations,)``
    :param curve: Return at each step, ``(n_evaluations,)``
    :param target: The return to reach.
    :return: The step; not a number if the curve never gets there.
    """
    steps, curve = _curve(steps, curve)
    reached = np.flatnonzero(curve >= target)
    if not len(reached):
        return float("nan")
    last = reached[0]
    if last == 0 or np.isnan(curve[last - 1]):
        return float(steps[last])
    share = (target - curve[last - 1]) / (curve[last] - curve[last - 1])
    return float(steps[last - 1] + share * (steps[last] - steps[last - 1]))


def common_curves(
    positions: Sequence[np.ndarray], curves: Sequence[np.ndarray], n_points: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """
    Curves at common positions, between the latest start and the earliest end: nothing is extrapolated.

    :param positions: Of each run's evaluations (steps or seconds), increasing, ``(n_evaluations,)`` each.
    :param curves: Returns there, likewise.
    :param n_points: How many positions, equally spaced; None for those at which any of the runs was evaluated.
    :return: Positions ``(n_points,)`` and curves ``(n_runs, n_points)``, linearly interpolated; no points, if the runs
        have no stretch in common.
    """
    if not len(positions):
        raise ValueError("positions and curves are empty")
    start = max(float(position[0]) for position in positions)
    end = min(float(position[-1]) for position in positions)
    if end < start:
        return np.empty(0), np.empty((len(curves), 0))
    if n_points is None:
        grid = np.unique(np.concatenate(positions).astype(float))
        grid = grid[(grid >= start) & (grid <= end)]
    else:
        grid = np.linspace(start, end, n_points)
    return grid, np.stack([np.interp(grid, position, curve) for position, curve in zip(positions, curves, strict=True)])


def normalise(scores: np.ndarray, low: float, high: float) -> np.ndarray:
    """
    ``(scores - low) / (high - low)``

    :param scores: Any shape.
    :param low: What becomes 0, e.g. the return of random actions.
    :param high: What becomes 1, e.g. a baseline's final score.
    :return: The shape of ``scores``.
    """
    if not high > low:
        raise ValueError(f"high must be above low, got low = {low} and high = {high}")
    return (np.asarray(scores, dtype=float) - low) / (high - low)


def _tasks(scores: Sequence[np.ndarray]) -> list[np.ndarray]:
    if not len(scores):
        raise ValueError("scores is empty: at least one task is needed")
    return [_not_empty(task, f"scores[{index}]") for index, task in enumerate(scores)]


def _not_empty(values: np.ndarray, name: str) -> np.ndarray:
    values = np.asarray(values, dtype=float)
    if values.ndim == 0 or values.size == 0:
        raise ValueError(f"{name} must hold at least one run or evaluation, got shape {values.shape}")
    return values


def _curve(steps: np.ndarray, curve: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    steps, curve = _not_empty(steps, "steps"), _not_empty(curve, "curve")
    if steps.shape != curve.shape or steps.ndim != 1:
        raise ValueError(f"steps and curve must have the same length, got shapes {steps.shape} and {curve.shape}")
    if not (np.diff(steps) > 0).all():
        raise ValueError("steps must increase")
    return steps, curve
