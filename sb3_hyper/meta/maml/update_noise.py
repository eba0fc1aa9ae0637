"""How much chance there is in a single outer step (App. C of the paper: Fig. 5 and Table 1)."""

import copy
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch as th
from stable_baselines3.common.callbacks import CallbackList
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecEnv

from sb3_hyper.common.arguments import refuse_less
from sb3_hyper.common.random_states import untouched_random_states
from sb3_hyper.meta.curves import adaptation_curve
from sb3_hyper.meta.maml.maml import MAML
from sb3_hyper.tasks.interface import Task

TOUCHED = ("_logger", "ep_info_buffer", "ep_success_buffer", "num_timesteps", "_n_updates")  # by playing and learning


class NoiseStatistics(NamedTuple):
    """
    Of the scores of a population of updates.

    :param mean: Their mean.
    :param variance: Their variance (ddof 0).
    :param coefficient: Coefficient of variation, standard deviation over the mean's absolute value. It has no meaning for
        scores whose mean is near zero.
    """

    mean: float
    variance: float
    coefficient: float


def noise_statistics(scores: np.ndarray) -> NoiseStatistics:
    """
    :param scores: ``(n_updates,)``
    :return: Their statistics.
    """
    mean, variance = float(np.mean(scores)), float(np.var(scores))
    return NoiseStatistics(mean, variance, float(np.sqrt(variance) / abs(mean)) if mean else float("nan"))


def update_noise(
    model: MAML,
    n_updates: int = 50,
    env: VecEnv | None = None,
    tasks: Sequence[Task] | None = None,
    seed: int = 0,
    progress: Callable[[range], Sequence[int]] | None = None,
) -> np.ndarray:
    """
    Take many outer steps from the same parameters, each on fresh data, and evaluate each of the results. The model is as it
    was afterwards.

    All results are evaluated with the same random numbers: what differs between their scores is the update.

    :param model: A model with its training environment.
    :param n_updates: How many.
    :param env: A vectorized task environment to evaluate in; the training environment by default.
    :param tasks: Tasks to evaluate in; the model's test tasks by default.
    :param seed: Seed of the updates and of the evaluations.
    :param progress: Wraps the counter, e.g. ``rich.progress.track``.
    :return: Returns before the inner steps and after each of them, ``(n_updates, n_tasks, n_inner_steps + 1)``
    """
    if model.env is None:
        raise ValueError("update_noise learns in the model's own environment: load the model with env=...")
    env = model.env if env is None else env
    assert model.tasks is not None
    tasks = model.tasks.test if tasks is None else tasks
    refuse_less(1, n_updates=n_updates, n_tasks=len(tasks))
    kept: Any = copy.deepcopy(model.get_parameters())
    attributes = {name: model.__dict__.get(name) for name in TOUCHED}
    model._logger, model.ep_info_buffer, model.ep_success_buffer = Logger(None, []), deque(), deque()
    silent = CallbackList([])
    silent.init_callback(model)
    results = []
    with untouched_random_states():
        try:
            for index in (progress or iter)(range(n_updates)):
                _seed(seed, index)
                model.set_parameters(copy.deepcopy(kept))  # an optimizer steps in the tensors that it was given
                model.train(model.collect(silent))
                _seed(seed, n_updates)
                curve = adaptation_curve(
                    lambda venv: model.adaptation_curve(venv, model.n_curve_points, deterministic=False), env, tasks, seed
                )
                results.append(curve.returns)
        finally:
            model.set_parameters(kept)
            for name, value in attributes.items():
                setattr(model, name, value)
    return np.stack(results)


def _seed(seed: int, index: int) -> None:
    own = int(np.random.SeedSequence([seed, index]).generate_state(1)[0])
    np.random.seed(own)
    th.manual_seed(own)


def noise_table(populations: Mapping[str, np.ndarray]) -> list[tuple[str, str, NoiseStatistics]]:
    """
    Table 1.

    :param populations: Label -> what :func:`update_noise` gave.
    :return: Label, "before" or "after" adaptation, statistics of the mean return over tasks.
    """
    return [
        (label, when, noise_statistics(returns[..., column].mean(axis=1)))
        for label, returns in populations.items()
        for column, when in ((0, "before"), (-1, "after"))
    ]
