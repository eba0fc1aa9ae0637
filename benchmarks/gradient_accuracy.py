"""
Rows and figures of the study gradient-accuracy: what GradientAccuracyCallback stored in the folders of its runs.

    python -m benchmarks.gradient_accuracy collect logs/studies/gradient-accuracy
    python -m benchmarks.gradient_accuracy draw

The first command adds the measurements to benchmarks/results/gradient-accuracy-states.csv, one row per state of each; the
second draws the paper's Figs. 3, 8 and 9 from the rows.
"""

import argparse
import csv
from collections import defaultdict
from pathlib import Path

import numpy as np

from sb3_hyper.common.files import replacing, write_csv
from sb3_hyper.diagnostics import plots
from sb3_hyper.diagnostics.records import load_records
from sb3_hyper.experiments.studies import load_study

RESULTS = Path(__file__).parent / "results" / "gradient-accuracy-states.csv"
IMAGES = Path(__file__).parents[1] / "docs" / "images"
KEYS = ("variant", "environment", "seed", "step", "state")
PER_STATE = ("cosine", "self_cosine", "noise_floor", "rank", "value", "policy_return", "terminated")
WHOLE = ("env_steps", "seconds")  # of a whole measurement


def rows_of(path: Path, variant: str, environment: str, seed: str) -> list[dict[str, str]]:
    """
    :param path: The file of a run.
    :param variant: Its variant.
    :param environment: Its environment.
    :param seed: Its seed.
    :return: One row per state of each measurement.
    """
    records, rows = load_records(path), []
    for index, step in enumerate(records["timesteps"]):
        for state in range(records["cosine"].shape[1]):
            row = dict(zip(KEYS, (variant, environment, seed, str(step), str(state)), strict=True))
            row |= {name: f"{records[name][index, state]:.6g}" for name in PER_STATE}
            rows.append(row | {name: f"{records[name][index]:.6g}" for name in WHOLE})
    return rows


def collect(folder: Path) -> int:
    """
    :param folder: The study's folder, ``variant/environment/seed-N`` below it.
    :return: How many rows there are now; those of a run replace its older ones.
    """
    merged = {tuple(row[key] for key in KEYS): row for row in read()}
    for path in sorted(folder.glob("*/*/seed-*/gradient_accuracy.npz")):
        variant, environment, seed = path.parts[-4:-1]
        run = (variant, environment, seed.removeprefix("seed-"))
        merged = {key: row for key, row in merged.items() if key[:3] != run}  # a rerun may have been measured at other steps
        for row in rows_of(path, *run):
            merged[tuple(row[key] for key in KEYS)] = row
    ordered = sorted(merged.values(), key=lambda row: (*(row[key] for key in KEYS[:2]), *(int(row[key]) for key in KEYS[2:])))
    names = [*KEYS, *PER_STATE, *WHOLE]
    write_csv(RESULTS, names, ([row[name] for name in names] for row in ordered))
    return len(ordered)


def read() -> list[dict[str, str]]:
    """
    :return: The rows.
    """
    if not RESULTS.is_file():
        return []
    with RESULTS.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def runs_by_label(environment: str) -> dict[str, list[dict[str, np.ndarray]]]:
    """
    :param environment: Id of an environment.
    :return: Label of a variant -> the records of its seeds.
    """
    study = load_study("gradient-accuracy")
    runs: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    for row in read():
        if row["environment"] == environment:
            runs[row["variant"], row["seed"]].append(row)
    labelled: dict[str, list[dict[str, np.ndarray]]] = {variant.label: [] for variant in study.variants.values()}
    for (variant, _), rows in sorted(runs.items()):
        steps = sorted({int(row["step"]) for row in rows})
        records = {
            name: np.array([[float(row[name]) for row in rows if int(row["step"]) == step] for step in steps])
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
