"""Model-agnostic meta-learning (Finn et al., ICML 2017), with the arms of the paper (Sec. 5.3), as an SB3 algorithm."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.utils import FloatSchedule
from stable_baselines3.common.vec_env import VecEnv

from sb3_hyper.common.arguments import accepted_arguments, listing_accepted, refuse_less
from sb3_hyper.meta.curves import AdaptationCurve, mean_of_known
from sb3_hyper.meta.learner import TaskLearner
from sb3_hyper.meta.maml.adaptation import play, stages
from sb3_hyper.meta.maml.networks import BACKENDS, stack
from sb3_hyper.meta.maml.objectives import (
    ORDERS,
    Evaluate,
    InnerStep,
    MetaBatch,
    MetaLoss,
    divergence,
    fisher,
    likelihood_ratio,
)
from sb3_hyper.meta.maml.policies import HyperMAMLPolicy, MAMLPolicy
from sb3_hyper.meta.maml.rates import rates_by_parameter
from sb3_hyper.meta.maml.sampler import OnStep, Stopped, naming_the_dead
from sb3_hyper.meta.maml.trust_region import Judgement, trust_region_step
from sb3_hyper.tasks.interface import Task, TaskSet

SelfMAML = TypeVar("SelfMAML", bound="MAML")
OUTER = ("trpo", "promp")
GROUP_ROWS = 8192  # of a group of tasks whose intermediate results a CPU's cache can hold


class MAML(TaskLearner):
    """
    Learns parameters from which ``n_inner_steps`` steps of the policy gradient, on a few episodes of a new task, lead to a
    good policy for it.

    Paper: https://arxiv.org/abs/1703.03400. The four arms of https://arxiv.org/abs/2106.06842: vanilla (``"MlpPolicy"``),
    context (``use_context=True``), hyper (``"HyperPolicy"``), and multi-task (``multi_task=True``: no adaptation in training).
    The defaults are the paper's settings, but that the meta-gradient is the true one (``order="first"`` is what the paper's
    code computes), and that hypernetworks are smaller (``policy_kwargs=dict(preset="paper")``).

    An iteration plays ``n_episodes`` episodes in each of ``meta_batch_size`` tasks before and after each inner step, and then
    takes an outer step. As many tasks are played at a time as ``env`` has environments; they are adapted all at once.

    :param policy: ``"MlpPolicy"``, ``"HyperPolicy"`` or a class.
    :param env: A task environment (:class:`~sb3_hyper.tasks.interface.TaskEnv`), vectorized or not.
    :param learning_rate: Of the outer optimizer, which is used by ``outer="promp"``.
    :param tasks: The tasks; None: they are drawn from ``env``.
    :param n_train_tasks: How many training tasks to draw.
    :param n_test_tasks: How many test tasks to draw; training does not see them.
    :param n_ood_tasks: How many tasks out of the training distribution to draw, where the environment has any.
    :param task_seed: Seed of the tasks.
    :param meta_batch_size: Tasks per iteration, drawn with replacement.
    :param n_episodes: Episodes per task, before and after each inner step.
    :param inner_learning_rate: Step size of the inner steps: a number, or numbers by the beginnings of parameters' names,
        e.g. ``{"log_std": 0.0, "": 0.1}`` (the longest that fits counts). ``"auto"``: 0.1, and 5e-5 for hypernetworks, the
        rates of the paper's code.
    :param n_inner_steps: Inner steps.
    :param order: ``"second"``: the outer gradient passes through the inner steps. ``"first"``: it is taken at the adapted
        parameters.
    :param outer: ``"trpo"``, or ``"promp"``: some steps of Adam on a clipped surrogate (Rothfuss et al., ICLR 2019).
    :param use_context: Whether an MLP reads the oracle context, the task's scaled parameters. Hypernetworks always do.
    :param multi_task: Whether training leaves the inner steps out.
    :param gamma: Discount factor.
    :param gae_lambda: Lambda of generalised advantage estimation.
    :param target_kl: TRPO: the trust region.
    :param cg_max_steps: TRPO: iterations of conjugate gradient.
    :param cg_damping: TRPO: damping of the Hessian.
    :param line_search_shrinking_factor: TRPO: the step shrinks by it until it is good,
    :param line_search_max_iter: TRPO: with so many trials at most, the whole step's among them.
    :param n_epochs: ProMP: steps of the optimizer per iteration.
    :param clip_range: ProMP: how far the likelihood ratio counts, a number or a schedule.
    :param kl_weight: ProMP: weight of the divergence before the inner steps.
    :param backend: ``"batched"``: all tasks by batched products. ``"vmap"``, ``"loop"``: the same numbers by other means.
    :param policy_kwargs: Arguments of the policy.
    :param stats_window_size: Episodes over which the logged training return is averaged.
    :param tensorboard_log: Folder of TensorBoard logs.
    :param verbose: 0: silent, 1: information, 2: debugging.
    :param seed: Seed.
    :param device: torch device.
    :param _init_setup_model: Whether to build the networks at once.
    :raises ValueError: If the environment has no tasks, or an argument does not fit; the message says what is accepted.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"MlpPolicy": MAMLPolicy, "HyperPolicy": HyperMAMLPolicy}
    evaluated_deterministically = False
    policy: MAMLPolicy

    def __init__(
        self,
        policy: str | type[MAMLPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 1e-3,
        tasks: TaskSet | None = None,
        n_train_tasks: int = 100,
        n_test_tasks: int = 30,
        n_ood_tasks: int = 0,
        task_seed: int = 0,
        meta_batch_size: int = 40,
        n_episodes: int = 20,
        inner_learning_rate: float | str | Mapping[str, float] = "auto",
        n_inner_steps: int = 1,
        order: str = "second",
        outer: str = "trpo",
        use_context: bool = False,
        multi_task: bool = False,
        gamma: float = 0.95,
        gae_lambda: float = 1.0,
        target_kl: float = 0.01,
        cg_max_steps: int = 10,
        cg_damping: float = 1e-5,
        line_search_shrinking_factor: float = 0.8,
        line_search_max_iter: int = 20,
        n_epochs: int = 5,
        clip_range: float | Schedule = 0.3,
        kl_weight: float = 5e-4,
        backend: str = "batched",
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
            policy_kwargs=policy_kwargs,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            device=device,
            support_multi_env=True,
            seed=seed,
            supported_action_spaces=(spaces.Box,),
        )
        for name, choice, accepted in (
            ("order", order, ORDERS),
            ("outer", outer, OUTER),
            ("backend", backend, tuple(BACKENDS)),
        ):
            if choice not in accepted:
                raise ValueError(f"{name} must be one of {', '.join(map(repr, accepted))}, got {choice!r}")
        refuse_less(1, meta_batch_size=meta_batch_size, n_episodes=n_episodes)
        refuse_less(0, n_inner_steps=n_inner_steps)
        refuse_less(1, cg_max_steps=cg_max_steps, line_search_max_iter=line_search_max_iter, n_epochs=n_epochs)
        if not 0 <= cg_damping < math.inf:
            raise ValueError(f"cg_damping must be a number that is not negative, got {cg_damping}")
        if not 0 < line_search_shrinking_factor < 1:
            raise ValueError(f"line_search_shrinking_factor must be between 0 and 1, got {line_search_shrinking_factor}")
        positive = {"gamma": gamma, "target_kl": target_kl}
        if not callable(clip_range):
            positive["clip_range"] = clip_range
        for name, number in positive.items():
            if not 0 < number < (1 + 1e-12 if name == "gamma" else math.inf):
                raise ValueError(f"{name} must be positive{', and 1 at most' if name == 'gamma' else ''}, got {number}")
        self._set_tasks(tasks, n_train_tasks, n_test_tasks, n_ood_tasks, task_seed)
        self.meta_batch_size, self.n_episodes = meta_batch_size, n_episodes
        self.inner_learning_rate, self.n_inner_steps = inner_learning_rate, n_inner_steps
        self.order, self.outer, self.backend = order, outer, backend
        self.use_context, self.multi_task = use_context, multi_task
        self.gamma, self.gae_lambda = gamma, gae_lambda
        self.target_kl, self.cg_max_steps, self.cg_damping = target_kl, cg_max_steps, cg_damping
        self.line_search_shrinking_factor = line_search_shrinking_factor
        self.line_search_max_iter = line_search_max_iter
        self.n_epochs, self.clip_range, self.kl_weight = n_epochs, clip_range, kl_weight
        self._n_updates = 0
        if _init_setup_model:
            self._setup_model()

    @property
    def n_curve_points(self) -> int:  # type: ignore[override]
        """Before the inner steps and after each."""
        return self.n_inner_steps + 1

    @property
    def n_unadapted_points(self) -> int:  # type: ignore[override]
        """Before the first inner step."""
        return 1

    @property
    def n_episodes_per_point(self) -> int:  # type: ignore[override]
        """As in training."""
        return self.n_episodes

    def _setup_model(self) -> None:
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        self._check_policy(MAMLPolicy)
        self._take_tasks(with_context=self.use_context or self.policy_class.needs_context)  # type: ignore[attr-defined]
        if self.scaler is not None:
            self.policy_kwargs = {**self.policy_kwargs, "context_dim": len(self.scaler.shift)}
        elif "context_dim" in self.policy_kwargs:
            raise ValueError("context_dim is not to be given: use_context=True gives the policy the task's parameters")
        is_for_other = {"preset", "network_kwargs"} & (set(self.policy_kwargs) - set(accepted_arguments(self.policy_class)))
        hint = ' preset and network_kwargs are for "HyperPolicy".' if is_for_other else ""
        with listing_accepted(self.policy_class, self.policy_kwargs, hint):
            policy = self.policy_class(self.observation_space, self.action_space, self.lr_schedule, **self.policy_kwargs)
        self.policy = policy.to(self.device)  # type: ignore[assignment]
        self.inner_step()  # tells what is wrong with its learning rates

    def inner_step(self) -> InnerStep:
        """
        :return: The inner step, with a learning rate for each parameter.
        :raises ValueError: If a parameter has none.
        """
        rate = self.policy.default_inner_learning_rate if self.inner_learning_rate == "auto" else self.inner_learning_rate
        names = [name for name, _ in self.policy.network.named_parameters()]
        return InnerStep(rates_by_parameter(rate, names), self.order, uses_ratio=self.outer == "promp")

    def evaluator(self, context: th.Tensor | None) -> Evaluate:
        """
        :param context: ``(n_tasks, context_dim)``, or None
        :return: The policy of all tasks: stacked parameters and observations -> distributions.
        """
        backend, network = BACKENDS[self.backend], self.policy.network
        return lambda parameters, obs: backend(network, parameters, obs, context)

    def learn(
        self: SelfMAML,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str = "MAML",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> SelfMAML:
        """
        Train. The iteration in which ``total_timesteps`` are reached is brought to its end.

        :param total_timesteps: Environment steps, those after adaptation included.
        :param callback: Callbacks, called at every step of the vectorized environment.
        :param log_interval: Iterations between two logs.
        :param tb_log_name: Name of the run in TensorBoard.
        :param reset_num_timesteps: Whether steps are counted from zero.
        :param progress_bar: Whether to show one.
        :return: The model.
        """
        total_timesteps, callback = self._setup_learn(
            total_timesteps, self._begin(callback, progress_bar), reset_num_timesteps, tb_log_name
        )
        callback.on_training_start(locals(), globals())
        while self.num_timesteps < total_timesteps:
            callback.on_rollout_start()
            try:
                with naming_the_dead(self.env):
                    batch = self.collect(callback)
            except Stopped:
                break
            callback.on_rollout_end()
            done = min(self.num_timesteps, total_timesteps)  # the last iteration goes beyond
            self._update_current_progress_remaining(done, total_timesteps)
            self.train(batch)
            self.n_iterations += 1
            if log_interval is not None and self.n_iterations % log_interval == 0:
                self.dump_logs()
        callback.on_training_end()
        return self

    def _on_step(self, callback: BaseCallback) -> OnStep:
        def on_step(local_variables: dict[str, Any], active: np.ndarray) -> bool:
            kept = np.flatnonzero(active)
            self.num_timesteps += len(kept)
            callback.update_locals({**local_variables, "self": self})
            if not callback.on_step():
                return False
            infos, dones = local_variables["infos"], local_variables["dones"]
            self._update_info_buffer([infos[i] for i in kept], dones[kept])
            return True

        return on_step

    def collect(self, callback: BaseCallback) -> MetaBatch:
        """
        Play the episodes of an iteration: before and after each inner step.

        :param callback: Is called at every step.
        :return: What the outer step learns from.
        """
        assert self.env is not None
        self.policy.set_training_mode(False)
        drawn = np.random.randint(len(self.train_tasks), size=self.meta_batch_size)
        tasks = [self.train_tasks[index] for index in drawn]
        context = self.contexts(tasks)
        n_steps = 0 if self.multi_task else self.n_inner_steps
        played = []
        on_step = self._on_step(callback)
        for step, stage in enumerate(stages(self, self.env, tasks, context, self.n_episodes, n_steps, on_step)):
            name = "post" if step == n_steps and step > 0 else "pre" if step == 0 else f"step_{step}"
            self.logger.record(f"rollout/{name}_return", float(stage.episodes.returns.mean()))
            played.append((stage.batch, stage.old))
        *before, (batch, old) = played
        with th.no_grad():
            unadapted = self.evaluator(context)(stack(self.policy.network, len(tasks)), batch.observations)
            self.logger.record("rollout/adaptation_kl", divergence(unadapted, old.distribution, batch).mean().item())
        return MetaBatch(context, [batch for batch, _ in before], [old for _, old in before], batch, old)

    def meta_objective(self, batch: MetaBatch, differentiable: bool = True, clip_range: float | None = None) -> MetaLoss:
        """
        The outer objective as a function of the policy's parameters: adapt them to each task on the data from before, and
        judge them on the data from after.

        :param batch: The data.
        :param differentiable: Whether the result needs a graph.
        :param clip_range: How far likelihood ratios count.
        :return: What the objective consists of.
        """
        evaluate = self.evaluator(batch.context)
        parameters = stack(self.policy.network, len(batch.after.weights))
        with th.set_grad_enabled(differentiable):
            with th.enable_grad():
                inner = self.inner_step()
                adapted, unadapted = inner.chain(evaluate, parameters, batch.before, batch.olds, differentiable)
            policy = evaluate(adapted, batch.after.observations)
            loss = likelihood_ratio(policy, batch.after, batch.old.log_prob, clip_range).mean()
            kl = divergence(policy, batch.old.distribution, batch.after).mean()
            kl_before = th.zeros((), device=self.device)
            if clip_range is not None:
                for own, data, old in zip(unadapted, batch.before, batch.olds, strict=True):
                    kl_before = kl_before + divergence(evaluate(own, data.observations), old.distribution, data).mean()
                kl_before = kl_before / max(1, len(batch.before))
        return MetaLoss(loss, kl, kl_before, policy)

    def _judge(self, groups: Sequence[MetaBatch], differentiable: bool) -> Iterator[Judgement]:
        n_tasks = sum(len(group.after.weights) for group in groups)
        for group in groups:
            share = len(group.after.weights) / n_tasks
            loss, kl, _, policy = self.meta_objective(group, differentiable)
            yield Judgement(share * loss, share * kl, policy, fisher(policy, group.after, share))

    def train(self, batch: MetaBatch) -> None:
        """
        Take an outer step.

        :param batch: The data.
        """
        self.policy.set_training_mode(True)
        self.policy.set_adapted(None, None)  # what was adapted came from other parameters
        if self.outer == "trpo":
            n_tasks, n_rows = batch.after.weights.shape
            groups = batch.groups(max(1, GROUP_ROWS // n_rows) if self.device.type == "cpu" else n_tasks)
            outcome = trust_region_step(
                list(self.policy.network.parameters()),
                lambda differentiable: self._judge(groups, differentiable),
                self.target_kl,
                self.cg_max_steps,
                self.cg_damping,
                self.line_search_shrinking_factor,
                self.line_search_max_iter,
            )
            self.logger.record("train/loss", outcome.loss)
            self.logger.record("train/improvement", outcome.loss_before - outcome.loss)
            self.logger.record("train/kl", outcome.divergence)
            self.logger.record("train/is_line_search_success", float(outcome.accepted))
        else:
            self._update_learning_rate(self.policy.optimizer)
            clip_range = FloatSchedule(self.clip_range)(self._current_progress_remaining)
            for _ in range(self.n_epochs):
                loss, _, kl_before, _ = self.meta_objective(batch, clip_range=clip_range)
                # the gradient first, then the step: an optimizer's closure would overwrite it
                self.policy.optimizer.zero_grad()
                (loss + self.kl_weight * kl_before).backward()
                self.policy.optimizer.step()
            loss, kl, *_ = self.meta_objective(batch, differentiable=False, clip_range=clip_range)
            self.logger.record("train/loss", loss.item())
            self.logger.record("train/kl", kl.item())
            self.logger.record("train/clip_range", clip_range)
        self._n_updates += 1
        self.logger.record("train/std", self.policy.network.log_std.exp().mean().item())
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")

    def dump_logs(self) -> None:
        """Write the log of an iteration, as SB3's on-policy algorithms do."""
        OnPolicyAlgorithm.dump_logs(self, self.n_iterations)  # type: ignore[arg-type]

    def adapt(
        self, env: GymEnv, n_episodes: int | None = None, n_steps: int | None = None, deterministic: bool = False
    ) -> AdaptationCurve:
        """
        Adapt to the tasks that are set in an environment. After this, ``predict`` acts for them, environment by environment.

        :param env: An environment, or a vectorized one with a task in each. Set tasks by
            ``reset(options={"task": ...})``, ``reset_to_tasks`` for vectorized ones.
        :param n_episodes: Episodes in each environment, before each step and after the last; as in training by default.
        :param n_steps: Inner steps; by default ``n_inner_steps``, with ``multi_task=True`` too, where training takes none.
        :param deterministic: Whether the curve's returns are those of an episode with the policy's mode. (What is learned
            from are samples in any case.)
        :return: For 0, 1, ... ``n_steps`` steps: mean undiscounted return of the episodes ``(n_envs, n_steps + 1)``, mean
            length of those that are learned from, and share of those that succeeded (NaN where the environment does not say).
        """
        env = env if isinstance(env, VecEnv) else self._wrap_env(env, monitor_wrapper=False)
        self._check_env(env)
        n_steps = self.n_inner_steps if n_steps is None else n_steps
        n_episodes = self.n_episodes if n_episodes is None else n_episodes
        refuse_less(1, n_episodes=n_episodes)
        refuse_less(0, n_steps=n_steps)
        self.policy.set_training_mode(False)
        tasks: list[Task] = env.get_attr("task")
        context = self.contexts(tasks, env)
        curve = AdaptationCurve.empty(len(tasks), n_steps + 1)
        for step, stage in enumerate(stages(self, env, tasks, context, n_episodes, n_steps)):
            judged = stage.episodes
            if deterministic:
                judged = play(self, env, tasks, stage.parameters, context, 1, deterministic=True)
            curve.returns[:, step] = judged.returns.mean(axis=1)
            curve.successes[:, step] = mean_of_known(judged.successes, axis=1)
            curve.lengths[:, step] = stage.episodes.mask.sum(dim=2).mean(dim=1).cpu()
        self.policy.set_adapted(stage.parameters, context)
        return curve

    def adaptation_curve(self, env: VecEnv, n_points: int, deterministic: bool) -> AdaptationCurve:
        """
        What :class:`~sb3_hyper.meta.evaluation.MetaEvalCallback` measures.

        :param env: A vectorized environment with a task in each.
        :param n_points: Points of the curve: inner steps and one.
        :param deterministic: As in :meth:`adapt`.
        :return: The curve.
        """
        return self.adapt(env, n_steps=n_points - 1, deterministic=deterministic)

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy", "policy.optimizer"], []
