"""Tables of a study, from its finished runs."""

from collections.abc import Callable, Iterator

import numpy as np

from sb3_hyper.experiments.results import RunResult
from sb3_hyper.experiments.statistics import COVERS, N_LAST, highest_score, interquartile_mean, shortfall, steps_to_reach
from sb3_hyper.experiments.study_runs import Estimate, Score, StudyRuns, area, count, estimate, final, mean
from sb3_hyper.experiments.table import TIMES, Table, numbers

NONE = "-"


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
        f"Final: mean of the last {_n_last(runs)} evaluations ({_span_of_final(runs)}). Area: return averaged over "
        "the steps from the first evaluation to the last. Both with 95 % bootstrap intervals over seeds, if there are two "
        f"or more ({COVERS}). Highest: the best evaluation of each run, which is what the paper's tables have, mean ± "
        "standard deviation (n - 1); it is biased upwards. Shortfall: how far below their best one so far the evaluations "
        f"lie on average; 0 is steady, be it at the bottom, and means of {count([runs.study.eval_episodes], 'episode')} "
        "scatter in steady runs, too. " + _behind(runs)
    )
    header = ("Environment", "Variant", "Seeds", "Final score", "Highest", "Area under the curve", "Shortfall")
    return Table("scores", "Scores", caption, header, list(_rows(runs, row)), n_names=2)


def pace(runs: StudyRuns) -> Table:
    """
    :param runs: The runs of a study.
    :return: Steps to the baseline's final score; wall-clock time.
    """

    def row(variant: str, environment: str) -> tuple[str, ...]:
        baseline = runs.study.baseline
        target = runs.scores(final, baseline, environment)
        reach = NONE
        if len(target) and target.mean() > runs.random_returns.get(environment, -np.inf):
            reach = _reach(runs.finished(variant, environment), target.mean())

        def times(name: str, seconds: Score) -> list[float]:
            return [seconds(run) for run in runs.timed(runs.finished(name, environment))]

        def cost(seconds: Score) -> str:
            own, reference = times(variant, seconds), times(baseline, seconds)
            if not own:
                return NONE
            ratio = f"{np.median(own) / np.median(reference):.2f} {TIMES}" if reference else NONE
            return numbers("{} ", float(np.median(own))) + f"({ratio})"

        return reach, *((cost(_seconds), cost(_cpu_seconds)) if runs.study.times else ())

    label = runs.study.variants[runs.study.baseline].label
    caption = (
        f"Steps after which the learning curve first reaches the mean final score of {label}: median over seeds, and how "
        "many of them got there, be it with a single evaluation (one that did not counts as later than all others); none if "
        "that score is no better than random actions'. "
    )
    header: tuple[str, ...] = ("Environment", "Variant", "Seeds", "Steps to baseline")
    if runs.study.times:
        header += ("Seconds / 1000 steps", "Processor seconds")
        caption += (
            f"Seconds per 1000 steps, training and evaluating, and their ratio to {label}: median over seeds. Wall-clock time "
            f"depends on what else the machine did, processor time less so; it leaves out work on a GPU.{_timed(runs)} "
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
        f"Finished runs in pairs, a variant's and that of {label} with the same seed, made on the same kind of processor, "
        "when both have had the processor time that the faster one takes in all: steps by then, and the mean return over the "
        f"time of the faster one's last {_n_last(runs)} evaluations, or what is left of it after the slower one's first (a "
        "pair of which there is nothing left is not counted), the same for both, interpolated linearly. Means over "
        f"pairs, with 95 % bootstrap intervals if there are two or more ({COVERS}). Ahead: in how many pairs the variant has "
        "the higher mean, and the higher return at the end of that time."
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
    :return: Normalised scores over environments, and the probability of improvement.
    """
    study, environments, rows = runs.study, list(runs.bounds()), []
    improvable = runs.improvable()
    for variant in runs.comparable():
        final_scores, areas = runs.normalised(final, variant), runs.normalised(area, variant)
        cells = [interval(estimate(tasks, interquartile_mean), 2) for tasks in (final_scores, areas)]
        better = interval(runs.improvement(variant), 2) if variant in improvable else NONE
        n_runs = str(sum(map(len, final_scores)))
        rows.append((study.variants[variant].label, n_runs, *cells, better))
    places = count([len(environments)], "environment")
    caption = (
        f"Interquartile means (IQM) of normalised scores, the runs of {places} taken together "
        f"({', '.join(environments)}; {runs.n_seeds(runs.comparable(), environments)} each), every environment with the same "
        "weight, however many runs it has, and the probability that a run's final score is above one of "
        f"{study.variants[study.baseline].label}; 95 % stratified bootstrap intervals (without width where "
        "in each environment all runs or none are better, however few there are). " + missing(runs)
    )
    header = ("Variant", "Runs", "IQM of final scores", "IQM of areas", "P(improvement)")
    return Table("aggregates", "Over environments", caption.strip(), header, rows)


def normalisation(runs: StudyRuns) -> Table:
    """
    :param runs: The runs of a study.
    :return: What normalised scores are made of.
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
    return Table("normalisation", "Normalisation", caption.strip(), header, rows if runs.finished() else [])


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


def _n_last(runs: StudyRuns) -> int:
    return min(N_LAST, runs.study.steps // runs.study.eval_freq)


def _span_of_final(runs: StudyRuns) -> str:
    freq = runs.study.eval_freq
    last = runs.study.steps // freq
    return f"{(last - _n_last(runs) + 1) * freq:,} to {last * freq:,} steps"


def _behind(runs: StudyRuns) -> str:
    return f"Each row: {runs.n_seeds()}."


def _timed(runs: StudyRuns) -> str:
    n_others = len(runs.finished()) - len(runs.timed(runs.finished()))
    if not n_others:
        return ""
    others = count([n_others], "other run")
    return f" Times are those of runs on {runs.processor}; {others}, of other processors or without times, have none here."


def _seconds(run: RunResult) -> float:
    return float(1000 * run.seconds[-1] / run.steps[-1])


def _cpu_seconds(run: RunResult) -> float:
    return float(1000 * run.cpu_seconds[-1] / run.steps[-1])


def _steps(number: float) -> str:
    return f"{number / 1e6:.2f}M" if 1e6 <= number < np.inf else f"{number / 1000:.1f}k" if np.isfinite(number) else NONE


def _reach(runs: list[RunResult], target: float) -> str:
    steps = np.array([steps_to_reach(run.steps, run.curve, target) for run in runs])
    return f"{_steps(np.median(np.where(np.isnan(steps), np.inf, steps)))} ({np.isfinite(steps).sum()} of {len(steps)})"
