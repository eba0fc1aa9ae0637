"""Monte-Carlo returns, against one environment at a time."""

import gymnasium as gym
import numpy as np
import pytest

from sb3_hyper.diagnostics.branches import LocalBranches, make_branches, stack
from sb3_hyper.diagnostics.rollouts import monte_carlo_returns, sample_states
from sb3_hyper.diagnostics.snapshots import restore_snapshot, take_snapshot
from tests.conftest import PointEnv

GAMMA = 0.9


class Corridor(gym.Env):
    """Walks to the right; ends for good beyond 1. The reward is the position."""

    def __init__(self, max_steps=10):
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float64)
        self.action_space = gym.spaces.Box(-1, 1, (1,), np.float64)
        self.max_steps = max_steps

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.t = self.np_random.uniform(0, 0.1), 0
        return np.array([self.x]), {}

    def step(self, action):
        self.x += float(action[0])
        self.t += 1
        return np.array([self.x]), self.x, self.x > 1, self.t >= self.max_steps, {}


def slow_return(env, snapshot, action, policy, repeat, horizon, bootstrap):
    observation = restore_snapshot(env, snapshot)
    total, index = 0.0, 0
    while horizon is None or index < horizon:
        chosen = action if index < repeat else policy(observation[None])[0]
        observation, reward, terminated, truncated, _ = env.step(chosen)
        total += GAMMA**index * reward
        index += 1
        if terminated:
            return total
        if truncated:
            break
    return total + GAMMA**index * float(bootstrap(observation[None])[0])


@pytest.mark.parametrize("n_processes", [1, 2])
@pytest.mark.parametrize("horizon", [None, 4])
@pytest.mark.parametrize("repeat", [1, 3])
@pytest.mark.parametrize("env_class", [Corridor, PointEnv])
def test_returns_equal_those_of_one_environment_at_a_time(env_class, repeat, horizon, n_processes):
    if n_processes == 2 and (repeat, horizon) != (3, None):
        pytest.skip("one case is enough: processes take seconds to start")
    env = env_class()
    dim = env.action_space.shape[0]
    snapshots = [take_snapshot(env, env.reset(seed=seed)[0]) for seed in range(3)]
    rng = np.random.default_rng(0)
    which, actions = np.repeat(np.arange(3), 4), rng.uniform(-0.5, 0.5, (12, dim))

    def policy(observations):
        return np.full((len(observations), dim), 0.3) * np.sign(1.5 - np.abs(observations[:, :1]))

    def bootstrap(observations):
        return 10 + observations[:, 0]

    branches = make_branches(env_class, 12, n_processes)
    try:
        result = monte_carlo_returns(branches, snapshots, which, actions, policy, GAMMA, repeat, horizon, bootstrap)
    finally:
        branches.close()
    expected = [
        slow_return(env, snapshots[state], action, policy, repeat, horizon, bootstrap)
        for state, action in zip(which, actions, strict=True)
    ]
    np.testing.assert_allclose(result.returns, expected, rtol=1e-12)
    if env_class is Corridor and horizon is None:
        assert result.terminated.any()  # and thus the bootstrap left out


@pytest.mark.parametrize("handle_timeout_termination", [True, False])
def test_time_outs_may_be_ends_and_the_horizon_is_none(handle_timeout_termination):
    env, snapshots = Corridor(max_steps=4), []
    for steps in range(4):
        observation, _ = env.reset(seed=0)
        for _ in range(steps):
            observation, *_ = env.step(np.zeros(1))
        snapshots.append(take_snapshot(env, observation))
    branches, actions = LocalBranches(lambda: Corridor(max_steps=4), 5), np.array([[0.0]] * 4 + [[2.0]])
    result = monte_carlo_returns(
        branches,
        snapshots,
        np.array([0, 1, 2, 3, 0]),
        actions,
        lambda o: np.zeros((len(o), 1)),
        GAMMA,
        horizon=2,
        bootstrap=lambda o: np.full(len(o), 100.0),
        handle_timeout_termination=handle_timeout_termination,
    )
    rest = 100.0 if handle_timeout_termination else 0.0  # what follows a time-out
    expected = [
        env.x * (1 + GAMMA) + GAMMA**2 * 100,  # cut off by the horizon, two steps before time runs out
        env.x * (1 + GAMMA) + GAMMA**2 * 100,  # one step before
        env.x * (1 + GAMMA) + GAMMA**2 * rest,  # by both at once
        env.x + GAMMA * rest,  # time runs out before
        env.x + 2,  # ended for good
    ]
    np.testing.assert_allclose(result.returns, expected)
    assert result.terminated.tolist() == [False] * 4 + [True]
    assert (result.rounding > 0).tolist() == [True, True, *[handle_timeout_termination] * 2, False]


def test_returns_without_bootstrap_and_in_other_units():
    env = Corridor()
    snapshot = take_snapshot(env, env.reset(seed=0)[0])
    branches = LocalBranches(Corridor, 1)
    actions = np.zeros((1, 1))
    result = monte_carlo_returns(
        branches, [snapshot], np.zeros(1, int), actions, lambda o: np.zeros((len(o), 1)), GAMMA, reward_scale=2
    )
    assert result.n_steps.tolist() == [10]
    np.testing.assert_allclose(result.returns, 2 * env.x * (1 - GAMMA**10) / (1 - GAMMA))


def test_each_branch_can_repeat_its_action_as_often_as_it_likes():
    env = Corridor()
    snapshots = [take_snapshot(env, env.reset(seed=0)[0])]
    policy = lambda observations: np.full((len(observations), 1), 0.05)  # noqa: E731
    actions, repeats = np.full((3, 1), 0.2), np.array([1, 3, 5])
    arguments = (np.zeros(3, int), actions, policy, GAMMA)
    together = monte_carlo_returns(LocalBranches(Corridor, 3), snapshots, *arguments, action_repeat=repeats).returns
    for index, repeat in enumerate(repeats):
        alone = monte_carlo_returns(LocalBranches(Corridor, 3), snapshots, *arguments, action_repeat=int(repeat)).returns
        assert together[index] == alone[index]


def policy_of(dim):
    return lambda observations: np.full((len(observations), dim), 0.1)


def test_states_come_from_the_policys_own_rollouts():
    branches = LocalBranches(lambda: Corridor(max_steps=100), 40)
    snapshots, cost = sample_states(branches, policy_of(1), 30, 10, np.random.default_rng(0))
    assert len(snapshots) == 30
    steps = np.array([snapshot.core["t"] for snapshot in snapshots])
    assert set(steps) <= set(range(10))
    assert len(set(steps)) > 5  # all over the episode
    assert cost == steps.sum()
    for snapshot, step in zip(snapshots, steps, strict=True):
        start = snapshot.observation[0] - 0.1 * step
        assert 0 <= start <= 0.1 + 1e-9


def test_episodes_follow_each_other_and_no_state_is_terminal():
    branches = LocalBranches(lambda: Corridor(max_steps=3), 50)
    snapshots, cost = sample_states(branches, policy_of(1), 50, 20, np.random.default_rng(0))
    assert all(snapshot.core["t"] < 3 for snapshot in snapshots)
    assert cost > 50


class Goable(Corridor):
    def reset_to(self, observation):
        self.x = float(observation[0])


@pytest.mark.parametrize("n_processes", [1, 2])
def test_branches_go_to_given_observations(n_processes):
    branches = make_branches(Goable, 5, n_processes)
    try:
        branches.reset_to([np.array([0.3]), np.array([0.6]), np.array([0.7])])
        snapshots = branches.snapshots(3)
    finally:
        branches.close()
    assert [snapshot.observation[0] for snapshot in snapshots] == [0.3, 0.6, 0.7]
    assert [snapshot.core["x"] for snapshot in snapshots] == [0.3, 0.6, 0.7]


def test_sampling_states_repeats_itself_and_depends_on_the_generator():
    def states(seed):
        branches = LocalBranches(PointEnv, 5)
        snapshots, _ = sample_states(branches, policy_of(2), 5, 20, np.random.default_rng(seed))
        return np.array([snapshot.observation for snapshot in snapshots])

    np.testing.assert_array_equal(states(0), states(0))
    assert not np.array_equal(states(0), states(1))


def test_an_error_in_a_process_reaches_the_caller():
    branches = make_branches(PointEnv, 2, 2)
    try:
        with pytest.raises(Exception, match="index"):
            branches.restore([], np.zeros(2, dtype=int))
    finally:
        branches.close()


def test_mujoco_states_travel_between_processes():
    env = gym.make("Hopper-v5")
    snapshots = [take_snapshot(env, env.reset(seed=seed)[0]) for seed in range(2)]
    which = np.array([0, 1, 1, 0])
    actions = np.tile(env.action_space.high, (4, 1))
    results = []
    for n_processes in (1, 2):
        branches = make_branches(lambda: gym.make("Hopper-v5"), 4, n_processes)
        results.append(monte_carlo_returns(branches, snapshots, which, actions, lambda o: np.zeros((len(o), 3)), 0.99).returns)
        branches.close()
    np.testing.assert_array_equal(*results)
    assert results[0][0] == results[0][3] != results[0][1]


def test_batches_of_observations():
    assert stack([np.zeros(2), np.ones(2)]).shape == (2, 2)
    assert stack([{"a": np.zeros(2)}, {"a": np.ones(2)}])["a"].shape == (2, 2)


class Noisy(Corridor):
    def step(self, action):
        observation, _, *rest = super().step(action)
        return observation, float(self.np_random.normal()), *rest


@pytest.mark.parametrize("n_processes", [1, 2])
def test_branches_of_one_state_meet_random_numbers_of_their_own(n_processes):
    env = Noisy()
    snapshots = [take_snapshot(env, env.reset(seed=0)[0])]
    branches = make_branches(Noisy, 4, n_processes)
    arguments = (branches, snapshots, np.zeros(4, int), np.zeros((4, 1)), policy_of(1), GAMMA)
    try:
        together = monte_carlo_returns(*arguments).returns
        apart, again, other = (monte_carlo_returns(*arguments, rng=np.random.default_rng(seed)).returns for seed in (0, 0, 1))
    finally:
        branches.close()
    assert len(set(together)) == 1
    assert len(set(apart)) == 4
    np.testing.assert_array_equal(apart, again)
    assert not np.array_equal(apart, other)


def test_the_rounding_of_a_bootstrap_is_known():
    env = Corridor()
    snapshots = [take_snapshot(env, env.reset(seed=0)[0])]
    arguments = (snapshots, np.zeros(2, int), np.array([[0.0], [2.0]]), policy_of(1), GAMMA, 1, 3)
    result = monte_carlo_returns(LocalBranches(Corridor, 2), *arguments, bootstrap=lambda o: np.full(len(o), 1000.0))
    assert result.terminated.tolist() == [False, True]
    np.testing.assert_allclose(result.rounding, [np.finfo(np.float32).eps * 1000 * GAMMA**3, 0])


def test_no_answer_is_left_behind_by_an_error():
    branches = make_branches(Corridor, 2, 2)
    everywhere = np.ones(2, dtype=bool)
    try:
        branches.reset([0, 1], everywhere)
        with pytest.raises(Exception, match="must be"):
            branches.reset([-1, -1], everywhere)
        expected = [Corridor().reset(seed=seed)[0] for seed in (0, 1)]
        np.testing.assert_array_equal(branches.reset([0, 1], everywhere), expected)
    finally:
        branches.close()
