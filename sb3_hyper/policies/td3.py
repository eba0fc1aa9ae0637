"""Hyper policies for TD3 and DDPG."""

from stable_baselines3.td3.policies import CnnPolicy, MultiInputPolicy, TD3Policy

from sb3_hyper.policies.hyper_policy import HyperCriticMixin


class HyperTD3Policy(HyperCriticMixin, TD3Policy):
    """
    SB3's ``TD3Policy`` with a critic of one's choice; arguments: :class:`~sb3_hyper.policies.HyperCriticMixin`.

    Example::

        model = TD3(HyperTD3Policy, "HalfCheetah-v5", policy_kwargs=dict(preset="slim"))
    """


class HyperTD3CnnPolicy(HyperCriticMixin, CnnPolicy):
    """SB3's TD3 ``CnnPolicy`` (images) with a critic of one's choice: the features are its state."""


class HyperTD3MultiInputPolicy(HyperCriticMixin, MultiInputPolicy):
    """SB3's TD3 ``MultiInputPolicy`` (Dict observations) with a critic of one's choice: the features are its state."""
