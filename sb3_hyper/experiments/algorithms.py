"""The algorithms that a study can name: this package's, and rl-zoo3's by its names (importing it patches gymnasium)."""

from sb3_contrib import ARS, QRDQN, TQC, TRPO, CrossQ, RecurrentPPO
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm

from sb3_hyper.meta.maml.maml import MAML
from sb3_hyper.meta.pearl.pearl import PEARL

# Those that learn to adapt to tasks
META_ALGORITHMS: dict[str, type[BaseAlgorithm]] = {"maml": MAML, "pearl": PEARL}
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
    **META_ALGORITHMS,
}
# Those with a critic of continuous actions, which diagnostics can measure
MEASURABLE: dict[str, type[BaseAlgorithm]] = {name: ALGORITHMS[name] for name in ("td3", "ddpg", "sac", "tqc", "crossq")}
