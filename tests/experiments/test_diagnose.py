"""``sb3-hyper diagnose`` on saved models."""

import numpy as np
import pytest
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from sb3_hyper.cli import main
from sb3_hyper.diagnostics.records import load_records

FEW = ["--states", "2", "--actions", "4", "--horizon", "5", "--device", "cpu"]


@pytest.mark.parametrize(("algorithm", "policy"), [(TD3, "MlpPolicy"), (SAC, "HyperPolicy")])
def test_a_saved_model_is_measured(tmp_path, capsys, algorithm, policy):
    kwargs = {"policy_kwargs": {"preset": "slim"}} if policy == "HyperPolicy" else {}
    model = algorithm(policy, make_vec_env("Pendulum-v1", seed=0), seed=0, buffer_size=200, **kwargs).learn(10)
    path = tmp_path / algorithm.__name__.lower() / "Pendulum-v1_1" / "model.zip"
    path.parent.mkdir(parents=True)
    model.save(path)
    assert main(["diagnose", str(path), "--env", "Pendulum-v1", *FEW]) == 0
    printed = capsys.readouterr().out
    assert f"{algorithm.__name__} on Pendulum-v1, 10 steps" in printed
    assert "noise floor" in printed
    records = load_records(path.with_name("model_accuracy.npz"))
    assert records["cosine"].shape == (1, 2)
    assert np.isfinite(records["policy_return"]).all()
    assert path.with_name("model_accuracy.png").read_bytes()[:4] == b"\x89PNG"


def test_normalisation_is_read(tmp_path):
    env = VecNormalize(make_vec_env("Pendulum-v1", seed=0))
    model = TD3("MlpPolicy", env, seed=0, buffer_size=200).learn(50)
    model.save(tmp_path / "model.zip")
    env.save(str(tmp_path / "vecnormalize.pkl"))
    arguments = ["diagnose", str(tmp_path / "model.zip"), "--env", "Pendulum-v1", "--algo", "td3", *FEW]
    assert main([*arguments, "--output", str(tmp_path / "raw")]) == 0
    assert main([*arguments, "--vec-normalize", str(tmp_path / "vecnormalize.pkl"), "--output", str(tmp_path / "own")]) == 0
    raw, own = (load_records(tmp_path / f"{name}.npz") for name in ("raw", "own"))
    assert not np.array_equal(raw["value"], own["value"])


def test_what_cannot_be_measured_is_said(tmp_path, capsys):
    PPO("MlpPolicy", "Pendulum-v1", n_steps=8, batch_size=8).save(tmp_path / "model.zip")
    path = str(tmp_path / "model.zip")
    for arguments, message in (
        ([path], "Which algorithm made"),
        ([path, "--algo", "ppo"], "A model with a critic of continuous actions is needed"),
        ([str(tmp_path / "none.zip"), "--algo", "td3"], "There is no file"),
    ):
        assert main(["diagnose", *arguments, "--env", "Pendulum-v1", *FEW]) == 2
        assert message in capsys.readouterr().err
