"""
Measure the undiscounted return of uniformly random actions: the zero of normalised scores.

    python -m benchmarks.random_returns
"""

import argparse
from pathlib import Path

import gymnasium as gym
import mujoco
import numpy as np
from rich.progress import track

import sb3_hyper  # noqa: F401, registers PaperAnt-v4
from benchmarks import rows

ENVIRONMENTS = (
    "HalfCheetah-v5",
    "Hopper-v5",
    "Walker2d-v5",
    "Ant-v5",
    "Reacher-v5",
    "Pusher-v5",
    "HalfCheetah-v4",
    "Hopper-v4",
    "Walker2d-v4",
    "Ant-v4",
    "PaperAnt-v4",
    "Pendulum-v1",
)
OUTPUT = Path(__file__).parent / "results" / "random-returns.csv"


def random_episodes(environment: str, n_episodes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """
    Play with uniformly random actions.

    :param environment: Id of the environment, with its usual time limit.
    :param n_episodes: How many episodes.
    :param seed: Seed of the environment and of the actions.
    :return: Undiscounted returns and lengths, both ``(n_episodes,)``
    """
    env = gym.make(environment)
    env.reset(seed=seed)
    env.action_space.seed(seed)
    returns, lengths = np.zeros(n_episodes), np.zeros(n_episodes, dtype=int)
    for episode in track(range(n_episodes), description=environment):
        env.reset()
        done = False
        while not done:
            _, reward, terminated, truncated, _ = env.step(env.action_space.sample())
            returns[episode] += float(reward)
            lengths[episode] += 1
            done = terminated or truncated
    env.close()
    return returns, lengths


def main() -> None:
    """Measure, write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", nargs="+", default=list(ENVIRONMENTS))
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=OUTPUT, help="CSV file (default: %(default)s)")
    args = parser.parse_args()

    for environment in args.environments:
        returns, lengths = random_episodes(environment, args.episodes, args.seed)
        row = {
            "environment": environment,
            "mean_return": f"{returns.mean():.2f}",
            "standard_error": f"{returns.std(ddof=1) / np.sqrt(len(returns)):.2f}",
            "std_return": f"{returns.std(ddof=1):.2f}",
            "mean_length": f"{lengths.mean():.1f}",
            "episodes": str(args.episodes),
            "seed": str(args.seed),
            "gymnasium": gym.__version__,
            "mujoco": mujoco.__version__,
        }
        rows.replace(args.output, [row], ["environment"])
    print(f"Rows: {args.output}")


if __name__ == "__main__":
    main()
