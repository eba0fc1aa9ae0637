"""Hypernetwork building blocks for Stable-Baselines3."""

from pathlib import Path

from sb3_hyper.meta.evaluation import MetaEvalCallback
from sb3_hyper.meta.maml.maml import MAML
from sb3_hyper.meta.pearl.pearl import PEARL
from sb3_hyper.networks import PRESETS, HyperNetwork, HyperNetworkSpec
from sb3_hyper.policies import (
    HyperSACCnnPolicy,
    HyperSACMultiInputPolicy,
    HyperSACPolicy,
    HyperTD3CnnPolicy,
    HyperTD3MultiInputPolicy,
    HyperTD3Policy,
    HyperTQCCnnPolicy,
    HyperTQCMultiInputPolicy,
    HyperTQCPolicy,
    register_critic,
)
from sb3_hyper.tasks.checker import check_task_env
from sb3_hyper.tasks.context import OracleContext
from sb3_hyper.tasks.interface import TaskEnv, TaskSet, TaskWrapper
from sb3_hyper.tasks.registration import register_envs
from sb3_hyper.tasks.vectorized import reset_to_tasks

__version__ = Path(__file__).with_name("version.txt").read_text(encoding="utf-8").strip()

register_envs()

__all__ = [
    "MAML",
    "PEARL",
    "PRESETS",
    "HyperNetwork",
    "HyperNetworkSpec",
    "HyperSACCnnPolicy",
    "HyperSACMultiInputPolicy",
    "HyperSACPolicy",
    "HyperTD3CnnPolicy",
    "HyperTD3MultiInputPolicy",
    "HyperTD3Policy",
    "HyperTQCCnnPolicy",
    "HyperTQCMultiInputPolicy",
    "HyperTQCPolicy",
    "MetaEvalCallback",
    "OracleContext",
    "TaskEnv",
    "TaskSet",
    "TaskWrapper",
    "__version__",
    "check_task_env",
    "register_critic",
    "reset_to_tasks",
]
