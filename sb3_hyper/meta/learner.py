"""What learners of tasks have in common: their tasks, and environments that have them."""

import json
import warnings
from collections.abc import Sequence

import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback
from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_normalize

from sb3_hyper.meta.policy import refuse_other_than_flat
from sb3_hyper.meta.progress import with_progress_bar
from sb3_hyper.tasks.context import ContextScaler
from sb3_hyper.tasks.interface import Task, TaskSet
from sb3_hyper.tasks.vectorized import has_tasks, sample_task_set, task_parameters


class TaskLearner(BaseAlgorithm):
    """An SB3 algorithm that learns from tasks. To be mixed in before the algorithm."""

    tasks: TaskSet | None
    n_train_tasks: int
    n_test_tasks: int
    n_ood_tasks: int
    task_seed: int
    scaler: ContextScaler | None
    n_iterations: int
    #: Whether :class:`~sb3_hyper.meta.evaluation.MetaEvalCallback` takes the policy's mode unless it is told.
    evaluated_deterministically: bool
    #: Points of the adaptation curve that it measures unless it is told, and episodes of which a point is the mean.
    n_curve_points: int
    n_episodes_per_point: int
    #: Points at the curve's beginning that know nothing of the task.
    n_unadapted_points: int

    def _set_tasks(
        self, tasks: TaskSet | None, n_train_tasks: int, n_test_tasks: int, n_ood_tasks: int, task_seed: int
    ) -> None:
        """Keep what the constructor was told of the tasks."""
        self.tasks, self.task_seed = tasks, task_seed
        self.n_train_tasks, self.n_test_tasks, self.n_ood_tasks = n_train_tasks, n_test_tasks, n_ood_tasks
        self.scaler = None
        self.n_iterations = 0

    @classmethod
    def _wrap_env(cls, env: GymEnv, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        """As in SB3; says what is accepted before SB3 says what it would accept."""
        env = super()._wrap_env(env, verbose, monitor_wrapper)
        refuse_other_than_flat(cls.__name__, env.observation_space, env.action_space)
        return env

    def _check_policy(self, expected: type[BasePolicy]) -> None:
        """Refuse policies of other algorithms, and saved models of other algorithms with them."""
        if not issubclass(self.policy_class, expected):
            name = type(self).__name__
            raise ValueError(f"{name} takes policies derived from {expected.__name__}, got {self.policy_class.__name__}")

    def _take_tasks(self, with_context: bool) -> None:
        """
        Draw the tasks, if they have not been given, and learn how to scale their parameters, if those are needed.

        :param with_context: Whether they are.
        """
        if self.env is not None:
            self._check_env(self.env)
            if self.tasks is None:
                counts = self.n_train_tasks, self.n_test_tasks, self.n_ood_tasks
                self.tasks = sample_task_set(self.env, *counts, seed=self.task_seed)
            if with_context and self.scaler is None:
                scaling = self.env.get_attr("context_scaling", 0)[0]
                self.scaler = ContextScaler(task_parameters(self.env, self.tasks.train), scaling)
        if self.tasks is None or not self.tasks.train:
            raise ValueError(f"{type(self).__name__} needs training tasks: give env or tasks")
        n_different = len({json.dumps(task, sort_keys=True) for task in self.tasks.train})
        if n_different < len(self.tasks.train):
            warnings.warn(
                f"There are {len(self.tasks.train)} training tasks, {n_different} of them different: is n_train_tasks right?"
            )

    def _check_env(self, env: VecEnv) -> None:
        name = type(self).__name__
        if not has_tasks(env):
            raise ValueError(f"{name} needs an environment with tasks: derive it from TaskEnv, or wrap it in TaskWrapper")
        if unwrap_vec_normalize(env) is not None:
            raise ValueError(f"{name} does not work with VecNormalize: its running averages would mix the tasks' scales")
        own, given = (self.observation_space, self.action_space), (env.observation_space, env.action_space)
        if any(space is not None and space.shape != other.shape for space, other in zip(own, given, strict=True)):
            raise ValueError(f"{name} was made for {own[0]} and {own[1]}, got an environment with {given[0]} and {given[1]}")

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """As in SB3. The environment must have tasks."""
        env = self._wrap_env(env, self.verbose)
        self._check_env(env)
        super().set_env(env, force_reset)

    @property
    def train_tasks(self) -> tuple[Task, ...]:
        """The training tasks."""
        assert self.tasks is not None
        return self.tasks.train

    def contexts(self, tasks: Sequence[Task], env: VecEnv | None = None) -> th.Tensor | None:
        """
        :param tasks: Tasks.
        :param env: An environment that knows them; the training environment by default.
        :return: Their scaled parameters, ``(n_tasks, context_dim)``; None if the policy reads none.
        """
        if self.scaler is None:
            return None
        env = self.env if env is None else env
        assert env is not None
        return th.as_tensor(self.scaler(task_parameters(env, tasks)), device=self.device)

    def _begin(self, callback: MaybeCallback, progress_bar: bool) -> MaybeCallback:
        """What the user is told before training, and the callback with the progress bar."""
        if self.env is None:
            raise ValueError(f"{type(self).__name__} has no environment to learn in: load(..., env=env), or set_env(env)")
        if self.verbose >= 1:
            assert self.tasks is not None
            print(f"Tasks: {', '.join(f'{len(tasks)} {split}' for split, tasks in self.tasks)} (set {self.tasks.hash})")
        return with_progress_bar(callback) if progress_bar else callback
