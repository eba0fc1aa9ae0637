"""What benchmarks/final_values.py measures of a model."""

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3 import TD3

from benchmarks import final_values, rows
from sb3_hyper import HyperTD3Policy
from sb3_hyper.experiments.study_files import load_study


def test_a_model_is_measured_in_its_own_episodes(tmp_path, monkeypatch):
    monkeypatch.setattr(final_values, "N_EPISODES", 1)
    model = TD3(HyperTD3Policy, "Pendulum-v1", gamma=0.9, seed=0, device="cpu", buffer_size=1)
    path = tmp_path / "model.zip"
    model.save(path)
    row = final_values.measure(path, "td3", "Pendulum-v1")

    env = gym.make("Pendulum-v1")
    observation, _ = env.reset(seed=final_values.SEED)
    states, rewards = [], []
    for _ in range(200):
        action, _ = model.predict(observation, deterministic=True)
        states.append(observation)
        observation, reward, *_ = env.step(action)
        rewards.append(float(reward))
    counted = th.as_tensor(np.stack(states[: 200 - 44]))  # 0.9 ** 44 < 0.01 < 0.9 ** 43
    gave = [sum(0.9**k * reward for k, reward in enumerate(rewards[start:])) for start in range(len(counted))]
    grid = th.linspace(-1, 1, 101).reshape(1, -1, 1).expand(len(counted), -1, -1)
    with th.no_grad():
        value = model.critic(counted, model.actor(counted))[0].mean().item()
        everywhere = model.critic.action_values(counted, grid)[0].mean().item()
    assert float(row["return"]) == pytest.approx(sum(rewards), rel=1e-4)
    assert float(row["policy_return"]) == pytest.approx(np.mean(gave), rel=1e-4)
    assert float(row["value"]) == pytest.approx(value, rel=1e-3, abs=1e-6)
    assert float(row["value_of_random_actions"]) == pytest.approx(everywhere, abs=2e-4)
    lengths = []
    for state in counted[np.linspace(0, len(counted) - 1, final_values.N_GRADIENTS).astype(int)].split(1):
        model.critic.zero_grad()
        model.critic(state, model.actor(state).detach())[0].sum().backward()
        lengths.append(sum(p.grad.square().sum() for p in model.critic.parameters() if p.grad is not None).sqrt().item())
    assert float(row["parameter_gradient"]) == pytest.approx(np.mean(lengths), rel=1e-4)
    assert row["step"] == "0"


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
    assert "| last, 9 steps | 0 | 2 | inf | nan | 1 |" in final_values.table(study)
