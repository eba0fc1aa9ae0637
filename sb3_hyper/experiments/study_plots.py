"""Figures of a study, from the runs that there are. Nothing is extrapolated, and pyplot is left alone."""

import itertools
import textwrap
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, PercentFormatter

from sb3_hyper.common.figures import GREY, INK, PALETTE, finish, plain
from sb3_hyper.experiments.results import RunResult
from sb3_hyper.experiments.statistics import Statistic, common_curves, interquartile_mean, performance_profile
from sb3_hyper.experiments.study_runs import StudyRuns, count, estimate, final, mean

N_POINTS = 100  # of a curve against time

Style = dict[str, Any]


def styles(runs: StudyRuns) -> dict[str, Style]:
    """
    :param runs: The runs of a study.
    :return: Variant -> colour and line style, which do not depend on what has been run.
    """
    others = [variant for variant in runs.study.variants if variant != runs.study.baseline]
    looks = [(runs.study.baseline, (INK, "-")), *zip(others, itertools.cycle(PALETTE), strict=False)]
    return {variant: {"color": colour, "linestyle": line} for variant, (colour, line) in looks}


def groups(runs: StudyRuns, variants: Sequence[str]) -> list[list[str]]:
    """
    Spread variants over as few figures as have colours for them.

    :param runs: The runs of a study.
    :param variants: The variants to draw.
    :return: Groups of variants of different colours, each with the baseline, if that is among them.
    """
    names = [name for name in runs.study.variants if name != runs.study.baseline]
    n_figures = max(1, -(-len(names) // len(PALETTE)))
    size = max(1, -(-len(names) // n_figures))
    parts = [[name for name in names[start : start + size] if name in variants] for start in range(0, len(names), size)]
    baseline = [runs.study.baseline] if runs.study.baseline in variants else []
    return [baseline + part for part in parts if part] or [baseline]


def learning_curves(runs: StudyRuns, variants: Sequence[str], against: Literal["steps", "time"] = "steps") -> Figure:
    """
    One panel per environment: mean over seeds, and its 95 % bootstrap interval where there are two seeds or more. Environments
    that have nothing to compare, the baseline or variants alone, have a panel only if all are like that.

    A curve ends where the shortest of its runs ends.

    :param runs: The runs of a study.
    :param variants: The variants to draw.
    :param against: What to draw against; time is processor time, which does not depend on what else the machine did, of the
        runs on the processor that most runs were made on.
    :return: The figure.
    """
    cells = {(variant, name): runs.drawn(variant, name) for variant in variants for name in runs.study.environments}
    if against == "time":
        cells = {key: runs.timed(cell) for key, cell in cells.items()}
    drawn = {name: {variant for variant in variants if cells[variant, name]} for name in runs.study.environments}
    baseline = runs.study.baseline
    environments = [name for name, there in drawn.items() if baseline in there and len(there) > 1]
    environments = environments or [name for name, there in drawn.items() if there]
    variants = [variant for variant in variants if any(cells[variant, name] for name in environments)]
    n_columns = 2 if len(environments) in (2, 4) else min(3, len(environments))
    n_rows = -(-len(environments) // n_columns)
    figure = Figure(figsize=(9.0 if n_columns > 1 else 6.4, 2.6 * n_rows + 0.8), layout="constrained")
    panels = figure.subplots(n_rows, n_columns, squeeze=False).flat
    unit, seconds = _time_unit([run for cell in cells.values() for run in cell])
    for index, (environment, axes) in enumerate(itertools.zip_longest(environments, panels)):
        if environment is None:
            axes.set_visible(False)
            continue
        for variant in variants:
            if not (cell := cells[variant, environment]):
                continue
            positions = [run.steps if against == "steps" else run.cpu_seconds / seconds for run in cell]
            n_points = None if against == "steps" else N_POINTS
            x, curves = common_curves(positions, [run.curve for run in cell], n_points)
            _draw(axes, x, [curves], mean, styles(runs)[variant])
        finish(axes, y_label="" if index % n_columns else "Return", title=environment)
        axes.set_xlim(left=0)
        if against == "steps":
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    figure.supxlabel("Environment steps" if against == "steps" else f"Processor time ({unit})", color=INK, fontsize="medium")
    labels = {variant: _seeds(runs, [cells[variant, name] for name in environments]) for variant in variants}
    _legend(figure, runs, labels)
    return figure


def sample_efficiency(runs: StudyRuns, variants: Sequence[str]) -> Figure:
    """
    Interquartile mean of the normalised returns of all environments against steps, with its bootstrap interval.

    :param runs: The runs of a study.
    :param variants: Comparable variants.
    :return: The figure.
    """
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    axes.axhline(1, color=GREY, linewidth=0.8, linestyle=(0, (4, 4)))
    for variant in variants:
        steps, tasks = runs.normalised_curves(variant)
        _draw(axes, steps, tasks, interquartile_mean, styles(runs)[variant])
    finish(axes, "Environment steps", "IQM of normalised return")
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    _legend(figure, runs, {variant: _seeds(runs, _cells(runs, variant)) for variant in variants})
    return figure


def profile(runs: StudyRuns, variants: Sequence[str]) -> Figure:
    """
    Performance profile: the share of runs whose normalised final score is above each threshold.

    :param runs: The runs of a study.
    :param variants: Comparable variants.
    :return: The figure.
    """
    scores = {variant: runs.normalised(final, variant) for variant in variants}
    known = np.concatenate([task[np.isfinite(task)] for tasks in scores.values() for task in tasks])
    thresholds = np.linspace(min(0, known.min(initial=0)), 1.02 * known.max(initial=1), 201)
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    for variant, tasks in scores.items():
        _draw(axes, thresholds, tasks, lambda scores: performance_profile(scores, thresholds), styles(runs)[variant])
    finish(axes, "Normalised final score τ", "Share of runs above τ")
    axes.set_ylim(-0.02, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    _legend(figure, runs, {variant: _seeds(runs, _cells(runs, variant)) for variant in variants})
    return figure


def improvement(runs: StudyRuns, variants: Sequence[str]) -> Figure:
    """
    Probability that a variant's final score is above the baseline's, as horizontal intervals.

    :param runs: The runs of a study.
    :param variants: Variants that can be compared with the baseline.
    :return: The figure.
    """
    figure = Figure(figsize=(6.4, 1.0 + 0.42 * len(variants)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(0.5, color=GREY, linewidth=0.8, linestyle=(0, (4, 4)))
    for row, variant in enumerate(variants):
        value, low, high = runs.improvement(variant)
        colour = styles(runs)[variant]["color"]
        axes.plot([low, high], [row, row], color=colour, linewidth=5, alpha=0.45, solid_capstyle="butt")
        axes.plot(value, row, marker="o", markersize=7, color=colour)
    labels = [_label(runs, variant, _seeds(runs, _cells(runs, variant))) for variant in variants]
    finish(axes, "Probability of a higher final score")
    axes.set_yticks(range(len(variants)), [textwrap.fill(label, 36) for label in labels], fontsize="small")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False, axis="y")
    axes.set(xlim=(-0.02, 1.02), ylim=(len(variants) - 0.5, -0.5))
    return figure


def _draw(axes: Axes, x: np.ndarray, tasks: Sequence[np.ndarray], statistic: Statistic, style: Style) -> None:
    if not len(x):
        return
    curve = estimate(tasks, statistic)
    axes.fill_between(x, curve.low, curve.high, color=style["color"], alpha=0.18, linewidth=0)
    # a curve of one evaluation is a point
    axes.plot(x, curve.value, **style, linewidth=1.7, marker="o" if len(x) == 1 else None, markersize=4)


def _legend(figure: Figure, runs: StudyRuns, seeds: dict[str, str]) -> None:
    labels = [_label(runs, variant, text) for variant, text in seeds.items()]
    handles = [Line2D([], [], **styles(runs)[variant], linewidth=2.2) for variant in seeds]
    per_row = max(1, int(figure.get_figwidth() * 14 // (max(map(len, labels)) + 8)))  # 14 letters to the inch
    n_columns = -(-len(labels) // -(-len(labels) // per_row))
    layout: dict[str, Any] = {"loc": "outside upper center", "ncols": n_columns, "fontsize": "small", "frameon": False}
    figure.legend(handles, labels, labelcolor=INK, handlelength=2.6, **layout)


def _label(runs: StudyRuns, variant: str, seeds: str) -> str:
    return f"{plain(runs.study.variants[variant].label)} ({seeds})"


def _cells(runs: StudyRuns, variant: str) -> list[list[RunResult]]:
    return [runs.finished(variant, environment) for environment in runs.bounds()]


def _seeds(runs: StudyRuns, cells: Sequence[Sequence[RunResult]]) -> str:
    drawn = [cell for cell in cells if cell]
    unfinished = not all(runs.is_finished(run) for cell in drawn for run in cell)
    return count({len(cell) for cell in drawn}, "seed") + (", unfinished" if unfinished else "")


def _time_unit(runs: Sequence[RunResult]) -> tuple[str, int]:
    longest = max(float(run.cpu_seconds[-1]) for run in runs)
    return ("hours", 3600) if longest > 7200 else ("minutes", 60) if longest > 120 else ("seconds", 1)
