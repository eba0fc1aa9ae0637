"""SB3 callbacks. None of them changes the training they watch."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from torch.nn.utils import get_total_norm

from sb3_hyper.common.arguments import refuse_less
from sb3_hyper.diagnostics.accuracy import Accuracy, measure_accuracy, measure_bias, summarise
from sb3_hyper.diagnostics.dynamic_weights import DynamicWeightsCallback
from sb3_hyper.diagnostics.gradients import halves_are_too_small
from sb3_hyper.diagnostics.measuring import (
    RolloutCallback,
    has_stored_observations,
    last_step_without_training,
)

__all__ = [
    "CriticBiasCallback",
    "DynamicWeightsCallback",
    "GradientAccuracyCallback",
    "GradientNormCallback",
    "LearningRateCallback",
]


class LearningRateCallback(BaseCallback):
    """
    Log the step sizes that the optimizers of actor and critic really used, as ``train/actor_learning_rate`` and
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


class GradientAccuracyCallback(RolloutCallback):
    """
    Is the critic's action gradient right? Compares it, where the policy acts, with one that is fitted to Monte-Carlo returns
    (Sec. 3.2 and App. B of the paper), for any off-policy model with continuous actions.

    Logged under ``gradient/``, with the difference of values and returns: see
    :class:`~sb3_hyper.diagnostics.accuracy.Accuracy`. Every measurement is kept in ``gradient_accuracy.npz``.

    :param make_env: As in :class:`RolloutCallback`, like all that are not explained here.
    :param eval_freq: Steps between measurements.
    :param n_states: Number of states.
    :param n_actions: Actions per state.
    :param action_std: Standard deviation of the perturbed actions, where actions are scaled to [-1, 1].
    :param action_repeat: Steps for which a perturbed action is taken.
    :param states: Where states come from: ``"rollouts"`` of the policy, or the ``"replay"`` buffer, for environments with a
        method ``reset_to(observation)``; the first measurement is then made when learning starts.
    :param horizon: Steps after which a rollout ends.
    :param n_processes: Processes to spread the rollouts over.
    :param log_path: Folder of the file.
    :param seed: Seed of states and perturbations: callbacks with the same one measure at the same times of an episode, and
        perturb actions in the same way, whatever the seed of their model.
    :param verbose: Verbosity: 1 prints each measurement.
    :param deterministic: Whether rollouts follow the policy's mean action.
    :raises ValueError: As :class:`RolloutCallback`.
    """

    def __init__(
        self,
        make_env: Callable[[], gym.Env] | None = None,
        eval_freq: int = 10_000,
        n_states: int = 15,
        n_actions: int = 15,
        action_std: float = 0.3,
        action_repeat: int = 3,
        states: str = "rollouts",
        horizon: int | None = None,
        n_processes: int = 1,
        log_path: str | Path | None = None,
        seed: int = 0,
        verbose: int = 0,
        deterministic: bool = True,
    ) -> None:
        refuse_less(1, n_states=n_states, action_repeat=action_repeat)
        refuse_less(4, n_actions=n_actions)  # two for each half of the noise floor
        if not 0 < action_std < float("inf"):
            raise ValueError(f"action_std must be a positive number, got {action_std}")
        if states not in ("rollouts", "replay"):
            raise ValueError(f"states must be 'rollouts' or 'replay', got {states!r}")
        self.states = states
        self.n_states, self.n_actions = n_states, n_actions
        self.action_std, self.action_repeat = action_std, action_repeat
        n_branches = n_states * (n_actions + 1)
        where = (make_env, eval_freq, horizon, n_processes, log_path, seed, verbose, deterministic)
        super().__init__("gradient_accuracy.npz", n_branches, *where)

    def _first_step(self) -> int:
        return last_step_without_training(self.model) if self.states == "replay" else 0

    def _is_possible(self) -> bool:
        return self.states != "replay" or has_stored_observations(self.model)

    def _prepare(self) -> None:
        super()._prepare()
        if halves_are_too_small(self.n_actions, self._action_dim):
            warnings.warn(
                f"n_actions={self.n_actions} are few for {self._action_dim} action dimensions: fits to half of them have no "
                f"residual, and noise floor and cosine ceiling say little. {2 * self._action_dim + 4} would do.",
                stacklevel=2,
            )

    @property
    def _action_dim(self) -> int:
        return int(np.prod(self.model.action_space.shape or ()))

    def _settings(self) -> dict[str, Any]:
        names = ("n_states", "n_actions", "action_std", "action_repeat", "states")
        return {**super()._settings(), **{name: getattr(self, name) for name in names}}

    def _measure(self, rng: np.random.Generator) -> tuple[dict[str, Any], dict[str, float]]:
        accuracy = measure_accuracy(
            self.agent,
            self.branches,
            rng,
            self.max_episode_steps,
            self.n_states,
            self.n_actions,
            self.action_std,
            self.action_repeat,
            self.horizon,
            self.states,
        )
        summary = summarise(accuracy, self._action_dim)
        if self.verbose > 0:
            cosine, floor = summary["gradient/cosine_mean"], summary["gradient/noise_floor_mean"]
            print(
                f"{self.num_timesteps} steps: cosine of the action gradient {cosine:.2f}, of two halves of the samples "
                f"{floor:.2f} ({accuracy.env_steps} environment steps, {accuracy.seconds:.0f} s)"
            )
        return {name: getattr(accuracy, name) for name in Accuracy.names()}, summary


class CriticBiasCallback(RolloutCallback):
    """
    Does the critic promise too much? Its value of the policy's action against the discounted return of following the policy,
    from states of the policy's own rollouts. (:class:`GradientAccuracyCallback` measures that too; this is cheaper.)

    Logged under ``bias/``: mean and standard deviation of value minus return, the mean return and value, and the
    correlation of the two; kept in ``critic_bias.npz``. SAC's and TQC's values hold the entropy bonus, returns do not; and
    they are values of the policy that draws its actions, which ``deterministic=False`` follows.

    :param make_env: As in :class:`RolloutCallback`, like all that are not explained here.
    :param eval_freq: Steps between measurements.
    :param n_states: Number of states.
    :param horizon: Steps after which a rollout ends.
    :param n_processes: Processes to spread the rollouts over.
    :param log_path: Folder of the file.
    :param seed: Seed of the states.
    :param verbose: Verbosity: 1 prints each measurement.
    :param deterministic: Whether rollouts follow the policy's mean action.
    :raises ValueError: As :class:`RolloutCallback`.
    """

    def __init__(
        self,
        make_env: Callable[[], gym.Env] | None = None,
        eval_freq: int = 10_000,
        n_states: int = 50,
        horizon: int | None = None,
        n_processes: int = 1,
        log_path: str | Path | None = None,
        seed: int = 0,
        verbose: int = 0,
        deterministic: bool = True,
    ) -> None:
        refuse_less(1, n_states=n_states)
        self.n_states = n_states
        where = (make_env, eval_freq, horizon, n_processes, log_path, seed, verbose, deterministic)
        super().__init__("critic_bias.npz", n_states, *where)

    def _settings(self) -> dict[str, Any]:
        return {**super()._settings(), "n_states": self.n_states}

    def _measure(self, rng: np.random.Generator) -> tuple[dict[str, Any], dict[str, float]]:
        bias = measure_bias(self.agent, self.branches, rng, self.max_episode_steps, self.n_states, self.horizon)
        difference = bias.value - bias.policy_return
        spread = bias.value.std() * bias.policy_return.std()
        logged = {
            "bias/mean": float(difference.mean()),
            "bias/std": float(difference.std()),
            "bias/return_mean": float(bias.policy_return.mean()),
            "bias/value_mean": float(bias.value.mean()),
            "bias/correlation": float(np.corrcoef(bias.value, bias.policy_return)[0, 1]) if spread > 0 else float("nan"),
            "bias/env_steps": bias.env_steps,
            "bias/seconds": bias.seconds,
        }
        if self.verbose > 0:
            print(f"{self.num_timesteps} steps: value minus return {logged['bias/mean']:.3g} +/- {logged['bias/std']:.3g}")
        return bias._asdict(), logged


class GradientNormCallback(BaseCallback):
    """
    How large the gradients of actor and critic are, and how much of them is signal.

    Logged as ``gradient_norm/actor`` and ``gradient_norm/critic``: the mean norm of the gradients that the optimizers used
    since the last time, and under ``gradient_signal/`` the norm of their mean divided by that: 1 if all steps point the same
    way, about ``1 / sqrt(n)`` if n steps have nothing in common. Read where an optimizer steps: afterwards, ``.grad`` of a
    critic may hold what the actor's step left there.

    :param log_freq: Environment steps between logs.
    :param verbose: Verbosity.
    """

    def __init__(self, log_freq: int = 1000, verbose: int = 0) -> None:
        super().__init__(verbose)
        refuse_less(1, log_freq=log_freq)
        self.log_freq = log_freq
        self._handles: list[Any] = []
        self._norms: dict[str, list[th.Tensor]] = {}
        self._sums: dict[str, list[th.Tensor]] = {}
        self._last_log = 0

    def _on_training_start(self) -> None:
        self._last_log = self.num_timesteps
        self._let_go()  # of an earlier training that was interrupted
        for name in ("actor", "critic"):
            network = getattr(self.model.policy, name, None)
            if network is not None:
                self._norms[name], self._sums[name] = [], []
                self._handles.append(network.optimizer.register_step_pre_hook(self._watch(name)))

    def _watch(self, name: str) -> Callable[..., None]:
        def look(optimizer: th.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if self.num_timesteps != self.model.num_timesteps:  # a later training, after one that was interrupted
                return
            # zeros where a step has no gradient: others may have one
            gradients = [
                th.zeros_like(parameter) if parameter.grad is None else parameter.grad.detach()
                for group in optimizer.param_groups
                for parameter in group["params"]
            ]
            self._norms[name].append(get_total_norm(gradients))
            if self._sums[name]:
                th._foreach_add_(self._sums[name], gradients)
            else:
                self._sums[name] = [gradient.clone() for gradient in gradients]

        return look

    def _on_rollout_start(self) -> None:
        if self.num_timesteps - self._last_log >= self.log_freq:
            self._log()

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        self._log()
        self._let_go()

    def _let_go(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _log(self) -> None:
        self._last_log = self.num_timesteps
        for name, norms in self._norms.items():
            if norms:
                mean_norm = float(th.stack(norms).mean())
                of_mean = float(get_total_norm(self._sums[name])) / len(norms)
                self.logger.record(f"gradient_norm/{name}", mean_norm)
                self.logger.record(f"gradient_signal/{name}", of_mean / mean_norm if mean_norm > 0 else float("nan"))
            self._norms[name], self._sums[name] = [], []
