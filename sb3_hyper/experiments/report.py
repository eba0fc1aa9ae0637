"""What a study has shown so far: one HTML page that needs nothing but itself, or tables for other texts."""

import io
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import jinja2
import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

from sb3_hyper.common.figures import INK
from sb3_hyper.common.files import replacing
from sb3_hyper.experiments import study_plots
from sb3_hyper.experiments.algorithms import META_ALGORITHMS
from sb3_hyper.experiments.normalisation import RANDOM_RETURNS
from sb3_hyper.experiments.results import RunResult
from sb3_hyper.experiments.statistics import COVERAGE
from sb3_hyper.experiments.studies import Study
from sb3_hyper.experiments.study_runs import StudyRuns, count
from sb3_hyper.experiments.study_tables import study_tables
from sb3_hyper.experiments.table import Table


@dataclass(frozen=True)
class Picture:
    """
    A figure of the report.

    :param title: What it shows.
    :param caption: How to read it, and how many seeds stand behind it.
    :param svg: The figure, ready to stand in a page.
    :param width: Its width in inches.
    """

    title: str
    caption: str
    svg: Markup
    width: float


def make_report(
    study: Study,
    results: Iterable[RunResult],
    path: str | os.PathLike[str],
    random_returns: Mapping[str, float] = RANDOM_RETURNS,
    failed: Sequence[str] = (),
) -> None:
    """
    Write a page with figures, tables, settings and versions. The same results give the same page.

    :param study: The study.
    :param results: Its runs so far; a run may be unfinished.
    :param path: Where the HTML goes.
    :param random_returns: Environment -> return of random actions, the zero of normalised scores.
    :param failed: Labels of runs that have failed.
    """
    runs = StudyRuns(study, results, random_returns)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    source = resources.files("sb3_hyper.experiments").joinpath("report.html.j2").read_text(encoding="utf-8")
    tables = {table.key: table for table in study_tables(runs)}
    page = environment.from_string(source).render(
        study=study,
        n_runs=len(study.variants) * len(study.environments) * study.seeds,
        n_finished=len(runs.finished()),
        n_unfinished=len(runs.all()) - len(runs.finished()),
        failed=failed,
        evaluation=evaluation_size(study),
        tables=tables,
        pictures=list(_pictures(runs)),
        coverage=", ".join(f"{rate:.0%} from {n} seeds" for n, rate in COVERAGE.items()).replace("%", "\u202f%"),
        settings=variant_settings(study),
        versions=_versions(runs),
    )
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def evaluation_size(study: Study) -> str:
    """
    :param study: A study.
    :return: What an evaluation consists of, e.g. "10 episodes".
    """
    algorithms = {variant.algo for variant in study.variants.values()}
    if "maml" in algorithms:  # evaluates its inner steps, however many there are
        return "adaptation in each task"
    return count([study.eval_episodes], "episode") + (" in each task" if algorithms & META_ALGORITHMS.keys() else "")


def inline_svg(figure: Figure, prefix: str) -> Markup:
    """
    :param figure: A figure.
    :param prefix: What all ids in it begin with, so that figures in one page do not share any.
    :return: The figure as an element of a page, in the page's font and with its text in the page's colour.
    """
    file = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "sb3_hyper"}):
        figure.savefig(file, format="svg", metadata=nothing)
    svg = re.sub(r"^.*?(?=<svg)", "", file.getvalue(), flags=re.DOTALL)  # XML's declarations have no place in a page
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    return Markup(svg.replace(INK, "currentColor"))


def _pictures(runs: StudyRuns) -> Iterator[Picture]:
    study, numbers = runs.study, iter(range(1000))

    def picture(title: str, caption: str, figure: Figure, part: str = "") -> Picture:
        return Picture(title + part, caption, inline_svg(figure, f"figure{next(numbers)}"), figure.get_figwidth())

    def parts(variants: list[str]) -> Iterator[tuple[list[str], str]]:
        groups = [group for group in study_plots.groups(runs, variants) if group]
        for index, group in enumerate(groups):
            yield group, f" ({index + 1} of {len(groups)})" if len(groups) > 1 else ""

    started = [variant for variant in study.variants if runs.all(variant)]
    caption = (
        "Mean return over seeds, and 95 % bootstrap interval where there are several (up to 3: their range). A curve ends "
        "where its shortest run ends. Seeds per curve stand in the legend; with different numbers, the range over panels."
    )
    for variants, part in parts(started):
        yield picture("Return against steps", caption, study_plots.learning_curves(runs, variants), part)
    caption += f" Processor time of training and evaluating, work on a GPU left out, of runs on {runs.processor}."
    for variants, part in parts([variant for variant in started if runs.has_times(variant)]):
        yield picture("Return against time", caption, study_plots.learning_curves(runs, variants, "time"), part)
    comparable = runs.comparable()
    if not comparable:
        return
    where = f"Over {', '.join(runs.bounds())}; {runs.n_seeds(comparable, runs.bounds())} each."
    several = comparable if len(runs.bounds()) > 1 else []  # in one environment the curves above show it in its own units
    caption = "Interquartile mean of normalised returns, 95 % stratified bootstrap interval. 1 is the final score "
    caption += f"of {study.variants[study.scale].label}. "
    for variants, part in parts(several):
        yield picture("Sample efficiency", caption + where, study_plots.sample_efficiency(runs, variants), part)
    caption = "Share of runs with a normalised final score above τ, 95 % stratified bootstrap interval. "
    for variants, part in parts(several):
        yield picture("Performance profile", caption + where, study_plots.profile(runs, variants), part)
    if others := runs.improvable():
        caption = "Probability that a run's final score is above that of a run of the baseline, mean over environments, 95 % "
        caption += "stratified bootstrap interval (none where one of the two has single seeds only). "
        yield picture("Probability of improvement", caption + where, study_plots.improvement(runs, others))


def variant_settings(study: Study) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """
    :param study: The study.
    :return: Label, environments (empty: all) and settings: the baseline's, and of the others what differs from it.
    """
    rows: list[tuple[str, str, list[tuple[str, str]]]] = []
    for name in sorted(study.variants, key=lambda name: name != study.baseline):  # the baseline first
        environments: dict[tuple[tuple[str, str], ...], list[str]] = {}
        for environment in study.environments:
            settings = _flat_settings(study, name, environment)
            if name != study.baseline:
                baseline = _flat_settings(study, study.baseline, environment)
                absent = sorted(set(baseline) - set(settings))
                settings = {key: value for key, value in settings.items() if baseline.get(key) != value}
                settings |= {"without": ", ".join(absent)} if absent else {}
            environments.setdefault(tuple(settings.items()), []).append(environment)
        for own, places in environments.items():
            where = "" if len(places) == len(study.environments) else ", ".join(places)
            rows.append((study.variants[name].label, where, list(own)))
    return rows


def _flat_settings(study: Study, variant: str, environment: str) -> dict[str, str]:
    settings = {"algo": study.variants[variant].algo} | study.variants[variant].settings(environment)
    return _flat(settings | {"n_timesteps": study.steps})


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value, default=repr)
    return flat


def _versions(runs: StudyRuns) -> Table:
    numbers = Counter(tuple(text or "not known" for text in (run.versions, run.commit, run.processor)) for run in runs.all())
    rows = [(*names, str(number)) for names, number in sorted(numbers.items())]
    header = ("Versions", "Commit", "Processor", "Runs")
    return Table("versions", "Versions", "What the runs were made with.", header, rows, n_names=3)
