"""Episodes of many tasks at once, whatever the number of environments."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any, NamedTuple

import numpy as np
import torch as th
from stable_baselines3.common.vec_env import SubprocVecEnv, VecEnv

from sb3_hyper.meta.curves import check_episodes_end, success
from sb3_hyper.meta.maml.episodes import Episodes
from sb3_hyper.meta.maml.networks import Gaussian
from sb3_hyper.tasks.interface import Task
from sb3_hyper.tasks.vectorized import reset_to_tasks

Act = Callable[[th.Tensor], Gaussian]
# (local variables, which environments count) -> whether to go on
OnStep = Callable[[dict[str, Any], np.ndarray], bool]


class WorkerDied(RuntimeError):
    """A process that ran an environment has ended; the message names its task."""


class Stopped(Exception):
    """A callback wants training to end."""


class Episode(NamedTuple):
    """
    What was played in one environment.

    :param observations: ``(n_steps, obs_dim)``
    :param actions: ``(n_steps, action_dim)``, as the policy drew them
    :param rewards: ``(n_steps,)``
    :param success: As in :class:`~sb3_hyper.meta.curves.AdaptationCurve`.
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    success: float


class Round(NamedTuple):
    """
    Which environments work on what at the same time.

    :param tasks: Indices of tasks.
    :param n_copies: Environments per task: those of the first task come first.
    :param n_episodes: How many episodes each environment plays, ``(n_tasks * n_copies,)``
    """

    tasks: np.ndarray
    n_copies: int
    n_episodes: np.ndarray


def plan(n_tasks: int, n_episodes: int, n_envs: int) -> list[Round]:
    """
    :param n_tasks: Number of tasks.
    :param n_episodes: Episodes per task.
    :param n_envs: Number of environments.
    :return: Rounds in which each task is played ``n_episodes`` times, by several environments where there are more than
        tasks, one group of tasks after the other where there are fewer.
    """
    n_copies = min(n_episodes, max(1, n_envs // n_tasks))
    shares = n_episodes // n_copies + (np.arange(n_copies) < n_episodes % n_copies)
    at_once = n_envs // n_copies
    groups = [np.arange(start, min(start + at_once, n_tasks)) for start in range(0, n_tasks, at_once)]
    return [Round(group, n_copies, np.tile(shares, len(group))) for group in groups]


def sample_episodes(
    env: VecEnv,
    tasks: Sequence[Task],
    make_act: Callable[[np.ndarray], Act],
    unscale: Callable[[np.ndarray], np.ndarray],
    n_episodes: int,
    on_step: OnStep,
    device: th.device,
    deterministic: bool = False,
) -> Episodes:
    """
    Play episodes in each task.

    :param env: A vectorized task environment. It is seeded from numpy's generator, so that its own random states are part of
        that one's.
    :param tasks: The tasks.
    :param make_act: Gives, for the indices of some tasks, the policy: ``(n_tasks, n, obs_dim)`` -> distributions.
    :param unscale: What the policy drew -> what the environment takes.
    :param n_episodes: Episodes per task.
    :param on_step: Is called after every step of the environments.
    :param device: Of the result.
    :param deterministic: The mode instead of samples.
    :return: The episodes.
    :raises Stopped: If ``on_step`` gives False.
    :raises WorkerDied: If a process has ended.
    """
    played: list[Episode] = []
    for part in plan(len(tasks), n_episodes, env.num_envs):
        played += _play(env, tasks, part, make_act(part.tasks), unscale, on_step, device, deterministic)
    lengths = th.tensor([len(episode.rewards) for episode in played], device=device).view(len(tasks), n_episodes, 1)
    longest = int(lengths.max())
    arrays = []
    for steps in zip(*(episode[:3] for episode in played), strict=True):  # observations, actions, rewards
        padded = np.zeros((len(played), longest, *steps[0].shape[1:]), dtype=np.float32)
        for row, own in zip(padded, steps, strict=True):
            row[: len(own)] = own
        arrays.append(th.as_tensor(padded, device=device).unflatten(0, (len(tasks), n_episodes)))
    obs, actions, rewards = arrays
    successes = np.array([episode.success for episode in played]).reshape(len(tasks), n_episodes)
    return Episodes(obs, actions, rewards, (th.arange(longest, device=device) < lengths).to(th.float32), successes)


def _play(
    env: VecEnv,
    tasks: Sequence[Task],
    part: Round,
    act: Act,
    unscale: Callable[[np.ndarray], np.ndarray],
    on_step: OnStep,
    device: th.device,
    deterministic: bool,
) -> list[Episode]:
    n_envs, n_used = env.num_envs, len(part.n_episodes)
    in_env = np.concatenate([np.repeat(part.tasks, part.n_copies), np.full(n_envs - n_used, part.tasks[0])])
    env.seed(int(np.random.randint(2**31 - n_envs)))
    left = np.concatenate([part.n_episodes, np.zeros(n_envs - n_used, dtype=int)])
    steps: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    ends: list[list[int]] = [[0] for _ in range(n_used)]
    successes: list[list[float]] = [[] for _ in range(n_used)]
    spare = np.zeros((n_envs - n_used, *env.action_space.shape), dtype=np.float32)  # type: ignore[misc]
    n_since_end = 0
    with naming_the_dead(env, [tasks[index] for index in in_env]):
        obs = np.asarray(reset_to_tasks(env, [tasks[index] for index in in_env]))
        while left.any():
            rows = th.as_tensor(obs[:n_used], device=device).float()
            policy = act(rows.unflatten(0, (len(part.tasks), part.n_copies)))
            actions = (policy.mean if deterministic else policy.sample()).flatten(0, 1).cpu().numpy()
            new_obs, rewards, dones, infos = env.step(unscale(np.concatenate([actions, spare])))
            active = left > 0
            dones = dones & active
            infos = [info if is_active else {} for info, is_active in zip(infos, active, strict=True)]
            n_since_end = 0 if dones.any() else n_since_end + 1
            check_episodes_end(n_since_end)
            if not on_step(locals(), active):
                raise Stopped
            steps.append((obs[:n_used], actions, rewards[:n_used]))
            for i in np.flatnonzero(dones):
                ends[i].append(len(steps))
                successes[i].append(success(infos[i]))
                left[i] -= 1
            obs = np.asarray(new_obs)
    obs, actions, rewards = (np.stack(column, axis=1) for column in zip(*steps, strict=True))  # (n_used, n_steps, ...)
    # a task's environments stand side by side: its episodes come together
    return [
        Episode(obs[i, start:end], actions[i, start:end], rewards[i, start:end], succeeded)
        for i in range(n_used)
        for start, end, succeeded in zip(ends[i][:-1], ends[i][1:], successes[i], strict=True)
    ]


@contextmanager
def naming_the_dead(env: Any, tasks: Sequence[Task] = ()) -> Iterator[None]:
    """
    :param env: A vectorized environment.
    :param tasks: Task of each environment, if they are known.
    :raises WorkerDied: In place of a broken connection, if a process of the environment has ended.
    """
    try:
        yield
    except (EOFError, ConnectionError) as error:
        while not isinstance(env, SubprocVecEnv) and hasattr(env, "venv"):
            env = env.venv
        processes = getattr(env, "processes", [])
        wait([process.sentinel for process in processes], timeout=1)
        dead = [
            f"environment {i}" + (f" with task {tasks[i]}" if tasks else "")
            for i, process in enumerate(processes)
            if not process.is_alive()
        ]
        if not dead:  # a connection of the environment itself, or of a callback
            raise
        raise WorkerDied(f"A process that runs an environment has ended: {', '.join(dead)}") from error
