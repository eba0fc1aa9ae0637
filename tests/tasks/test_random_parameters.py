import math

import gymnasium as gym
import numpy as np
import pytest

from tests.tasks.steps import after_a_step


@pytest.mark.parametrize(("name", "dt"), [("WalkerRandomParams-v0", 0.02), ("HopperRandomParams-v0", 0.016)])
def test_reward_with_random_parameters(name, dt):
    env = gym.make(name)
    before, after, action, obs, reward, _ = after_a_step(env, env.unwrapped.sample_tasks(1, np.random.default_rng(1))[0])
    velocity = (after.qpos[0] - before["x"]) / dt
    assert reward == pytest.approx(velocity + 1 - 0.001 * (action**2).sum())
    np.testing.assert_allclose(obs, np.concatenate([after.qpos[1:], np.clip(after.qvel, -10, 10)]), atol=1e-6)


@pytest.mark.parametrize(("name", "n_parameters"), [("WalkerRandomParams-v0", 65), ("HopperRandomParams-v0", 41)])
def test_random_parameters_multiply_those_of_the_model(name, n_parameters):
    env = gym.make(name).unwrapped
    nominal = {field: values.copy() for field, values in env.nominal.items()}
    first, second = env.sample_tasks(2, np.random.default_rng(0))
    env.set_task(first)
    env.set_task(second)
    for field, values in nominal.items():
        np.testing.assert_allclose(getattr(env.model, field), values * np.array(second[field]))
        assert np.array_equal(env.nominal[field], values)
    parameters = env.task_parameters(second)
    assert parameters.shape == (n_parameters,)
    assert 2.5 < np.abs(parameters).max() <= 3


def test_what_mujoco_derives_is_computed_again_on_request_only():
    task = gym.make("HopperRandomParams-v0").unwrapped.sample_tasks(1, np.random.default_rng(0))[0]
    legacy, exact = (gym.make("HopperRandomParams-v0", set_const=set_const).unwrapped for set_const in (False, True))
    derived = legacy.model.body_invweight0.copy()
    for env in (legacy, exact):
        env.reset(seed=0)
        qpos = env.data.qpos.copy()
        env.set_task(task)
        assert np.array_equal(env.data.qpos, qpos)
    assert np.array_equal(legacy.model.body_invweight0, derived)
    assert not np.allclose(exact.model.body_invweight0, derived)


def test_multipliers_of_another_body_are_refused():
    walker, hopper = (gym.make(name).unwrapped for name in ("WalkerRandomParams-v0", "HopperRandomParams-v0"))
    with pytest.raises(ValueError, match="multipliers of shape"):
        hopper.set_task(walker.task)
    with pytest.raises(ValueError, match="positive multipliers"):
        hopper.set_task({**hopper.task, "body_mass": [-1.0] * 5})


@pytest.mark.parametrize(
    ("name", "states"),
    [
        (
            "WalkerRandomParams-v0",
            {(1.2, 0.0): False, (0.7, 0.0): True, (2.1, 0.0): True, (1.2, 1.1): True, (1.2, -0.9): False},
        ),
        (
            "HopperRandomParams-v0",
            {(1.2, 0.0): False, (0.6, 0.0): True, (2.1, 0.0): False, (1.2, 0.3): True, (1.2, -0.1): False},
        ),
    ],
)
def test_walkers_and_hoppers_fall(name, states):
    env = gym.make(name).unwrapped
    env.reset(seed=0)
    for (height, angle), ended in states.items():
        env.data.qpos[1:3] = height, angle
        assert env.has_ended() == ended
    env.data.qpos[1:3] = math.nan
    assert env.has_ended()
