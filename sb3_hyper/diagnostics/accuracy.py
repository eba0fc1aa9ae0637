"""
How accurate a critic is where its policy acts: its action gradient and its values against Monte-Carlo returns (App. B).
"""

import time
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from sb3_hyper.diagnostics.agents import Agent
from sb3_hyper.diagnostics.branches import Branches, stack, take
from sb3_hyper.diagnostics.gradients import (
    ceiling,
    cosine_similarity,
    fit_gradients,
    learnable_share,
    noise_floor,
    value_correlation,
)
from sb3_hyper.diagnostics.rollouts import monte_carlo_returns, sample_states

THRESHOLDS = (0.25, 0.75)  # of learnable states in Fig. 3


@dataclass(frozen=True)
class Accuracy:
    """
    One measurement. Where a cosine is not a number, one of its gradients is zero, or not finite.

    :param cosine: Of the critic's action gradient with the one fitted to returns, ``(n_states,)``
    :param self_cosine: Of the critic's action gradient with the one fitted to the critic's own values (the self-test of
        Fig. 8): below one where the critic is not linear over the samples, ``(n_states,)``
    :param noise_floor: Of two fits to the returns, each from half of the samples, ``(n_states,)``
    :param value_correlation: Of the critic's values with the returns, over the sampled actions, ``(n_states,)``
    :param rank: Directions in which the sampled actions vary, ``(n_states,)``
    :param value: What the first critic says of the policy's action, in the units of the environment's
        rewards, ``(n_states,)``
    :param policy_return: What following the policy gave, ``(n_states,)``
    :param terminated: Share of a state's branches that ended for good, ``(n_states,)``
    :param env_steps: Environment steps spent, of all states together.
    :param seconds: Time spent.
    """

    cosine: np.ndarray
    self_cosine: np.ndarray
    noise_floor: np.ndarray
    value_correlation: np.ndarray
    rank: np.ndarray
    value: np.ndarray
    policy_return: np.ndarray
    terminated: np.ndarray
    env_steps: int
    seconds: float

    @classmethod
    def names(cls) -> list[str]:
        """
        :return: Names of the fields.
        """
        return [field.name for field in fields(cls)]


class Bias(NamedTuple):
    """
    Values and returns.

    :param value: What the first critic says of the policy's action, in the units of the environment's rewards,
        ``(n_states,)``
    :param policy_return: What following the policy gave, ``(n_states,)``
    :param env_steps: Environment steps spent.
    :param seconds: Time spent.
    """

    value: np.ndarray
    policy_return: np.ndarray
    env_steps: int
    seconds: float


def measure_bias(
    agent: Agent,
    branches: Branches,
    rng: np.random.Generator,
    max_episode_steps: int,
    n_states: int = 50,
    horizon: int | None = None,
) -> Bias:
    """
    Measure a critic's values where its policy acts.

    :param agent: The model.
    :param branches: ``n_states`` branches of the environment.
    :param rng: Random generator.
    :param max_episode_steps: Length of an episode.
    :param n_states: Number of states, drawn from the policy's own rollouts.
    :param horizon: Steps after which a rollout ends; None: when its episode does.
    :return: The measurement.
    """
    start = time.perf_counter()
    snapshots, env_steps = sample_states(branches, agent.act, n_states, max_episode_steps, rng)
    observations = stack([snapshot.observation for snapshot in snapshots])
    actions = agent.actions(observations)
    result = monte_carlo_returns(
        branches,
        snapshots,
        np.arange(n_states),
        agent.to_env(actions),
        agent.act,
        agent.model.gamma,
        horizon=horizon,
        bootstrap=agent.time_out_values,
        reward_scale=agent.reward_scale,
        rng=rng,
        handle_timeout_termination=agent.handle_timeout_termination,
    )
    return Bias(
        value=agent.values(observations, actions)[0] / agent.reward_scale,
        policy_return=result.returns / agent.reward_scale,
        env_steps=env_steps + int(result.n_steps.sum()),
        seconds=time.perf_counter() - start,
    )


def measure_accuracy(
    agent: Agent,
    branches: Branches,
    rng: np.random.Generator,
    max_episode_steps: int,
    n_states: int = 15,
    n_actions: int = 15,
    action_std: float = 0.3,
    action_repeat: int = 3,
    horizon: int | None = None,
    states: str = "rollouts",
) -> Accuracy:
    """
    Measure a critic.

    States are drawn from the policy's own rollouts. In each the policy's action and perturbed ones are taken for
    ``action_repeat`` steps, and the policy is followed to the end of the episode; where time runs out, the target critics'
    smallest value stands for the rest, unless the replay buffer takes time-outs for ends. One branch more per state follows
    the policy from the start: its return is what the critic's value should be. (SAC's and TQC's values hold the entropy bonus
    too, returns do not; and they are values of the policy that draws its actions, which ``agent.deterministic=False``
    follows.)

    :param agent: The model.
    :param branches: ``n_states * (n_actions + 1)`` branches of the environment.
    :param rng: Random generator.
    :param max_episode_steps: Length of an episode.
    :param n_states: Number of states.
    :param n_actions: Actions per state; the first one is the policy's.
    :param action_std: Standard deviation of the perturbations, in the critic's units: actions are scaled to [-1, 1].
    :param action_repeat: Steps for which the action is taken; the paper's code: 3.
    :param horizon: Steps after which a branch ends; None: when its episode does.
    :param states: Where states come from: ``"rollouts"`` of the policy, or the ``"replay"`` buffer, for environments with a
        method ``reset_to(observation)``.
    :return: The measurement.
    """
    start = time.perf_counter()
    if states == "replay":
        branches.reset_to(agent.stored_observations(n_states, rng))
        snapshots, env_steps = branches.snapshots(n_states), 0
    else:
        snapshots, env_steps = sample_states(branches, agent.act, n_states, max_episode_steps, rng)
    observations = stack([snapshot.observation for snapshot in snapshots])
    actions = agent.actions(observations)
    perturbations = rng.normal(0, action_std, (n_states, n_actions, actions.shape[1]))
    perturbations[:, 0] = 0
    sampled = np.clip(actions[:, None] + perturbations, -1, 1).astype(np.float32)

    # one branch per sampled action, and one for the policy itself
    taken = np.concatenate([sampled, actions[:, None]], axis=1)
    repeats = np.full(taken.shape[:2], action_repeat)
    repeats[:, -1] = 1
    which = np.repeat(np.arange(n_states), n_actions + 1)
    scale = agent.reward_scale
    result = monte_carlo_returns(
        branches,
        snapshots,
        which,
        agent.to_env(taken.reshape(-1, taken.shape[-1])),
        agent.act,
        agent.model.gamma,
        repeats.ravel(),
        horizon,
        agent.time_out_values,
        scale,
        rng,
        agent.handle_timeout_termination,
    )
    returns, rounding = (values.reshape(n_states, n_actions + 1) for values in (result.returns, result.rounding))
    rows = take(observations, np.repeat(np.arange(n_states), n_actions))
    own_values = agent.values(rows, sampled.reshape(-1, sampled.shape[-1]))[0].reshape(n_states, n_actions)
    gradients = agent.action_gradients(observations)
    fit = fit_gradients(sampled, returns[:, :-1], rounding[:, :-1])
    own_rounding = np.finfo(np.float32).eps * np.abs(own_values)
    own_fit = fit_gradients(sampled, own_values, own_rounding)
    return Accuracy(
        cosine=cosine_similarity(gradients, fit.gradients),
        self_cosine=cosine_similarity(gradients, own_fit.gradients),
        noise_floor=noise_floor(sampled, returns[:, :-1], rounding[:, :-1]),
        value_correlation=value_correlation(own_values, returns[:, :-1], own_rounding, rounding[:, :-1]),
        rank=fit.ranks,
        value=agent.values(observations, actions)[0] / scale,
        policy_return=returns[:, -1] / scale,
        terminated=result.terminated.reshape(n_states, -1).mean(axis=1),
        env_steps=env_steps + int(result.n_steps.sum()),
        seconds=time.perf_counter() - start,
    )


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
        "gradient/cosine_ceiling": float(ceiling(_mean(accuracy.noise_floor))),
        "gradient/value_correlation_mean": _mean(accuracy.value_correlation),
        "gradient/states_without_direction": int(np.isnan(cosine).sum()),
        "gradient/states_of_lower_rank": int((accuracy.rank < action_dim).sum()),
        "gradient/terminated_share": float(accuracy.terminated.mean()),
        "gradient/bias_mean": float(bias.mean()),
        "gradient/bias_std": float(bias.std()),
        "gradient/return_mean": float(accuracy.policy_return.mean()),
        "gradient/env_steps": accuracy.env_steps,
        "gradient/seconds": accuracy.seconds,
    }


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
