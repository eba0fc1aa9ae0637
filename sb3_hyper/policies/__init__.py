"""SB3 policies with hypernetwork critics."""

from sb3_contrib import TQC
from stable_baselines3 import SAC, TD3

from sb3_hyper.policies.critic_names import CRITICS, register_critic
from sb3_hyper.policies.hyper_policy import HyperCriticMixin
from sb3_hyper.policies.sac import HyperSACCnnPolicy, HyperSACMultiInputPolicy, HyperSACPolicy
from sb3_hyper.policies.td3 import HyperTD3CnnPolicy, HyperTD3MultiInputPolicy, HyperTD3Policy
from sb3_hyper.policies.tqc import HyperTQCCnnPolicy, HyperTQCMultiInputPolicy, HyperTQCPolicy

# DDPG shares TD3's table
TD3.policy_aliases.update(
    HyperPolicy=HyperTD3Policy, HyperCnnPolicy=HyperTD3CnnPolicy, HyperMultiInputPolicy=HyperTD3MultiInputPolicy
)
SAC.policy_aliases.update(
    HyperPolicy=HyperSACPolicy, HyperCnnPolicy=HyperSACCnnPolicy, HyperMultiInputPolicy=HyperSACMultiInputPolicy
)
TQC.policy_aliases.update(
    HyperPolicy=HyperTQCPolicy, HyperCnnPolicy=HyperTQCCnnPolicy, HyperMultiInputPolicy=HyperTQCMultiInputPolicy
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
    "HyperTQCCnnPolicy",
    "HyperTQCMultiInputPolicy",
    "HyperTQCPolicy",
    "register_critic",
]
