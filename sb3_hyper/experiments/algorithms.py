"""The algorithms that a study can name: rl-zoo3's, by its names (importing rl-zoo3 itself patches gymnasium)."""

from sb3_contrib import ARS, QRDQN, TQC, TRPO, CrossQ, RecurrentPPO
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm

ALGORITHMS: dict[str, type[BaseAlgorithm]] = {
    "a2c": A2C,
    "ars": ARS,
    "crossq": CrossQ,
    "ddpg": DDPG,
    "dqn": DQN,
    "ppo": PPO,
    "ppo_lstm": RecurrentPPO,
    "qrdqn": QRDQN,
    "sac": SAC,
    "td3": TD3,
    "tqc": TQC,
    "trpo": TRPO,
}
