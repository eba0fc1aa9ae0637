"""
Measure the returns of doing nothing and of uniformly random actions in tasks: what a meta-learner's returns are to be
compared with.

    python -m benchmarks.task_returns
"""

import argparse
from pathlib import Path

import gymnasium as gym
import mujoco
import numpy as np
from rich.progress import track
from stable_baselines3.common.env_util import make_vec_env

import sb3_hyper  # noqa: F401, registers the environments
from benchmarks import rows
from sb3_hyper.meta.curves import adaptation_curve, do_nothing_returns, play_once
from sb3_hyper.tasks.registration import TASK_ENVS
from sb3_hyper.tasks.vectorized import sample_task_set

OUTPUT = Path(__file__).parent / "results" / "task-returns.csv"


def measure(name: str, n_tasks: int, seed: int) -> list[rows.Row]:
    """
    :param name: Id of the environment.
    :param n_tasks: How many tasks of each split.
    :param seed: Seed of tasks, environments and actions.
    :return: A row for each split and policy.
    """
    env = make_vec_env(name, min(n_tasks, 10))
    measured: list[rows.Row] = []
    for split, tasks in sample_task_set(env, n_tasks, n_tasks, seed=seed):
        if not tasks:
            continue
        env.action_space.seed(seed)
        random = adaptation_curve(
            lambda env: play_once(env, lambda: np.stack([env.action_space.sample() for _ in range(env.num_envs)])),
            env,
            tasks,
            seed,
        )
        for policy, returns in (("nothing", do_nothing_returns(env, tasks, seed)), ("random", random.returns[:, 0])):
            measured.append(
                {
                    "environment": name,
                    "split": split,
                    "policy": policy,
                    "mean_return": f"{returns.mean():.2f}",
                    "standard_error": f"{returns.std(ddof=1) / np.sqrt(len(returns)):.2f}",
                    "n_tasks": str(len(tasks)),
                    "seed": str(seed),
                    "gymnasium": gym.__version__,
                    "mujoco": mujoco.__version__,
                }
            )
    env.close()
    return measured


def main() -> None:
    """Measure, write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", nargs="+", default=[name for name in TASK_ENVS if "MetaWorld" not in name])
    parser.add_argument("--tasks", type=int, default=50, help="per split (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=OUTPUT, help="CSV file (default: %(default)s)")
    args = parser.parse_args()
    for name in track(args.environments):
        rows.replace(args.output, measure(name, args.tasks, args.seed), ["environment"])
    print(f"Rows: {args.output}")


if __name__ == "__main__":
    main()
