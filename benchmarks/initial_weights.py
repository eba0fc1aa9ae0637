"""
The generated weights of an untrained critic beside an ordinary network's: the first half of the paper's Table 2.

    python -m benchmarks.initial_weights

The critic is the paper's; its primary network starts as the paper has it, or as PyTorch would. Weights are those generated for
100 states, of random actions or of resets (the paper does not say which), and the distance is that to the weights of MLP-Small
(total variation, 200 bins).
"""

import argparse
import itertools
import math
from collections import defaultdict
from pathlib import Path

import gymnasium as gym
import numpy as np
from rich.progress import track
from stable_baselines3 import TD3

from benchmarks import rows
from sb3_hyper import HyperTD3Policy
from sb3_hyper.diagnostics.callbacks import DynamicWeightsCallback

ENVIRONMENTS = ("Hopper-v5", "Walker2d-v5", "PaperAnt-v4", "HalfCheetah-v5")
GAINS = {"paper": 1 / math.sqrt(12), "pytorch": 1 / math.sqrt(3)}
STATES = ("random actions", "resets")
NAMES = {"paper": "the paper", "pytorch": "PyTorch"}
# Table 2, its first half
PAPER = {
    ("1", "paper"): {"Hopper": 31.4, "Walker2d": 23.9, "Ant": 13.6, "HalfCheetah": 29.4},
    ("1", "pytorch"): {"Hopper": 16.3, "Walker2d": 20.5, "Ant": 9.2, "HalfCheetah": 8.8},
    ("2", "paper"): {"Hopper": 34.8, "Walker2d": 30.8, "Ant": 37.7, "HalfCheetah": 36.9},
    ("2", "pytorch"): {"Hopper": 24.7, "Walker2d": 39.6, "Ant": 11.2, "HalfCheetah": 29.3},
}
OUTPUT = Path(__file__).parent / "results" / "initial-weights.csv"


def distances(environment: str, states: str, gain: float, seed: int) -> list[float]:
    """
    :param environment: Id of the environment.
    :param states: Which states, see ``STATES``.
    :param gain: Kaiming gain of the primary network.
    :param seed: Seed of the critic, the environment and the actions.
    :return: Total-variation distance of each dynamic layer's weights.
    """
    policy_kwargs = {"preset": "paper", "network_kwargs": {"primary_gain": gain}}
    env = gym.make(environment, max_episode_steps=1) if states == "resets" else gym.make(environment)
    model = TD3(HyperTD3Policy, env, policy_kwargs=policy_kwargs, learning_starts=1000, buffer_size=1000, seed=seed)
    callback = DynamicWeightsCallback(eval_freq=1000, n_states=100, seed=seed)
    model.learn(1000, callback)
    row = callback.records.rows[-1]
    assert row["timesteps"] == 1000
    return [float(row[name]) for name in sorted(row) if name.endswith("total_variation")]


def table() -> str:
    """
    :return: Means over seeds in Markdown, in the paper's unit, half of the usual distance in percent.
    """
    found: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for row in rows.read(OUTPUT):
        key = (row["layer"], row["states"], row["initialization"], row["environment"])
        found[key].append(50 * float(row["total_variation"]))
    environments = list(dict.fromkeys(key[3] for key in found))
    lines = [
        "| layer | states | primary network starts as in | " + " | ".join(environments) + " |",
        "|---|---|---|" + "---|" * len(environments),
    ]
    for layer, states, initialization in sorted(
        {key[:3] for key in found}, key=lambda key: (key[0], key[1] != "resets", key[2])
    ):
        cells = []
        for environment in environments:
            values = found[layer, states, initialization, environment]
            published = PAPER[layer, initialization].get(environment.split("-")[0].removeprefix("Paper"), "")
            cells.append(f"{np.mean(values):.1f} \u00b1 {np.std(values, ddof=1):.1f} ({published})")
        lines.append(f"| {layer} | {states} | {NAMES[initialization]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table, write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", nargs="+", default=list(ENVIRONMENTS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=OUTPUT, help="CSV file (default: %(default)s)")
    args = parser.parse_args()
    for environment in track(args.environments):
        measured: list[rows.Row] = []
        for states, (name, gain) in itertools.product(STATES, GAINS.items()):
            found = np.array([distances(environment, states, gain, seed) for seed in range(args.seeds)])  # (n_seeds, n_layers)
            for (seed, layer), distance in np.ndenumerate(found):
                row = {"environment": environment, "states": states, "initialization": name, "layer": str(layer + 1)}
                measured.append(row | {"seed": str(seed), "total_variation": f"{distance:.4f}"})
            cells = ", ".join(
                f"layer {layer + 1} {mean:.3f} +- {std:.3f}"
                for layer, (mean, std) in enumerate(zip(found.mean(axis=0), found.std(axis=0), strict=True))
            )
            print(f"{environment:16}{states:16}{name:9}{cells}")
        rows.replace(args.output, measured, ["environment"])
    print(f"Rows: {args.output}")


if __name__ == "__main__":
    main()
