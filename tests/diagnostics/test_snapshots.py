"""An environment goes back to where it was."""

import copy
import os
import threading

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.mujoco.hopper_v5 import HopperEnv
from stable_baselines3.common.envs import BitFlippingEnv
from stable_baselines3.common.monitor import Monitor

import sb3_hyper  # noqa: F401
from sb3_hyper.diagnostics.snapshots import restore_snapshot, take_snapshot
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


def test_rendering_is_left_alone(monkeypatch):
    monkeypatch.setitem(os.environ, "SDL_VIDEODRIVER", "dummy")
    env = gym.make("Pendulum-v1", render_mode="rgb_array")
    observation = advance(env, 3)
    env.render()
    snapshot = take_snapshot(env, observation)
    run(env, [env.action_space.sample()])
    restore_snapshot(env, snapshot)
    assert env.render().any()


class Clock(PointEnv):
    """Counts its steps in an attribute that others keep a handle of pygame in."""

    def reset(self, seed=None, options=None):
        self.clock = 0
        return super().reset(seed, options)

    def step(self, action):
        self.clock += 1
        observation, reward, *_ = super().step(action)
        return observation, reward, False, self.clock >= 20, {}


def test_a_name_that_renders_elsewhere_may_be_state():
    env = Clock()
    snapshot = take_snapshot(env, advance(env, 15))
    for _ in range(2):
        assert len(run(env, [env.action_space.sample()] * 20)) == 5
        restore_snapshot(env, snapshot)


class Inner:
    """Shares an array with the environment."""


class Shared(PointEnv):
    def reset(self, seed=None, options=None):
        observation, info = super().reset(seed, options)
        self.inner = Inner()
        self.inner.state = self.state
        return observation, info

    def step(self, action):
        self.inner.state[0] += action[0]
        return super().step(action)


def test_what_is_shared_inside_stays_shared():
    env = Shared()
    snapshot = take_snapshot(env, advance(env, 5))
    actions = [env.action_space.sample() for _ in range(5)]
    went_on = run(env, actions)
    restore_snapshot(env, snapshot)
    assert_equal_runs(run(env, actions), went_on)


class View(HopperEnv):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.positions = self.data.qpos

    def step(self, action):
        observation, _, *rest = super().step(action)
        return observation, float(self.positions[1]), *rest


def test_a_view_of_the_simulator_still_follows_it():
    env, other = View(), View()
    snapshot = take_snapshot(env, advance(env, 5))
    actions = [env.action_space.sample() for _ in range(5)]
    went_on = run(env, actions)
    advance(other, 3, seed=4)
    for one in (env, other):
        restore_snapshot(one, snapshot)
        assert_equal_runs(run(one, actions), went_on)


def test_the_physics_of_a_task_go_with_the_snapshot():
    env, other = gym.make("HopperRandomParams-v0"), gym.make("HopperRandomParams-v0")
    one, another = env.unwrapped.sample_tasks(2, np.random.default_rng(0))
    env.reset(seed=0, options={"task": one})
    snapshot = take_snapshot(env, advance(env, 5))
    masses = env.unwrapped.model.body_mass.copy()
    actions = [env.action_space.sample() for _ in range(10)]
    went_on = run(env, actions)
    for changed in (env, other):
        changed.reset(seed=1, options={"task": another})
        restore_snapshot(changed, snapshot)
        np.testing.assert_array_equal(changed.unwrapped.model.body_mass, masses)
        assert_equal_runs(run(changed, actions), went_on)
        assert changed.unwrapped.task == one


def test_an_environment_that_cannot_be_copied_is_asked_for_methods():
    env = PointEnv()
    env.lock = threading.Lock()
    observation, _ = env.reset(seed=0)
    with pytest.raises(RuntimeError, match=r"cannot be copied .*give PointEnv methods get_snapshot\(\)"):
        take_snapshot(env, observation)


def test_the_handle_of_a_simulator_stays_that_of_its_environment():
    simulators = {}

    class Handle(PointEnv):
        def __init__(self, number):
            super().__init__()
            self.number = number

        def get_snapshot(self):
            return simulators[self.number]

        def set_snapshot(self, snapshot):
            simulators[self.number] = snapshot

    env, other = Handle(0), Handle(1)
    simulators |= {0: "here", 1: "there"}
    observation, _ = env.reset(seed=0)
    other.reset(seed=1)
    restore_snapshot(other, take_snapshot(env, observation))
    assert (other.number, simulators[1]) == (1, "here")


def test_random_numbers_can_be_others_than_those_that_followed():
    env = PointEnv()
    snapshot = take_snapshot(env, env.reset(seed=0)[0])
    drawn = []
    for seed in (None, None, 1, 1, 2):
        restore_snapshot(env, snapshot, seed)
        drawn.append(env.np_random.random())
    assert drawn[0] == drawn[1] != drawn[2] == drawn[3] != drawn[4]
