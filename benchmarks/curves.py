"""
Draw the learning curves in benchmarks/results/FOLDER: one CSV per run, as ``make train`` writes it.

    python -m benchmarks.curves train-HalfCheetah-v5

Files are named VARIANT-seedN.csv. A thin line is a run, a thick one the mean of a variant's runs.
"""

import argparse
import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

RESULTS = Path(__file__).parent / "results"
LABELS = {
    "mlp": "TD3, MLP critic",
    "slim": "TD3, hypernetwork critic (slim)",
}


def read_runs(folder: Path) -> dict[str, dict[int, np.ndarray]]:
    """
    :param folder: Where the CSV files lie
    :return: Variant -> seed -> (step, mean return), ``(n_evaluations, 2)``
    """
    runs: dict[str, dict[int, np.ndarray]] = defaultdict(dict)
    for path in sorted(folder.glob("*-seed*.csv")):
        variant, _, seed = path.stem.rpartition("-seed")
        with path.open(newline="", encoding="utf-8") as file:
            rows = [(float(row["step"]), float(row["mean_return"])) for row in csv.DictReader(file)]
        runs[variant][int(seed)] = np.array(rows)
    return runs


def main() -> None:
    """Print a table, draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="folder in benchmarks/results")
    parser.add_argument("--variants", nargs="+", default=list(LABELS), help="which to draw")
    parser.add_argument("--output", type=Path, help="image (default: docs/images/FOLDER.png)")
    args = parser.parse_args()
    runs = read_runs(RESULTS / args.folder)
    if not runs:
        parser.error(f"there are no runs in {RESULTS / args.folder}")
    print(
        "variant".ljust(28),
        *(f"seed {seed}".rjust(8) for seed in sorted(next(iter(runs.values())))),
        "    mean   (last evaluation)",
    )
    for variant, seeds in runs.items():
        last = [curve[-1, 1] for _, curve in sorted(seeds.items())]
        print(variant.ljust(28), *(f"{value:8.0f}" for value in [*last, np.mean(last)]))

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    for variant in args.variants:
        curves = np.stack(list(runs[variant].values()))  # (n_seeds, n_evaluations, 2)
        steps, mean = curves[0, :, 0], curves[..., 1].mean(axis=0)
        (line,) = axes.plot(steps, mean, linewidth=2.5, label=f"{LABELS.get(variant, variant)}, {len(curves)} seeds")
        axes.plot(steps, curves[..., 1].T, color=line.get_color(), linewidth=0.8, alpha=0.6)
    axes.set(xlabel="Environment steps", ylabel="Return", title=args.folder.removeprefix("train-"))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    output = args.output or RESULTS.parent.parent / "docs" / "images" / f"{args.folder}.png"
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=150)
    print(f"Figure: {output}")


if __name__ == "__main__":
    main()
