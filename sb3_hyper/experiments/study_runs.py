"""The runs of a study, cell by cell, and their scores on a scale that environments share."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sb3_hyper.experiments.normalisation import RANDOM_RETURNS
from sb3_hyper.experiments.results import RunResult
from sb3_hyper.experiments.statistics import (
    N_LAST,
    Statistic,
    area_under_curve,
    common_curves,
    final_score,
    improvement_interval,
    normalise,
    probability_of_improvement,
    stratified_bootstrap,
)
from sb3_hyper.experiments.studies import Study

Score = Callable[[RunResult], float]


class Estimate(NamedTuple):
    """A statistic and its 95 % interval, numbers or arrays. The ends are nan where no cell has two runs."""

    value: Any
    low: Any
    high: Any


def estimate(tasks: Sequence[np.ndarray], statistic: Statistic) -> Estimate:
    """
    :param tasks: For each task the scores of its runs, ``(n_runs, ...)``
    :param statistic: As in :func:`~sb3_hyper.experiments.statistics.stratified_bootstrap`.
    :return: The statistic and its interval, the same ones each time.
    """
    value = np.asarray(statistic(tasks))
    if all(len(task) < 2 for task in tasks):
        return Estimate(value, np.full(value.shape, np.nan), np.full(value.shape, np.nan))
    return Estimate(value, *stratified_bootstrap(tasks, statistic, rng=np.random.default_rng(0)))


def mean(tasks: Sequence[np.ndarray]) -> np.ndarray:
    """Mean over tasks of the mean over runs: ``(n_runs, ...)`` each -> ``(...)``."""
    return np.mean([np.mean(runs, axis=0) for runs in tasks], axis=0)


def final(run: RunResult) -> float:
    """Final score of a finished run."""
    return final_score(run.curve)


def area(run: RunResult) -> float:
    """Area under the learning curve of a finished run."""
    return area_under_curve(run.steps, run.curve)


class Standing(NamedTuple):
    """Where a run stands after some processor time: steps, its mean return lately, its return."""

    steps: float
    score: float
    last: float


def standing(run: RunResult, start: float, end: float) -> Standing:
    """
    :param run: A run whose processor time is known.
    :param start: A processor time, in seconds; not before the run's first evaluation.
    :param end: A later one; not after its last evaluation.
    :return: Where it stands at the end, and its mean return from start to end, between evaluations interpolated linearly.
    """
    times = run.cpu_seconds
    grid = np.unique([start, *times[(times > start) & (times < end)], end])  # short times may have been rounded to equal ones
    returns = np.interp(grid, times, run.curve)
    return Standing(float(np.interp(end, times, run.steps)), area_under_curve(grid, returns), float(returns[-1]))


class StudyRuns:
    """
    The runs of a study that there are, finished or not.

    :param study: The study.
    :param results: Runs; those that are none of the study's are ignored.
    :param random_returns: Environment -> return of random actions, the zero of normalised scores; the study's own go before.
    """

    def __init__(
        self, study: Study, results: Iterable[RunResult], random_returns: Mapping[str, float] = RANDOM_RETURNS
    ) -> None:
        self.study = study
        self.random_returns = {**random_returns, **study.random_returns}
        self._runs: dict[tuple[str, str], dict[int, RunResult]] = {
            (variant, environment): {} for variant in study.variants for environment in study.environments
        }
        for run in results:
            cell = self._runs.get((run.variant, run.environment))
            if run.study == study.name and cell is not None and 0 <= run.seed < study.seeds and len(run.steps):
                cell[run.seed] = run

    def all(self, variant: str | None = None, environment: str | None = None) -> list[RunResult]:
        """
        :param variant: Name of a variant; None for all.
        :param environment: Id of an environment; None for all.
        :return: The runs, finished or not, in the study's order.
        """
        return [
            cell[seed]
            for (name, place), cell in self._runs.items()
            if variant in (None, name) and environment in (None, place)
            for seed in sorted(cell)
        ]

    def finished(self, variant: str | None = None, environment: str | None = None) -> list[RunResult]:
        """
        :param variant: Name of a variant; None for all.
        :param environment: Id of an environment; None for all.
        :return: The runs whose evaluations are all there.
        """
        return [run for run in self.all(variant, environment) if self.is_finished(run)]

    def is_finished(self, run: RunResult) -> bool:
        """
        :param run: A run of the study.
        :return: Whether all its evaluations are there.
        """
        return self.study.is_whole(run.algorithm, run.steps)

    def drawn(self, variant: str, environment: str) -> list[RunResult]:
        """
        :param variant: Name of a variant.
        :param environment: Id of an environment.
        :return: The runs that a learning curve is drawn from: the finished ones; if there are none, what there is.
        """
        return self.finished(variant, environment) or self.all(variant, environment)

    @property
    def processor(self) -> str:
        """What most runs whose times are known were made on. Times of other processors are not comparable with theirs."""
        numbers = Counter(run.processor for run in self.all() if np.isfinite(run.cpu_seconds).all())
        return max(numbers, key=lambda name: numbers[name], default="")

    def timed(self, runs: Iterable[RunResult]) -> list[RunResult]:
        """
        :param runs: Runs of the study.
        :return: Those whose times are known and comparable: the ones made on :attr:`processor`.
        """
        processor = self.processor
        return [run for run in runs if run.processor == processor and np.isfinite(run.cpu_seconds).all()]

    def has_times(self, variant: str) -> bool:
        """
        :param variant: Name of a variant.
        :return: Whether its curves against time can be drawn, in one environment at least.
        """
        return self.study.times and any(self.timed(self.drawn(variant, place)) for place in self.study.environments)

    def at_equal_time(self, variant: str, environment: str) -> list[tuple[Standing, Standing] | None]:
        """
        Compare runs with the baseline's when both have had the processor time that the faster one takes in all.

        :param variant: Name of a variant.
        :param environment: Id of an environment.
        :return: For each finished run whose time is comparable with that of the baseline's finished run of the same seed how
            the two stand then; None, if the slower one has not been evaluated by then. Their scores are means over the same
            time: that of the last five evaluations of the faster one, or what is left of it after the first of the slower.
        """
        references = {run.seed: run for run in self.finished(self.study.baseline, environment)}
        pairs: list[tuple[Standing, Standing] | None] = []
        for run in self.finished(variant, environment):
            reference = references.get(run.seed)
            # of an interrupted run's several processors nobody knows which did how much
            if reference is None or reference.processor != run.processor or run.processor == "" or " + " in run.processor:
                continue
            if not np.isfinite([run.cpu_seconds.sum(), reference.cpu_seconds.sum()]).all():
                continue
            faster, slower = sorted((run, reference), key=lambda one: one.cpu_seconds[-1])
            start, end = faster.cpu_seconds[-N_LAST:][[0, -1]]
            start = max(start, slower.cpu_seconds[0])
            pairs.append((standing(run, start, end), standing(reference, start, end)) if start <= end else None)
        return pairs

    def scores(self, score: Score, variant: str, environment: str) -> np.ndarray:
        """
        :param score: What to compute of each run.
        :param variant: Name of a variant.
        :param environment: Id of an environment.
        :return: Scores of the finished runs, ``(n_runs,)``
        """
        return np.array([score(run) for run in self.finished(variant, environment)], dtype=float)

    def left_out(self) -> dict[str, str]:
        """
        :return: The environments whose scores cannot be normalised, and why.
        """
        reasons = {}
        for environment in self.study.environments:
            unit = self.scores(final, self.study.scale, environment)
            label = self.study.variants[self.study.scale].label
            if environment not in self.random_returns:
                reasons[environment] = "the return of random actions is not known"
            elif not len(unit):
                reasons[environment] = f"no run of {label} has finished"
            elif np.isnan(unit.mean()):
                reasons[environment] = f"the final score of {label} is not a number"
            elif not unit.mean() > self.random_returns[environment]:
                reasons[environment] = f"{label} is no better than random actions"
        return reasons

    def bounds(self) -> dict[str, tuple[float, float]]:
        """
        What normalisation maps to 0 and to 1.

        :return: Environment -> the return of random actions, and the mean final score of the study's
            ``scale``. Scores are aggregated over these environments.
        """
        left_out = self.left_out()
        return {
            name: (self.random_returns[name], float(self.scores(final, self.study.scale, name).mean()))
            for name in self.study.environments
            if name not in left_out
        }

    def comparable(self) -> list[str]:
        """
        :return: The variants with finished runs in all environments that scores are aggregated over: an aggregate over
            fewer would depend on which ones they are.
        """
        environments = list(self.bounds())
        return [
            variant
            for variant in self.study.variants
            if environments and all(self.finished(variant, environment) for environment in environments)
        ]

    def improvable(self) -> list[str]:
        """
        :return: The variants that can be compared with the baseline over these environments.
        """
        comparable = self.comparable()
        return [name for name in comparable if name != self.study.baseline] if self.study.baseline in comparable else []

    def normalised(self, score: Score, variant: str) -> list[np.ndarray]:
        """
        :param score: What to compute of each run, in units of the return.
        :param variant: Name of a comparable variant.
        :return: For each environment with bounds the normalised scores, ``(n_runs,)``
        """
        return [normalise(self.scores(score, variant, name), *pair) for name, pair in self.bounds().items()]

    def normalised_curves(self, variant: str) -> tuple[np.ndarray, list[np.ndarray]]:
        """
        :param variant: Name of a comparable variant.
        :return: Steps ``(n_points,)`` and, for each environment with bounds, normalised curves ``(n_runs, n_points)``
        """
        bounds = self.bounds()
        cells = [self.finished(variant, environment) for environment in bounds]
        runs = [run for cell in cells for run in cell]
        steps, curves = common_curves([run.steps for run in runs], [run.curve for run in runs])
        tasks = np.split(curves, np.cumsum([len(cell) for cell in cells])[:-1])
        return steps, [normalise(task, *pair) for task, pair in zip(tasks, bounds.values(), strict=True)]

    def improvement(self, variant: str) -> Estimate:
        """
        :param variant: Name of a variant of :meth:`improvable`.
        :return: Probability that its final score is above the baseline's; no interval if one of the two has one run per
            environment, and thus no spread.
        """
        x, y = self.normalised(final, variant), self.normalised(final, self.study.baseline)
        value = probability_of_improvement(x, y)
        if any(all(len(task) < 2 for task in tasks) for tasks in (x, y)):
            return Estimate(value, np.nan, np.nan)
        return Estimate(value, *improvement_interval(x, y, rng=np.random.default_rng(0)))

    def n_seeds(self, variants: Iterable[str] | None = None, environments: Iterable[str] | None = None) -> str:
        """
        :param variants: Names of variants; None for all.
        :param environments: Ids of environments; None for all.
        :return: How many finished runs their cells have, e.g. "2 to 3 seeds"; cells without any do not count.
        """
        variants = list(self.study.variants if variants is None else variants)
        environments = list(self.study.environments if environments is None else environments)
        numbers = {len(self.finished(variant, environment)) for variant in variants for environment in environments}
        return count(numbers - {0}, "seed")


def count(numbers: Iterable[int], noun: str) -> str:
    """
    :param numbers: Numbers of something.
    :param noun: What it is.
    :return: Their range, e.g. "2 to 3 seeds".
    """
    numbers = sorted(numbers) or [0]
    first, last = numbers[0], numbers[-1]
    return (str(last) if first == last else f"{first} to {last}") + f" {noun}" + ("" if last == 1 else "s")
