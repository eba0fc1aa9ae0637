"""Needs Meta-World: ``make test-metaworld``."""

import json
from contextlib import suppress
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import TD3
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.vec_env import DummyVecEnv

metaworld = pytest.importorskip("metaworld")

from sb3_hyper import HyperTD3Policy  # noqa: E402
from sb3_hyper.tasks.checker import check_task_env  # noqa: E402
from sb3_hyper.tasks.context import OracleContext  # noqa: E402
from sb3_hyper.tasks.interface import TaskSet  # noqa: E402
from sb3_hyper.tasks.metaworld import N_PARAMETERS, MetaWorldEnv, benchmark_goals  # noqa: E402
from sb3_hyper.tasks.vectorized import reset_to_tasks, sample_task_set  # noqa: E402

FAMILIES = [("ML1", "reach-v3"), ("ML1", "push-v3"), ("ML1", "pick-place-v3"), ("ML10", None), ("ML45", None)]
# places of an object and of the goal
REACH = {"env": "reach-v3", "rand_vec": [0.0, 0.65, 0.02, 0.05, 0.85, 0.2]}
REACH_ELSEWHERE = {"env": "reach-v3", "rand_vec": [0.0, 0.65, 0.02, -0.08, 0.82, 0.1]}
HORIZON = 500


def make(benchmark, env_name):
    kwargs = {"env_name": env_name} if benchmark == "ML1" else {}
    return gym.make(f"MetaWorld{benchmark}-v0", **kwargs)


def episode(env, task, n_steps=30):
    """Observations and rewards of an episode with random actions, always the same."""
    observations, rewards = [env.reset(options={"task": task})[0]], []
    for action in np.random.default_rng(0).uniform(-1, 1, (n_steps, 4)).astype(np.float32):
        observation, reward, *_ = env.step(action)
        observations.append(observation)
        rewards.append(reward)
    return np.stack(observations), np.array(rewards)


@pytest.mark.parametrize(("benchmark", "env_name"), FAMILIES)
def test_the_promises_of_a_task_environment_are_kept(benchmark, env_name):
    check_task_env(make(benchmark, env_name))


@pytest.mark.parametrize("env_name", ["reach-v3", "push-v3"])
def test_sb3_finds_no_fault(env_name):
    check_env(MetaWorldEnv("ML1", env_name))


@pytest.mark.parametrize(("benchmark", "env_name"), FAMILIES)
def test_train_and_test_goals_are_disjoint(benchmark, env_name):
    goals = benchmark_goals(benchmark, env_name, 0)
    train, test = ({(name, goal) for name, own in goals[split].items() for goal in own} for split in ("train", "test"))
    assert train.isdisjoint(test)
    n_train, n_test = {"ML1": (1, 1), "ML10": (10, 5), "ML45": (45, 5)}[benchmark]
    assert (len(train), len(test)) == (50 * n_train, 50 * n_test)


def test_goals_in_common_are_refused(monkeypatch):
    tasks = metaworld.ML1("reach-v3", seed=0).train_tasks
    monkeypatch.setattr(metaworld, "ML1", lambda name, seed: SimpleNamespace(train_tasks=tasks, test_tasks=tasks[-2:]))
    with pytest.raises(RuntimeError, match="2 goals both to train and to test on"):
        benchmark_goals.__wrapped__("ML1", "reach-v3", 0)


def test_the_tasks_of_a_split_have_its_goals():
    env = MetaWorldEnv("ML1", "reach-v3")
    for split in ("train", "test"):
        drawn = {tuple(task["rand_vec"]) for task in env.sample_tasks(50, np.random.default_rng(3), split)}
        assert drawn == set(benchmark_goals("ML1", "reach-v3", 0)[split]["reach-v3"])


@pytest.mark.parametrize("n", [1, 7, 10, 23, 501])
def test_any_number_of_tasks_comes_evenly(n):
    tasks = make("ML10", None).get_wrapper_attr("sample_tasks")(n, np.random.default_rng(0), "train")
    counts = [sum(task["env"] == name for task in tasks) for name in benchmark_goals("ML10", None, 0)["train"]]
    assert sum(counts) == n
    assert max(counts) - min(counts) <= 1
    assert len({json.dumps(task) for task in tasks}) == min(n, 500)


def test_drawing_goals_leaves_the_global_generator_alone():
    before = np.random.get_state()[1].copy()
    benchmark_goals.__wrapped__("ML1", "reach-v3", 5)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize("env_name", metaworld.ML1.ENV_NAMES)
def test_every_environment_agrees_with_one_that_had_another_task(env_name):
    env, fresh = MetaWorldEnv("ML1", env_name), MetaWorldEnv("ML1", env_name)
    space, rng = env._sim._random_reset_space, np.random.default_rng(1)
    task = dict(env.task)
    while env.task == task:  # vectors that put things too close are refused
        with suppress(ValueError):
            env.set_task({"env": env_name, "rand_vec": rng.uniform(space.low, space.high).tolist()})
    other = episode(env, env.task)[0]
    (observations, rewards), expected = episode(env, task), episode(fresh, task)
    assert all(env.observation_space.contains(observation) for observation in (*observations, *other))
    np.testing.assert_array_equal(observations, expected[0])
    np.testing.assert_array_equal(rewards, expected[1])
    np.testing.assert_array_equal(observations[:, -3:], 0)
    assert len(env.task_parameters(task)) <= N_PARAMETERS
    env.close()


def test_environments_of_a_benchmark_follow_one_another():
    env, again = (make("ML10", None) for _ in range(2))
    tasks = env.get_wrapper_attr("sample_tasks")(3, np.random.default_rng(0), "test")
    assert len({task["env"] for task in tasks}) == 3
    forward = [episode(env, task)[0] for task in tasks]
    backward = [episode(again, task)[0] for task in reversed(tasks)]
    np.testing.assert_array_equal(forward, backward[::-1])


def test_the_goal_changes_rewards_and_no_observation():
    env = make("ML1", "reach-v3")
    observations, rewards = episode(env, REACH)
    elsewhere, other_rewards = episode(env, REACH_ELSEWHERE)
    np.testing.assert_array_equal(observations, elsewhere)
    assert np.abs(rewards - other_rewards).min() > 0.01


def test_tasks_stay_through_the_resets_of_a_vectorized_environment():
    venv = DummyVecEnv([lambda: make("ML1", "reach-v3")] * 2)
    tasks = [REACH, REACH_ELSEWHERE]
    first = reset_to_tasks(venv, tasks)
    for step in range(1, HORIZON + 1):
        observations, rewards, dones, infos = venv.step(np.zeros((2, 4), np.float32))
        assert dones.all() == (step == HORIZON)
        if step == 1:
            first_rewards = rewards
    assert all(info["TimeLimit.truncated"] for info in infos)
    assert venv.get_attr("task") == tasks
    np.testing.assert_array_equal(observations, first)
    np.testing.assert_array_equal(venv.step(np.zeros((2, 4), np.float32))[1], first_rewards)


def test_the_horizon_truncates_even_without_a_time_limit():
    env = MetaWorldEnv("ML1", "reach-v3")
    env.reset()
    ends = [env.step(env.action_space.sample())[2:4] for _ in range(HORIZON)]
    assert ends == [(False, False)] * (HORIZON - 1) + [(False, True)]


def test_an_episode_that_succeeded_at_any_step_has_succeeded():
    env = MetaWorldEnv("ML1", "reach-v3")
    env.reset(options={"task": REACH})
    goal, infos = np.array(REACH["rand_vec"][3:]), []
    for step in range(120):  # to the goal, and away from it
        towards = goal - env._sim.tcp_center if step < 80 else -np.ones(3)
        infos.append(env.step(np.append(np.clip(10 * towards, -1, 1), 0).astype(np.float32))[4])
    assert [(infos[step]["success"], infos[step]["is_success"]) for step in (0, 79, -1)] == [(0, 0), (1, 1), (0, 1)]
    env.reset()
    assert env.step(np.zeros(4, np.float32))[4]["is_success"] is False


@pytest.mark.parametrize(
    ("task", "match"),
    [
        ({"env": "push-v3", "rand_vec": REACH["rand_vec"]}, "with an environment of box-close-v3, got"),
        ({"env": "box-close-v3"}, "A task of ML1 is"),
        ({"env": "box-close-v3", "rand_vec": [0.0, 0.5]}, "lies between"),
        ({"env": "box-close-v3", "rand_vec": [9.0] * 6}, "lies between"),
        ({"env": "box-close-v3", "rand_vec": [0.0, 0.525, 0.02, 0.0, 0.75, 0.133]}, "too close"),
    ],
)
def test_what_is_no_task_is_refused_and_the_task_stays(task, match):
    env = MetaWorldEnv("ML1", "box-close-v3")
    before, expected = dict(env.task), episode(env, env.task)
    with pytest.raises(ValueError, match=match):
        env.set_task(task)
    assert env.task == before
    env.reset()
    np.testing.assert_array_equal(episode(env, before)[1], expected[1])


@pytest.mark.parametrize(
    ("arguments", "match"),
    [(("ML1",), "env_name must be one of"), (("ML10", "reach-v3"), "goes with ML1"), (("ML2",), "benchmark must be one of")],
)
def test_what_is_no_benchmark_is_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        MetaWorldEnv(*arguments)


@pytest.mark.parametrize(("benchmark", "env_name"), FAMILIES[2:4])
def test_a_seed_names_a_task_set(tmp_path, benchmark, env_name):
    env = make(benchmark, env_name)
    tasks, again = (TaskSet.sample(env, 20, 10, seed=1) for _ in range(2))
    assert tasks.hash == again.hash != TaskSet.sample(env, 20, 10, seed=2).hash
    assert tasks.hash == sample_task_set(DummyVecEnv([lambda: make(benchmark, env_name)]), 20, 10, seed=1).hash
    tasks.save(tmp_path / "tasks.json")
    assert TaskSet.load(tmp_path / "tasks.json") == tasks
    other_goals = MetaWorldEnv(benchmark, env_name, goal_seed=7)
    assert TaskSet.sample(other_goals, 20, 10, seed=1).hash != tasks.hash


def test_parameters_tell_environments_and_goals_apart():
    env = MetaWorldEnv("ML10")
    tasks = [*env.sample_tasks(500, np.random.default_rng(0)), *env.sample_tasks(250, np.random.default_rng(0), "test")]
    parameters = np.stack([env.task_parameters(task) for task in tasks])
    assert parameters.shape == (750, 15 + N_PARAMETERS)
    assert len(np.unique(parameters, axis=0)) == 750


def test_a_hyper_policy_trains_with_the_oracle_context():
    env = make("ML1", "push-v3")
    env = OracleContext(env, env.get_wrapper_attr("sample_tasks")(5, np.random.default_rng(0)))
    slim = {"preset": "slim"}
    model = TD3(HyperTD3Policy, env, learning_starts=10, batch_size=8, buffer_size=100, policy_kwargs=slim, seed=0).learn(20)
    assert model.observation_space.shape == (39 + N_PARAMETERS,)
