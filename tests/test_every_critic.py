"""Every critic under every algorithm, on every kind of observation: it trains, and comes back whole."""

import numpy as np
import pytest
import torch as th
from sb3_contrib import TQC
from stable_baselines3 import DDPG, SAC, TD3
from stable_baselines3.common.envs import FakeImageEnv, SimpleMultiObsEnv

from sb3_hyper.policies.critic_names import CRITICS
from tests.conftest import PointEnv

OBSERVATIONS = {
    "flat": ("HyperPolicy", PointEnv, {}),
    "image": (
        "HyperCnnPolicy",
        lambda: FakeImageEnv(screen_height=40, screen_width=40, n_channels=1, discrete=False),
        {"features_extractor_kwargs": {"features_dim": 8}},
    ),
    "dict": (
        "HyperMultiInputPolicy",
        lambda: SimpleMultiObsEnv(random_start=False, discrete_actions=False, channel_last=False),
        {"features_extractor_kwargs": {"cnn_output_dim": 8}},
    ),
}


@pytest.mark.parametrize("kind", OBSERVATIONS)
@pytest.mark.parametrize("algorithm", [TD3, DDPG, SAC, TQC])
@pytest.mark.parametrize("critic", CRITICS)
def test_it_trains_and_comes_back_whole(tmp_path, critic, algorithm, kind):
    policy, make_env, policy_kwargs = OBSERVATIONS[kind]
    policy_kwargs = {"critic": critic, "net_arch": [8], **policy_kwargs}
    env = make_env()
    model = algorithm(policy, env, policy_kwargs=policy_kwargs, learning_starts=6, batch_size=4, buffer_size=50, seed=0)
    start = [parameter.clone() for parameter in model.critic.parameters()]
    model.learn(9)
    assert model._n_updates == 3
    for before, parameter in zip(start, model.critic.parameters(), strict=True):
        assert th.isfinite(parameter).all()
        if kind == "flat":  # the gradient of a hypernetwork's first steps can be zero behind a ReLU, for a whole layer not
            assert not th.equal(before, parameter) or not parameter.requires_grad
    model.save(tmp_path / "model")
    loaded = algorithm.load(tmp_path / "model", env=env)
    state, loaded_state = model.policy.state_dict(), loaded.policy.state_dict()
    assert state.keys() == loaded_state.keys()
    assert all(th.equal(state[name], loaded_state[name]) for name in state)
    observation = env.observation_space.sample()
    one, other = (m.predict(observation, deterministic=True)[0] for m in (model, loaded))
    np.testing.assert_array_equal(one, other)
    loaded.learn(3, reset_num_timesteps=False)
    assert loaded._n_updates > model._n_updates
