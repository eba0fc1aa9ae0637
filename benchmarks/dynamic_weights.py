"""
Rows, table and figures of the study dynamic-weights: what DynamicWeightsCallback stored in the folders of its runs.

    python -m benchmarks.dynamic_weights collect logs/studies/dynamic-weights
    python -m benchmarks.dynamic_weights draw

The first command adds the histograms to benchmarks/results/dynamic-weights-histograms.csv, one row per layer of each
measurement. The second prints the distances to MLP-Small at the same number of steps (the paper's Table 2) and draws the
histograms before and after training (Figs. 10 and 11).
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from benchmarks import rows
from sb3_hyper.diagnostics import plots
from sb3_hyper.diagnostics.records import load_records
from sb3_hyper.diagnostics.weights import total_variation_of_histograms
from sb3_hyper.experiments.study_files import load_study

RESULTS = Path(__file__).parent / "results" / "dynamic-weights-histograms.csv"
NETWORK = "critic.q_network"
REFERENCE = "mlp_small"
N_BINS = 20  # of distances: MLP-Small has only 256 weights in its second layer
SUMMARY = ("std", "std_of_meta", "largest", "total_variation")
Histogram = tuple[np.ndarray, np.ndarray]  # counts (n,), edges of bins (n + 1,)
Key = tuple[str, str, str, int, int]  # variant, environment, seed, step, layer


def rows_of(path: Path) -> Iterator[rows.Row]:
    """
    :param path: The file of a run.
    :return: One row per layer of each measurement.
    """
    records = load_records(path)
    for index, step in enumerate(records["timesteps"]):
        layer = 0
        while (name := f"{NETWORK}.{layer}") + ".counts" in records:
            bins, counts = records[f"{name}.bins"][index], records[f"{name}.counts"][index]
            row = {"step": str(step), "layer": str(layer + 1)}
            row |= {what: f"{records[f'{name}.{what}'][index]:.6g}" for what in SUMMARY}
            row |= {"low": f"{bins[0]:.9g}", "high": f"{bins[-1]:.9g}", "counts": " ".join(map(str, counts))}
            yield row
            layer += 1


def collect(folder: Path) -> int:
    """
    :param folder: The study's folder.
    :return: How many rows there are now.
    """
    return rows.collect(RESULTS, folder, "dynamic_weights.npz", rows_of, ("step", "layer"))


def histograms() -> dict[Key, Histogram]:
    """
    :return: The histograms in the rows.
    """
    found = {}
    for row in rows.read(RESULTS):
        counts = np.array(row["counts"].split(), dtype=int)
        key = (row["variant"], row["environment"], row["seed"], int(row["step"]), int(row["layer"]))
        found[key] = counts, np.linspace(float(row["low"]), float(row["high"]), len(counts) + 1)
    return found


def distances(found: Mapping[Key, Histogram]) -> dict[tuple[str, str, int, int], list[float]]:
    """
    :param found: Histograms.
    :return: Environment, variant, layer, step -> total-variation distance to MLP-Small of the same seed at that step, for
        each seed that has both.
    """
    values: dict[tuple[str, str, int, int], list[float]] = defaultdict(list)
    for (variant, environment, seed, step, layer), histogram in sorted(found.items()):
        reference = found.get((REFERENCE, environment, seed, step, layer))
        if variant != REFERENCE and reference is not None:
            values[environment, variant, layer, step].append(total_variation_of_histograms(histogram, reference, N_BINS))
    return dict(values)


def table() -> str:
    """
    :return: The distances in Markdown, in the paper's unit, half of the usual distance in percent.
    """
    study, values = load_study("dynamic-weights"), distances(histograms())
    if not values:
        return "No weights have been collected yet."
    steps = sorted({step for *_, step in values})
    lines = [
        "| environment | layer | critic | seeds | " + " | ".join(f"{step:,} steps" for step in steps) + " |",
        "|---|---|---|---|" + "---|" * len(steps),
    ]
    for environment in study.environments:
        for layer in sorted({layer for _, _, layer, _ in values}):
            for name, variant in study.variants.items():
                cells = [values.get((environment, name, layer, step), []) for step in steps]
                if any(cells):
                    text = [", ".join(f"{50 * value:.0f}" for value in cell) or "-" for cell in cells]
                    seeds = max(map(len, cells))
                    lines.append(f"| {environment} | {layer} | {variant.label} | {seeds} | " + " | ".join(text) + " |")
    return "\n".join(lines)


def figures() -> dict[str, Figure]:
    """
    :return: Name -> figure: the histograms before training and after it, at the last steps that all variants have, for each
        environment.
    """
    study, found = load_study("dynamic-weights"), histograms()
    drawn: dict[str, Figure] = {}
    for environment in study.environments:
        runs: dict[str, list[dict[str, np.ndarray]]] = {}
        own_steps = defaultdict(set)
        for name, place, seed, step, _ in found:
            if place == environment:
                own_steps[name, seed].add(step)
        steps = sorted(set.intersection(*own_steps.values())) if own_steps else []
        for name, variant in study.variants.items():
            for seed in sorted({key[2] for key in found if key[:2] == (name, environment)}):
                own = {key[3:]: value for key, value in found.items() if key[:3] == (name, environment, seed)}
                layers = sorted({layer for _, layer in own})
                records = {"timesteps": np.array(steps)}
                for layer in layers:
                    for part, what in enumerate(("counts", "bins")):
                        records[f"{NETWORK}.{layer - 1}.{what}"] = np.stack([own[step, layer][part] for step in steps])
                runs.setdefault(variant.label, []).append(records)
        for when, measurement in (("before", 0), ("after", -1)) if runs and steps else ():
            drawn[f"dynamic-weights-{when}-{environment}"] = plots.weight_histograms(runs, NETWORK, measurement)
    return drawn


if __name__ == "__main__":
    rows.main(__doc__ or "", RESULTS, collect, table, figures)
