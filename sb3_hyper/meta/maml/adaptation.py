"""The inner loop on real episodes: play, step, play again, for all tasks at once."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch as th
from stable_baselines3.common.vec_env import VecEnv

from sb3_hyper.meta.maml.episodes import Batch, Episodes, LinearBaseline, make_batch
from sb3_hyper.meta.maml.networks import Parameters, prepared, stack
from sb3_hyper.meta.maml.objectives import Old, remember
from sb3_hyper.meta.maml.sampler import OnStep, sample_episodes
from sb3_hyper.tasks.interface import Task

if TYPE_CHECKING:
    from sb3_hyper.meta.maml.maml import MAML


class Stage(NamedTuple):
    """
    Where adaptation stands: before the first inner step, or after one of them.

    :param parameters: Each task's parameters, stacked.
    :param episodes: What was played with them.
    :param batch: The same to learn from.
    :param old: What the policy was on it.
    """

    parameters: Parameters
    episodes: Episodes
    batch: Batch
    old: Old


def play(
    model: "MAML",
    env: VecEnv,
    tasks: Sequence[Task],
    parameters: Parameters,
    context: th.Tensor | None,
    n_episodes: int,
    on_step: OnStep = lambda local_variables, active: True,
    deterministic: bool = False,
) -> Episodes:
    """
    Play episodes with each task's own parameters.

    :param model: The model.
    :param env: A vectorized task environment.
    :param tasks: Tasks.
    :param parameters: Their stacked parameters.
    :param context: Their contexts.
    :param n_episodes: Episodes per task.
    :param on_step: Is called after every step.
    :param deterministic: The mode instead of samples.
    :return: The episodes.
    """

    def make_act(group: np.ndarray) -> Any:
        own = {name: value[group] for name, value in parameters.items()}
        return prepared(model.policy.network, own, None if context is None else context[group])

    return sample_episodes(env, tasks, make_act, model.policy.unscale, n_episodes, on_step, model.device, deterministic)


def stages(
    model: "MAML",
    env: VecEnv,
    tasks: Sequence[Task],
    context: th.Tensor | None,
    n_episodes: int,
    n_steps: int,
    on_step: OnStep = lambda local_variables, active: True,
) -> Iterator[Stage]:
    """
    Adapt to tasks. The baseline of returns is that of the episodes before the first step.

    :param model: The model.
    :param env: A vectorized task environment.
    :param tasks: Tasks.
    :param context: Their contexts.
    :param n_episodes: Episodes per task and stage.
    :param n_steps: Inner steps.
    :param on_step: Is called after every step of the environment.
    :return: ``n_steps + 1`` stages.
    """
    evaluate, inner, baseline = model.evaluator(context), model.inner_step(), LinearBaseline(model.gamma)
    parameters = {name: value.detach() for name, value in stack(model.policy.network, len(tasks)).items()}
    for step in range(n_steps + 1):
        episodes = play(model, env, tasks, parameters, context, n_episodes, on_step)
        if step == 0:
            baseline.fit(episodes)
        batch = make_batch(episodes, baseline, model.gamma, model.gae_lambda)
        old = remember(evaluate, parameters, batch)
        yield Stage(parameters, episodes, batch, old)
        if step < n_steps:
            with th.enable_grad():
                parameters = inner(evaluate, parameters, batch, old, differentiable=False)
