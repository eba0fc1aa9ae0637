import numpy as np
import pytest
import torch as th
from sb3_contrib import TQC
from stable_baselines3 import SAC, TD3
from stable_baselines3.common.env_util import make_vec_env
from torch import nn

from sb3_hyper import MAML, PEARL
from sb3_hyper.diagnostics import plots
from sb3_hyper.diagnostics.callbacks import DynamicWeightsCallback
from sb3_hyper.diagnostics.records import load_records
from sb3_hyper.diagnostics.weights import (
    common_bins,
    distance_to_initial,
    generated_weights,
    linear_weights,
    total_variation,
    total_variation_of_histograms,
)
from sb3_hyper.networks import HyperNetwork, HyperNetworkSpec
from sb3_hyper.networks.baselines import MlpQ
from tests.conftest import PointEnv

SMALL = HyperNetworkSpec(widths=(8,), n_blocks=1, dynamic_widths=(6,))


def test_total_variation_by_hand():
    bins = np.array([0.0, 1.0, 2.0, 3.0])
    assert total_variation(np.array([0.5, 0.5]), np.array([2.5]), bins) == 1
    assert total_variation(np.array([0.5, 1.5]), np.array([0.5, 1.5]), bins) == 0
    assert total_variation(np.array([0.5, 0.5, 1.5, 1.5]), np.array([0.5, 0.5, 0.5, 2.5]), bins) == pytest.approx(0.5)


def test_total_variation_of_two_uniforms():
    rng = np.random.default_rng(0)
    one, other = rng.uniform(0, 1, 200_000), rng.uniform(0.25, 1.25, 200_000)
    assert total_variation(one, other, np.linspace(0, 1.25, 51)) == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize(("width", "tolerance"), [(1.0, 0.01), (12.0, 0.02)])
def test_total_variation_of_histograms_is_that_of_the_samples(width, tolerance):
    rng = np.random.default_rng(0)
    samples = rng.uniform(-1, 1, 20_000), rng.normal(0.3, width, 30_000)
    histograms = [np.histogram(values, common_bins([values], 200)) for values in samples]
    expected = total_variation(*samples, common_bins(samples, 200))
    assert total_variation_of_histograms(*histograms) == pytest.approx(expected, abs=tolerance)
    assert total_variation_of_histograms(histograms[0], histograms[0]) == pytest.approx(0, abs=1e-12)


def test_bins_cover_everything():
    bins = common_bins([np.array([-1.0, 0.0]), np.array([5.0])], 12)
    assert (bins[0], bins[-1], len(bins)) == (-1, 5, 13)
    assert len(common_bins([np.zeros(3)], 4)) == 5


def test_bins_cover_what_is_a_number():
    spoilt = np.array([np.nan, 1.0, np.inf])
    np.testing.assert_array_equal(common_bins([spoilt, np.array([5.0, -np.inf])], 2), [1, 3, 5])
    np.testing.assert_array_equal(common_bins([np.full(3, np.nan), np.array([-1.0, 1.0])], 2), [-1, 0, 1])
    assert np.isfinite(common_bins([np.full(3, np.nan)], 2)).all()


def test_what_is_no_number_has_no_distance():
    bins = np.linspace(-1, 1, 5)
    assert np.isnan(distance_to_initial(np.array([0.5, np.nan]), 4, bins))
    nothing, something = (np.zeros(4, int), bins), (np.ones(4, int), bins)
    assert np.isnan(total_variation_of_histograms(nothing, something))


@pytest.mark.parametrize("n_members", [None, 3])
def test_generated_weights_are_the_raw_ones_of_one_member(n_members):
    net = HyperNetwork(4, 3, 2, SMALL, n_members=n_members)
    meta = th.randn(5, 4)
    for index, weights in enumerate(generated_weights(net, meta, member=1 if n_members else 0)):
        expected = net.generate(meta)[index].weight
        expected = expected[1] if n_members else expected
        np.testing.assert_allclose(weights, expected.detach().flatten().numpy(), rtol=1e-5)


def test_an_ordinary_networks_weights():
    weights = linear_weights(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)))
    assert [len(layer) for layer in weights] == [12, 4]


def make_model(algorithm, **policy_kwargs):
    policy_kwargs = {"preset": SMALL, "net_arch": [8], **policy_kwargs}
    env = make_vec_env(PointEnv, seed=0)
    return algorithm("HyperPolicy", env, learning_starts=20, batch_size=8, seed=0, policy_kwargs=policy_kwargs)


@pytest.mark.parametrize("algorithm", [TD3, SAC])
@pytest.mark.parametrize("critic", ["sa_hyper", "as_hyper", "emb_hyper"])
def test_training_goes_on_as_if_nothing_had_been_measured(algorithm, critic, tmp_path):
    weights = []
    for callback in (None, DynamicWeightsCallback(eval_freq=20, log_path=tmp_path)):
        model = make_model(algorithm, critic=critic, actor="hyper", context_slice=(0, 2), net_arch=None).learn(60, callback)
        weights.append(model.policy.state_dict())
    assert all(th.equal(one, weights[1][key]) for key, one in weights[0].items())
    records = load_records(tmp_path / "dynamic_weights.npz")
    assert records["timesteps"].tolist() == [20, 40, 60]
    for network in ("critic.q_network", "actor.hypernetwork"):
        for layer in (0, 1):
            counts, bins = records[f"{network}.{layer}.counts"], records[f"{network}.{layer}.bins"]
            assert counts.shape == (3, 200)
            assert bins.shape == (3, 201)
            assert (counts.sum(axis=1) == counts.sum(axis=1)[0]).all()
            distance = records[f"{network}.{layer}.total_variation"]
            assert ((distance >= 0) & (distance <= 1)).all()
    assert not any(name.startswith(("critic_target", "actor_target")) for name in records)
    of_meta = records["critic.q_network.0.std_of_meta"]
    assert (of_meta == 0).all() if critic == "emb_hyper" else (of_meta > 0).all()


@pytest.mark.parametrize(("n_envs", "train_freq", "first"), [(1, 1, 20), (3, 1, 18), (1, 8, 16)])
def test_the_first_measurement_is_the_last_one_of_an_untrained_network(n_envs, train_freq, first):
    callback = DynamicWeightsCallback(eval_freq=100)
    model = TD3(
        "HyperPolicy",
        make_vec_env(PointEnv, n_envs, seed=0),
        learning_starts=20,
        train_freq=train_freq,
        batch_size=8,
        seed=0,
        policy_kwargs={"preset": SMALL, "net_arch": [8]},
    )
    untrained = {name: value.clone() for name, value in model.critic.state_dict().items()}
    measured = []

    def measure(rng):
        measured.append(all(th.equal(value, untrained[name]) for name, value in model.critic.state_dict().items()))
        return {}, {}

    callback._measure = measure
    model.learn(60, callback)
    assert callback.records.rows[0]["timesteps"] == first
    assert measured[0]
    assert not any(th.equal(value, untrained[name]) for name, value in model.critic.state_dict().items() if "weight" in name)


def test_a_critic_that_reads_a_latent_variable_is_refused_before_anything_is_learned():
    model = PEARL("HyperPolicy", "PointGoal-v0", n_train_tasks=2, n_test_tasks=1, n_initial_steps=20, gradient_steps=1)
    with pytest.raises(ValueError, match="in PEARL, the critic reads obs, actions, z"):
        model.learn(10_000, DynamicWeightsCallback())
    assert model.num_timesteps == 0


def test_models_without_a_replay_buffer_are_named():
    env = make_vec_env("PointGoal-v0")
    model = MAML("HyperPolicy", env, n_train_tasks=2, n_test_tasks=2, meta_batch_size=2, n_episodes=1)
    with pytest.raises(ValueError, match="MAML has no replay buffer to draw states from"):
        model.learn(10, DynamicWeightsCallback())


class Nested(nn.Module):
    """A critic of one's own whose hypernetwork lies deep in it."""

    def __init__(self, state_dim, action_dim, n_outputs):
        super().__init__()
        self.network_of_the_values = HyperNetwork(state_dim, action_dim, n_outputs, SMALL)

    def forward(self, states, actions):
        return self.network_of_the_values(states, actions)


def test_long_names_of_networks_do_not_stop_a_talkative_run(capsys):
    model = make_model(TD3, critic=Nested)
    model.verbose = 1
    model.learn(60, DynamicWeightsCallback(20, n_states=4), log_interval=1)
    shown = [line.split()[1] for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert shown.count("weights.critic.q_network.members....") == shown.count("std_of_meta") >= 4  # networks and layers


@pytest.mark.parametrize("algorithm", [TD3, SAC])
def test_a_compiled_policy_has_the_weights_of_one_that_is_not(algorithm, tmp_path):
    measured = []
    for name in ("plain", "compiled"):
        model = make_model(algorithm)
        if name == "compiled":
            model.policy = th.compile(model.policy, backend="eager")
        model.learn(60, DynamicWeightsCallback(20, n_states=4, log_path=tmp_path / name))
        measured.append(load_records(tmp_path / name / "dynamic_weights.npz"))
    plain, compiled = measured
    assert plain.keys() == compiled.keys()
    assert all(np.array_equal(plain[key], compiled[key]) for key in plain)


def test_the_standard_deviations_are_what_they_say():
    callback = DynamicWeightsCallback(eval_freq=30)
    model = make_model(TD3).learn(30, callback)
    columns = callback.records.columns()
    assert columns["timesteps"][-1] == 30
    buffer = model.replay_buffer
    rows = np.random.default_rng([0, 30]).integers(buffer.size(), size=100)
    weights = model.critic.q_network.generate(th.as_tensor(buffer.observations[rows, 0]))[0].weight[0].detach().numpy()
    assert columns["critic.q_network.0.std"][-1] == pytest.approx(weights.std(), rel=1e-5)
    assert columns["critic.q_network.0.std_of_meta"][-1] == pytest.approx(weights.std(axis=0).mean(), rel=1e-5)
    assert columns["critic.q_network.0.largest"][-1] == pytest.approx(np.abs(weights).max(), rel=1e-5)


def test_the_distance_to_initial_weights_has_no_noise_of_its_own():
    rng = np.random.default_rng(0)
    same, half = rng.uniform(-0.25, 0.25, 1_000_000), rng.uniform(-0.125, 0.125, 1_000_000)
    assert distance_to_initial(same, 16, common_bins([same, np.array([-0.25, 0.25])])) < 0.01
    assert distance_to_initial(half, 16, common_bins([half, np.array([-0.25, 0.25])])) == pytest.approx(0.5, abs=0.01)
    far = np.array([2.0, 3.0])
    assert distance_to_initial(far, 16, common_bins([far, np.array([-0.25, 0.25])], 100)) == 1


@pytest.mark.parametrize("critic", ["sa_hyper", "as_hyper", "emb_hyper"])
def test_the_reference_of_critics_is_mlp_small_and_of_actors_a_network_of_all_features(critic):
    model = make_model(TD3, critic=critic, actor="hyper", context_slice=(0, 2), net_arch=None)
    callback = DynamicWeightsCallback(eval_freq=30)
    model.learn(30, callback)
    columns = callback.records.columns()
    observation_dim, action_dim = 5, 2
    for name, sizes in (("critic.q_network", (observation_dim + action_dim, 6)), ("actor.hypernetwork", (observation_dim, 6))):
        for layer, size in enumerate(sizes):
            counts, bins = (columns[f"{name}.{layer}.{part}"][-1] for part in ("counts", "bins"))
            bound = 1 / np.sqrt(size)
            assert bins[0] <= -bound
            assert bins[-1] >= bound
            uniform = np.diff(np.clip(bins, -bound, bound)) / (2 * bound)
            expected = np.abs(counts / counts.sum() - uniform).sum() / 2
            assert columns[f"{name}.{layer}.total_variation"][-1] == pytest.approx(expected)


MAKE_ORDINARY = {
    "MLP-Small": lambda: make_model(TD3, critic="mlp_small"),
    "own": lambda: make_model(TD3, critic=lambda s, a, n: Joint(s + a, n)),
    "stock": lambda: TD3("MlpPolicy", make_vec_env(PointEnv, seed=0), policy_kwargs={"net_arch": [256]}),
    "stock TQC": lambda: TQC("MlpPolicy", make_vec_env(PointEnv, seed=0), policy_kwargs={"net_arch": [256], "n_quantiles": 3}),
}


class Joint(nn.Module):
    def __init__(self, n_inputs, n_outputs):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_inputs, 256), nn.ReLU(), nn.Linear(256, n_outputs))

    def forward(self, states, actions):
        return self.layers(th.cat([states, actions], dim=1))


@pytest.mark.parametrize("name", MAKE_ORDINARY)
def test_ordinary_critics_are_measured_by_their_own_weights(name):
    model, callback = MAKE_ORDINARY[name](), DynamicWeightsCallback(eval_freq=30)
    model.learn(15, callback)
    columns = callback.records.columns()
    assert columns["critic.q_network.0.counts"].sum(axis=1).tolist() == [7 * 256]  # of one critic
    assert columns["critic.q_network.0.total_variation"][0] < 0.25  # 1792 draws in 200 bins of that very distribution
    assert columns["critic.q_network.0.std"][0] == pytest.approx(7**-0.5 / 3**0.5, rel=0.05)
    assert columns["critic.q_network.0.std_of_meta"][0] == 0
    assert "critic.q_network.1.counts" in columns
    assert "critic.q_network.2.counts" not in columns
    assert plots.weight_histograms({name: [columns], "again": [columns]}).axes


def test_the_weights_of_an_ensemble_are_those_of_one_member():
    network = MlpQ(3, 2, (4,), 2)
    weights = linear_weights(network, member=1)
    np.testing.assert_array_equal(weights[0], network.hidden[0].weight[1].detach().flatten())
    assert [len(layer) for layer in weights] == [5 * 4, 4]
