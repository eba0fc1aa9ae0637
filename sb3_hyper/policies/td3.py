"""Hyper policies for TD3 and DDPG."""

from stable_baselines3.td3.policies import CnnPolicy, MultiInputPolicy, TD3Policy

from sb3_hyper.policies.actors import HyperTD3Actor
from sb3_hyper.policies.hyper_policy import HyperCriticMixin


class _HyperTD3(HyperCriticMixin):
    hyper_actor_class = HyperTD3Actor


class HyperTD3Policy(_HyperTD3, TD3Policy):
    """
    SB3's ``TD3Policy`` with a critic of one's choice; arguments: :class:`~sb3_hyper.policies.HyperCriticMixin`.

    Example::

        model = TD3(HyperTD3Policy, "HalfCheetah-v5", policy_kwargs=dict(critic="sa_hyper"))
    """


class HyperTD3CnnPolicy(_HyperTD3, CnnPolicy):
    """SB3's TD3 ``CnnPolicy`` (images) with a critic of one's choice: the features are its state."""


class HyperTD3MultiInputPolicy(_HyperTD3, MultiInputPolicy):
    """SB3's TD3 ``MultiInputPolicy`` (Dict observations) with a critic of one's choice: the features are its state."""
