"""
Rows and figures of the study gradient-accuracy: what GradientAccuracyCallback stored in the folders of its runs.

    python -m benchmarks.gradient_accuracy collect logs/studies/gradient-accuracy
    python -m benchmarks.gradient_accuracy draw

The first command adds the measurements to benchmarks/results/gradient-accuracy-states.csv, one row per state of each; the
second draws the paper's Figs. 3, 8 and 9 from the rows.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks import rows
from sb3_hyper.common.files import replacing
from sb3_hyper.diagnostics import plots
from sb3_hyper.diagnostics.records import load_records
from sb3_hyper.experiments.studies import load_study

RESULTS = Path(__file__).parent / "results" / "gradient-accuracy-states.csv"
IMAGES = Path(__file__).parents[1] / "docs" / "images"
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
    for (variant, _), own in sorted(runs.items()):
        steps = sorted({int(row["step"]) for row in own})
        records = {
            name: np.array([[float(row[name]) for row in own if int(row["step"]) == step] for step in steps])
            for name in PER_STATE
        }
        labelled[study.variants[variant].label].append({"timesteps": np.array(steps), **records})
    return {label: records for label, records in labelled.items() if records}


def draw() -> list[Path]:
    """
    :return: The figures that were drawn.
    """
    paths = []
    for environment in load_study("gradient-accuracy").environments:
        runs = runs_by_label(environment)
        if not runs:
            continue
        figures = {
            "cosine": plots.cosine_over_time(runs, window=1),
            "self-test": plots.cosine_over_time(runs, "self_cosine", window=1),
            "noise-floor": plots.cosine_over_time(runs, "noise_floor", window=1),
            "learnable": plots.learnable_states(runs),
        }
        for name, figure in figures.items():
            path = IMAGES / f"gradient-{name}-{environment}.png"
            with replacing(path) as temporary:
                figure.savefig(temporary, dpi=110, facecolor="white")
            paths.append(path)
    return paths


def main() -> None:
    """Collect or draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    commands.add_parser("collect").add_argument("folder", type=Path, help="the study's folder")
    commands.add_parser("draw")
    args = parser.parse_args()
    if args.command == "collect":
        print(f"{collect(args.folder)} rows: {RESULTS}")
    else:
        print("\n".join(map(str, draw())) or "There are no rows to draw from")


if __name__ == "__main__":
    main()
