import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

from sb3_hyper.tasks.checker import check_task_env
from sb3_hyper.tasks.context import ContextScaler, OracleContext
from sb3_hyper.tasks.interface import TaskSet, TaskWrapper, evenly, take_task
from sb3_hyper.tasks.point import PointGoalEnv
from sb3_hyper.tasks.vectorized import has_tasks, reset_to_tasks, sample_task_set

LEFT, RIGHT = {"goal": [-1.0, 0.0]}, {"goal": [1.0, 0.0]}


def gravities(n, rng, split):
    return [{"gravity": float(g)} for g in rng.uniform(8, 12, n)]


def set_gravity(env, task):
    env.g = task["gravity"]


def pendulum(**kwargs):
    return TaskWrapper(gym.make("Pendulum-v1"), set_gravity, gravities, **kwargs)


# the sets of tasks


def test_a_task_set_is_fixed_by_its_seed():
    env = PointGoalEnv()
    tasks = TaskSet.sample(env, 5, 3, 2, seed=1)
    assert tasks == TaskSet.sample(env, 5, 3, 2, seed=1)
    assert tasks.train != TaskSet.sample(env, 5, 3, 2, seed=2).train
    assert [len(split) for _, split in tasks] == [5, 3, 2]


def test_the_number_of_tasks_of_one_split_leaves_the_others():
    env = PointGoalEnv()
    assert TaskSet.sample(env, 5, 3).test == TaskSet.sample(env, 9, 3, 4).test
    assert TaskSet.sample(env, 5, 3).train == TaskSet.sample(env, 9, 3).train[:5]


def test_training_and_test_tasks_differ():
    tasks = TaskSet.sample(PointGoalEnv(), 3, 3)
    assert tasks.train != tasks.test


def test_a_wrapped_environment_gives_the_same_tasks():
    assert TaskSet.sample(gym.make("PointGoal-v0"), 4, 4) == TaskSet.sample(PointGoalEnv(), 4, 4)


def test_a_task_set_comes_back_from_its_file(tmp_path):
    tasks = TaskSet.sample(PointGoalEnv(), 4, 2)
    tasks.save(tmp_path / "tasks.json")
    again = TaskSet.load(tmp_path / "tasks.json")
    assert again == tasks
    assert again.hash == tasks.hash


def test_a_split_that_there_is_not_is_refused(tmp_path):
    (tmp_path / "tasks.json").write_text('{"train": [{"goal": [0, 1]}], "tests": []}')
    with pytest.raises(ValueError, match="split must be one of 'train', 'test', 'ood', got 'tests'"):
        TaskSet.load(tmp_path / "tasks.json")


def test_there_is_no_task_set_without_a_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        TaskSet.load(tmp_path / "tasks.json")


def test_the_hash_tells_task_sets_apart():
    sets = [
        TaskSet((LEFT, RIGHT), ()),
        TaskSet((RIGHT, LEFT), ()),
        TaskSet((LEFT,), (RIGHT,)),
        TaskSet((LEFT, RIGHT), (), (LEFT,)),
    ]
    assert len({tasks.hash for tasks in sets}) == len(sets)


@pytest.mark.parametrize(("numbers", "message"), [((0, 1), "n_train"), ((1, -1), "n_test"), ((1, 1, -1), "n_ood")])
def test_impossible_numbers_of_tasks_are_named(numbers, message):
    with pytest.raises(ValueError, match=message):
        TaskSet.sample(PointGoalEnv(), *numbers)


def test_an_environment_without_tasks_has_no_task_set(env):
    with pytest.raises(ValueError, match="TaskWrapper"):
        TaskSet.sample(env, 1, 1)


def test_a_split_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="'train', 'test', got 'ood'"):
        TaskSet.sample(pendulum(), 1, 1, 1)


def test_a_finite_family_is_drawn_evenly():
    rng = np.random.default_rng(0)
    assert evenly([LEFT, RIGHT], 2, rng) == [LEFT, RIGHT]
    drawn = evenly([LEFT, RIGHT], 101, rng)
    assert {drawn.count(LEFT), drawn.count(RIGHT)} == {50, 51}


# tasks from outside


def test_options_other_than_the_task_are_passed_on():
    assert take_task({"task": LEFT, "x": 1}) == (LEFT, {"x": 1})
    assert take_task({"task": LEFT}) == (LEFT, None)
    assert take_task(None) == (None, None)


def test_a_wrapper_makes_a_task_environment():
    env = pendulum()
    check_task_env(env)
    env.reset(options={"task": {"gravity": 3.0}})
    assert env.unwrapped.g == 3
    env.reset()
    assert env.task == {"gravity": 3.0}


def test_a_wrapped_environment_has_a_task_before_it_is_told_one():
    env = pendulum()
    assert env.task == env.sample_tasks(1, np.random.default_rng(0))[0]
    assert env.unwrapped.g == env.task["gravity"]


def test_a_method_of_the_environment_can_set_tasks():
    env = TaskWrapper(PointGoalEnv(), "set_task", PointGoalEnv().sample_tasks)
    env.reset(options={"task": LEFT})
    assert env.unwrapped.task == LEFT
    with pytest.raises(ValueError, match="no method 'set_goal'"):
        TaskWrapper(PointGoalEnv(), "set_goal", gravities)


def test_parameters_are_the_values_in_the_order_of_the_keys():
    assert pendulum().task_parameters({"b": [2.0, 3.0], "a": 1.0}).tolist() == [1, 2, 3]
    assert pendulum(task_parameters=lambda task: [9.0]).task_parameters(LEFT).tolist() == [9]


# the oracle context

TASKS = [{"gravity": 8.0}, {"gravity": 10.0}, {"gravity": 12.0}]


def test_the_context_tells_the_task_that_is_set():
    env = OracleContext(pendulum(), TASKS)
    for task, context in zip([*TASKS, {"gravity": 13.0}], [0, 0.5, 1, 1.25], strict=True):
        obs, _ = env.reset(options={"task": task})
        assert obs[-1] == context
        obs = env.step(env.action_space.sample())[0]
        assert obs[-1] == context
        assert obs.dtype == np.float32
        assert obs in env.observation_space


def test_the_context_can_stand_apart():
    env = OracleContext(pendulum(), TASKS, as_dict=True)
    obs, _ = env.reset(options={"task": TASKS[2]})
    assert obs["context"].tolist() == [1]
    assert obs["observation"].shape == (3,)
    assert obs in env.observation_space


def test_a_wrapped_environment_is_still_a_task_environment():
    check_task_env(OracleContext(PointGoalEnv(), [LEFT, RIGHT]))
    check_task_env(OracleContext(PointGoalEnv(), [LEFT, RIGHT], as_dict=True))


def test_scalings():
    parameters = np.array([[1.0, 5.0, -2.0], [3.0, 5.0, 4.0]])
    assert ContextScaler(parameters)(parameters).tolist() == [[0, 0, 0], [1, 0, 1]]
    assert ContextScaler(parameters, "max")(parameters[0]).tolist() == pytest.approx([1 / 3, 1, -0.5])
    assert ContextScaler(parameters, "none")(parameters).tolist() == parameters.tolist()
    with pytest.raises(ValueError, match="'min_max', 'max' or 'none'"):
        ContextScaler(parameters, "standard")


def test_a_context_needs_tasks(env):
    with pytest.raises(ValueError, match="has no tasks"):
        OracleContext(env, TASKS)
    with pytest.raises(ValueError, match="got none"):
        OracleContext(pendulum(), [])


def test_a_context_is_appended_to_flat_observations_only():
    env = gym.wrappers.ReshapeObservation(pendulum(), (3, 1))
    with pytest.raises(ValueError, match="as_dict=True"):
        OracleContext(env, TASKS)


# vectorized


@pytest.mark.parametrize("vec_env_class", [DummyVecEnv, SubprocVecEnv])
def test_tasks_stay_through_the_resets_of_a_vectorized_environment(vec_env_class):
    env = vec_env_class([lambda: gym.make("sb3_hyper:PointGoal-v0")] * 2)  # new processes have not imported the package
    try:
        assert has_tasks(env)
        reset_to_tasks(env, [LEFT, RIGHT])
        resets = 0
        for _ in range(45):  # episodes of 20 steps
            rewards, dones = env.step(np.zeros((2, 2)))[1:3]
            assert rewards.tolist() == [-1, -1]
            resets += dones.sum()
        assert resets == 4
        assert env.get_attr("task") == [LEFT, RIGHT]
        env.reset()
        assert env.get_attr("task") == [LEFT, RIGHT]
        with pytest.raises(ValueError, match="got 1 for 2"):
            reset_to_tasks(env, [LEFT])
        assert sample_task_set(env, 3, 2, 1, seed=4) == TaskSet.sample(PointGoalEnv(), 3, 2, 1, seed=4)
    finally:
        env.close()


def test_a_wrapper_that_keeps_the_task_for_itself_is_told():
    class Forgetful(gym.Wrapper):
        def reset(self, *, seed=None, options=None):
            return self.env.reset(seed=seed)

    env = DummyVecEnv([lambda: Forgetful(PointGoalEnv())] * 2)
    with pytest.raises(
        ValueError, match=r"Environment 0 has not taken its task: got .* does not hand on the options of reset"
    ):
        reset_to_tasks(env, [LEFT, RIGHT])
    env = DummyVecEnv([PointGoalEnv, lambda: Forgetful(PointGoalEnv())])
    with pytest.raises(ValueError, match="Environment 1 has not taken its task"):
        reset_to_tasks(env, [LEFT, RIGHT])


def test_an_environment_may_keep_its_task_in_another_form():
    class Rounding(PointGoalEnv):
        def set_task(self, task):
            super().set_task({"goal": np.array(task["goal"], dtype=np.float32)})

    reset_to_tasks(DummyVecEnv([Rounding] * 2), [LEFT, {"goal": [0.1, 0.9]}])


def test_a_single_environment_is_told_how_it_takes_a_task():
    env = gym.make("sb3_hyper:PointGoal-v0")
    with pytest.raises(ValueError, match="A vectorized environment is needed"):
        reset_to_tasks(env, [LEFT])
    env.reset(options={"task": LEFT})
    assert env.unwrapped.task == LEFT


def test_environments_without_tasks_are_told(env):
    assert not has_tasks(DummyVecEnv([lambda: env]))
