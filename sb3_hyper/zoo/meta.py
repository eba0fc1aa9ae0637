"""Meta-learners in rl-zoo3: registered, evaluated by their adaptation, adapted before they are watched."""

import itertools
import os
from typing import Any

import rl_zoo3.enjoy
import rl_zoo3.utils
from rl_zoo3.utils import ALGOS
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.vec_env import VecEnv

from sb3_hyper.experiments.algorithms import META_ALGORITHMS
from sb3_hyper.meta.evaluation import MetaEvalCallback
from sb3_hyper.tasks.vectorized import has_tasks, reset_to_tasks

ALGOS.update(META_ALGORITHMS)


def meta_evaluation(callback: EvalCallback, n_episodes: int | None, eval_freq: int) -> MetaEvalCallback:
    """
    :param callback: rl-zoo3's evaluation.
    :param n_episodes: Points of the adaptation curve; None: as many as go with the model.
    :param eval_freq: Environment steps between two evaluations.
    :return: An evaluation of adaptation in its place.
    """
    if not has_tasks(callback.eval_env):
        raise SystemExit("This algorithm needs an environment with tasks, such as HalfCheetahFwdBack-v0 or PointGoal-v0")
    return MetaEvalCallback(
        callback.eval_env,
        n_episodes=n_episodes,
        eval_freq=eval_freq,
        log_path=None if callback.log_path is None else os.path.dirname(callback.log_path),
        best_model_save_path=callback.best_model_save_path,
        callback_on_new_best=callback.callback_on_new_best,
    )


def adapt_before_acting() -> None:
    """Let ``rl_zoo3.enjoy`` show meta-learners in test tasks, after they have adapted to them."""
    environments: list[VecEnv] = []
    create_test_env = rl_zoo3.utils.create_test_env

    def remembered(*args: Any, **kwargs: Any) -> VecEnv:
        environments.append(create_test_env(*args, **kwargs))
        return environments[-1]

    setattr(rl_zoo3.enjoy, "create_test_env", remembered)  # noqa: B010 (mypy: not exported)

    def adapted(algorithm: Any) -> Any:
        class Adapted(algorithm):
            @classmethod
            def load(cls, *args: Any, **kwargs: Any) -> Any:
                model, env = super().load(*args, **kwargs), environments[-1]
                tasks = list(itertools.islice(itertools.cycle(model.tasks.test), env.num_envs))
                reset_to_tasks(env, tasks)
                returns = model.adaptation_curve(env, model.n_curve_points, deterministic=True).returns
                for task, row in zip(tasks, returns, strict=True):
                    print(f"Adapted to {task}: returns {', '.join(f'{value:.1f}' for value in row)}")
                return model

        return Adapted

    ALGOS.update({name: adapted(algorithm) for name, algorithm in META_ALGORITHMS.items()})
