"""A progress bar that counts the steps that count."""

from stable_baselines3.common.callbacks import BaseCallback, CallbackList, ConvertCallback, ProgressBarCallback
from stable_baselines3.common.type_aliases import MaybeCallback


class StepsProgressBar(ProgressBarCallback):
    """SB3's takes every environment to be at work at every step; of a meta-learner's, some wait for the others."""

    def _on_step(self) -> bool:
        self.pbar.update(self.num_timesteps - self.pbar.n - self._n_before)
        return True

    def _on_training_start(self) -> None:
        super()._on_training_start()
        self._n_before = self.num_timesteps - self.pbar.n


def with_progress_bar(callback: MaybeCallback) -> BaseCallback:
    """
    :param callback: What the user gave.
    :return: That, with the progress bar.
    """
    if isinstance(callback, BaseCallback):
        given = [callback]
    else:
        given = callback if isinstance(callback, list) else [ConvertCallback(callback)]
    return CallbackList([*given, StepsProgressBar()])
