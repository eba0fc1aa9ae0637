"""PEARL learns: after adaptation it is far better than before, in tasks it has not seen."""

import numpy as np
import pytest
from stable_baselines3.common.env_util import make_vec_env

from sb3_hyper import PEARL, reset_to_tasks
from sb3_hyper.experiments.studies import Variant


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_hyper_pearl_finds_the_goal_of_unseen_tasks(seed):
    settings = Variant(algo="pearl", file="pearl").settings("PointGoal-v0")
    for name in ("n_timesteps", "n_envs", "policy", "callback"):
        settings.pop(name)
    model = PEARL("HyperPolicy", make_vec_env("PointGoal-v0", 10), seed=seed, **settings)
    model.learn(16_000)
    env = make_vec_env("PointGoal-v0", 20)
    reset_to_tasks(env, model.tasks.test)
    returns = model.adapt(env, 4).returns.mean(axis=0)
    # doing nothing pays -20, the best that can be known beforehand is the middle of the goals, about -14
    assert returns[3] > -12
    assert returns[3] > returns[0] + 3
    assert np.all(returns[2:] > returns[0])
