"""What benchmarks/final_values.py measures of a model."""

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3 import TD3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from benchmarks import final_values, rows
from sb3_hyper import HyperTD3Policy
from sb3_hyper.experiments.study_files import load_study


@pytest.mark.parametrize("normalized", [False, True])
def test_a_model_is_measured_in_its_own_episodes(normalized, tmp_path, monkeypatch):
    monkeypatch.setattr(final_values, "N_EPISODES", 3)
    vec_env = make_vec_env("Pendulum-v1")
    if normalized:
        vec_env = VecNormalize(vec_env)
        vec_env.obs_rms.mean, vec_env.ret_rms.var = np.array([0.1, 0.2, 0.3]), np.array(4.0)
        (tmp_path / "Pendulum-v1").mkdir()
        vec_env.save(tmp_path / "Pendulum-v1" / "vecnormalize.pkl")
    model = TD3(HyperTD3Policy, vec_env, gamma=0.9, seed=0, device="cpu", buffer_size=1)
    with th.no_grad():
        model.critic.q_network.heads.linear.bias[0, -1] += 1  # the first critic's values are the larger ones
    path = tmp_path / "Pendulum-v1.zip"
    model.save(path)
    row = final_values.measure(path, "td3", "Pendulum-v1")

    env = gym.make("Pendulum-v1")
    states, gave, returns = [], [], []
    for episode in range(3):
        observation, _ = env.reset(seed=final_values.SEED + episode)
        rewards = []
        for step in range(200):
            seen = vec_env.normalize_obs(observation) if normalized else observation
            if step < 200 - 44:  # 0.9 ** 44 < 0.01 < 0.9 ** 43
                states.append(seen.astype(np.float32))
            observation, reward, *_ = env.step(model.predict(seen, deterministic=True)[0])
            rewards.append(float(reward))
        gave += [sum(0.9**k * reward for k, reward in enumerate(rewards[start:])) for start in range(200 - 44)]
        returns.append(sum(rewards))
    scale = 0.5 if normalized else 1.0
    counted = th.as_tensor(np.stack(states))
    grid = th.linspace(-1, 1, 101).reshape(1, -1, 1).expand(len(counted), -1, -1)
    with th.no_grad():
        value = model.critic(counted, model.actor(counted))[0].mean().item()
        everywhere = model.critic.action_values(counted, grid)[0].mean().item()
    assert float(row["return"]) == pytest.approx(np.mean(returns), rel=1e-4)
    assert float(row["policy_return"]) == pytest.approx(np.mean(gave), rel=1e-4)
    assert float(row["value"]) == pytest.approx(value / scale, rel=1e-3, abs=1e-6)
    assert float(row["value_of_random_actions"]) == pytest.approx(everywhere / scale, abs=1e-3)
    lengths = []
    for state in counted[np.linspace(0, len(counted) - 1, final_values.N_GRADIENTS).astype(int)].split(1):
        model.critic.zero_grad()
        model.critic(state, model.actor(state).detach())[0].sum().backward()
        lengths.append(sum(p.grad.square().sum() for p in model.critic.parameters() if p.grad is not None).sqrt().item())
    assert float(row["parameter_gradient"]) == pytest.approx(np.mean(lengths) / scale, rel=1e-3)
    assert row["step"] == "0"
    assert row["episodes"] == "3"


class Falls(gym.Env):
    """Ends for good after five steps, with a reward of one for each."""

    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 5
        return self.observation_space.sample(), {}

    def step(self, action):
        self.left -= 1
        return self.observation_space.sample(), 1.0, self.left == 0, False, {}


def test_where_an_episode_ends_for_good_all_its_states_count(tmp_path, monkeypatch):
    monkeypatch.setitem(gym.registry, "Falls-v0", gym.envs.registration.EnvSpec("Falls-v0", Falls, max_episode_steps=1000))
    model = TD3(HyperTD3Policy, Falls(), gamma=0.9, device="cpu", buffer_size=1)
    model.save(tmp_path / "model.zip")
    row = final_values.measure(tmp_path / "model.zip", "td3", "Falls-v0")
    assert float(row["return"]) == 5
    expected = np.mean([sum(0.9**k for k in range(left)) for left in (5, 4, 3, 2, 1)])
    assert float(row["policy_return"]) == pytest.approx(expected, rel=1e-5)


def test_episodes_that_are_too_short_are_named(tmp_path):
    model = TD3(HyperTD3Policy, "Pendulum-v1", device="cpu", buffer_size=1)
    model.save(tmp_path / "model.zip")
    with pytest.raises(ValueError, match="Pendulum-v1 ends before the last 459 steps"):
        final_values.measure(tmp_path / "model.zip", "td3", "Pendulum-v1")


def test_a_value_that_is_not_finite_has_its_place_in_the_table(tmp_path, monkeypatch):
    monkeypatch.setattr(final_values, "RESULTS", tmp_path)
    study = load_study("sac-100k")
    numbers = {"return": "-0.2", "policy_return": "1.6", "value": "inf", "value_of_random_actions": "nan"}
    row = {"variant": "mlp", "environment": "Hopper-v5", "seed": "0", "which": "last", "step": "9", "parameter_gradient": "1"}
    rows.write(final_values.file_of("sac-100k"), [row | numbers])
    assert "| 0 | 0 | 2 | inf | nan | 1 |" in final_values.table(study)


def test_the_table_has_last_models_by_environment_variant_and_seed(tmp_path, monkeypatch):
    monkeypatch.setattr(final_values, "RESULTS", tmp_path)
    study = load_study("critics-100k")
    names = ("return", "policy_return", "value", "value_of_random_actions", "parameter_gradient")
    keys = [
        ("bounded", "HalfCheetah-v5", "0", "last"),
        ("mlp", "Hopper-v5", "0", "last"),
        ("mlp", "HalfCheetah-v5", "1", "last"),
        ("mlp", "HalfCheetah-v5", "0", "last"),
        ("mlp", "HalfCheetah-v5", "0", "best"),
    ]
    there = [
        dict(zip((*rows.RUN, "which"), key, strict=True)) | {"step": "9"} | dict.fromkeys(names, str(index))
        for index, key in enumerate(keys)
    ]
    rows.write(final_values.file_of("critics-100k"), there)
    values = [line.split(" | ")[3] for line in final_values.table(study).splitlines()[2:]]
    assert values == ["3", "2", "0", "1"]
