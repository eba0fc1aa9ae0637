import numpy as np
import pytest
import torch as th
from sb3_contrib import TQC
from stable_baselines3 import SAC, TD3
from stable_baselines3.common.envs import FakeImageEnv, SimpleMultiObsEnv

from sb3_hyper.networks import HyperNetworkSpec
from sb3_hyper.policies.critic_names import CRITICS
from tests.conftest import PointEnv

ALGORITHMS = [TD3, SAC, TQC]


def make_model(algorithm, env, policy="HyperPolicy", **policy_kwargs):
    policy_kwargs = {"preset": "slim", "net_arch": [16], **policy_kwargs}
    return algorithm(policy, env, policy_kwargs=policy_kwargs, learning_starts=10, batch_size=8, buffer_size=200, seed=0)


def assert_equal_modules(one, other):
    state, other_state = one.state_dict(), other.state_dict()
    assert state.keys() == other_state.keys()
    for name, tensor in state.items():
        assert th.equal(tensor, other_state[name]), name


@pytest.mark.parametrize("critic", ["sa_hyper", "emb_hyper", "mlp", "q_d2rl"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_model_comes_back_whole(env, algorithm, critic, tmp_path):
    model = make_model(algorithm, env, critic=critic).learn(30)
    model.save(tmp_path / "model")
    loaded = algorithm.load(tmp_path / "model", env=env)
    assert_equal_modules(loaded.policy, model.policy)
    for name in ("actor", "critic"):
        one, other = (getattr(m, name).optimizer.state_dict() for m in (loaded, model))
        assert one["param_groups"] == other["param_groups"]
        for index, state in other["state"].items():
            assert all(th.equal(one["state"][index][key], value) for key, value in state.items())
    loaded.learn(20, reset_num_timesteps=False)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_going_on_after_loading_equals_going_on(algorithm, tmp_path):
    env = PointEnv()
    model = make_model(algorithm, env).learn(30)
    model.save(tmp_path / "model")
    model.save_replay_buffer(tmp_path / "buffer")
    loaded = algorithm.load(tmp_path / "model", env=PointEnv())
    loaded.load_replay_buffer(tmp_path / "buffer")
    for one in (model, loaded):
        one.set_random_seed(1)
        one.set_logger(model.logger)
        one._update_current_progress_remaining(30, 40)
        one.train(gradient_steps=10, batch_size=8)
    assert_equal_modules(loaded.policy, model.policy)


@pytest.mark.parametrize("critic", CRITICS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_policy_alone_comes_back_whole(env, algorithm, critic, tmp_path):
    model = make_model(algorithm, env, critic=critic, n_critics=3, critic_learning_rate=1e-5).learn(20)
    model.policy.save(tmp_path / "policy")
    loaded = type(model.policy).load(tmp_path / "policy")
    assert_equal_modules(loaded, model.policy)
    assert loaded.critic.optimizer.param_groups[0]["lr"] == 1e-5
    obs = np.ones(5, np.float32)
    np.testing.assert_array_equal(loaded.predict(obs, deterministic=True)[0], model.predict(obs, deterministic=True)[0])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_actor_alone_comes_back_whole(env, algorithm, tmp_path):
    actor = make_model(algorithm, env).learn(20).policy.actor
    actor.save(tmp_path / "actor")
    loaded = type(actor).load(tmp_path / "actor")
    obs = np.ones(5, np.float32)
    np.testing.assert_array_equal(loaded.predict(obs, deterministic=True)[0], actor.predict(obs, deterministic=True)[0])


@pytest.mark.parametrize("preset", ["slim", HyperNetworkSpec(widths=(12,), dynamic_widths=(6, 5))])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_network_is_described_in_what_is_saved(env, algorithm, preset, tmp_path):
    network_kwargs = {"n_blocks": 1}
    model = make_model(algorithm, env, preset=preset, network_kwargs=network_kwargs)
    model.save(tmp_path / "model")
    model.policy.save(tmp_path / "policy")
    for policy in (algorithm.load(tmp_path / "model").policy, type(model.policy).load(tmp_path / "policy")):
        assert policy.network_spec == model.policy.network_spec
        assert policy.network_spec.n_blocks == 1


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_sharing_the_features_extractor_survives(algorithm, share, tmp_path):
    env = FakeImageEnv(screen_height=40, screen_width=40, n_channels=1, discrete=False)
    kwargs = {"share_features_extractor": share, "features_extractor_kwargs": {"features_dim": 12}}
    model = make_model(algorithm, env, "HyperCnnPolicy", **kwargs).learn(20)
    model.save(tmp_path / "model")
    model.policy.save(tmp_path / "policy")
    for policy in (algorithm.load(tmp_path / "model").policy, type(model.policy).load(tmp_path / "policy")):
        assert policy.share_features_extractor is share
        assert (policy.critic.features_extractor is policy.actor.features_extractor) is share
        assert_equal_modules(policy, model.policy)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_dict_policy_comes_back_whole(algorithm, tmp_path):
    env = SimpleMultiObsEnv(random_start=False, discrete_actions=False, channel_last=False)
    model = make_model(algorithm, env, "HyperMultiInputPolicy", features_extractor_kwargs={"cnn_output_dim": 8}).learn(20)
    model.save(tmp_path / "model")
    assert_equal_modules(algorithm.load(tmp_path / "model", env=env).policy, model.policy)


def test_a_model_of_another_network_is_refused_with_advice(env, tmp_path):
    make_model(TD3, env, preset="slim").save(tmp_path / "model")
    arguments = {"custom_objects": {"policy_kwargs": {"preset": "bounded"}}, "env": env}
    with pytest.raises(RuntimeError, match=r"size mismatch[\s\S]*parameters of another network.*custom_objects"):
        TD3.load(tmp_path / "model", **arguments)


def test_state_dependent_exploration_survives(env, tmp_path):
    model = SAC("HyperPolicy", env, use_sde=True, policy_kwargs={"preset": "slim", "net_arch": [16]}, learning_starts=10)
    model.learn(20)
    model.policy.save(tmp_path / "policy")
    loaded = type(model.policy).load(tmp_path / "policy")
    assert loaded.actor.use_sde
    assert_equal_modules(loaded, model.policy)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_get_and_set_parameters(env, algorithm):
    model, other = make_model(algorithm, env).learn(20), make_model(algorithm, env)
    other.set_parameters(model.get_parameters())
    assert_equal_modules(other.policy, model.policy)
