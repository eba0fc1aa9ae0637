"""
Rows and figures of the study gradient-accuracy: what GradientAccuracyCallback stored in the folders of its runs.

    python -m benchmarks.gradient_accuracy collect logs/studies/gradient-accuracy
    python -m benchmarks.gradient_accuracy draw

The first command adds the measurements to benchmarks/results/gradient-accuracy-states.csv, one row per state of each; the
second draws the paper's Figs. 3, 8 and 9 from the rows, and the critics' values beside returns.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from benchmarks import rows
from sb3_hyper.diagnostics import plots
from sb3_hyper.diagnostics.records import load_records
from sb3_hyper.experiments.study_files import load_study

RESULTS = Path(__file__).parent / "results" / "gradient-accuracy-states.csv"
PER_STATE = ("cosine", "self_cosine", "noise_floor", "rank", "value", "policy_return", "terminated")
WHOLE = ("env_steps", "seconds")  # of a whole measurement


def rows_of(path: Path) -> Iterator[rows.Row]:
    """
    :param path: The file of a run.
    :return: One row per state of each measurement.
    """
    records = load_records(path)
    for index, step in enumerate(records["timesteps"]):
        for state in range(records["cosine"].shape[1]):
            row = {"step": str(step), "state": str(state)}
            row |= {name: f"{records[name][index, state]:.6g}" for name in PER_STATE}
            yield row | {name: f"{records[name][index]:.6g}" for name in WHOLE}


def collect(folder: Path) -> int:
    """
    :param folder: The study's folder.
    :return: How many rows there are now.
    """
    return rows.collect(RESULTS, folder, "gradient_accuracy.npz", rows_of, ("step", "state"))


def runs_by_label(environment: str) -> dict[str, list[dict[str, np.ndarray]]]:
    """
    :param environment: Id of an environment.
    :return: Label of a variant -> the records of its seeds.
    """
    study = load_study("gradient-accuracy")
    runs: dict[tuple[str, str], list[rows.Row]] = defaultdict(list)
    for row in rows.read(RESULTS):
        if row["environment"] == environment:
            runs[row["variant"], row["seed"]].append(row)
    labelled: dict[str, list[dict[str, np.ndarray]]] = {variant.label: [] for variant in study.variants.values()}
    for (variant, seed), own in sorted(runs.items()):
        steps = sorted({int(row["step"]) for row in own})
        records = {
            name: np.array([[float(row[name]) for row in own if int(row["step"]) == step] for step in steps])
            for name in PER_STATE
        }
        labelled[study.variants[variant].label].append({"timesteps": np.array(steps), "seed": np.array(int(seed)), **records})
    return {label: records for label, records in labelled.items() if records}


def table() -> str:
    """
    :return: Means over the states of all measurements after the first, which is made before training, in Markdown. States of
        one measurement have the critic in common: the standard error is that of the measurements' means.
    """
    lines = [
        "| environment | critic | seeds | states | cosine | self-test | agreement of half fits |",
        "|---|---|---|---|---|---|---|",
    ]
    for environment in load_study("gradient-accuracy").environments:
        for label, runs in runs_by_label(environment).items():
            values = {name: np.concatenate([one[name][1:].ravel() for one in runs]) for name in PER_STATE}
            cosine = rows.of_groups([measurement for one in runs for measurement in one["cosine"][1:]])
            n_states = np.isfinite(values["cosine"]).sum()
            cells = [environment, label, str(len(runs)), str(n_states), cosine]
            cells += [f"{np.nanmean(values[name]):.2f}" for name in ("self_cosine", "noise_floor")]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) if len(lines) > 2 else "Nothing has been collected yet."


def value_table() -> str:
    """
    :return: The critics' values and the returns, means over the states of each measurement, in Markdown.
    """
    runs = [
        (environment, label, run)
        for environment in load_study("gradient-accuracy").environments
        for label, seeds in runs_by_label(environment).items()
        for run in seeds
    ]
    if not runs:
        return "Nothing has been collected yet."
    steps = sorted({int(step) for _, _, run in runs for step in run["timesteps"]})
    header = ["environment", "critic", "seed", *(f"{step:,}" for step in steps)]
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    for environment, label, run in runs:
        means = zip(run["timesteps"], run["value"].mean(axis=1), run["policy_return"].mean(axis=1), strict=True)
        found = {step: f"{rows.whole(value)} / {rows.whole(gave)}" for step, value, gave in means}
        cells = [environment, label, str(run["seed"]), *(found.get(step, "") for step in steps)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def figures() -> dict[str, Figure]:
    """
    :return: Name -> figure: the paper's Figs. 9, 8 and 3a, and the agreement of half fits, for each environment.
    """
    drawn: dict[str, Figure] = {}
    for environment in load_study("gradient-accuracy").environments:
        if runs := runs_by_label(environment):
            drawn |= {
                f"gradient-cosine-{environment}": plots.cosine_over_time(runs, window=1),
                f"gradient-self-test-{environment}": plots.cosine_over_time(runs, "self_cosine", window=1),
                f"gradient-noise-floor-{environment}": plots.cosine_over_time(runs, "noise_floor", window=1),
                f"gradient-learnable-{environment}": plots.learnable_states(runs),
            }
    return drawn


def value_figures() -> dict[str, Figure]:
    """
    :return: Name -> figure: how far values lie above returns, for each environment.
    """
    places = {place: runs_by_label(place) for place in load_study("gradient-accuracy").environments}
    return {f"value-bias-{place}": plots.value_bias_over_time(runs, window=1) for place, runs in places.items() if runs}


if __name__ == "__main__":
    rows.main(__doc__ or "", RESULTS, collect, table, lambda: figures() | value_figures())
