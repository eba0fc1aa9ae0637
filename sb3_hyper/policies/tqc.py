"""Hyper policies for sb3-contrib's TQC: the last generated layer gives the quantiles."""

from sb3_contrib.tqc.policies import CnnPolicy, MultiInputPolicy, TQCPolicy

from sb3_hyper.policies.actors import HyperTQCActor
from sb3_hyper.policies.critics import MlpQuantileCritic, QuantileEnsembleCritic
from sb3_hyper.policies.hyper_policy import HyperCriticMixin


class _HyperTQC(HyperCriticMixin):
    mlp_critic_class = MlpQuantileCritic
    q_network_critic_class = QuantileEnsembleCritic
    hyper_actor_class = HyperTQCActor


class HyperTQCPolicy(_HyperTQC, TQCPolicy):
    """
    sb3-contrib's ``TQCPolicy`` with a critic of one's choice; arguments: :class:`~sb3_hyper.policies.HyperCriticMixin`.

    Example::

        model = TQC(HyperTQCPolicy, "HalfCheetah-v5", policy_kwargs=dict(critic="sa_hyper"))
    """


class HyperTQCCnnPolicy(_HyperTQC, CnnPolicy):
    """sb3-contrib's TQC ``CnnPolicy`` (images) with a critic of one's choice: the features are its state."""


class HyperTQCMultiInputPolicy(_HyperTQC, MultiInputPolicy):
    """sb3-contrib's TQC ``MultiInputPolicy`` (Dict observations) with a critic of one's choice."""
