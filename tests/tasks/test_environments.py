import math
import os
import pickle
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.env_checker import check_env

from sb3_hyper.tasks.checker import check_task_env
from sb3_hyper.tasks.registration import HORIZON, TASK_ENVS

MUJOCO_ENVS = [name for name in TASK_ENVS if not name.startswith(("PointGoal", "MetaWorld"))]
SIZES = {  # of observations, by variant
    "HalfCheetahVel-v0": {"hyperl": 20, "oyster": 20, "promp": 17},
    "HalfCheetahVelMedium-v0": {"hyperl": 20, "oyster": 20, "promp": 17},
    "HalfCheetahFwdBack-v0": {"hyperl": 20, "oyster": 20, "promp": 17},
    "AntVel-v0": {"hyperl": 27},
    "AntFwdBack-v0": {"hyperl": 27, "oyster": 27, "promp": 111},
    "AntForwardBackward-v0": {"hyperl": 27, "oyster": 27, "promp": 111},
    "AntGoal-v0": {"hyperl": 113, "oyster": 113, "promp": 113},
    "HumanoidDir-v0": {"hyperl": 376, "oyster": 376, "promp": 376},
    "WalkerRandomParams-v0": {"hyperl": 17, "oyster": 17, "promp": 17},
    "HopperRandomParams-v0": {"hyperl": 11, "oyster": 11, "promp": 11},
}
ALL = [(name, variant) for name, variants in SIZES.items() for variant in variants]


def episode(env, task, policy="nothing", seed=0):
    env.reset(seed=seed, options={"task": task})
    total, length, done = 0.0, 0, False
    while not done:
        action = np.zeros(env.action_space.shape, np.float32) if policy == "nothing" else env.action_space.sample()
        _, reward, terminated, truncated, _ = env.step(action)
        total, length, done = total + reward, length + 1, terminated or truncated
    return total, length, terminated, truncated


def mean_return(name, policy, split="train", n_tasks=20, **kwargs):
    env = gym.make(name, **kwargs)
    env.action_space.seed(0)
    tasks = env.unwrapped.sample_tasks(n_tasks, np.random.default_rng(0), split)
    return np.mean([episode(env, task, policy, seed)[0] for seed, task in enumerate(tasks)])


# what all have in common


def test_every_environment_is_tested():
    assert set(SIZES) == set(MUJOCO_ENVS)


@pytest.mark.parametrize(("name", "variant"), ALL)
def test_environments_keep_their_promises(name, variant):
    env = gym.make(name, variant=variant)
    assert env.observation_space.shape == (SIZES[name][variant],)
    check_task_env(env)
    check_task_env(env.unwrapped)
    check_env(env.unwrapped, warn=False)


@pytest.mark.parametrize("name", MUJOCO_ENVS)
def test_unknown_variants_are_named(name):
    with pytest.raises(ValueError, match=r"variant must be one of 'hyperl'.* got 'gym'"):
        gym.make(name, variant="gym")


@pytest.mark.parametrize("name", MUJOCO_ENVS)
def test_every_environment_can_be_loaded_without_a_file_beside_it(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    gym.make(name).reset(seed=0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", MUJOCO_ENVS)
def test_pickling_keeps_task_and_arguments(name):
    env = gym.make(name).unwrapped
    env.set_task(env.sample_tasks(2, np.random.default_rng(1))[1])
    again = pickle.loads(pickle.dumps(env))
    assert again.task == env.task
    action = env.action_space.high
    for one in (env, again):
        one.reset(seed=3)
    assert env.step(action)[1] == again.step(action)[1]


def test_pickling_keeps_the_variant():
    env = gym.make("AntFwdBack-v0", variant="promp", contact_forces=False).unwrapped
    again = pickle.loads(pickle.dumps(env))
    assert (again.variant, again.contact_forces) == ("promp", False)


@pytest.mark.parametrize("name", ["HalfCheetahVel-v0", "HalfCheetahFwdBack-v0", "AntGoal-v0"])
def test_the_time_limit_truncates(name):
    env = gym.make(name)
    _, length, terminated, truncated = episode(env, env.unwrapped.task, "random")
    assert (length, terminated, truncated) == (HORIZON, False, True)


@pytest.mark.parametrize("name", MUJOCO_ENVS)
def test_the_reward_is_the_sum_of_its_terms(name):
    env = gym.make(name)
    env.reset(seed=0)
    _, reward, _, _, info = env.step(env.action_space.high)
    assert reward == pytest.approx(sum(value for key, value in info.items() if key.startswith("reward_")))


@pytest.mark.parametrize("name", MUJOCO_ENVS)
def test_tasks_of_another_family_are_refused_and_change_nothing(name):
    env = gym.make(name).unwrapped
    wrong = [{}, {"velocity": "fast"}, {"velocity": math.nan}, {"direction": 0.5, "goal": [0, 0]}, {"goal": [1.0]}]
    for task in [*wrong, {"body_mass": [1.0]}, {**env.task, "more": 1.0}]:
        before = {key: str(value) for key, value in vars(env).items()}
        with pytest.raises(ValueError, match=r"task|direction"):
            env.set_task(task)
        assert {key: str(value) for key, value in vars(env).items()} == before


@pytest.mark.parametrize("name", MUJOCO_ENVS)
def test_metadata_agree_with_the_simulation(name):
    env = gym.make(name).unwrapped
    assert env.metadata["render_fps"] == pytest.approx(1 / env.dt, abs=0.6)


@pytest.mark.parametrize("name", ["HalfCheetahVel-v0", "AntVel-v0", "HumanoidDir-v0", "HopperRandomParams-v0"])
def test_frames_can_be_rendered(name):
    code = f"""
import gymnasium as gym, sb3_hyper
env = gym.make("{name}", render_mode="rgb_array", width=64, height=48)
env.reset(seed=0)
frame = env.render()
assert frame.shape == (48, 64, 3) and frame.std() > 0
env.close()
"""
    # MuJoCo chooses how to render once in a process
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "MUJOCO_GL": "egl"}, capture_output=True, text=True)
    if "GL" in done.stderr and "AssertionError" not in done.stderr:
        pytest.skip("no EGL here")
    assert done.returncode == 0, done.stderr


# returns of doing nothing and of random actions, horizon 200: the bottom of every table of results

RETURNS = [  # tolerances: three standard errors of 20 tasks, at least
    ("HalfCheetahVel-v0", "nothing", "train", {}, -308, 60),
    ("HalfCheetahVel-v0", "random", "train", {}, -357, 60),
    ("HalfCheetahVelMedium-v0", "nothing", "test", {}, -552, 15),
    ("HalfCheetahFwdBack-v0", "nothing", "train", {}, 0, 1),
    ("HalfCheetahFwdBack-v0", "random", "train", {}, -27, 25),
    ("AntForwardBackward-v0", "nothing", "train", {"variant": "oyster"}, 197, 4),
    ("AntForwardBackward-v0", "random", "train", {"variant": "oyster"}, -36, 30),
    ("AntFwdBack-v0", "nothing", "train", {}, 10.6, 5),
    ("AntFwdBack-v0", "random", "train", {}, 0.2, 25),
    ("AntVel-v0", "nothing", "train", {}, -98, 60),
    ("AntVel-v0", "random", "train", {}, -47, 60),
    ("AntGoal-v0", "nothing", "train", {}, -526, 100),
    ("AntGoal-v0", "random", "train", {}, -856, 250),
]


@pytest.mark.parametrize(("name", "policy", "split", "kwargs", "expected", "tolerance"), RETURNS)
def test_returns_of_simple_policies(name, policy, split, kwargs, expected, tolerance):
    assert mean_return(name, policy, split, **kwargs) == pytest.approx(expected, abs=tolerance)


def test_the_model_file_comes_with_its_licence():
    licence = Path(gym.make("HalfCheetahVel-v0").unwrapped.fullpath).with_name("LICENSE").read_text()
    assert "Farama Foundation" in licence
