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
from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure
from rich.progress import track

from benchmarks import adaptation, dynamic_weights, final_gradients, gradient_accuracy
from benchmarks.images import IMAGES, save_all
from sb3_hyper.common.files import replacing
from sb3_hyper.experiments import study_plots
from sb3_hyper.experiments.report import variant_settings
from sb3_hyper.experiments.results import read_results
from sb3_hyper.experiments.studies import Study, load_study
from sb3_hyper.experiments.study_runs import StudyRuns, count
from sb3_hyper.experiments.study_tables import MARKDOWN, study_tables

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = ROOT / "docs" / "results"
CAPTIONS = {
    "steps": "Return against steps: mean over seeds, and 95 % bootstrap interval where there are two or more",
    "time": "Return against processor time",
    "efficiency": "Interquartile mean of normalised returns over environments",
    "improvement": "Probability that a run ends above one of the baseline",
}
BLOCK = re.compile(r"(<!-- (\w+) ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def runs_of(study: Study) -> StudyRuns:
    """
    :param study: A study.
    :return: The runs in its rows.
    """
    return StudyRuns(study, read_results(RESULTS / f"{study.name}.csv"))


def settings(study: Study) -> str:
    """
    :param study: A study.
    :return: What ran: the baseline's settings, and of the other variants what differs from them.
    """
    runs = runs_of(study)
    there = [variant for variant in study.variants if runs.finished(variant)]
    seeds = count({len(runs.finished(v, e)) for v in there for e in study.environments if runs.finished(v, e)}, "seed")
    lines = [
        f"{', '.join(study.environments)}; {study.steps:,} steps, an evaluation of {count({study.eval_episodes}, 'episode')} "
        f"every {study.eval_freq:,}; {seeds} of each so far.",
        "",
        "| variant | settings (of those after the first: what differs from it) |",
        "|---|---|",
    ]
    labels = {study.variants[name].label for name in there}
    for label, environments, values in variant_settings(study):
        if label in labels:
            text = ", ".join(f"`{key}: {value}`" for key, value in values if not key.startswith(("callback", "n_timesteps")))
            where = f" ({environments})" if environments else ""
            lines.append(f"| {label.translate(MARKDOWN)}{where} | {text} |")
    return "\n".join(lines)


def tables(study: Study) -> str:
    """
    :param study: A study.
    :return: The tables of its report.
    """
    return "\n".join(table.markdown() for table in study_tables(runs_of(study))).strip()


def curves(study: Study) -> str:
    """
    :param study: A study.
    :return: Its learning curves.
    """
    return "\n".join(f"![{CAPTIONS[name.split('-')[-1]]}](../images/{name}.png)" for name in figures(study))


def figures(study: Study) -> dict[str, Figure]:
    """
    :param study: A study.
    :return: Name -> figure.
    """
    runs = runs_of(study)
    there = [variant for variant in study.variants if runs.finished(variant)]
    drawn: dict[str, Figure] = {}
    for number, group in enumerate(study_plots.groups(runs, there) if there else [], start=1):
        name = f"{study.name}-{number}" if number > 1 else study.name
        drawn[f"{name}-steps"] = study_plots.learning_curves(runs, group)
        drawn[f"{name}-time"] = study_plots.learning_curves(runs, group, "time")
    comparable = runs.comparable()
    if len(comparable) > 1 and len(runs.bounds()) > 1:
        drawn[f"{study.name}-efficiency"] = study_plots.sample_efficiency(runs, comparable)
        others = [variant for variant in comparable if variant != study.baseline]
        drawn[f"{study.name}-improvement"] = study_plots.improvement(runs, others)
    return drawn


def replicate(study: Study) -> str:
    """
    :param study: A study.
    :return: The commands that make its rows, and this page's blocks from them.
    """
    extra = {
        "gradient-accuracy": [
            "python -m benchmarks.gradient_accuracy collect logs/studies/gradient-accuracy",
            "python -m benchmarks.final_gradients logs/studies/gradient-accuracy",
        ],
        "dynamic-weights": ["python -m benchmarks.dynamic_weights collect logs/studies/dynamic-weights"],
    }
    collecting = extra.get(study.name, [])
    if adaptation.read(study.name):
        collecting = [f"python -m benchmarks.adaptation collect {study.name} logs/studies/{study.name}"]
    commands = ["```bash", f"sb3-hyper study run {study.name}", *collecting, "python -m benchmarks.pages", "```"]
    files = sorted(path.name for path in RESULTS.glob(f"{study.name}*.csv"))
    rows = [f"Rows: {', '.join(f'[{name}](../../benchmarks/results/{name})' for name in files)}."] if files else []
    return "\n".join([*commands, "", *rows]).strip()


def cosines(study: Study) -> str:
    """
    :param study: The study gradient-accuracy.
    :return: What GradientAccuracyCallback measured.
    """
    pictures = [f"![{name.replace('-', ' ')}](../images/{name}.png)" for name in gradient_accuracy.figures()]
    return "\n".join([gradient_accuracy.table(), "", *pictures])


def finals(study: Study) -> str:
    """
    :param study: The study gradient-accuracy.
    :return: What more samples told of its finished models.
    """
    return final_gradients.table()


def distances(study: Study) -> str:
    """
    :param study: The study dynamic-weights.
    :return: The distances to MLP-Small's weights, and the histograms.
    """
    pictures = [f"![{name.replace('-', ' ')}](../images/{name}.png)" for name in dynamic_weights.figures()]
    return "\n".join([dynamic_weights.table(), "", *pictures])


def episodes(study: Study) -> str:
    """
    :param study: A study of meta-learners.
    :return: Returns before and after adaptation.
    """
    return adaptation.table(study.name, "test")


BLOCKS: dict[str, Callable[[Study], str]] = {
    function.__name__: function for function in (settings, curves, tables, replicate, cosines, finals, distances, episodes)
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
        content = BLOCKS[kind](study) if kind == "replicate" or runs_of(study).finished() else "No run has finished yet."
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
            for name in sorted({name for _, kind, name, _ in BLOCK.findall(text) if kind == "curves"}):
                save_all(figures(load_study(name)), IMAGES)
    if not args.check:
        save_all(gradient_accuracy.figures() | dynamic_weights.figures(), IMAGES)
        for path in sorted(RESULTS.glob("*-adaptation.csv")):
            adaptation.draw(path.stem.removesuffix("-adaptation"), "test")
    print("\n".join(f"{'stale' if args.check else 'new'}: {path.relative_to(ROOT)}" for path in stale) or "All is as it was")
    return 1 if args.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
