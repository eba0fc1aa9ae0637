"""Environments that step together, in this process or spread over several, and can be put into any state."""

import multiprocessing
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env.base_vec_env import CloudpickleWrapper

from sb3_hyper.diagnostics.snapshots import Snapshot, restore_snapshot, take_snapshot

MakeEnv = Callable[[], gym.Env]
Observations = Any  # an array with a row per branch, or a dictionary of such


class Step(NamedTuple):
    """
    What one step of all branches gave; rows of branches that did not step mean nothing.

    :param observations: One per branch
    :param rewards: ``(n,)``
    :param terminated: ``(n,)``
    :param truncated: ``(n,)``
    """

    observations: list[Any]
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray


class Branches(Protocol):
    """Environments that step together."""

    n: int

    def reset(self, seeds: Sequence[int | None], chosen: np.ndarray) -> list[Any]:
        """Reset the chosen branches; one observation per branch."""

    def restore(
        self, snapshots: Sequence[Snapshot], which: np.ndarray, seeds: Sequence[int | None] | None = None
    ) -> list[Any]:
        """Put branch i into state ``which[i]``, with random numbers of ``seeds[i]``; one observation per branch."""

    def reset_to(self, observations: Sequence[Any]) -> None:
        """Put branch i into a state that looks like ``observations[i]``, for as many branches as there are observations."""

    def snapshots(self, n: int) -> list[Snapshot]:
        """The states of the first n branches."""

    def step(self, actions: np.ndarray, chosen: np.ndarray) -> Step:
        """Let the chosen branches step; ``actions`` has a row for each branch."""

    def close(self) -> None:
        """Close the environments."""


class LocalBranches:
    """
    Branches in this process.

    :param make_env: Makes an environment.
    :param n: Number of branches.
    """

    def __init__(self, make_env: MakeEnv, n: int) -> None:
        self.n = n
        self.envs = [make_env() for _ in range(n)]
        self._observations: list[Any] = [env.reset(seed=0)[0] for env in self.envs]

    def reset(self, seeds: Sequence[int | None], chosen: np.ndarray) -> list[Any]:
        """
        :param seeds: One per branch.
        :param chosen: Which branches to reset, ``(n,)``
        :return: One observation per branch.
        """
        for index in np.flatnonzero(chosen):
            self._observations[index], _ = self.envs[index].reset(seed=seeds[int(index)])
        return list(self._observations)

    def restore(
        self, snapshots: Sequence[Snapshot], which: np.ndarray, seeds: Sequence[int | None] | None = None
    ) -> list[Any]:
        """
        :param snapshots: States.
        :param which: The state of each branch, ``(n,)``
        :param seeds: Of the random numbers that each branch meets from there on; None: those the state was left with.
        :return: One observation per branch.
        """
        seeds = [None] * self.n if seeds is None else seeds
        self._observations = [
            restore_snapshot(env, snapshots[int(index)], seed)
            for env, index, seed in zip(self.envs, which, seeds, strict=True)
        ]
        return list(self._observations)

    def reset_to(self, observations: Sequence[Any]) -> None:
        """
        :param observations: One for each of the first branches.
        :raises ValueError: If the environment cannot go where an observation was made.
        """
        for index, observation in enumerate(observations):
            env = self.envs[index]
            if not hasattr(env.unwrapped, "reset_to"):
                raise ValueError(
                    f"{type(env.unwrapped).__name__} cannot go to a state of the replay buffer: it has no method "
                    "reset_to(observation)"
                )
            env.reset(seed=0)
            env.unwrapped.reset_to(observation)
            self._observations[index] = observation

    def snapshots(self, n: int) -> list[Snapshot]:
        """
        :param n: How many.
        :return: The states of the first n branches.
        """
        return [take_snapshot(self.envs[index], self._observations[index]) for index in range(n)]

    def step(self, actions: np.ndarray, chosen: np.ndarray) -> Step:
        """
        :param actions: ``(n, *action_shape)``
        :param chosen: Which branches step, ``(n,)``
        :return: What they gave.
        """
        rewards, terminated, truncated = np.zeros(self.n), np.zeros(self.n, dtype=bool), np.zeros(self.n, dtype=bool)
        for index in np.flatnonzero(chosen):
            observation, rewards[index], terminated[index], truncated[index], _ = self.envs[index].step(actions[index])
            self._observations[index] = observation
        return Step(list(self._observations), rewards, terminated, truncated)

    def close(self) -> None:
        """Close the environments."""
        for env in self.envs:
            env.close()


class ProcessBranches:
    """
    Branches that are spread over processes.

    :param make_env: Makes an environment.
    :param n: Number of branches.
    :param n_processes: Number of processes.
    """

    def __init__(self, make_env: MakeEnv, n: int, n_processes: int) -> None:
        self.n = n
        self.parts = [part for part in np.array_split(np.arange(n), n_processes) if len(part)]
        # as SB3's SubprocVecEnv: scripts that start processes need an ``if __name__ == "__main__"``
        methods = multiprocessing.get_all_start_methods()
        context: Any = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
        self._pipes, self._processes = [], []
        for part in self.parts:
            ours, theirs = context.Pipe()
            arguments = (theirs, CloudpickleWrapper(make_env), len(part))
            process = context.Process(target=_serve, args=arguments, daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    def _ask(self, method: str, *arguments: list[Any]) -> list[Any]:
        """One list of arguments per process; all work at the same time."""
        for pipe, *own in zip(self._pipes, *arguments, strict=True):
            pipe.send((method, own))
        # all of them before an error is raised: an answer left behind would be taken for that to the next question
        answers = [_receive(pipe) for pipe in self._pipes]
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return answers

    def _split(self, values: Any) -> list[Any]:
        return [[values[index] for index in part] if isinstance(values, Sequence) else values[part] for part in self.parts]

    def reset(self, seeds: Sequence[int | None], chosen: np.ndarray) -> list[Any]:
        """As :meth:`LocalBranches.reset`."""
        return [row for rows in self._ask("reset", self._split(seeds), self._split(chosen)) for row in rows]

    def restore(
        self, snapshots: Sequence[Snapshot], which: np.ndarray, seeds: Sequence[int | None] | None = None
    ) -> list[Any]:
        """As :meth:`LocalBranches.restore`."""
        seeds = [None] * self.n if seeds is None else seeds
        own = [np.unique(part, return_inverse=True) for part in self._split(which)]  # each state travels once
        parts = [[snapshots[index] for index in needed] for needed, _ in own]
        return [row for rows in self._ask("restore", parts, [places for _, places in own], self._split(seeds)) for row in rows]

    def reset_to(self, observations: Sequence[Any]) -> None:
        """As :meth:`LocalBranches.reset_to`."""
        self._ask("reset_to", [[observations[index] for index in part if index < len(observations)] for part in self.parts])

    def snapshots(self, n: int) -> list[Snapshot]:
        """As :meth:`LocalBranches.snapshots`."""
        numbers = [int((part < n).sum()) for part in self.parts]
        return [row for rows in self._ask("snapshots", numbers) for row in rows]

    def step(self, actions: np.ndarray, chosen: np.ndarray) -> Step:
        """As :meth:`LocalBranches.step`."""
        steps = self._ask("step", self._split(actions), self._split(chosen))
        observations = [row for step in steps for row in step.observations]
        return Step(observations, *(np.concatenate([step[field] for step in steps]) for field in range(1, 4)))

    def close(self) -> None:
        """End the processes."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(timeout=10)
            process.terminate()


def _receive(pipe: Any) -> Any:
    try:
        return pipe.recv()
    except EOFError:
        return RuntimeError("A process of the rollouts has ended: did it run out of memory?")


def _serve(pipe: Any, make_env: CloudpickleWrapper, n: int) -> None:
    try:
        branches = LocalBranches(make_env.var, n)
    except Exception as error:
        pipe.recv()
        pipe.send(error)
        return
    while True:
        try:
            method, arguments = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            branches.close()
            return
        try:
            pipe.send(getattr(branches, method)(*arguments))
        except Exception as error:
            pipe.send(error)


def make_branches(make_env: MakeEnv, n: int, n_processes: int = 1) -> Branches:
    """
    :param make_env: Makes an environment.
    :param n: Number of branches.
    :param n_processes: Number of processes to spread them over; 1: this one.
    :return: The branches.
    """
    return LocalBranches(make_env, n) if n_processes == 1 else ProcessBranches(make_env, n, n_processes)


def stack(observations: Sequence[Any]) -> Observations:
    """
    :param observations: Observations of single environments.
    :return: One batch.
    """
    if isinstance(observations[0], dict):
        return {key: np.stack([observation[key] for observation in observations]) for key in observations[0]}
    return np.stack(observations)


def take(observations: Observations, chosen: np.ndarray) -> Observations:
    """
    :param observations: A batch.
    :param chosen: Rows.
    :return: The batch of these rows.
    """
    if isinstance(observations, dict):
        return {key: values[chosen] for key, values in observations.items()}
    return observations[chosen]
