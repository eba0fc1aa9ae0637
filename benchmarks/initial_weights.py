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
from pathlib import Path

import gymnasium as gym
import numpy as np
from rich.progress import track
from stable_baselines3 import TD3

from sb3_hyper import HyperTD3Policy
from sb3_hyper.common.files import write_csv
from sb3_hyper.diagnostics.callbacks import DynamicWeightsCallback

ENVIRONMENTS = ("Hopper-v5", "Walker2d-v5", "PaperAnt-v4", "HalfCheetah-v5")
GAINS = {"paper": 1 / math.sqrt(12), "pytorch": 1 / math.sqrt(3)}
STATES = ("random actions", "resets")
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


def main() -> None:
    """Measure, print the table, write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", nargs="+", default=list(ENVIRONMENTS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=OUTPUT, help="CSV file (default: %(default)s)")
    args = parser.parse_args()
    rows = []
    for environment in track(args.environments):
        for states, (name, gain) in itertools.product(STATES, GAINS.items()):
            found = np.array([distances(environment, states, gain, seed) for seed in range(args.seeds)])  # (n_seeds, n_layers)
            for (seed, layer), distance in np.ndenumerate(found):
                rows.append([environment, states, name, layer + 1, seed, f"{distance:.4f}"])
            cells = ", ".join(
                f"layer {layer + 1} {mean:.3f} +- {std:.3f}"
                for layer, (mean, std) in enumerate(zip(found.mean(axis=0), found.std(axis=0), strict=True))
            )
            print(f"{environment:16}{states:16}{name:9}{cells}")
    write_csv(args.output, ["environment", "states", "initialization", "layer", "seed", "total_variation"], rows)
    print(f"Rows: {args.output}")


if __name__ == "__main__":
    main()
