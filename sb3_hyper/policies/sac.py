"""Hyper policies for SAC."""

from stable_baselines3.sac.policies import CnnPolicy, MultiInputPolicy, SACPolicy

from sb3_hyper.policies.actors import HyperSACActor
from sb3_hyper.policies.hyper_policy import HyperCriticMixin


class _HyperSAC(HyperCriticMixin):
    hyper_actor_class = HyperSACActor


class HyperSACPolicy(_HyperSAC, SACPolicy):
    """
    SB3's ``SACPolicy`` with a critic of one's choice; arguments: :class:`~sb3_hyper.policies.HyperCriticMixin`.

    Example::

        model = SAC(HyperSACPolicy, "HalfCheetah-v5", policy_kwargs=dict(critic="sa_hyper"))
    """


class HyperSACCnnPolicy(_HyperSAC, CnnPolicy):
    """SB3's SAC ``CnnPolicy`` (images) with a critic of one's choice: the features are its state."""


class HyperSACMultiInputPolicy(_HyperSAC, MultiInputPolicy):
    """SB3's SAC ``MultiInputPolicy`` (Dict observations) with a critic of one's choice: the features are its state."""
