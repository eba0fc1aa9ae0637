"""The transitions of all training tasks, in one store."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.preprocessing import get_action_dim, get_flattened_obs_dim

from sb3_hyper.tasks.interface import Task


class TaskBatch(NamedTuple):
    """
    Transitions of several tasks.

    :param observations: ``(n_tasks, n, obs_dim)``
    :param actions: ``(n_tasks, n, action_dim)``, in [-1, 1]
    :param rewards: ``(n_tasks, n, 1)``, as the environment gave them
    :param next_observations: ``(n_tasks, n, obs_dim)``
    :param dones: ``(n_tasks, n, 1)``, 1 after a termination, 0 after a time limit
    """

    observations: th.Tensor
    actions: th.Tensor
    rewards: th.Tensor
    next_observations: th.Tensor
    dones: th.Tensor

    def as_context(self, next_obs: bool = False) -> th.Tensor:
        """
        :param next_obs: Whether the next observation belongs to a transition.
        :return: ``(n_tasks, n, transition_dim)``: observation, action, reward.
        """
        parts = [self.observations, self.actions, self.rewards]
        return th.cat([*parts, self.next_observations] if next_obs else parts, dim=-1)


class TaskReplayBuffer(ReplayBuffer):
    """
    One ring per task, all of them in one array per quantity, ``(n_tasks, capacity, ...)``. Memory is taken up as it is
    filled: ``4 (2 obs_dim + action_dim + 2)`` bytes per transition.

    Two streams lead out of it: all transitions of a task, for the actor and the critic, and its *context*: what was gathered
    under the prior since :meth:`begin_context`, for the encoder. The context lies in consecutive places of the ring.

    :param buffer_size: Transitions of all tasks together; each task has an equal share.
    :param observation_space: Observation space, a flat Box.
    :param action_space: Action space.
    :param device: torch device of the batches.
    :param n_tasks: Number of tasks.
    :param tasks: The tasks themselves, by which a stored buffer is recognised.
    """

    FIELDS = ("observations", "actions", "rewards", "next_observations", "dones")
    handle_timeout_termination = True

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        device: th.device | str = "auto",
        n_tasks: int = 1,
        tasks: Sequence[Task] = (),
        **kwargs: Any,
    ) -> None:
        self.n_tasks, self.tasks = n_tasks, tuple(tasks)
        self.capacity = buffer_size // n_tasks
        if self.capacity < 1:
            raise ValueError(f"buffer_size={buffer_size} leaves no room for each of {n_tasks} tasks")
        super(ReplayBuffer, self).__init__(buffer_size, observation_space, action_space, device)
        obs_dim, action_dim = get_flattened_obs_dim(observation_space), get_action_dim(action_space)
        self.dims = dict(zip(self.FIELDS, (obs_dim, action_dim, 1, obs_dim, 1), strict=True))
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        for name, dim in self.dims.items():  # pages of zeros that are never written take no memory
            setattr(self, name, np.zeros((self.n_tasks, self.capacity, dim), dtype=np.float32))
        self.n_added = np.zeros(self.n_tasks, dtype=np.int64)  # ever
        self.context_start = np.zeros(self.n_tasks, dtype=np.int64)  # counted like n_added
        self.context_stop = np.zeros(self.n_tasks, dtype=np.int64)
        self.has_initial = np.zeros(self.n_tasks, dtype=bool)  # whether the initial data of a task are complete
        self.pos, self.full = 0, False

    def size(self) -> int:
        """
        :return: Number of transitions, of all tasks.
        """
        return int(np.minimum(self.n_added, self.capacity).sum())

    def begin_context(self, tasks: np.ndarray) -> None:
        """
        Empty the context of some tasks; the transitions stay for actor and critic.

        :param tasks: Their indices.
        """
        self.context_start[tasks] = self.context_stop[tasks] = self.n_added[tasks]

    def add(self, tasks: np.ndarray, transitions: dict[str, np.ndarray], to_context: np.ndarray) -> None:  # type: ignore[override]
        """
        Add one transition to each of several tasks.

        :param tasks: Indices of different tasks, ``(n,)``
        :param transitions: The fields of :class:`TaskBatch`, ``(n, ...)`` each.
        :param to_context: Whether it belongs to the context, ``(n,)``
        """
        places = self.n_added[tasks] % self.capacity
        for name, values in transitions.items():
            getattr(self, name)[tasks, places] = np.reshape(values, (len(tasks), self.dims[name]))
        self.n_added[tasks] += 1
        chosen = tasks[to_context]
        if not np.array_equal(self.context_stop[chosen] + 1, self.n_added[chosen]):
            raise ValueError("A task's context must come first after begin_context(): there are other transitions between")
        self.context_stop[chosen] += 1
        self.pos = int(self.n_added.max() % self.capacity)
        self.full = bool((self.n_added >= self.capacity).all())

    def context_size(self, tasks: np.ndarray) -> np.ndarray:
        """
        :param tasks: Indices of tasks.
        :return: Transitions in the context of each.
        """
        return np.maximum(0, self.context_stop[tasks] - self._first_of_context(tasks))

    def _first_of_context(self, tasks: np.ndarray) -> np.ndarray:
        return np.maximum(self.context_start[tasks], self.n_added[tasks] - self.capacity)  # older ones are overwritten

    def sample(self, tasks: np.ndarray, batch_size: int) -> TaskBatch:  # type: ignore[override]
        """
        Draw from all transitions of each task, with replacement.

        :param tasks: Indices of tasks, ``(n_tasks,)``
        :param batch_size: How many per task.
        :return: The transitions.
        """
        n_there = np.minimum(self.n_added[tasks], self.capacity)
        return self._gather(tasks, np.zeros_like(n_there), n_there, batch_size)

    def sample_context(self, tasks: np.ndarray, batch_size: int) -> TaskBatch:
        """
        Draw from the context of each task, with replacement.

        :param tasks: Indices of tasks, ``(n_tasks,)``
        :param batch_size: How many per task.
        :return: The transitions.
        :raises ValueError: If the context of a task is empty, or has been overwritten.
        """
        return self._gather(tasks, self._first_of_context(tasks), self.context_size(tasks), batch_size)

    def _gather(self, tasks: np.ndarray, first: np.ndarray, n_there: np.ndarray, batch_size: int) -> TaskBatch:
        if (n_there < 1).any():
            empty = tasks[n_there < 1]
            if (self.context_stop[empty] > self.context_start[empty]).any():
                raise ValueError(
                    f"There are no transitions of tasks {empty.tolist()} left in the context: those gathered after it have "
                    f"taken their place. buffer_size gives each of {self.n_tasks} tasks {self.capacity} transitions, fewer "
                    "than a phase of an iteration gathers, which runs to the end of an episode"
                )
            raise ValueError(f"There are no transitions of tasks {empty.tolist()}")
        draws = (np.random.random((len(tasks), batch_size)) * n_there[:, None]).astype(np.int64)
        places = (first[:, None] + draws) % self.capacity
        return TaskBatch(*(self.to_torch(getattr(self, name)[tasks[:, None], places], copy=False) for name in self.FIELDS))

    def __getstate__(self) -> dict[str, Any]:
        n_filled = int(np.minimum(self.n_added, self.capacity).max())
        return {**self.__dict__, **{name: getattr(self, name)[:, :n_filled] for name in self.FIELDS}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for name, dim in self.dims.items():
            array = np.zeros((self.n_tasks, self.capacity, dim), dtype=np.float32)
            array[:, : state[name].shape[1]] = state[name]
            setattr(self, name, array)
