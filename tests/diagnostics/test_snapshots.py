"""An environment goes back to where it was."""

import copy
import os
from typing import ClassVar

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.envs import BitFlippingEnv
from stable_baselines3.common.monitor import Monitor

import sb3_hyper  # noqa: F401
from sb3_hyper.diagnostics.snapshots import check_repeatable, restore_snapshot, take_snapshot
from tests.conftest import PointEnv

MUJOCO = ["Hopper-v5", "HalfCheetah-v5", "Walker2d-v5", "Ant-v5", "PaperAnt-v4", "Reacher-v5", "Pusher-v5", "Humanoid-v5"]


def run(env, actions):
    rows = []
    for action in actions:
        observation, reward, terminated, truncated, _ = env.step(action)
        rows.append((copy.deepcopy(observation), reward, terminated, truncated))
        if terminated or truncated:
            break
    return rows


def assert_equal_runs(one, other):
    assert len(one) == len(other)
    for (obs, *rest), (other_obs, *other_rest) in zip(one, other, strict=True):
        np.testing.assert_equal(obs, other_obs)  # dicts too
        assert rest == other_rest


def advance(env, n_steps, seed=0):
    env.action_space.seed(seed)
    observation, _ = env.reset(seed=seed)
    for _ in range(n_steps):
        observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            observation, _ = env.reset()
    return observation


@pytest.mark.parametrize("env_id", [*MUJOCO, "Pendulum-v1", "MountainCarContinuous-v0"])
def test_what_follows_a_snapshot_repeats_to_the_last_digit(env_id):
    """Also against the run that went on without a restoration, and in another environment."""
    env, other = gym.make(env_id), gym.make(env_id)
    observation = advance(env, 30)
    snapshot = take_snapshot(env, observation)
    actions = [env.action_space.sample() for _ in range(50)]
    went_on = run(env, actions)
    np.testing.assert_array_equal(restore_snapshot(env, snapshot), observation)
    assert_equal_runs(run(env, actions), went_on)
    advance(other, 7, seed=3)
    restore_snapshot(other, snapshot)
    assert_equal_runs(run(other, actions), went_on)
    check_repeatable(env, snapshot)


def test_resets_repeat_too():
    env = gym.make("Hopper-v5")
    snapshot = take_snapshot(env, advance(env, 10))
    first, _ = env.reset()
    restore_snapshot(env, snapshot)
    second, _ = env.reset()
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("wrap", [lambda env: env, Monitor])
def test_the_time_limit_is_part_of_it(wrap):
    env = wrap(gym.make("Pendulum-v1", max_episode_steps=20))
    snapshot = take_snapshot(env, advance(env, 15))
    action = env.action_space.sample()
    for _ in range(2):
        restore_snapshot(env, snapshot)
        assert len(run(env, [action] * 20)) == 5


def test_the_snapshot_is_not_touched_by_what_follows():
    env = gym.make("HalfCheetah-v5")
    snapshot = take_snapshot(env, advance(env, 5))
    before = snapshot.core.qpos.copy()
    run(env, [env.action_space.sample() for _ in range(5)])
    np.testing.assert_array_equal(snapshot.core.qpos, before)
    assert not np.array_equal(env.unwrapped.data.qpos, before)


def test_dict_observations():
    env = BitFlippingEnv(n_bits=4, continuous=True)
    observation, _ = env.reset(seed=0)
    snapshot = take_snapshot(env, observation)
    actions = [np.array([1, -1, 1, -1], np.float32), np.array([-1, 1, 1, -1], np.float32)]
    first = run(env, actions)
    restored = restore_snapshot(env, snapshot)
    assert all(np.array_equal(restored[key], observation[key]) for key in observation)
    assert_equal_runs(run(env, actions), first)


class Counting(PointEnv):
    """Knows its state, part of which is not among its attributes."""

    hidden: ClassVar = {"count": 0}

    def step(self, action):
        observation, reward, *rest = super().step(action)
        self.hidden["count"] += 1
        return observation, reward + self.hidden["count"], *rest


class Knowing(Counting):
    def get_snapshot(self):
        return self.t, self.state.copy(), self.hidden["count"]

    def set_snapshot(self, snapshot):
        self.t, self.state, self.hidden["count"] = snapshot[0], snapshot[1].copy(), snapshot[2]


def test_an_environment_that_knows_its_state_is_asked():
    env = Knowing()
    snapshot = take_snapshot(env, env.reset(seed=0)[0])
    check_repeatable(env, snapshot)


def test_an_environment_that_does_not_repeat_itself_is_named():
    env = Counting()
    snapshot = take_snapshot(env, env.reset(seed=0)[0])
    with pytest.raises(RuntimeError, match=r"give Counting methods get_snapshot\(\) and set_snapshot\(snapshot\)"):
        check_repeatable(env, snapshot)


def test_rendering_is_left_alone(monkeypatch):
    monkeypatch.setitem(os.environ, "SDL_VIDEODRIVER", "dummy")
    env = gym.make("Pendulum-v1", render_mode="rgb_array")
    observation = advance(env, 3)
    env.render()
    snapshot = take_snapshot(env, observation)
    check_repeatable(env, snapshot)
    assert env.render().any()
