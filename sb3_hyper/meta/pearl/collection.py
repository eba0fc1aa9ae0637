"""Gathers PEARL's transitions: several tasks at once, under the prior first, under the posterior after that."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch as th
from stable_baselines3.common.callbacks import BaseCallback

from sb3_hyper.meta.curves import check_episodes_end
from sb3_hyper.meta.pearl.buffers import TaskBatch
from sb3_hyper.tasks.vectorized import reset_to_tasks

if TYPE_CHECKING:
    from sb3_hyper.meta.pearl.pearl import PEARL


class Phases:
    """
    How far each of several environments is: first under the prior, then, for actor and critic only, under the posterior. A
    phase ends with the episode in which its steps are reached.

    As in the authors' code, z still comes from the prior in the first episode of the second phase.

    :param active: Which environments have something to do, ``(n_envs,)``
    :param n_prior_steps: Steps of the first phase.
    :param n_posterior_steps: Steps of the second, which is left out if that is 0.
    """

    def __init__(self, active: np.ndarray, n_prior_steps: int, n_posterior_steps: int) -> None:
        self.active = active
        self.n_posterior_steps = n_posterior_steps
        self.to_context = np.ones(len(active), dtype=bool)  # whether they are in the first phase
        self.from_prior = np.ones(len(active), dtype=bool)  # where z comes from
        self.n_left = np.full(len(active), n_prior_steps)

    def end_episodes(self, ended: np.ndarray) -> None:
        """
        Begin the next episode of some environments, and the next phase where it is due.

        :param ended: Their indices.
        """
        due = self.n_left[ended] <= 0
        done_first, done_second = ended[due & self.to_context[ended]], ended[due & ~self.to_context[ended]]
        self.from_prior[ended] = self.to_context[ended]
        self.to_context[done_first] = False
        self.n_left[done_first] = self.n_posterior_steps
        self.active[done_second if self.n_posterior_steps else done_first] = False


def collect(model: "PEARL", tasks: np.ndarray, n_prior_steps: int, n_posterior_steps: int, callback: BaseCallback) -> bool:
    """
    Gather data of some tasks into the model's replay buffer.

    :param model: The model.
    :param tasks: Indices of training tasks.
    :param n_prior_steps: Steps per task with z from the prior; they become the task's context.
    :param n_posterior_steps: Steps per task after those.
    :param callback: Is called at every step.
    :return: Whether to go on training.
    """
    assert model.env is not None
    returns: dict[str, list[float]] = {"prior": [], "posterior": []}
    for group in groups_of_different(tasks, model.env.num_envs):
        if not _collect_at_once(model, group, n_prior_steps, n_posterior_steps, callback, returns):
            return False
        model.replay_buffer.has_initial[group] = True
    for name, values in returns.items():
        if values:
            model.logger.record(f"rollout/{name}_return", float(np.mean(values)))
    return True


def groups_of_different(tasks: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """
    :param tasks: Indices of tasks, some perhaps more than once.
    :param size: Largest group.
    :return: The same indices in groups, none twice in one group.
    """
    left = list(tasks)
    while left:
        group: list[int] = []
        rest: list[int] = []
        for task in left:
            (rest if task in group or len(group) == size else group).append(task)
        yield np.array(group)
        left = rest


def _collect_at_once(
    model: "PEARL",
    tasks: np.ndarray,
    n_prior_steps: int,
    n_posterior_steps: int,
    callback: BaseCallback,
    returns: dict[str, list[float]],
) -> bool:
    # Environments that are left over, or have done their part, are stepped too, as a vectorized environment must be. What
    # comes of it is neither kept nor counted, and callbacks see neither ends of its episodes nor infos (Monitor's own files
    # have them).
    env, policy, n_envs = model.env, model.policy, model.n_envs
    assert env is not None
    env.seed(int(np.random.randint(2**31 - n_envs)))  # so that the environments' random states are part of numpy's
    in_env = np.concatenate([tasks, np.full(n_envs - len(tasks), tasks[0])])
    obs = reset_to_tasks(env, [model.train_tasks[index] for index in in_env])
    phases = Phases(np.arange(n_envs) < len(tasks), n_prior_steps, n_posterior_steps)
    episode_return, n_since_end, begun = np.zeros(n_envs), 0, False
    z = model.prior_latents(in_env)
    with th.no_grad():
        condition = policy.actor.condition(z)
    while phases.active.any():
        with th.no_grad():
            actions = policy.act(th.as_tensor(obs, device=model.device).float().unsqueeze(1), condition).cpu().numpy()
        new_obs, rewards, dones, infos = env.step(policy.unscale_action(actions))
        kept = np.flatnonzero(phases.active)
        dones = dones & phases.active
        infos = [info if active else {} for info, active in zip(infos, phases.active, strict=True)]
        model.num_timesteps += len(kept)
        callback.update_locals(locals())
        if not callback.on_step():
            return False
        if not begun:  # the old context is there until the new one is
            model.replay_buffer.begin_context(tasks)
            begun = True
        model._update_info_buffer([infos[i] for i in kept], dones[kept])
        _store(model, in_env, kept, phases.to_context, (obs, actions, rewards, new_obs), dones, infos)
        obs = model._last_obs = new_obs  # type: ignore[assignment]
        episode_return += rewards
        phases.n_left -= 1
        ended = kept[dones[kept]]
        n_since_end = 0 if len(ended) else n_since_end + 1
        if len(ended) == 0:
            check_episodes_end(n_since_end)
            continue
        model._episode_num += len(ended)
        for i in ended:
            returns["prior" if phases.from_prior[i] else "posterior"].append(float(episode_return[i]))
            model.logger.record(f"task_return/{in_env[i]}", float(episode_return[i]), exclude="stdout")
        episode_return[ended] = 0
        phases.end_episodes(ended)
        explore, infer = ended[phases.from_prior[ended]], ended[~phases.from_prior[ended]]
        z = z.clone()
        if len(explore):
            z[explore] = model.prior_latents(in_env[explore])
        if len(infer):
            z[infer] = model.posterior_latents(in_env[infer])
        with th.no_grad():
            condition = policy.actor.condition(z)
    return True


def _store(
    model: "PEARL",
    in_env: np.ndarray,
    kept: np.ndarray,
    to_context: np.ndarray,
    transition: tuple[Any, np.ndarray, np.ndarray, Any],
    dones: np.ndarray,
    infos: list[dict[str, Any]],
) -> None:
    obs, actions, rewards, new_obs = transition
    next_obs = np.array(new_obs)
    for i in np.flatnonzero(dones):
        next_obs[i] = infos[i]["terminal_observation"]
    truncated = np.array([info.get("TimeLimit.truncated", False) for info in infos])
    terminal = dones & ~truncated
    if not model.store_terminal:
        kept = kept[~terminal[kept]]
    values = zip(TaskBatch._fields, (obs, actions, rewards, next_obs, terminal), strict=True)
    model.replay_buffer.add(in_env[kept], {name: value[kept] for name, value in values}, to_context[kept])
