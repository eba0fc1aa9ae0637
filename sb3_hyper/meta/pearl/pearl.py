"""PEARL (Rakelly et al., ICML 2019) and Hyper-PEARL (Sec. 4.2 of the paper) as an SB3 algorithm."""

import warnings
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch as th
import torch.nn.functional as F
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, RolloutReturn, Schedule, TrainFreq
from stable_baselines3.common.utils import polyak_update
from stable_baselines3.common.vec_env import VecEnv

from sb3_hyper.common.arguments import listing_accepted, refuse_less
from sb3_hyper.meta.curves import AdaptationCurve
from sb3_hyper.meta.learner import TaskLearner
from sb3_hyper.meta.pearl.adaptation import adapt
from sb3_hyper.meta.pearl.buffers import TaskBatch, TaskReplayBuffer
from sb3_hyper.meta.pearl.collection import collect
from sb3_hyper.meta.pearl.encoder import Belief, prior
from sb3_hyper.meta.pearl.policies import HyperPEARLPolicy, PEARLPolicy
from sb3_hyper.policies.critics import frozen
from sb3_hyper.tasks.interface import TaskSet

SelfPEARL = TypeVar("SelfPEARL", bound="PEARL")


class PEARL(TaskLearner, OffPolicyAlgorithm):
    """
    Probabilistic Embeddings for Actor-critic RL: an encoder infers a latent variable z of the task from transitions, and a
    soft actor-critic (with a state value, Haarnoja et al., 2018) acts on observation and z.

    Paper: https://arxiv.org/abs/1903.08254. ``"HyperPolicy"``: the actor's weights are generated from z and those of the
    critics from the observation (https://arxiv.org/abs/2106.06842, Sec. 4.2). The defaults are the authors', but for
    ``buffer_size``, of which theirs is a million for each task, ``n_prior_episodes`` (2), ``store_terminal`` (False), and the
    size of hypernetworks (``policy_kwargs=dict(preset="paper")``).

    An iteration gathers data of some tasks, each environment of ``env`` working on one of them, and then takes
    ``gradient_steps`` steps. Before the first, ``n_initial_steps`` are made in every training task.

    :param policy: ``"MlpPolicy"``, ``"HyperPolicy"`` or a class.
    :param env: A task environment (:class:`~sb3_hyper.tasks.interface.TaskEnv`), vectorized or not.
    :param learning_rate: Of all parts that have none of their own, see the policy.
    :param tasks: The tasks; None: they are drawn from ``env``.
    :param n_train_tasks: How many training tasks to draw.
    :param n_test_tasks: How many test tasks to draw; training does not see them.
    :param n_ood_tasks: How many tasks out of the training distribution to draw, where the environment has any.
    :param task_seed: Seed of the tasks. It is not ``seed``, so that runs can differ in one of the two.
    :param buffer_size: Transitions that are kept, of all tasks together.
    :param meta_batch_size: Tasks in a gradient step, drawn with replacement.
    :param batch_size: Transitions per task in a gradient step.
    :param context_batch_size: Transitions per task that the encoder reads.
    :param n_initial_steps: Steps in each training task before the first iteration, with z from the prior.
    :param n_tasks_per_iteration: Tasks per iteration, drawn with replacement.
    :param n_prior_steps: Steps per task and iteration with z from the prior; they become the task's context. As everywhere,
        the last episode is brought to its end.
    :param n_posterior_steps: Steps after those, for actor and critic only: a first episode with z from the prior, then z
        from the posterior, inferred anew before each episode.
    :param gradient_steps: Gradient steps per iteration.
    :param tau: Step of the target value's moving average.
    :param gamma: Discount factor.
    :param reward_scale: Factor of the rewards in actor and critic; it sets the weight of the entropy, 1.
    :param kl_weight: Weight of the divergence from the prior, which is summed over the meta batch. Higher: less is encoded.
    :param mean_penalty: Weight of the mean squared mean action before the tanh.
    :param log_std_penalty: Weight of the mean squared log standard deviation.
    :param n_prior_episodes: In a new task: episodes with z from the prior before the first inference, at least 1. (The authors
        evaluate with 2.)
    :param oracle_context: z is the task's parameters, scaled on the training tasks; nothing is inferred.
    :param store_terminal: Whether transitions into a terminal state are kept. The authors' code drops them, and so never sees
        a termination.
    :param policy_kwargs: Arguments of the policy.
    :param stats_window_size: Episodes over which the logged training return is averaged.
    :param tensorboard_log: Folder of TensorBoard logs.
    :param verbose: 0: silent, 1: information, 2: debugging.
    :param seed: Seed.
    :param device: torch device.
    :param _init_setup_model: Whether to build the networks at once.
    :raises ValueError: If the environment has no tasks, or a number does not fit; the message says what is accepted.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"MlpPolicy": PEARLPolicy, "HyperPolicy": HyperPEARLPolicy}
    evaluated_deterministically = True
    n_episodes_per_point = 1
    policy: PEARLPolicy
    replay_buffer: TaskReplayBuffer

    def __init__(
        self,
        policy: str | type[PEARLPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 3e-4,
        tasks: TaskSet | None = None,
        n_train_tasks: int = 100,
        n_test_tasks: int = 30,
        n_ood_tasks: int = 0,
        task_seed: int = 0,
        buffer_size: int = 1_000_000,
        meta_batch_size: int = 16,
        batch_size: int = 256,
        context_batch_size: int = 100,
        n_initial_steps: int = 2000,
        n_tasks_per_iteration: int = 5,
        n_prior_steps: int = 400,
        n_posterior_steps: int = 600,
        gradient_steps: int = 2000,
        tau: float = 0.005,
        gamma: float = 0.99,
        reward_scale: float = 5.0,
        kl_weight: float = 0.1,
        mean_penalty: float = 1e-3,
        log_std_penalty: float = 1e-3,
        n_prior_episodes: int = 1,
        oracle_context: bool = False,
        store_terminal: bool = True,
        policy_kwargs: dict[str, Any] | None = None,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: th.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        super().__init__(
            policy,
            env,
            learning_rate,
            buffer_size=buffer_size,
            learning_starts=0,
            batch_size=batch_size,
            tau=tau,
            gamma=gamma,
            gradient_steps=gradient_steps,
            replay_buffer_class=TaskReplayBuffer,
            policy_kwargs=policy_kwargs,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            device=device,
            support_multi_env=True,
            seed=seed,
            sde_support=False,
            supported_action_spaces=(spaces.Box,),
        )
        refuse_less(
            1,
            meta_batch_size=meta_batch_size,
            batch_size=batch_size,
            context_batch_size=context_batch_size,
            n_initial_steps=n_initial_steps,
            n_tasks_per_iteration=n_tasks_per_iteration,
            n_prior_steps=n_prior_steps,
            n_prior_episodes=n_prior_episodes,
        )
        refuse_less(0, n_posterior_steps=n_posterior_steps, gradient_steps=gradient_steps)
        if not 0 < tau <= 1:
            raise ValueError(f"tau must be positive, and 1 at most, got {tau}")
        self._set_tasks(tasks, n_train_tasks, n_test_tasks, n_ood_tasks, task_seed)
        self.meta_batch_size, self.context_batch_size = meta_batch_size, context_batch_size
        self.n_initial_steps, self.n_tasks_per_iteration = n_initial_steps, n_tasks_per_iteration
        self.n_prior_steps, self.n_posterior_steps = n_prior_steps, n_posterior_steps
        self.reward_scale, self.kl_weight = reward_scale, kl_weight
        self.mean_penalty, self.log_std_penalty = mean_penalty, log_std_penalty
        self.n_prior_episodes = n_prior_episodes
        self.oracle_context, self.store_terminal = oracle_context, store_terminal
        self._log_interval: int | None = None
        self._oracle: th.Tensor | None = None  # of the training tasks
        if _init_setup_model:
            self._setup_model()

    @property
    def n_curve_points(self) -> int:  # type: ignore[override]
        """As in the authors' figures, and at least one episode after the first inference."""
        return max(3, self.n_prior_episodes + 1)

    @property
    def n_unadapted_points(self) -> int:  # type: ignore[override]
        """Episodes with z from the prior."""
        return 0 if self.oracle_context else self.n_prior_episodes

    def _setup_model(self) -> None:
        self._check_policy(PEARLPolicy)
        self._take_tasks(with_context=self.oracle_context)
        if self.oracle_context:
            assert self.scaler is not None
            asked = self.policy_kwargs.get("latent_dim", len(self.scaler.shift))
            if asked != len(self.scaler.shift):
                warnings.warn(f"latent_dim={asked} is not used: z is the oracle context, {len(self.scaler.shift)} numbers")
            self.policy_kwargs = {**self.policy_kwargs, "use_encoder": False, "latent_dim": len(self.scaler.shift)}
        elif not self.policy_kwargs.get("use_encoder", True):
            raise ValueError(
                "use_encoder=False is not to be given: oracle_context=True puts the task's parameters in z's place"
            )
        n_tasks, n_at_once = len(self.train_tasks), self.n_prior_steps + self.n_posterior_steps
        if self.buffer_size < 2 * n_tasks * n_at_once:
            raise ValueError(
                f"buffer_size={self.buffer_size} leaves no room for each of {n_tasks} tasks: at least twice what an iteration "
                f"gathers in each is needed, {2 * n_tasks * n_at_once}"
            )
        self.replay_buffer_kwargs = {"n_tasks": n_tasks, "tasks": self.train_tasks}
        with listing_accepted(self.policy_class, self.policy_kwargs):
            super()._setup_model()

    def load_replay_buffer(self, path: Any, truncate_last_traj: bool = True) -> None:
        """
        As in SB3.

        :param path: Path to the pickled replay buffer.
        :param truncate_last_traj: Unused.
        :raises ValueError: If it is not one of this model's training tasks.
        """
        expected = self.replay_buffer
        super().load_replay_buffer(path, truncate_last_traj)
        loaded = self.replay_buffer
        fits = isinstance(loaded, TaskReplayBuffer) and (loaded.tasks, loaded.dims) == (expected.tasks, expected.dims)
        if not fits:
            self.replay_buffer = expected
            raise ValueError(
                f"The replay buffer is not one of this model's {expected.n_tasks} training tasks and observations"
            )

    def learn(
        self: SelfPEARL,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str = "PEARL",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> SelfPEARL:
        """
        Train. The iteration in which ``total_timesteps`` are reached is brought to its end.

        :param total_timesteps: Environment steps, the initial ones included.
        :param callback: Callbacks, called at every step of the vectorized environment.
        :param log_interval: Iterations between two logs.
        :param tb_log_name: Name of the run in TensorBoard.
        :param reset_num_timesteps: Whether steps are counted from zero.
        :param progress_bar: Whether to show one.
        :return: The model.
        """
        callback = self._begin(callback, progress_bar)
        n_initial = int((~self.replay_buffer.has_initial).sum()) * self.n_initial_steps
        if n_initial > total_timesteps:
            warnings.warn(
                f"The initial steps alone, {self.n_initial_steps} in each training task, are {n_initial}, more than "
                f"total_timesteps={total_timesteps}: is n_initial_steps or n_train_tasks too large?",
                stacklevel=2,
            )
        return super().learn(total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps)

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        train_freq: TrainFreq,
        replay_buffer: ReplayBuffer,
        action_noise: ActionNoise | None = None,
        learning_starts: int = 0,
        log_interval: int | None = None,
    ) -> RolloutReturn:
        """
        Gather the data of one iteration, and the initial data before the first.

        :param env: The training environment.
        :param callback: Is called at every step.
        :param train_freq: Unused.
        :param replay_buffer: Unused: it is the model's.
        :param action_noise: Unused.
        :param learning_starts: Unused.
        :param log_interval: Iterations between two logs.
        :return: Numbers of steps and episodes, and whether to go on.
        """
        self._log_interval = log_interval
        n_steps, n_episodes = self.num_timesteps, self._episode_num
        callback.on_rollout_start()
        self.policy.set_training_mode(False)
        going_on = True
        without = np.flatnonzero(~self.replay_buffer.has_initial)
        if len(without):
            going_on = collect(self, without, self.n_initial_steps, 0, callback)
        if going_on:
            tasks = np.random.randint(len(self.train_tasks), size=self.n_tasks_per_iteration)
            going_on = collect(self, tasks, self.n_prior_steps, self.n_posterior_steps, callback)
        self.n_iterations += 1
        done = min(self.num_timesteps, self._total_timesteps)  # the last iteration goes beyond
        self._update_current_progress_remaining(done, self._total_timesteps)
        callback.on_rollout_end()
        if self.gradient_steps == 0:
            self._dump_if_due()
        return RolloutReturn(self.num_timesteps - n_steps, self._episode_num - n_episodes, going_on)

    def prior_latents(self, tasks: np.ndarray) -> th.Tensor:
        """
        :param tasks: Indices of training tasks, ``(n,)``
        :return: Latent variables to begin with: samples of the prior, or the oracle context, ``(n, latent_dim)``
        """
        if self.oracle_context:
            if self._oracle is None:
                self._oracle = self.contexts(self.train_tasks)
            assert self._oracle is not None
            return self._oracle[th.as_tensor(tasks, device=self.device)]
        return th.randn(len(tasks), self.policy.latent_dim, device=self.device)

    def posterior_latents(self, tasks: np.ndarray) -> th.Tensor:
        """
        :param tasks: Indices of training tasks, ``(n,)``
        :return: Samples of the posterior given a batch of each task's context, ``(n, latent_dim)``
        """
        if self.oracle_context:
            return self.prior_latents(tasks)
        with th.no_grad():
            return self.belief(self.replay_buffer.sample_context(tasks, self.context_batch_size)).sample()

    def belief(self, batch: TaskBatch) -> Belief:
        """
        :param batch: Transitions of each task's context.
        :return: ``q(z | context)``
        """
        assert self.policy.encoder is not None
        return self.policy.encoder(batch.as_context(self.policy.context_next_obs))

    def train(self, gradient_steps: int, batch_size: int) -> None:
        """
        Take gradient steps on encoder, critics, state value and actor, in this order.

        :param gradient_steps: How many.
        :param batch_size: Transitions per task.
        """
        policy, encoder = self.policy, self.policy.encoder
        policy.set_training_mode(True)
        policy.set_belief(prior(1, policy.latent_dim, self.device))  # what there was came from an older encoder
        optimizers = policy.optimizers
        self._update_learning_rate(list(optimizers.values()))
        sums: dict[str, th.Tensor] = {}
        for _ in range(gradient_steps):
            tasks = np.random.randint(len(self.train_tasks), size=self.meta_batch_size)
            if encoder is not None:
                belief = self.belief(self.replay_buffer.sample_context(tasks, self.context_batch_size))
                z, kl = belief.sample(), belief.divergence_from_prior().sum()
            else:
                z, kl = self.prior_latents(tasks), th.zeros((), device=self.device)
            batch = self.replay_buffer.sample(tasks, batch_size)
            task = z.detach()
            actions, log_prob, mean, log_std = policy.sample_actions(batch.observations, task)

            # Critics; the encoder learns from their loss
            with th.no_grad():
                next_value = policy.value_target(batch.next_observations, task)
                rewards, dones = batch.rewards.squeeze(-1), batch.dones.squeeze(-1)
                target = self.reward_scale * rewards + (1 - dones) * self.gamma * next_value
            q_values = policy.critic(batch.observations, batch.actions, z)  # (2, n_tasks, batch_size)
            critic_loss = (q_values - target).square().mean(dim=(1, 2)).sum()
            learning = ["critic"] if encoder is None else ["critic", "encoder"]
            step([optimizers[name] for name in learning], critic_loss + self.kl_weight * kl)

            # State value
            with frozen(policy.critic):
                min_q = policy.critic(batch.observations, actions, task).amin(dim=0)
            value_loss = F.mse_loss(policy.value(batch.observations, task), (min_q - log_prob).detach())
            step([optimizers["value"]], value_loss)
            polyak_update(policy.value.parameters(), policy.value_target.parameters(), self.tau)

            # Actor
            actor_loss = (log_prob - min_q).mean()
            penalty = self.mean_penalty * mean.square().mean() + self.log_std_penalty * log_std.square().mean()
            step([optimizers["actor"]], actor_loss + penalty)

            losses = {"critic_loss": critic_loss, "kl": kl, "value_loss": value_loss, "actor_loss": actor_loss}
            losses["entropy"], losses["std"] = -log_prob.mean(), log_std.exp().mean()
            for name, value in losses.items():
                sums[name] = sums.get(name, 0) + value.detach()
        self._n_updates += gradient_steps
        for name, total in sums.items():
            self.logger.record(f"train/{name}", total.item() / gradient_steps)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self._dump_if_due()

    def _dump_if_due(self) -> None:
        if self._log_interval is not None and self.n_iterations % self._log_interval == 0:
            self.dump_logs()

    def adapt(
        self, env: GymEnv, n_episodes: int = 2, n_prior_episodes: int | None = None, deterministic: bool = True
    ) -> AdaptationCurve:
        """
        Infer z for the tasks that are set in an environment. After this, ``predict`` acts for them, environment by
        environment, with the posterior's mean.

        The episodes' transitions accumulate as context. Each episode has one z: from the prior for the first
        ``n_prior_episodes``, then from the posterior.

        :param env: An environment, or a vectorized one with a task in each. Set tasks by
            ``reset(options={"task": ...})``, ``reset_to_tasks`` for vectorized ones.
        :param n_episodes: Episodes in each environment; 0: back to the prior (with ``oracle_context``, to the tasks' own).
        :param n_prior_episodes: Episodes before the first inference, at least 1; None for the model's.
        :param deterministic: The actor's mode instead of samples.
        :return: Returns, lengths and successes of the episodes, ``(n_envs, n_episodes)`` each
        """
        n_prior_episodes = self.n_prior_episodes if n_prior_episodes is None else n_prior_episodes
        refuse_less(0, n_episodes=n_episodes)
        refuse_less(1, n_prior_episodes=n_prior_episodes)
        return adapt(self, env, n_episodes, n_prior_episodes, deterministic)

    def adaptation_curve(self, env: VecEnv, n_points: int, deterministic: bool) -> AdaptationCurve:
        """
        What :class:`~sb3_hyper.meta.evaluation.MetaEvalCallback` measures.

        :param env: A vectorized environment with a task in each.
        :param n_points: Points of the curve: episodes.
        :param deterministic: As in :meth:`adapt`.
        :return: The curve.
        """
        return self.adapt(env, n_points, deterministic=deterministic)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_oracle"]  # made again, on the device of its time

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy", *(f"policy.{name}.optimizer" for name in self.policy.optimizers)], []


def step(optimizers: list[th.optim.Optimizer], loss: th.Tensor) -> None:
    """
    :param optimizers: Of all parameters that the loss shall change.
    :param loss: A scalar.
    """
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()
