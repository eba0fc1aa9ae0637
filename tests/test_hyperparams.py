import gymnasium as gym
import numpy as np
import pytest
import yaml
from stable_baselines3 import SAC, TD3

from sb3_hyper.zoo import __main__ as zoo

FILES = ["td3", "sac", "tqc", "td3_paper", "sac_paper"]
ENVS = [f"{name}-{version}" for name in ("Hopper", "Walker2d", "HalfCheetah", "Ant") for version in ("v5", "v4")]
ENVS += ["PaperAnt-v4", "Pendulum-v1", "default"]
GOAL_ENVS = ["Reacher-v5", "Pusher-v5"]  # their actors are generated from a context


def load(name):
    return yaml.safe_load((zoo.HYPERPARAMS / f"{name}.yml").read_text())


@pytest.mark.parametrize("file", FILES)
def test_all_environments_are_there_and_registered(file):
    assert set(load(file)) == set(ENVS if file.endswith("_paper") else ENVS + GOAL_ENVS)
    assert set(ENVS) - {"default"} <= set(gym.registry)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("env_id", ENVS)
def test_every_number_is_a_number(file, env_id):
    """YAML reads 1e-3 as text."""
    numbers = {key: value for key, value in load(file)[env_id].items() if key not in ("policy", "callback", "noise_type")}
    assert {key for key, value in numbers.items() if isinstance(value, str)} == set()


CALLBACK = "sb3_hyper.diagnostics.callbacks.LearningRateCallback"


@pytest.mark.parametrize("env_id", ENVS[:-2])
def test_td3_paper_is_table_5(env_id):
    assert load("td3_paper")[env_id] == {
        "policy": "sb3_hyper.HyperTD3Policy",
        "callback": CALLBACK,
        "buffer_size": 1_000_000,
        "target_policy_noise": 0.2,
        "target_noise_clip": 0.5,
        "train_freq": 1,
        "gradient_steps": 1,
        "learning_rate": 3e-4,
        "batch_size": 100,
        "gamma": 0.99,
        "tau": 0.005,
        "policy_delay": 2,
        "learning_starts": 1000,
        "noise_type": "normal",
        "noise_std": 0.1,
        "n_timesteps": 1_000_000,
        "policy_kwargs": {"critic": "sa_hyper", "preset": "paper", "net_arch": [256, 256]},
    }


@pytest.mark.parametrize("env_id", ENVS[:-2])
def test_sac_paper_is_table_7(env_id):
    cheetah = env_id.startswith("HalfCheetah")
    assert load("sac_paper")[env_id] == {
        "policy": "sb3_hyper.HyperSACPolicy",
        "callback": CALLBACK,
        "buffer_size": 1_000_000,
        "train_freq": 1,
        "gradient_steps": 1,
        "n_timesteps": 1_000_000,
        "learning_rate": 1e-4 if cheetah else 2e-5,
        "batch_size": 256,
        "gamma": 0.99,
        "tau": 0.005,
        "ent_coef": 0.2,
        "learning_starts": 10_000 if cheetah else 1000,
        "policy_kwargs": {"critic": "sa_hyper", "critic_init": "xavier", "preset": "paper", "net_arch": [256, 256]},
    }


@pytest.mark.parametrize("file", ["td3", "sac", "tqc"])
@pytest.mark.parametrize("env_id", ENVS)
def test_recommended_settings_are_bounded(file, env_id):
    settings = load(file)[env_id]
    assert settings["policy"] == f"sb3_hyper.Hyper{file.upper()}Policy"
    assert settings["policy_kwargs"] == {"critic": "sa_hyper", "preset": "bounded"}


@pytest.mark.parametrize("file", ["td3", "sac", "tqc"])
@pytest.mark.parametrize(("env_id", "context"), [("Reacher-v5", [4, 6]), ("Pusher-v5", [17, 20])])
def test_goals_generate_the_actor(file, env_id, context):
    settings = load(file)[env_id]
    assert settings["policy_kwargs"] == {
        "critic": "sa_hyper",
        "preset": "slim",
        "actor": "hyper",
        "context_slice": context,
    }


@pytest.mark.parametrize(("algorithm", "file"), [(TD3, "td3_paper"), (SAC, "sac_paper")])
def test_the_papers_rates_reach_the_optimizers(algorithm, file):
    settings = load(file)["Hopper-v5"]
    model = algorithm(
        "HyperPolicy", "Pendulum-v1", learning_rate=settings["learning_rate"], policy_kwargs=settings["policy_kwargs"]
    )
    assert model.actor.optimizer.param_groups[0]["lr"] == settings["learning_rate"]
    assert model.critic.optimizer.param_groups[0]["lr"] == 5e-5


def test_the_papers_ant_has_111_observations_and_no_control_cost():
    env = gym.make("PaperAnt-v4")
    assert env.observation_space.shape == (111,)
    env.reset(seed=0)
    for _ in range(20):  # until it stands on the ground
        x = env.unwrapped.get_body_com("torso")[0]
        _, reward, *_ = env.step(env.action_space.high)
    forces = np.clip(env.unwrapped.data.cfrc_ext, -1, 1)
    velocity = (env.unwrapped.get_body_com("torso")[0] - x) / 0.05
    assert reward == pytest.approx(velocity - 0.5e-3 * np.square(forces).sum() + 1)
    assert np.square(forces).sum() > 0
    assert env.spec.max_episode_steps == 1000
