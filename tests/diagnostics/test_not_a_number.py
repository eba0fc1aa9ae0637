"""Training goes on when networks are no numbers any more, and so do measurements, files and figures."""

import csv
import io

import numpy as np
import pytest
import torch as th
from stable_baselines3 import TD3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import configure

from sb3_hyper.diagnostics import plots
from sb3_hyper.diagnostics.callbacks import (
    CriticBiasCallback,
    DynamicWeightsCallback,
    GradientAccuracyCallback,
    GradientNormCallback,
)
from sb3_hyper.diagnostics.records import load_records
from sb3_hyper.networks import HyperNetworkSpec
from tests.conftest import PointEnv

SMALL = HyperNetworkSpec(widths=(8,), n_blocks=1, dynamic_widths=(6,))
CALLBACKS = {
    "gradient_accuracy": lambda folder: GradientAccuracyCallback(
        PointEnv, 10, n_states=2, n_actions=8, horizon=4, log_path=folder, verbose=1
    ),
    "critic_bias": lambda folder: CriticBiasCallback(PointEnv, 10, n_states=3, horizon=4, log_path=folder, verbose=1),
    "dynamic_weights": lambda folder: DynamicWeightsCallback(10, n_states=4, log_path=folder, verbose=1),
}


def train_on(folder, network, callback, critic="sa_hyper"):
    policy_kwargs = {"preset": SMALL, "critic": critic, "actor": "hyper", "context_slice": (0, 2)}
    model = TD3("HyperPolicy", make_vec_env(PointEnv, seed=0), learning_starts=20, batch_size=8, policy_kwargs=policy_kwargs)
    model.set_logger(configure(str(folder), ["csv", "stdout"]))
    model.learn(25)
    with th.no_grad():
        for parameter in getattr(model.policy, network).parameters():
            parameter.fill_(float("nan"))
    try:
        return model.learn(30, [callback, GradientNormCallback(10)], log_interval=1, reset_num_timesteps=False)
    finally:
        model.logger.close()


@pytest.mark.parametrize("network", ["actor", "critic"])
@pytest.mark.parametrize("name", CALLBACKS)
def test_a_run_is_measured_to_its_end(network, name, tmp_path):
    model = train_on(tmp_path, network, CALLBACKS[name](tmp_path))
    assert model.num_timesteps == 55
    records = load_records(tmp_path / f"{name}.npz")
    assert records["timesteps"][-1] == 50
    with open(tmp_path / "progress.csv") as file:
        rows = list(csv.DictReader(file))
    assert "nan" in rows[-1].values()


@pytest.mark.parametrize("network", ["actor", "critic"])
def test_gradients_and_values_are_no_numbers_and_figures_can_be_drawn(network, tmp_path):
    train_on(tmp_path, network, CALLBACKS["gradient_accuracy"](tmp_path))
    records = load_records(tmp_path / "gradient_accuracy.npz")
    for name in ("cosine", "self_cosine", "value_correlation", "value"):
        assert np.isnan(records[name]).all()
    assert (records["rank"][-1] == 0).all()  # the actor is no number either by then
    runs = {"spoilt": [records], "again": [records]}
    draw(plots.learnable_states(runs), plots.learnable_over_time(runs), plots.cosine_over_time(runs))
    draw(plots.value_bias_over_time(runs), plots.values_and_returns(records))


@pytest.mark.parametrize("critic", ["sa_hyper", "mlp_small"])
def test_weights_are_no_numbers_and_figures_can_be_drawn(critic, tmp_path):
    train_on(tmp_path, "critic", CALLBACKS["dynamic_weights"](tmp_path), critic)
    records = load_records(tmp_path / "dynamic_weights.npz")
    for number in ("std", "std_of_meta", "largest", "total_variation"):
        assert np.isnan(records[f"critic.q_network.0.{number}"]).all()
    assert not records["critic.q_network.0.counts"].any()
    assert np.isfinite(records["critic.q_network.0.bins"]).all()
    draw(plots.weight_histograms({"spoilt": [records]}))


def draw(*figures):
    for figure in figures:
        figure.savefig(io.BytesIO())
