"""Actors whose weights are generated from a context."""

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from sb3_contrib import TQC
from stable_baselines3 import DDPG, SAC, TD3, HerReplayBuffer
from stable_baselines3.common.envs import BitFlippingEnv, SimpleMultiObsEnv

from tests.conftest import PointEnv

ALGORITHMS = [TD3, DDPG, SAC, TQC]


def make_model(algorithm, env, policy="HyperPolicy", *, replay_buffer_class=None, **policy_kwargs):
    policy_kwargs = {"actor": "hyper", **policy_kwargs}
    kwargs = {
        "learning_starts": 20,
        "batch_size": 8,
        "buffer_size": 200,
        "seed": 0,
        "replay_buffer_class": replay_buffer_class,
    }
    return algorithm(policy, env, policy_kwargs=policy_kwargs, **kwargs)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_weights_come_from_the_context_and_the_rest_is_the_input(env, algorithm):
    actor = make_model(algorithm, env, context_slice=(1, 3)).actor
    network = actor.hypernetwork
    assert (network.meta_dim, network.base_dim) == (2, 3)
    obs = th.randn(4, 5)
    weights = network.generate(obs[:, 1:3])
    out = network.evaluate(weights, obs[:, [0, 3, 4]].unsqueeze(1)).squeeze(1)
    expected = th.tanh(out if algorithm in (TD3, DDPG) else out[:, :2])
    th.testing.assert_close(actor(obs) if algorithm in (TD3, DDPG) else actor(obs, deterministic=True), expected)
    if algorithm in (SAC, TQC):
        mean, log_std, _ = actor.get_action_dist_params(obs)
        th.testing.assert_close(th.cat([mean, log_std], 1), out)


@pytest.mark.parametrize("algorithm", [SAC, TQC])
def test_mean_and_log_std_share_the_hidden_layer_and_log_std_is_bounded(env, algorithm):
    actor = make_model(algorithm, env, context_slice=(1, 3), preset="slim").actor
    hidden, output = actor.hypernetwork.generate(th.randn(4, 2))
    assert hidden.weight.shape == (4, 3, 128)
    assert output.weight.shape == (4, 128, 4)
    rows = actor.hypernetwork.heads.linear.weight[:, -(128 * 4 + 8) :].unflatten(1, (130, 4))
    for columns, bound in ((rows[..., :2], 0.0008), (rows[..., 2:], 0.0001)):
        assert 0.99 * bound < columns.abs().max() <= bound
    with th.no_grad():
        actor.hypernetwork.heads.linear.bias[:] = 100
    _, log_std, _ = actor.get_action_dist_params(th.randn(4, 5))
    assert (log_std == 2).all()
    with th.no_grad():
        actor.hypernetwork.heads.linear.bias[:] = -100
    assert actor.get_action_dist_params(th.zeros(4, 5))[1].max() == -20


@pytest.mark.parametrize("heads", ["dense", "low_rank"])
def test_log_std_starts_eight_times_narrower(env, heads):
    actor = make_model(SAC, env, context_slice=(1, 3), network_kwargs={"heads": heads}).actor
    mean, log_std = actor.hypernetwork.generate(th.randn(400, 2))[1].weight.split(2, dim=-1)
    assert (mean.std() / log_std.std()).item() == pytest.approx(8, rel=0.15)


def test_the_actors_network_changes_with_network_kwargs_unless_it_has_its_own(env):
    kwargs = {"context_slice": (1, 3), "network_kwargs": {"dynamic_widths": [7]}}
    assert make_model(TD3, env, **kwargs).actor.spec.dynamic_widths == (7,)
    assert make_model(TD3, env, actor_network_kwargs={"n_blocks": 1}, **kwargs).actor.spec.dynamic_widths == (128,)


def test_a_context_that_nobody_reads_is_mentioned(env):
    with pytest.warns(UserWarning, match="A context was given that nobody reads apart"):
        make_model(TD3, env, actor="mlp", context_slice=(1, 3))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_it_learns_and_nothing_of_the_perceptron_is_left(env, algorithm):
    model = make_model(algorithm, env, context_slice=[1, 3])
    names = [name for name, _ in model.actor.named_parameters()]
    assert all(name.startswith("hypernetwork.") for name in names)
    before = [parameter.clone() for parameter in model.actor.parameters()]
    model.learn(60)
    assert any(not th.equal(old, new) for old, new in zip(before, model.actor.parameters(), strict=True))
    assert all(th.isfinite(parameter).all() for parameter in model.actor.parameters())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("what", ["model", "policy", "actor"])
def test_it_comes_back_whole(env, algorithm, what, tmp_path):
    kwargs = {"context_slice": (1, 3), "critic_context": "base", "actor_network_kwargs": {"dynamic_widths": [9]}}
    model = make_model(algorithm, env, **kwargs).learn(25)
    assert model.actor.hypernetwork.spec.dynamic_widths == (9,)
    part = {"model": model, "policy": model.policy, "actor": model.actor}[what]
    part.save(tmp_path / "saved")
    loaded = type(part).load(tmp_path / "saved")
    obs = np.ones(5, np.float32)
    np.testing.assert_array_equal(part.predict(obs, deterministic=True)[0], loaded.predict(obs, deterministic=True)[0])
    if what == "model":
        assert loaded.policy.critic_context == "base"
        loaded.set_env(env)
        loaded.learn(5, reset_num_timesteps=False)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("critic", ["sa_hyper", "mlp"])
def test_goals_of_hindsight_experience_replay(algorithm, critic):
    env = BitFlippingEnv(n_bits=3, continuous=True)
    kwargs = {"context_keys": ("desired_goal",), "critic": critic, "replay_buffer_class": HerReplayBuffer}
    model = make_model(algorithm, env, "HyperMultiInputPolicy", **kwargs).learn(60)
    assert model.actor.hypernetwork.meta_dim == 3
    assert model.actor.hypernetwork.base_dim == 6
    obs = model.policy.obs_to_tensor(env.reset()[0])[0]
    order = list(env.observation_space.spaces)
    features = model.actor.extract_features(obs, model.actor.features_extractor)
    start = 3 * order.index("desired_goal")
    context, _ = model.actor.columns(features)
    assert th.equal(context, features[:, start : start + 3])


def test_an_image_can_be_the_context():
    env = SimpleMultiObsEnv(random_start=False, discrete_actions=False, channel_last=False)
    kwargs = {"context_keys": ["img"], "features_extractor_kwargs": {"cnn_output_dim": 7}}
    model = make_model(TD3, env, "HyperMultiInputPolicy", **kwargs).learn(25)
    obs = model.policy.obs_to_tensor(env.observation_space.sample())[0]
    context, _ = model.actor.columns(model.actor.extract_features(obs, model.actor.features_extractor))
    th.testing.assert_close(context, model.actor.features_extractor.extractors["img"](obs["img"].float() / 255))


@pytest.mark.parametrize(
    ("critic", "place", "meta", "base"),
    [
        ("sa_hyper", None, 5, 2),
        ("sa_hyper", "meta", 5, 2),
        ("sa_hyper", "base", 3, 4),
        ("as_hyper", None, 2, 5),
        ("as_hyper", "base", 2, 5),
        ("as_hyper", "meta", 4, 3),
    ],
)
@pytest.mark.parametrize("algorithm", [TD3, TQC])
def test_where_the_critic_reads_the_context(env, algorithm, critic, place, meta, base):
    model = make_model(algorithm, env, critic=critic, critic_context=place, context_slice=(1, 3))
    network = getattr(model.critic.q_network, "q_network", model.critic.q_network)
    assert (network.meta_dim, network.base_dim) == (meta, base)
    obs, actions = th.randn(4, 5), th.rand(4, 6, 2)
    values = model.critic.action_values(obs, actions)
    assert values.shape == (2, 4, 6)
    one = model.critic(obs, actions[:, 3])
    th.testing.assert_close(values[..., 3], one.mean(2).T if algorithm is TQC else th.cat(one, 1).T)


def test_the_critic_can_have_the_context_apart_from_an_mlp_actor(env):
    model = make_model(SAC, env, actor="mlp", critic_context="base", context_slice=(1, 3)).learn(25)
    assert model.critic.q_network.q_network.base_dim == 4


GOAL_ENV = BitFlippingEnv(n_bits=3, continuous=True)


@pytest.mark.parametrize(
    ("policy_kwargs", "message"),
    [
        ({}, r"add context_keys=\(\"desired_goal\",\) for Dict observations, or context_slice"),
        ({"actor": "hyp"}, "Unknown actor 'hyp'. Accepted: 'mlp', 'hyper'"),
        ({"context_keys": ("goal",)}, "context_keys is for Dict observations"),
        ({"context_slice": (1, 3), "context_keys": ("goal",)}, "not both"),
        ({"context_slice": (0, 5)}, r"0 <= start < end <= 5, and leave the actor something to read: got \(0, 5\)"),
        ({"context_slice": (3, 6)}, "context_slice must be"),
        ({"context_slice": (1,)}, "context_slice must be"),
        ({"context_slice": range(1, 3)}, r"two whole numbers, got range\(1, 3\)"),
        ({"context_slice": slice(1, 3)}, r"two whole numbers, got slice\(1, 3, None\)"),
        ({"context_slice": [1.0, 3.0]}, r"two whole numbers, got \[1.0, 3.0\]"),
        ({"context_slice": 3}, "two whole numbers, got 3"),
        ({"context_slice": "13"}, "two whole numbers, got '13'"),
        ({"actor": "mlp", "critic_context": "base"}, "critic_context='base' needs a context"),
        ({"context_slice": (1, 3), "critic_context": "side"}, "critic_context must be 'base', 'meta' or None, got 'side'"),
        ({"context_slice": (1, 3), "critic_context": "base", "critic": "mlp"}, "is for the critics 'sa_hyper', 'as_hyper'"),
        ({"critic_init": "zeros", "context_slice": (1, 3)}, "critic_init must be 'pytorch' or 'xavier', got 'zeros'"),
    ],
)
def test_bad_arguments_get_a_sentence(env, policy_kwargs, message):
    with pytest.raises(ValueError, match=message):
        make_model(TD3, env, **policy_kwargs)


@pytest.mark.parametrize(
    ("policy_kwargs", "message"),
    [
        ({"context_slice": (1, 3)}, "with Dict observations give context_keys"),
        ({"context_keys": ("goal",)}, r"must be some, not all, of .*'observation', got \['goal'\]"),
        ({"context_keys": ()}, "must be some, not all, of"),
    ],
)
def test_bad_keys_get_a_sentence(policy_kwargs, message):
    with pytest.raises(ValueError, match=message):
        make_model(TD3, GOAL_ENV, "HyperMultiInputPolicy", **policy_kwargs)


def test_gsde_has_no_place_in_it(env):
    with pytest.raises(ValueError, match="gSDE"):
        SAC("HyperPolicy", env, use_sde=True, policy_kwargs={"preset": "slim", "actor": "hyper", "context_slice": (1, 3)})


def test_an_extractor_that_mixes_everything_is_refused():
    class Mixing(th.nn.Module):
        features_dim = 4

    with pytest.raises(ValueError, match="context_slice needs FlattenExtractor, got Mixing"):
        make_model(TD3, PointEnv(), context_slice=(1, 3), features_extractor_class=Mixing)


@pytest.mark.parametrize(("env_id", "context"), [("Reacher-v5", (4, 6)), ("Pusher-v5", (17, 20))])
def test_the_context_of_the_ready_settings_is_drawn_anew_in_every_episode(env_id, context):
    env = gym.make(env_id)
    contexts = [env.reset(seed=seed)[0][slice(*context)] for seed in range(5)]
    assert len({tuple(one) for one in contexts}) == 5
