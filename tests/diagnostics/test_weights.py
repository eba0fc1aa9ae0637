import numpy as np
import pytest
import torch as th
from stable_baselines3 import SAC, TD3
from stable_baselines3.common.env_util import make_vec_env
from torch import nn

from sb3_hyper.diagnostics.callbacks import DynamicWeightsCallback
from sb3_hyper.diagnostics.records import load_records
from sb3_hyper.diagnostics.weights import common_bins, generated_weights, linear_weights, total_variation
from sb3_hyper.networks import HyperNetwork, HyperNetworkSpec
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


def test_bins_cover_everything():
    bins = common_bins([np.array([-1.0, 0.0]), np.array([5.0])], 12)
    assert (bins[0], bins[-1], len(bins)) == (-1, 5, 13)
    assert len(common_bins([np.zeros(3)], 4)) == 5


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
        model = make_model(algorithm, critic=critic, actor="hyper", context_slice=(0, 2)).learn(60, callback)
        weights.append(model.policy.state_dict())
    assert all(th.equal(one, weights[1][key]) for key, one in weights[0].items())
    records = load_records(tmp_path / "dynamic_weights.npz")
    assert records["timesteps"].tolist() == [1, 20, 40, 60]
    for network in ("critic.q_network", "actor.hypernetwork"):
        for layer in (0, 1):
            counts, bins = records[f"{network}.{layer}.counts"], records[f"{network}.{layer}.bins"]
            assert counts.shape == (4, 200)
            assert bins.shape == (4, 201)
            assert (counts.sum(axis=1) == counts.sum(axis=1)[0]).all()
            distance = records[f"{network}.{layer}.total_variation"]
            assert ((distance >= 0) & (distance <= 1)).all()
    assert not any(name.startswith(("critic_target", "actor_target")) for name in records)
    of_meta = records["critic.q_network.0.std_of_meta"]
    assert (of_meta == 0).all() if critic == "emb_hyper" else (of_meta > 0).all()


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


def test_a_policy_without_hypernetworks_is_named():
    with pytest.raises(ValueError, match="TD3Policy has no hypernetwork"):
        TD3("MlpPolicy", PointEnv()).learn(5, DynamicWeightsCallback())
