"""What benchmarks/final_values.py measures of a model."""

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3 import TD3

from benchmarks import final_values
from sb3_hyper import HyperTD3Policy


def test_discounted_returns_by_hand():
    np.testing.assert_allclose(final_values.discounted(np.array([1.0, 2.0, 4.0]), 0.5), [3, 4, 4])


@pytest.mark.parametrize("critic", ["sa_hyper", "mlp"])
def test_a_model_is_measured_in_its_own_episodes(tmp_path, monkeypatch, critic):
    monkeypatch.setattr(final_values, "N_EPISODES", 1)
    monkeypatch.setattr(final_values, "TAIL", 150)
    kwargs = dict(critic=critic, **({"network_kwargs": dict(output_bias_scale=4.0)} if critic == "sa_hyper" else {}))
    model = TD3(HyperTD3Policy, "Pendulum-v1", gamma=0.9, policy_kwargs=kwargs, seed=0, device="cpu", buffer_size=1)
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
    counted = th.as_tensor(np.stack(states[:50]))
    gave = [sum(0.9**k * reward for k, reward in enumerate(rewards[start:])) for start in range(50)]
    with th.no_grad():
        value = model.critic(counted, model.actor(counted))[0].mean().item()
        bias = model.critic.q_network.generate(counted)[-1].bias[0].mean().item() if critic == "sa_hyper" else None
    assert float(row["return"]) == pytest.approx(sum(rewards), rel=1e-4)
    assert float(row["policy_return"]) == pytest.approx(np.mean(gave), rel=1e-4)
    assert float(row["value"]) == pytest.approx(value, rel=1e-3, abs=1e-6)
    assert (float(row["generated_bias"]) if row["generated_bias"] else None) == (bias and pytest.approx(bias, rel=1e-4))
    assert row["step"] == "0"
