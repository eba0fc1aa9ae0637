"""What PEARL does in new tasks: explore under the prior, infer, act, infer again."""

from typing import TYPE_CHECKING

import numpy as np
import torch as th
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.vec_env import VecEnv

from sb3_hyper.meta.curves import AdaptationCurve, check_episodes_end, success
from sb3_hyper.meta.pearl.encoder import Belief, prior

if TYPE_CHECKING:
    from sb3_hyper.meta.pearl.pearl import PEARL


class GrowingContext:
    """
    The transitions of several environments, as many of each as there have been.

    :param n_envs: Number of environments.
    """

    def __init__(self, n_envs: int) -> None:
        self.n_envs = n_envs
        self.steps: list[np.ndarray] = []  # (n_envs, transition_dim) each
        self.counts: list[np.ndarray] = []  # (n_envs,) each: which environments' transitions count

    def add(self, transitions: np.ndarray, count: np.ndarray) -> None:
        """
        :param transitions: ``(n_envs, transition_dim)``
        :param count: Which of them count, ``(n_envs,)``
        """
        self.steps.append(transitions.astype(np.float32))
        self.counts.append(count.copy())

    def belief(self, encoder: th.nn.Module, device: th.device) -> Belief:
        """
        :param encoder: Context encoder.
        :param device: torch device.
        :return: ``q(z | context)`` of each environment.
        """
        context = th.as_tensor(np.stack(self.steps, axis=1), device=device)  # (n_envs, n_steps, transition_dim)
        mask = th.as_tensor(np.stack(self.counts, axis=1), device=device)
        with th.no_grad():
            return encoder(context, mask)


def adapt(model: "PEARL", env: GymEnv, n_episodes: int, n_prior_episodes: int, deterministic: bool) -> AdaptationCurve:
    """
    See :meth:`PEARL.adapt`; the parameters are its own.

    :param model: The model.
    :param env: Environment.
    :param n_episodes: Episodes in each environment.
    :param n_prior_episodes: Episodes before the first inference.
    :param deterministic: The actor's mode instead of samples.
    :return: Returns, lengths and successes of the episodes, ``(n_envs, n_episodes)`` each
    """
    env = env if isinstance(env, VecEnv) else model._wrap_env(env, monitor_wrapper=False)
    model._check_env(env)
    policy, device, n_envs = model.policy, model.device, env.num_envs
    policy.set_training_mode(False)
    if policy.encoder is None:
        oracle = model.contexts(env.get_attr("task"), env)
        assert oracle is not None
        policy.set_belief(Belief(oracle, th.zeros_like(oracle)))
    else:
        policy.set_belief(prior(n_envs, policy.latent_dim, device))
    curve = AdaptationCurve.empty(n_envs, n_episodes)
    if n_episodes == 0:
        return curve
    context, n_done = GrowingContext(n_envs), np.zeros(n_envs, dtype=int)
    z, n_since_end = policy.belief.sample(), 0
    obs = np.asarray(env.reset())
    with th.no_grad():
        condition = policy.actor.condition(z)
    while (n_done < n_episodes).any():
        with th.no_grad():
            actions = policy.act(th.as_tensor(obs, device=device).float().unsqueeze(1), condition, deterministic).cpu().numpy()
        next_obs, rewards, dones, infos = env.step(policy.unscale_action(actions))
        running = n_done < n_episodes
        curve.returns[running, n_done[running]] += rewards[running]
        curve.lengths[running, n_done[running]] += 1
        parts = [obs, actions, rewards[:, None]]
        if policy.context_next_obs:
            last = [
                info["terminal_observation"] if done else own for own, done, info in zip(next_obs, dones, infos, strict=True)
            ]
            parts.append(np.stack(last))
        context.add(np.concatenate(parts, axis=1), running)
        obs = np.asarray(next_obs)
        ended = running & dones
        n_since_end = 0 if ended.any() else n_since_end + 1
        if not ended.any():
            check_episodes_end(n_since_end)
            continue
        for i in np.flatnonzero(ended):
            curve.successes[i, n_done[i]] = success(infos[i])
        n_done += ended
        z = z.clone()
        if policy.encoder is not None:
            belief = context.belief(policy.encoder, device)
            sample = belief.sample()
            explore, infer = ended & (n_done < n_prior_episodes), ended & (n_done >= n_prior_episodes)
            z[explore] = th.randn_like(z[explore])
            z[infer] = sample[infer]
        with th.no_grad():
            condition = policy.actor.condition(z)
    if policy.encoder is not None:
        policy.set_belief(belief)
    return curve
