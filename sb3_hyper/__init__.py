"""Hypernetwork building blocks for Stable-Baselines3."""

from pathlib import Path

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
from sb3_hyper.tasks.registration import register_envs

__version__ = Path(__file__).with_name("version.txt").read_text(encoding="utf-8").strip()

register_envs()

__all__ = [
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
    "__version__",
    "register_critic",
]
