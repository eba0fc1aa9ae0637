import itertools

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from sb3_hyper.tasks.checker import TaskEnvError, check_task_env
from sb3_hyper.tasks.point import PointGoalEnv


class Faulty(PointGoalEnv):
    """Right but for what a test replaces."""


def sampling(change):
    return lambda self, n, rng, split="train": change(PointGoalEnv.sample_tasks(self, n, rng, split))


def from_the_global_generator(self, n, rng, split="train"):
    PointGoalEnv.sample_tasks(self, n, rng, split)
    return [{"goal": np.random.uniform(size=2).tolist()} for _ in range(n)]


def of_any_split(self, n, rng, split="train"):
    return PointGoalEnv.sample_tasks(self, n, rng, "train")


def deaf_reset(self, *, seed=None, options=None):
    return PointGoalEnv.reset(self, seed=seed)


def forgetful_reset(self, *, seed=None, options=None):
    return PointGoalEnv.reset(self, seed=seed, options=options or {"task": {"goal": [0.0, 3.0]}})


def outside_reset(self, *, seed=None, options=None):
    return np.full(2, np.nan), PointGoalEnv.reset(self, seed=seed, options=options)[1]


def random_step(self, action):
    obs, _, *rest = PointGoalEnv.step(self, action)
    return obs, np.random.default_rng().uniform(), *rest


def restless_step(self, action):
    self.set_task({"goal": [0.0, 3.0]})
    return obs_and_zero(PointGoalEnv.step(self, action))


def obs_and_zero(result):
    return (result[0], 0.0, *result[2:])


COUNTER = itertools.count(1)
FAULTS = [
    ({"splits": ("test",)}, "splits must be"),
    ({"splits": ("train", "validation")}, "splits must be"),
    ({"sample_tasks": sampling(lambda tasks: tasks[1:])}, "gave 3 tasks"),
    ({"sample_tasks": sampling(lambda tasks: [task["goal"] for task in tasks])}, "is a dict"),
    ({"sample_tasks": sampling(lambda tasks: [{"goal": np.ones(2)} for _ in tasks])}, "JSON can hold"),
    ({"sample_tasks": sampling(lambda tasks: [{"goal": (0.0, 1.0)} for _ in tasks])}, "no tuples"),
    ({"sample_tasks": from_the_global_generator}, "from the generator"),
    ({"sample_tasks": of_any_split}, "ValueError for a split"),
    ({"task_parameters": lambda self, task: np.ones(next(COUNTER))}, "n_parameters"),
    ({"task_parameters": lambda self, task: np.ones((1, 2))}, "n_parameters"),
    ({"task_parameters": lambda self, task: np.array([np.nan])}, "finite"),
    ({"reset": deaf_reset}, "must set the task"),
    ({"reset": forgetful_reset}, "stay through a reset"),
    ({"reset": outside_reset}, "outside of observation_space"),
    ({"observation_space": spaces.Box(-1, 1, (3,))}, "outside of observation_space"),
    ({"step": random_step}, "same rewards"),
    ({"step": restless_step}, "while the environment is stepped"),
    ({"set_task": lambda self, task: setattr(self, "task", task)}, "none of the family's"),
]


@pytest.mark.parametrize(("fault", "message"), FAULTS, ids=lambda x: x if isinstance(x, str) else next(iter(x)))
def test_the_checker_tells_the_fault(fault, message):
    env = Faulty()
    if "observation_space" in fault:
        env.observation_space = fault["observation_space"]
    else:
        env = type("Faulty", (Faulty,), fault)()
    if "set_task" in fault:
        env.goal = np.zeros(2)
    with pytest.raises(TaskEnvError, match=message):
        check_task_env(env)


def test_the_checker_tells_what_is_not_there(env):
    with pytest.raises(TaskEnvError, match=r"no sample_tasks\(\)"):
        check_task_env(env)


def test_point_goal_keeps_its_promises():
    check_task_env(PointGoalEnv())
    check_task_env(gym.make("PointGoal-v0"))


def test_tasks_that_make_no_difference_are_suspicious():
    with pytest.warns(UserWarning, match="does set_task change anything"):
        check_task_env(gym.make("PointGoal-v0", variant="sparse"))  # the goal is not near enough to show
