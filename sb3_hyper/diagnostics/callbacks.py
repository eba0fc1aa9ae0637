"""SB3 callbacks. None of them changes the training they watch."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from stable_baselines3.common.callbacks import BaseCallback

from sb3_hyper.common.random_states import get_random_states, set_random_states
from sb3_hyper.diagnostics.accuracy import Accuracy, measure_accuracy, measure_bias
from sb3_hyper.diagnostics.agents import Agent
from sb3_hyper.diagnostics.gradients import learnable_share
from sb3_hyper.diagnostics.records import Records
from sb3_hyper.diagnostics.rollouts import Branches, make_branches, stack
from sb3_hyper.diagnostics.snapshots import check_repeatable, take_snapshot
from sb3_hyper.diagnostics.weights import common_bins, find_hypernetworks, generated_weights, total_variation
from sb3_hyper.networks.hypernetwork import HyperNetwork

WATCHING = ("Monitor", "RepeatableResets")  # wrappers that change nothing
THRESHOLDS = (0.25, 0.75)  # of learnable states in Fig. 3


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


class MeasuringCallback(BaseCallback):
    """
    What callbacks have in common that measure every so many steps, log, and keep every measurement in a file.

    Training goes on as if they had not measured. Their random numbers depend on ``seed`` and the step alone, so that a run
    that was interrupted measures what an uninterrupted one does.

    :param file_name: Name of the file.
    :param eval_freq: Steps between measurements.
    :param log_path: Folder of the file; None: the logger's, if it has one.
    :param seed: Seed of the measurements.
    :param verbose: Verbosity: 1 prints each measurement.
    :raises ValueError: If ``eval_freq`` is not positive.
    """

    first_step = 0  # of the first measurement

    def __init__(self, file_name: str, eval_freq: int, log_path: str | Path | None, seed: int, verbose: int) -> None:
        super().__init__(verbose)
        _check_positive(eval_freq=eval_freq)
        self.file_name = file_name
        self.eval_freq = eval_freq
        self.log_path = log_path
        self.seed = seed
        self.records = Records(None)
        self._next = self.first_step

    def _on_training_start(self) -> None:
        folder = self.log_path if self.log_path is not None else self.logger.get_dir()
        self.records = Records(None if folder is None else Path(folder) / self.file_name)
        self.records.go_on_from(self.num_timesteps)
        measured = int(self.records.rows[-1]["timesteps"]) if self.records.rows else None
        self._next = self.first_step if measured is None else (measured // self.eval_freq + 1) * self.eval_freq

    def _on_rollout_start(self) -> None:
        # the networks are those that the last train() left
        if self.num_timesteps >= self._next:
            self.measure()
            self._next = (self.num_timesteps // self.eval_freq + 1) * self.eval_freq

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        self._on_rollout_start()

    def measure(self) -> None:
        """Measure now, log and store."""
        random_states, training = get_random_states(), self.model.policy.training
        self.model.policy.set_training_mode(False)
        stored, logged = self._measure(np.random.default_rng([self.seed, self.num_timesteps]))
        set_random_states(random_states)
        self.model.policy.set_training_mode(training)
        self.records.add(self.num_timesteps, **stored)
        for name, value in logged.items():
            self.logger.record(name, value)

    def _measure(self, rng: np.random.Generator) -> tuple[dict[str, Any], dict[str, float]]:
        """What to store, and what to log."""
        raise NotImplementedError


class RolloutCallback(MeasuringCallback):
    """
    What callbacks have in common that let the policy run in environments of their own, before the first update and after
    every ``eval_freq`` steps.

    :param file_name: Name of the file that keeps the measurements.
    :param n_branches: Environments that run side by side.
    :param make_env: Makes an environment like that of training; None: what training's environment is registered as.
    :param eval_freq: Steps between measurements.
    :param horizon: Steps after which a rollout ends; None: when its episode does.
    :param n_processes: Processes to spread the rollouts over; with more than one, a script needs an
        ``if __name__ == "__main__"``.
    :param log_path: Folder of the file; None: the logger's, if it has one.
    :param seed: Seed of the measurements.
    :param verbose: Verbosity: 1 prints each measurement.
    :raises ValueError: If the model has no critic of continuous actions, the environment no time limit, or a number is not
        positive.
    """

    branches: Branches

    def __init__(
        self,
        file_name: str,
        n_branches: int,
        make_env: Callable[[], gym.Env] | None,
        eval_freq: int,
        horizon: int | None,
        n_processes: int,
        log_path: str | Path | None,
        seed: int,
        verbose: int,
    ) -> None:
        super().__init__(file_name, eval_freq, log_path, seed, verbose)
        _check_positive(n_processes=n_processes, horizon=1 if horizon is None else horizon)
        self.n_branches = n_branches
        self.make_env = make_env
        self.horizon = horizon
        self.n_processes = n_processes

    def _on_training_start(self) -> None:
        super()._on_training_start()
        self.agent = Agent(self.model)
        make_env = self.make_env or _registered(self.training_env.get_attr("spec")[0])
        self.max_episode_steps = check_env(make_env, self.horizon)
        random_states = get_random_states()
        self.branches = make_branches(make_env, self.n_branches, self.n_processes)
        set_random_states(random_states)

    def _on_training_end(self) -> None:
        super()._on_training_end()
        self.branches.close()


class GradientAccuracyCallback(RolloutCallback):
    """
    Is the critic's action gradient right? Compares it, where the policy acts, with one that is fitted to Monte-Carlo returns
    (Sec. 3.2 and App. B of the paper), for any off-policy model with continuous actions.

    Logged under ``gradient/`` and, as the difference of values and returns, ``bias/``: see
    :class:`~sb3_hyper.diagnostics.accuracy.Accuracy`. Every measurement is kept in ``gradient_accuracy.npz``.

    :param make_env: As in :class:`RolloutCallback`, like all that are not explained here.
    :param eval_freq: Steps between measurements.
    :param n_states: Number of states.
    :param n_actions: Actions per state.
    :param action_std: Standard deviation of the perturbed actions, where actions are scaled to [-1, 1].
    :param action_repeat: Steps for which a perturbed action is taken.
    :param states: Where states come from: ``"rollouts"`` of the policy, or the ``"replay"`` buffer, for environments with a
        method ``reset_to(observation)``; the first measurement then waits for an observation.
    :param horizon: Steps after which a rollout ends.
    :param n_processes: Processes to spread the rollouts over.
    :param log_path: Folder of the file.
    :param seed: Seed of states and perturbations.
    :param verbose: Verbosity: 1 prints each measurement.
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
    ) -> None:
        _check_positive(n_states=n_states, action_repeat=action_repeat)
        if n_actions < 4:
            raise ValueError(f"n_actions must be at least 4, two for each half of the noise floor, got {n_actions}")
        if states not in ("rollouts", "replay"):
            raise ValueError(f"states must be 'rollouts' or 'replay', got {states!r}")
        self.states = states
        self.first_step = 1 if states == "replay" else 0
        self.n_states, self.n_actions = n_states, n_actions
        self.action_std, self.action_repeat = action_std, action_repeat
        n_branches = n_states * (n_actions + 1)
        where = (make_env, eval_freq, horizon, n_processes, log_path, seed, verbose)
        super().__init__("gradient_accuracy.npz", n_branches, *where)

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
        summary = summarise(accuracy, int(np.prod(self.agent.model.action_space.shape or ())))
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
    correlation of the two; kept in ``critic_bias.npz``. SAC's and TQC's values hold the entropy bonus, returns do not.

    :param make_env: As in :class:`RolloutCallback`, like all others but the next two.
    :param eval_freq: Steps between measurements.
    :param n_states: Number of states.
    :param horizon: Steps after which a rollout ends.
    :param n_processes: Processes to spread the rollouts over.
    :param log_path: Folder of the file.
    :param seed: Seed of the states.
    :param verbose: Verbosity: 1 prints each measurement.
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
    ) -> None:
        _check_positive(n_states=n_states)
        self.n_states = n_states
        super().__init__("critic_bias.npz", n_states, make_env, eval_freq, horizon, n_processes, log_path, seed, verbose)

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
        _check_positive(log_freq=log_freq)
        self.log_freq = log_freq
        self._handles: list[Any] = []
        self._norms: dict[str, list[th.Tensor]] = {}
        self._sums: dict[str, list[th.Tensor]] = {}
        self._last_log = 0

    def _on_training_start(self) -> None:
        self._last_log = self.num_timesteps
        for name in ("actor", "critic"):
            network = getattr(self.model.policy, name, None)
            if network is not None:
                self._norms[name], self._sums[name] = [], []
                self._handles.append(network.optimizer.register_step_pre_hook(self._watch(name)))

    def _watch(self, name: str) -> Callable[..., None]:
        def look(optimizer: th.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            gradients = [
                parameter.grad.detach()
                for group in optimizer.param_groups
                for parameter in group["params"]
                if parameter.grad is not None
            ]
            self._norms[name].append(_norm(gradients))
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
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _log(self) -> None:
        self._last_log = self.num_timesteps
        for name, norms in self._norms.items():
            if norms:
                mean_norm = float(th.stack(norms).mean())
                of_mean = float(_norm(self._sums[name])) / len(norms)
                self.logger.record(f"gradient_norm/{name}", mean_norm)
                self.logger.record(f"gradient_signal/{name}", of_mean / mean_norm if mean_norm > 0 else float("nan"))
            self._norms[name], self._sums[name] = [], []


class DynamicWeightsCallback(MeasuringCallback):
    """
    How the generated weights are distributed (App. E of the paper: Figs. 10, 11 and Table 2), for every hypernetwork of a
    policy, critic or actor.

    Logged under ``weights/``: for each layer the standard deviation of the weights over everything, that part of it that the
    meta variable makes, the largest weight, and the total-variation distance to the weights that PyTorch gives an ordinary
    network of the dynamic network's shape. Histograms, with their bins, are kept in ``dynamic_weights.npz``.

    :param eval_freq: Steps between measurements.
    :param n_states: Number of observations, drawn from the replay buffer.
    :param n_bins: Number of bins.
    :param log_path: Folder of the file; None: the logger's, if it has one.
    :param seed: Seed of the states drawn, and of the ordinary network.
    :param verbose: Verbosity: 1 prints each measurement.
    :raises ValueError: If the policy has no hypernetwork, or a number is not positive.
    """

    first_step = 1  # there is an observation to look at

    def __init__(
        self,
        eval_freq: int = 10_000,
        n_states: int = 100,
        n_bins: int = 200,
        log_path: str | Path | None = None,
        seed: int = 0,
        verbose: int = 0,
    ) -> None:
        _check_positive(n_states=n_states, n_bins=n_bins)
        super().__init__("dynamic_weights.npz", eval_freq, log_path, seed, verbose)
        self.n_states = n_states
        self.n_bins = n_bins

    def _on_training_start(self) -> None:
        super()._on_training_start()
        self.networks = {
            name: network
            for name, network in find_hypernetworks(self.model.policy).items()
            if "target" not in name.split(".")[0]
        }
        if not self.networks:
            raise ValueError(f"{type(self.model.policy).__name__} has no hypernetwork whose weights could be looked at")

    def _measure(self, rng: np.random.Generator) -> tuple[dict[str, Any], dict[str, float]]:
        metas = meta_variables(self.model, self.networks, self.n_states, rng)
        stored: dict[str, Any] = {}
        logged: dict[str, float] = {}
        th.manual_seed(self.seed)
        for name, network in self.networks.items():
            sizes = [network.base_dim, *network.spec.dynamic_widths, sum(network.output_dims)]
            for index, weights in enumerate(generated_weights(network, metas[name])):
                ordinary = th.nn.Linear(sizes[index], sizes[index + 1]).weight.detach().flatten().numpy()
                bins = common_bins([weights, ordinary], self.n_bins)
                key = f"{name}.{index}"
                numbers = {
                    "std": float(weights.std()),
                    "std_of_meta": float(weights.reshape(len(metas[name]), -1).std(axis=0).mean()),
                    "largest": float(np.abs(weights).max()),
                    "total_variation": total_variation(weights, ordinary, bins),
                }
                logged |= {f"weights/{key}_{what}": value for what, value in numbers.items()}
                stored |= {f"{key}.{what}": value for what, value in numbers.items()}
                stored |= {f"{key}.bins": bins, f"{key}.counts": np.histogram(weights, bins)[0]}
        if self.verbose > 0:
            spreads = ", ".join(
                f"{name.removesuffix('.std')} {value:.3g}" for name, value in stored.items() if name.endswith(".std")
            )
            print(f"{self.num_timesteps} steps: standard deviation of generated weights: {spreads}")
        return stored, logged


def meta_variables(
    model: Any, networks: Mapping[str, HyperNetwork], n_states: int, rng: np.random.Generator
) -> dict[str, th.Tensor]:
    """
    What the hypernetworks of a policy read when it is asked about observations of the replay buffer.

    :param model: An off-policy model.
    :param networks: Name -> hypernetwork of its policy.
    :param n_states: Number of observations.
    :param rng: Random generator.
    :return: Name -> meta variables, ``(n, meta_dim)``
    """
    agent = Agent(model)
    observations = stack(agent.stored_observations(n_states, rng))
    metas: dict[str, th.Tensor] = {}

    def watch(name: str) -> Callable[..., None]:
        def keep(module: th.nn.Module, arguments: tuple[Any, ...]) -> None:
            metas[name] = arguments[0].detach()

        return keep

    hooks = [network.primary.register_forward_pre_hook(watch(name)) for name, network in networks.items()]
    try:
        agent.values(observations, agent.actions(observations))
    finally:
        for hook in hooks:
            hook.remove()
    return metas


def summarise(accuracy: Accuracy, action_dim: int) -> dict[str, float]:
    """
    :param accuracy: A measurement.
    :param action_dim: Size of an action.
    :return: What is logged, by name.
    """
    cosine = accuracy.cosine
    bias = accuracy.value - accuracy.policy_return
    known = cosine[~np.isnan(cosine)]
    quartiles = np.quantile(known, [0.25, 0.5, 0.75]) if len(known) else np.full(3, np.nan)
    return {
        "gradient/cosine_mean": _mean(cosine),
        "gradient/cosine_q1": float(quartiles[0]),
        "gradient/cosine_median": float(quartiles[1]),
        "gradient/cosine_q3": float(quartiles[2]),
        **{f"gradient/learnable_{threshold}": float(learnable_share(cosine, threshold)) for threshold in THRESHOLDS},
        "gradient/self_cosine_mean": _mean(accuracy.self_cosine),
        "gradient/noise_floor_mean": _mean(accuracy.noise_floor),
        "gradient/states_without_direction": int(np.isnan(cosine).sum()),
        "gradient/states_of_lower_rank": int((accuracy.rank < action_dim).sum()),
        "gradient/terminated_share": float(accuracy.terminated.mean()),
        "bias/mean": float(bias.mean()),
        "bias/std": float(bias.std()),
        "bias/return_mean": float(accuracy.policy_return.mean()),
        "gradient/env_steps": accuracy.env_steps,
        "gradient/seconds": accuracy.seconds,
    }


def _check_positive(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")


def _norm(tensors: list[th.Tensor]) -> th.Tensor:
    return th.stack(th._foreach_norm(tensors)).norm() if tensors else th.zeros(())


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _registered(spec: Any) -> Callable[[], gym.Env]:
    if spec is None:
        raise ValueError("Training's environment is not a registered one: give make_env, a function that makes one like it")
    kept = tuple(wrapper for wrapper in spec.additional_wrappers if wrapper.name not in WATCHING)
    unknown = [wrapper.name for wrapper in kept if wrapper.kwargs is None]
    if unknown:
        raise ValueError(
            f"Training's environment has wrappers that cannot be made again ({', '.join(unknown)}): give make_env, a "
            "function that makes an environment like it"
        )
    spec = dataclasses.replace(spec, additional_wrappers=kept)
    return lambda: gym.make(spec)


def check_env(make_env: Callable[[], gym.Env], horizon: int | None) -> int:
    """
    See whether an environment can be gone back to.

    :param make_env: Makes it.
    :param horizon: Length of rollouts, if that is limited.
    :return: The length of an episode.
    :raises ValueError: If neither episodes nor rollouts are limited.
    :raises RuntimeError: If the environment does not repeat itself.
    """
    env = make_env()
    spec = env.spec
    max_episode_steps = spec.max_episode_steps if spec is not None else None
    observation, _ = env.reset(seed=0)
    check_repeatable(env, take_snapshot(env, observation))
    env.close()
    if max_episode_steps is None and horizon is None:
        raise ValueError(f"{env} has no time limit: give a horizon, the number of steps after which a rollout ends")
    return max_episode_steps or horizon or 0
