"""Tables of a study, from its finished runs."""

from collections.abc import Callable, Iterator

import numpy as np

from sb3_hyper.experiments.results import RunResult
from sb3_hyper.experiments.statistics import COVERS, N_LAST, highest_score, interquartile_mean, shortfall, steps_to_reach
from sb3_hyper.experiments.study_runs import Estimate, Score, StudyRuns, area, count, estimate, final, mean
from sb3_hyper.experiments.table import TIMES, Table, numbers

NONE = "-"
SEPARATED = (
    "(An interval of P(improvement) without width is none: in each environment all runs of one are above all of the other, "
    "and resampling them knows nothing else.) "
)


def study_tables(runs: StudyRuns) -> list[Table]:
    """
    :param runs: The runs of a study.
    :return: The tables there is something for, that of the runs first.
    """
    tables = [progress(runs), scores(runs), pace(runs), equal_time(runs), aggregates(runs), normalisation(runs)]
    return [table for table in tables if table.rows]


def progress(runs: StudyRuns) -> Table:
    """
    :param runs: The runs of a study.
    :return: How many seeds have finished in each cell.
    """

    def cell(variant: str, environment: str) -> str:
        n_finished = len(runs.finished(variant, environment))
        n_unfinished = len(runs.all(variant, environment)) - n_finished
        return f"{n_finished} of {runs.study.seeds}" + (f" (+{n_unfinished})" if n_unfinished else "")

    environments = runs.study.environments
    rows = [
        (variant.label, *(cell(name, environment) for environment in environments))
        for name, variant in runs.study.variants.items()
    ]
    caption = "Finished seeds of those planned; in brackets those that have evaluations, but not all of them yet."
    return Table("runs", "Runs so far", caption, ("Variant", *environments), rows)


def scores(runs: StudyRuns) -> Table:
    """
    :param runs: The runs of a study.
    :return: Final scores, highest scores, areas under the curve.
    """

    def row(variant: str, environment: str) -> tuple[str, ...]:
        def score(function: Score) -> np.ndarray:
            return runs.scores(function, variant, environment)

        highest = score(lambda run: highest_score(run.curve))
        return (
            interval(estimate([score(final)], mean)),
            numbers("{} ± {}" if len(highest) > 1 else "{}", highest.mean(), highest.std(ddof=1) if len(highest) > 1 else 0),
            interval(estimate([score(area)], mean)),
            numbers("{}", score(lambda run: shortfall(run.curve)).mean()),
        )

    caption = (
        f"Final: mean of the last {_n_last(runs)} ({_span_of_final(runs)}). Area: return averaged over all steps "
        f"since the first evaluation. In brackets 95 % bootstrap intervals over seeds ({COVERS}). Highest: the best "
        "evaluation of a run, as in the paper's tables, biased upwards; mean ± standard deviation (n - 1). Shortfall: how far "
        f"below the best one so far evaluations lie on average (0: steady, be it at the bottom). {_behind(runs)}"
    )
    header = ("Environment", "Variant", "Seeds", "Final score", "Highest", "Area under the curve", "Shortfall")
    return Table("scores", "Scores", caption, header, list(_rows(runs, row)), n_names=2)


def pace(runs: StudyRuns) -> Table:
    """
    :param runs: The runs of a study.
    :return: Steps to the baseline's final score; processor time.
    """

    def row(variant: str, environment: str) -> tuple[str, ...]:
        baseline = runs.study.baseline
        target = runs.scores(final, baseline, environment)
        reach = NONE
        if len(target) and target.mean() > runs.random_returns.get(environment, -np.inf):
            reach = _reach(runs.finished(variant, environment), target.mean())

        def times(name: str) -> list[float]:
            return [_cpu_seconds(run) for run in runs.timed(runs.finished(name, environment))]

        def cost() -> str:
            own, reference = times(variant), times(baseline)
            if not own:
                return NONE
            ratio = f"{np.median(own) / np.median(reference):.2f} {TIMES}" if reference else NONE
            return numbers("{} ", float(np.median(own))) + f"({ratio})"

        return reach, *([cost()] if runs.study.times else [])

    label = runs.study.variants[runs.study.baseline].label
    caption = (
        f"Steps after which the learning curve first reaches the mean final score of {label}, if that is better than random "
        "actions: median over seeds, and how many of them got there (one that did not counts as later than all others). "
    )
    header: tuple[str, ...] = ("Environment", "Variant", "Seeds", "Steps to baseline")
    if runs.study.times:
        header += ("Seconds / 1000 steps",)
        caption += (
            f"Seconds of processor time, training and evaluating, and their ratio to {label}: median over seeds; without "
            f"work on a GPU.{_timed(runs)} "
        )
    return Table("pace", "Pace", caption + _behind(runs), header, list(_rows(runs, row)), n_names=2)


def equal_time(runs: StudyRuns) -> Table:
    """
    :param runs: The runs of a study.
    :return: Scores when a variant and the baseline have had the same processor time.
    """
    study, rows = runs.study, []
    for environment in study.environments:
        for name, variant in study.variants.items():
            found = runs.at_equal_time(name, environment) if study.times and name != study.baseline else []
            pairs = [pair for pair in found if pair is not None]
            if not pairs:
                if found:
                    rows.append((environment, variant.label, f"0 of {len(found)}", *[NONE] * 6))
                continue
            cells = []
            for side in zip(*pairs, strict=True):
                steps, scores, _ = np.array(side).T
                cells += [_steps(steps.mean()), interval(estimate([scores], mean))]
            ahead = [sum(own.score > other.score for own, other in pairs), sum(own.last > other.last for own, other in pairs)]
            cells += [f"{number} of {len(pairs)}" for number in ahead]
            n_pairs = str(len(pairs)) if len(pairs) == len(found) else f"{len(pairs)} of {len(found)}"
            rows.append((environment, variant.label, n_pairs, *cells))
    label = study.variants[study.baseline].label
    caption = (
        f"Runs in pairs with those of {label}, of one seed and one kind of processor, when both have had the processor time "
        f"that the faster one takes in all: steps by then, and the mean return over the time of its last {_n_last(runs)}"
        ", or what is left of it after the slower one's first (a pair of which nothing is left is not counted), "
        f"interpolated linearly. In brackets 95 % bootstrap intervals over pairs ({COVERS}). Ahead: in how many pairs the "
        "variant has the higher mean, and the higher return at the end of that time."
    )
    header = (
        "Environment",
        "Variant",
        "Pairs",
        "Steps",
        "Score",
        f"Steps of {label}",
        f"Score of {label}",
        "Ahead",
        "At the end",
    )
    return Table("equal_time", "At equal time", caption, header, rows, n_names=2)


def aggregates(runs: StudyRuns) -> Table:
    """
    :param runs: The runs of a study.
    :return: Normalised scores over environments, and the probability of improvement; without rows where scores can be
        normalised in one environment only.
    """
    study, environments, rows = runs.study, list(runs.bounds()), []
    improvable = runs.improvable()
    is_separated = False
    for variant in runs.comparable() if len(environments) > 1 else ():
        tasks = [runs.normalised(score, variant) for score in (final, area)]
        cells = [interval(estimate(task, statistic), 2) for task in tasks for statistic in (mean, interquartile_mean)]
        better = runs.improvement(variant) if variant in improvable else None
        cells.append(NONE if better is None or np.isnan(better.low) else interval(better, 2))
        is_separated |= better is not None and bool(better.low == better.high)
        rows.append((study.variants[variant].label, str(sum(map(len, tasks[0]))), *cells))
    caption = (
        f"Normalised scores over {', '.join(environments)}, {runs.n_seeds(runs.comparable(), environments)} each; every "
        "environment has the same weight, however many runs it has. Means; interquartile means (IQM), which leave out a "
        "quarter of the weight at either end (where there are two environments this can be all that is good or bad in one of "
        "them); and the probability that a run's final score is above one of "
        f"{study.variants[study.baseline].label}, where both have several seeds. In brackets 95 % stratified bootstrap "
        "intervals. " + (SEPARATED if is_separated else "") + missing(runs)
    )
    header = ("Variant", "Runs", "Mean final", "IQM final", "Mean area", "IQM area", "P(improvement)")
    return Table("aggregates", "Over environments", caption.strip(), header, rows)


def normalisation(runs: StudyRuns) -> Table:
    """
    :param runs: The runs of a study.
    :return: What normalised scores are made of, where there are several environments, or why there are none.
    """
    bounds, rows = runs.bounds(), []
    for environment in runs.study.environments:
        ends = runs.random_returns.get(environment), bounds.get(environment, (None, None))[1]
        n_seeds = len(runs.finished(runs.study.scale, environment))
        rows.append((environment, str(n_seeds), *(NONE if end is None else numbers("{}", end) for end in ends)))
    label = runs.study.variants[runs.study.scale].label
    caption = (
        f"Normalised score = (score - random) / (final score of {label} - random), in each environment, where random "
        "is the mean return of uniformly random actions. Intervals take both ends of the scale as given. " + _left_out(runs)
    )
    header = ("Environment", f"Seeds of {label}", "Random", f"Final score of {label}")
    several = runs.finished() and (len(runs.study.environments) > 1 or runs.left_out())
    return Table("normalisation", "Normalisation", caption.strip(), header, rows if several else [])


def missing(runs: StudyRuns) -> str:
    """
    :param runs: The runs of a study.
    :return: Sentences on what the aggregates leave out, and on what they know little of.
    """
    notes = [_left_out(runs)]
    for name, variant in runs.study.variants.items():
        absent = [environment for environment in runs.bounds() if not runs.finished(name, environment)]
        if absent and runs.finished(name):
            notes.append(f"{variant.label} is not there yet: no finished run on {', '.join(absent)}.")
    numbers_of_seeds = {len(task) for variant in runs.comparable() for task in runs.normalised(final, variant)}
    if 1 in numbers_of_seeds:
        notes.append("A single seed adds nothing to the width of an interval, which is too narrow then.")
    if 1 in numbers_of_seeds and len(numbers_of_seeds) > 1:
        notes.append(
            "And where there is a single seed the interquartile mean cuts off less of the best scores than where there are "
            "more: the two are not to be compared."
        )
    return " ".join(notes).strip()


def _left_out(runs: StudyRuns) -> str:
    return " ".join(f"Left out: {environment} ({reason})." for environment, reason in runs.left_out().items())


def interval(values: Estimate, decimals: int | None = None) -> str:
    """
    :param values: A number and its interval.
    :param decimals: Decimals; None for as many as the size of the numbers asks for.
    :return: The number, and the interval if there is one.
    """
    return numbers("{}" if np.isnan(values.low) else "{} [{}, {}]", *values, decimals=decimals)


def _rows(runs: StudyRuns, row: Callable[[str, str], tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    for environment in runs.study.environments:
        for name, variant in runs.study.variants.items():
            if finished := runs.finished(name, environment):
                yield environment, variant.label, str(len(finished)), *row(name, environment)


def _n_last(runs: StudyRuns) -> str:
    return count({min(N_LAST, len(run.steps)) for run in runs.finished()}, "evaluation")


def _span_of_final(runs: StudyRuns) -> str:
    spans = [run.steps[-N_LAST:] for run in runs.finished()]
    return f"{min(span[0] for span in spans):,} to {max(span[-1] for span in spans):,} steps" if spans else NONE


def _behind(runs: StudyRuns) -> str:
    return f"Each row: {runs.n_seeds()}."


def _timed(runs: StudyRuns) -> str:
    n_others = len(runs.finished()) - len(runs.timed(runs.finished()))
    if not n_others:
        return ""
    others = count([n_others], "other run")
    return f" Times are those of runs on {runs.processor}; {others}, of other processors or without times, have none here."


def _cpu_seconds(run: RunResult) -> float:
    return float(1000 * run.cpu_seconds[-1] / run.steps[-1])


def _steps(number: float) -> str:
    return f"{number / 1e6:.2f}M" if 1e6 <= number < np.inf else f"{number / 1000:.1f}k" if np.isfinite(number) else NONE


def _reach(runs: list[RunResult], target: float) -> str:
    steps = np.array([steps_to_reach(run.steps, run.curve, target) for run in runs])
    return f"{_steps(np.median(np.where(np.isnan(steps), np.inf, steps)))} ({np.isfinite(steps).sum()} of {len(steps)})"
