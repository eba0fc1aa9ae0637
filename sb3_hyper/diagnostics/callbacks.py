"""SB3 callbacks."""

from stable_baselines3.common.callbacks import BaseCallback


class LearningRateCallback(BaseCallback):
    """
    Log the step size that each optimizer of the policy really used, as ``train/actor_learning_rate`` and
    ``train/critic_learning_rate``. (SB3's ``train/learning_rate`` is the algorithm's schedule, which a critic with a
    rate of its own does not follow.)
    """

    def _on_rollout_start(self) -> None:
        # right after the last train(), when the optimizers hold the rates of their last step
        for name in ("actor", "critic"):
            network = getattr(self.model.policy, name, None)
            if network is not None:
                self.logger.record(f"train/{name}_learning_rate", network.optimizer.param_groups[0]["lr"])

    def _on_step(self) -> bool:
        return True
