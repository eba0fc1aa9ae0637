"""
Write the tables and figures of the pages in docs/results anew, from the rows in benchmarks/results.

    python -m benchmarks.pages
    python -m benchmarks.pages --check

A page is written by hand but for its blocks, ``<!-- KIND STUDY -->`` to ``<!-- end -->``, whose text is made from the rows.
With --check nothing is written; pages whose tables do not follow from the rows are named.
"""

import argparse
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure
from rich.progress import track

from benchmarks import (
    adaptation,
    dynamic_weights,
    final_gradients,
    final_values,
    gradient_accuracy,
    initial_weights,
    slim_search,
    speed,
)
from benchmarks.images import IMAGES, save_all
from sb3_hyper.common.files import replacing
from sb3_hyper.experiments import study_plots
from sb3_hyper.experiments.report import evaluation_size, variant_settings
from sb3_hyper.experiments.results import results_of
from sb3_hyper.experiments.studies import Study
from sb3_hyper.experiments.study_files import load_study
from sb3_hyper.experiments.study_runs import StudyRuns, count
from sb3_hyper.experiments.study_tables import study_tables
from sb3_hyper.experiments.table import MARKDOWN
from sb3_hyper.experiments.update_noise import plot_populations, read_populations
from sb3_hyper.meta.maml.update_noise import noise_table

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
UPDATE_NOISE = RESULTS / "update-noise.csv"
PAGES = ROOT / "docs" / "results"
SPLITS = {"test": "Test tasks", "ood": "Tasks out of the training distribution"}
CAPTIONS = {
    "steps": "Return against steps: mean over seeds, 95 % bootstrap interval where there are several (up to 3: their range)",
    "time": "Return against processor time, of the runs on the processor that most were made on",
    "efficiency": "Interquartile mean of normalised returns over environments",
    "improvement": "Probability that a run ends above one of the baseline",
}
MANY = 3  # environments from which on figures over all of them say more than the tables
BLOCK = re.compile(r"(<!-- (\w+) ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def runs_of(study: Study) -> StudyRuns:
    """
    :param study: A study.
    :return: The runs in its rows.
    :raises StudyError: If rows are of another definition of the study.
    """
    return StudyRuns(study, results_of(study, RESULTS / f"{study.name}.csv"))


def settings(study: Study) -> str:
    """
    :param study: A study.
    :return: What ran: the baseline's settings, and of the other variants what differs from them.
    """
    runs = runs_of(study)
    seeds = {place: {len(runs.finished(name, place)) for name in study.variants} - {0} for place in study.environments}
    places = ", ".join(f"{place} ({count(numbers, 'seed')})" for place, numbers in seeds.items() if numbers)
    lines = [
        f"{study.steps:,} steps, an evaluation of {evaluation_size(study)} every {study.eval_freq:,}. "
        f"Finished so far: {places}, of the variants below.",
        "",
        "| variant | settings (of those after the first: what differs from it) |",
        "|---|---|",
    ]
    names = {variant.label: name for name, variant in study.variants.items()}
    for label, environments, values in variant_settings(study):
        name = names[label]
        if name == study.baseline or runs.finished(name):
            text = ", ".join(f"`{key}: {value}`" for key, value in values if not key.startswith(("callback", "n_timesteps")))
            where = f" ({environments})" if environments else ""
            where += "" if runs.finished(name) else " (no run yet)"
            lines.append(f"| {label.translate(MARKDOWN)}{where} | {text} |")
    return "\n".join(lines)


def tables(study: Study) -> str:
    """
    :param study: A study.
    :return: The tables of its report.
    """
    return "\n".join(table.markdown() for table in study_tables(runs_of(study))).strip()


def learning_figures(study: Study) -> dict[str, Figure]:
    """
    :param study: A study.
    :return: Name -> figure.
    """
    runs = runs_of(study)
    there = [variant for variant in study.variants if runs.finished(variant)]
    drawn: dict[str, Figure] = {}
    for name, group in named_groups(runs, there).items():
        drawn[f"{name}-steps"] = study_plots.learning_curves(runs, group)
        if study.times and any(runs.timed(runs.finished(variant)) for variant in group):
            drawn[f"{name}-time"] = study_plots.learning_curves(runs, group, "time")
    comparable = runs.comparable()
    if len(comparable) > 1 and len(runs.bounds()) >= MANY:
        for name, group in named_groups(runs, comparable).items():
            drawn[f"{name}-efficiency"] = study_plots.sample_efficiency(runs, group)
        if others := runs.improvable():
            drawn[f"{study.name}-improvement"] = study_plots.improvement(runs, others)
    return drawn


def named_groups(runs: StudyRuns, variants: Sequence[str]) -> dict[str, list[str]]:
    """
    :param runs: The runs of a study.
    :param variants: The variants to draw.
    :return: Beginning of the figures' names -> variants that are drawn together.
    """
    groups = study_plots.groups(runs, variants) if variants else []
    name = runs.study.name
    return {f"{name}-{number}" if number > 1 else name: group for number, group in enumerate(groups, start=1)}


def replicate(study: Study) -> str:
    """
    :param study: A study.
    :return: The commands that make its rows, and this page's blocks from them.
    """
    extra = {
        "gradient-accuracy": [
            "python -m benchmarks.gradient_accuracy collect logs/studies/gradient-accuracy",
            "python -m benchmarks.final_gradients logs/studies/gradient-accuracy",
            "python -m benchmarks.final_values gradient-accuracy logs/studies/gradient-accuracy",
        ],
        **{
            name: [f"python -m benchmarks.final_values {name} logs/studies/{name}"]
            for name in ("critics-100k", "paper-preset", "sac-100k", "slim-search")
        },
        "dynamic-weights": ["python -m benchmarks.dynamic_weights collect logs/studies/dynamic-weights"],
    }
    collecting = extra.get(study.name, [])
    if adaptation.read(study.name):
        collecting = [f"python -m benchmarks.adaptation collect {study.name} logs/studies/{study.name}"]
    if adaptation.read_divergence(study.name):
        collecting.append(f"python -m benchmarks.adaptation divergence {study.name} logs/studies/{study.name}")
    if speed.study_file(study.name).is_file():
        collecting.append(f"python -m benchmarks.speed --threads 1 --batch-sizes 256 --study {study.name}")
    same = {"slim-search": ["gradient-accuracy"]}  # studies with some of its runs
    commands = [
        "```bash",
        *(
            f"sb3-hyper study merge {study.name} benchmarks/results/{other}.csv --results benchmarks/results"
            for other in same.get(study.name, [])
        ),
        f"sb3-hyper study run {study.name} --results benchmarks/results",
        *collecting,
        "python -m benchmarks.pages",
        "```",
    ]
    files = sorted(path.name for path in RESULTS.glob(f"{study.name}*.csv"))
    rows = [f"Rows: {', '.join(f'[{name}](../../benchmarks/results/{name})' for name in files)}."] if files else []
    return "\n".join([*commands, "", *rows]).strip()


def episodes(study: Study) -> str:
    """
    :param study: A study of meta-learners.
    :return: Returns before and after adaptation.
    """
    parts = [f"**{SPLITS[split]}**\n\n{adaptation.table(study.name, split)}" for split in adaptation.splits(study.name)]
    if not parts:
        return "No episodes have been collected yet."
    return "\n\n".join(parts)


def noise(study: Study) -> str:
    """
    :param study: The study maml-small.
    :return: Statistics of independent updates (Table 1), of models by their stage of training.
    """
    statistics = noise_table(read_populations(UPDATE_NOISE))
    lines = ["| model | evaluated | mean | variance | coefficient of variation |", "|---|---|---|---|---|"]
    for label, when, one in statistics:
        lines.append(f"| {label} | {when} | {one.mean:.0f} | {one.variance:.0f} | {one.coefficient:.2f} |")
    return "\n".join(lines)


def noise_figures(study: Study) -> dict[str, Figure]:
    """
    :param study: The study maml-small.
    :return: Name -> figure: the scores of independent updates (Fig. 5).
    """
    return {"update-noise-HalfCheetahFwdBack-v0": plot_populations(read_populations(UPDATE_NOISE))}


def adaptation_figures(study: Study) -> dict[str, Figure]:
    """
    :param study: A study of meta-learners.
    :return: Name -> figure.
    """
    drawn: dict[str, Figure] = {}
    for split in adaptation.splits(study.name):
        drawn |= adaptation.figures(study.name, split)
    return drawn


def pictures(figures: Mapping[str, Figure]) -> str:
    """
    :param figures: Name -> figure.
    :return: Links to them.
    """
    captions = {name: CAPTIONS.get(name.split("-")[-1], name.replace("-", " ")) for name in figures}
    return "\n".join(f"![{caption}](../images/{name}.png)" for name, caption in captions.items())


class Block(NamedTuple):
    """What a kind of block is made from: text, and figures with the file of rows that they are drawn from."""

    text: Callable[[Study], str] | None
    figures: Callable[[Study], dict[str, Figure]] | None = None
    file: Callable[[Study], Path] = lambda study: RESULTS / f"{study.name}.csv"

    def content(self, study: Study) -> str:
        """
        :param study: A study.
        :return: The text, and links to the figures.
        """
        parts = [self.text(study)] if self.text else []
        return "\n\n".join([*parts, pictures(self.figures(study))] if self.figures else parts)


# kind of block -> how it is made; those without a study in them are of the study that they are named after
BLOCKS = {
    "settings": Block(settings),
    "curves": Block(None, learning_figures),
    "tables": Block(tables),
    "replicate": Block(replicate),
    "cosines": Block(
        lambda _: gradient_accuracy.table(), lambda _: gradient_accuracy.figures(), lambda _: gradient_accuracy.RESULTS
    ),
    "values": Block(
        lambda _: gradient_accuracy.value_table(),
        lambda _: gradient_accuracy.value_figures(),
        lambda _: gradient_accuracy.RESULTS,
    ),
    "finals": Block(lambda _: final_gradients.table()),
    "models": Block(final_values.table),
    "effects": Block(lambda study: slim_search.effects(runs_of(study)).markdown().strip()),
    "steadiness": Block(lambda study: slim_search.steadiness(runs_of(study)).markdown().strip()),
    "costs": Block(speed.table),
    "initial": Block(lambda _: initial_weights.table()),
    "distances": Block(
        lambda _: dynamic_weights.table(), lambda _: dynamic_weights.figures(), lambda _: dynamic_weights.RESULTS
    ),
    "episodes": Block(episodes, adaptation_figures, lambda study: adaptation.file_of(study.name)),
    "noise": Block(noise, noise_figures, lambda _: UPDATE_NOISE),
}


def rendered(text: str) -> str:
    """
    :param text: A page.
    :return: The page, its blocks made anew.
    :raises KeyError: If there is no such kind of block.
    """

    def block(match: re.Match[str]) -> str:
        start, kind, name, end = match.groups()
        study = load_study(name)
        content = (
            BLOCKS[kind].content(study) if kind == "replicate" or runs_of(study).finished() else "No run has finished yet."
        )
        return f"{start}\n{content}\n\n{end}"

    return BLOCK.sub(block, text)


def main() -> int:
    """Write, or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only name pages that do not follow from the rows")
    args = parser.parse_args()
    stale = []
    for path in track(sorted(PAGES.glob("*.md"))):
        text = path.read_text(encoding="utf-8")
        new = rendered(text)
        if new != text:
            stale.append(path)
        if not args.check:
            with replacing(path) as temporary:
                temporary.write_text(new, encoding="utf-8")
            for _, kind, name, _ in BLOCK.findall(text):
                if figures := BLOCKS[kind].figures:
                    study = load_study(name)
                    save_all(figures(study), IMAGES, [BLOCKS[kind].file(study)])
    print("\n".join(f"{'stale' if args.check else 'new'}: {path.relative_to(ROOT)}" for path in stale) or "All is as it was")
    return 1 if args.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
