"""SB3 policies with hypernetwork critics."""

from stable_baselines3 import SAC, TD3

from sb3_hyper.policies.critics import CRITICS
from sb3_hyper.policies.hyper_policy import HyperCriticMixin
from sb3_hyper.policies.sac import HyperSACCnnPolicy, HyperSACMultiInputPolicy, HyperSACPolicy
from sb3_hyper.policies.td3 import HyperTD3CnnPolicy, HyperTD3MultiInputPolicy, HyperTD3Policy

# DDPG shares TD3's table
TD3.policy_aliases.update(
    HyperPolicy=HyperTD3Policy, HyperCnnPolicy=HyperTD3CnnPolicy, HyperMultiInputPolicy=HyperTD3MultiInputPolicy
)
SAC.policy_aliases.update(
    HyperPolicy=HyperSACPolicy, HyperCnnPolicy=HyperSACCnnPolicy, HyperMultiInputPolicy=HyperSACMultiInputPolicy
)

__all__ = [
    "CRITICS",
    "HyperCriticMixin",
    "HyperSACCnnPolicy",
    "HyperSACMultiInputPolicy",
    "HyperSACPolicy",
    "HyperTD3CnnPolicy",
    "HyperTD3MultiInputPolicy",
    "HyperTD3Policy",
]
