"""Environments that do not go on as they did are found, and the right part of them is blamed."""

import gymnasium as gym
import numpy as np
import pytest

import sb3_hyper  # noqa: F401
from sb3_hyper.diagnostics.repeating import check_repeatable
from tests.conftest import PointEnv


@pytest.mark.parametrize("env_id", ["Hopper-v5", "PaperAnt-v4", "Pendulum-v1", "HopperRandomParams-v0"])
def test_environments_that_repeat_themselves_pass(env_id):
    check_repeatable(lambda: gym.make(env_id))


def test_bounds_of_actions_may_lie_anywhere():
    def make_env():
        env = PointEnv()
        env.action_space = gym.spaces.Box(np.float32([3, -np.inf]), np.float32([4, -2]))
        return env

    check_repeatable(make_env)


class Hidden:
    """What no attribute of the environment tells."""

    count = 0


class Counting(PointEnv):
    def __init__(self):
        super().__init__()
        self.hidden = lambda: hidden  # functions are not copied
        hidden = Hidden()

    def step(self, action):
        observation, reward, *rest = super().step(action)
        self.hidden().count += 1
        return observation, reward + self.hidden().count, *rest


class Knowing(Counting):
    def get_snapshot(self):
        return self.t, self.state.copy(), self.hidden().count

    def set_snapshot(self, snapshot):
        self.t, self.state, self.hidden().count = snapshot[0], snapshot[1].copy(), snapshot[2]


def test_an_environment_that_knows_its_state_is_asked():
    check_repeatable(Knowing)


def test_an_environment_that_does_not_repeat_itself_is_named():
    with pytest.raises(RuntimeError, match=r"give Counting methods get_snapshot\(\) and set_snapshot\(snapshot\)"):
        check_repeatable(Counting)


class Bound(PointEnv):
    """A copy of the bound method moves a copy of the environment."""

    def __init__(self):
        super().__init__()
        self.dynamics = self.move

    def move(self, action):
        self.count += 1

    def reset(self, seed=None, options=None):
        self.count = 0
        return super().reset(seed, options)

    def step(self, action):
        self.dynamics(action)
        action = action * self.count
        return super().step(action)


def test_a_run_that_is_repeated_but_not_the_one_that_went_on_is_found():
    with pytest.raises(RuntimeError, match="does not go on after it was put back as it did before: give Bound methods"):
        check_repeatable(Bound)


class Secret(PointEnv):
    """What a reset draws is kept where no copy finds it."""

    def reset(self, seed=None, options=None):
        observation, info = super().reset(seed, options)
        bonus = self.np_random.uniform()
        self.bonus = lambda: bonus
        return observation, info

    def get_snapshot(self):
        return self.t, self.state.copy()

    def set_snapshot(self, snapshot):
        self.t, self.state = snapshot[0], snapshot[1].copy()

    def step(self, action):
        observation, reward, *rest = super().step(action)
        return observation, reward + self.bonus(), *rest


def test_what_only_another_environment_lacks_is_found():
    with pytest.raises(RuntimeError, match="in another environment that was put there as it did before: give Secret methods"):
        check_repeatable(Secret)


def test_what_environments_share_is_found():
    shared = {"steps": 0}

    class Sharing(PointEnv):
        def get_snapshot(self):
            return self.t, self.state.copy(), shared["steps"]

        def set_snapshot(self, snapshot):
            self.t, self.state, shared["steps"] = snapshot[0], snapshot[1].copy(), snapshot[2]

        def step(self, action):
            shared["steps"] += 1
            observation, _, *rest = super().step(action)
            return observation, float(shared["steps"]), *rest

    with pytest.raises(RuntimeError, match="give Sharing methods"):
        check_repeatable(Sharing)


def test_the_wrapper_that_is_at_fault_is_blamed():
    with pytest.raises(RuntimeError, match=r"the wrapper Secretive is at fault .*offset.*leave it out of make_env"):
        check_repeatable(lambda: Secretive(PointEnv()))


@pytest.mark.parametrize("wrapper", [gym.wrappers.NormalizeReward, gym.wrappers.NormalizeObservation])
def test_what_learns_a_scale_is_not_to_be_left_out(wrapper):
    with pytest.raises(RuntimeError, match=f"the wrapper {wrapper.__name__} is at fault.* Train with .*VecNormalize"):
        check_repeatable(lambda: wrapper(gym.make("Pendulum-v1")))


class Offset:
    value = 0.0


class Secretive(gym.Wrapper):
    def __init__(self, env):
        super().__init__(env)
        self.offset = Offset()

    def step(self, action):
        self.offset.value += 1
        observation, reward, *rest = self.env.step(action)
        return observation, reward + self.offset.value, *rest


class Drifting(Secretive):
    def get_snapshot(self):
        return self.offset.value

    def set_snapshot(self, snapshot):
        self.offset.value = snapshot


def test_a_wrapper_that_knows_its_state_is_asked():
    check_repeatable(lambda: Drifting(PointEnv()))


class Logging(gym.Wrapper):
    """Keeps an object, and is not to blame."""

    def __init__(self, env):
        super().__init__(env)
        self.log = Offset()


def test_a_wrapper_that_is_not_at_fault_is_not_blamed():
    with pytest.raises(RuntimeError, match="as it did before: give Counting methods"):
        check_repeatable(lambda: Logging(Counting()))
    check_repeatable(lambda: Logging(PointEnv()))
