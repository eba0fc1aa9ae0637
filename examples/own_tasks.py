"""
Tasks of one's own: a pendulum whose gravity and length are the task, and an agent that is told which.

    python examples/own_tasks.py
"""

import argparse
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3 import SAC
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_hyper.tasks.checker import check_task_env
from sb3_hyper.tasks.context import OracleContext
from sb3_hyper.tasks.interface import TaskSet, TaskWrapper
from sb3_hyper.tasks.vectorized import reset_to_tasks

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--steps", type=int, default=3000)
args = parser.parse_args()


def sample_tasks(n: int, rng: np.random.Generator, split: str) -> list[dict[str, Any]]:
    """Gravity and length; both beyond all training tasks where the split is out of the distribution."""
    low, high = ((2, 0.7), (20, 1.3)) if split != "ood" else ((20, 1.3), (25, 1.5))
    return [{"gravity": float(gravity), "length": float(length)} for gravity, length in rng.uniform(low, high, (n, 2))]


def set_task(pendulum: Any, task: dict[str, Any]) -> None:
    """A task is two attributes of gymnasium's pendulum. An unknown one is a KeyError."""
    pendulum.g, pendulum.l = task["gravity"], task["length"]


def make() -> TaskWrapper:
    """A pendulum with tasks."""
    return TaskWrapper(gym.make("Pendulum-v1"), set_task, sample_tasks, splits=("train", "test", "ood"))


env = make()
check_task_env(env)
tasks = TaskSet.sample(env, n_train=20, n_test=5, n_ood=5, seed=0)
print(f"Task set {tasks.hash}. Its first task: {tasks.train[0]}")

train_env = DummyVecEnv([lambda: OracleContext(make(), tasks.train)] * 4)
observations = reset_to_tasks(train_env, tasks.train[:4])  # each environment keeps its task while the agent learns
print(f"Contexts of the four tasks that are trained on:\n{np.asarray(observations)[:, 3:]}")
SAC("MlpPolicy", train_env, seed=0, verbose=1).learn(args.steps)
