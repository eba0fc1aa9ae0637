"""``sb3-hyper diagnose`` on saved models."""

import importlib
import re
import sys
from collections import OrderedDict
from pathlib import Path
from typing import ClassVar

import gymnasium as gym
import numpy as np
import pytest
import yaml
from sb3_contrib import TQC
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from sb3_hyper import HyperTD3Policy
from sb3_hyper.cli import main
from sb3_hyper.diagnostics.records import load_records
from sb3_hyper.experiments.diagnose import output_files
from sb3_hyper.experiments.trained_env import trained_env
from sb3_hyper.policies.critic_names import CRITICS, REGISTERED
from tests.conftest import PointEnv

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
        ([path, "--algo", "ppo"], "Models of 'ppo' cannot be measured: --algo is one of td3, ddpg"),
        ([str(tmp_path / "none.zip"), "--algo", "td3"], "There is no file"),
    ):
        assert main(["diagnose", *arguments, "--env", "Pendulum-v1", *FEW]) == 2
        assert message in capsys.readouterr().err


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "model.zip"
    TD3("MlpPolicy", "Pendulum-v1", seed=0, policy_kwargs={"net_arch": [8]}, buffer_size=200).save(path)
    return path


def said(capsys, *arguments):
    """The one line that a command ends with."""
    assert main(["diagnose", *map(str, arguments)]) == 2
    text = capsys.readouterr().err.strip()
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        ("Nowhere-v0", "There is no environment Nowhere-v0"),
        ("not an id!", "There is no environment not an id!"),
        ("Hopper-v5", "could not be loaded as a model of td3 in Hopper-v5"),
    ],
)
def test_environments_that_do_not_fit_are_named(saved, capsys, env_id, message):
    assert message in said(capsys, saved, "--algo", "td3", "--env", env_id, *FEW)


def test_the_wrong_algorithm_is_named(saved, capsys):
    message = said(capsys, saved.with_suffix(""), "--algo", "sac", "--env", "Pendulum-v1", *FEW)
    assert f"{saved} could not be loaded as a model of sac" in message
    assert "are --algo and --env right?" in message


def test_a_folder_is_no_model(saved, capsys):
    message = said(capsys, saved.parent, "--algo", "td3", "--env", "Pendulum-v1", *FEW)
    assert message == f"{saved.parent} is a folder; a model in it is needed. It holds {saved.name}"


def test_modules_of_the_users_are_imported_first(tmp_path, capsys, monkeypatch):
    (tmp_path / "my_critics.py").write_text(
        """
import torch as th
from sb3_hyper import register_critic

class Linear(th.nn.Linear):
    def __init__(self, state_dim, action_dim, n_outputs):
        super().__init__(state_dim + action_dim, n_outputs)

    def forward(self, states, actions):
        return super().forward(th.cat([states, actions], dim=1))

register_critic("of_a_user", Linear)
"""
    )

    def forget():
        CRITICS.remove("of_a_user")
        del REGISTERED["of_a_user"], sys.modules["my_critics"]

    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("my_critics")
    path = tmp_path / "td3" / "model.zip"
    path.parent.mkdir()
    model = TD3(HyperTD3Policy, "Pendulum-v1", policy_kwargs=dict(critic="of_a_user", net_arch=[8]), buffer_size=200)
    model.save(path)
    forget()  # as in another process
    arguments = str(path), "--env", "Pendulum-v1", *FEW
    assert "--gym-packages names modules that register critics" in said(capsys, *arguments)
    assert main(["diagnose", *arguments, "--gym-packages", "my_critics"]) == 0
    assert "no_such_module" in said(capsys, *arguments, "--gym-packages", "no_such_module")
    forget()


@pytest.mark.parametrize("algo", ["dqn", "pearl", "SAC"])
def test_algorithms_that_cannot_be_measured_are_refused(saved, capsys, algo):
    message = said(capsys, saved, "--algo", algo, "--env", "Pendulum-v1", *FEW)
    assert f"Models of {algo!r} cannot be measured: --algo is one of td3, ddpg, sac, tqc, crossq" in message


@pytest.mark.parametrize(("algorithm", "algo"), [(SAC, "tqc"), (SAC, "crossq"), (TQC, "sac"), (TQC, "crossq")])
def test_a_critic_of_another_algorithm_is_named(tmp_path, capsys, algorithm, algo):
    path = tmp_path / "model.zip"
    algorithm("MlpPolicy", "Pendulum-v1", policy_kwargs={"net_arch": [8]}, buffer_size=200).save(path)
    message = said(capsys, path, "--algo", algo, "--env", "Pendulum-v1", *FEW)
    assert message.endswith("is --algo right?")


def test_the_folder_of_the_output_is_made(saved, tmp_path):
    output = tmp_path / "new" / "folder" / "numbers"
    assert main(["diagnose", str(saved), "--algo", "td3", "--env", "Pendulum-v1", *FEW, "--output", str(output)]) == 0
    assert output.with_suffix(".npz").is_file()


def test_files_that_are_something_else_are_named(saved, capsys, tmp_path):
    other = tmp_path / "other"
    other.write_text("nothing")
    arguments = "--algo", "td3", "--env", "Pendulum-v1", *FEW
    assert f"{other} is no VecNormalize" in said(capsys, saved, "--vec-normalize", other, *arguments)
    assert f"{other} could not be loaded" in said(capsys, other, *arguments)


@pytest.mark.parametrize(
    ("option", "value"),
    [("--states", 0), ("--actions", 3), ("--processes", 0), ("--repeat", 0), ("--horizon", 0), ("--std", 0), ("--std", "nan")],
)
def test_numbers_out_of_range_are_named(saved, capsys, option, value):
    message = said(capsys, saved, "--algo", "td3", "--env", "Pendulum-v1", *FEW, option, value)
    assert message.startswith(f"{option} must be")


class Forgetful(PointEnv):
    """Gives what no copy of its attributes explains."""

    hidden: ClassVar = {"count": 0}

    def step(self, action):
        observation, _, *rest = super().step(action)
        self.hidden["count"] += 1
        return observation, float(self.hidden["count"]), *rest


def test_an_environment_that_cannot_be_gone_back_to_is_named(capsys, tmp_path):
    gym.register("Forgetful-v0", Forgetful, max_episode_steps=20)
    try:
        TD3("MlpPolicy", PointEnv(), policy_kwargs={"net_arch": [8]}, buffer_size=200).save(tmp_path / "model.zip")
        message = said(capsys, tmp_path / "model.zip", "--algo", "td3", "--env", "Forgetful-v0", *FEW)
    finally:
        del gym.registry["Forgetful-v0"]
    assert "Forgetful-v0 cannot be measured" in message
    assert "give Forgetful methods get_snapshot()" in message


@pytest.mark.parametrize(
    ("output", "stem"), [(None, "model.7_accuracy"), ("out", "out"), ("out.v2", "out.v2"), ("a.npz", "a"), ("a.png", "a")]
)
def test_where_results_go(output, stem):
    files = output_files(None if output is None else Path("folder", output), Path("folder", "model.7.zip"))
    assert files == (Path("folder", f"{stem}.npz"), Path("folder", f"{stem}.png"))


def test_the_normalisation_of_rl_zoo3_is_found(tmp_path, capsys):
    env = VecNormalize(make_vec_env("Pendulum-v1", seed=0))
    model = TD3("MlpPolicy", env, seed=0, buffer_size=200, policy_kwargs={"net_arch": [8]}).learn(50)
    folder = tmp_path / "td3" / "Pendulum-v1_1"
    folder.mkdir(parents=True)
    model.save(folder / "best_model.zip")
    arguments = ["diagnose", str(folder / "best_model.zip"), "--env", "Pendulum-v1", *FEW]
    assert main([*arguments, "--output", str(tmp_path / "raw")]) == 0
    file = folder / "Pendulum-v1" / "vecnormalize.pkl"
    file.parent.mkdir()
    env.save(str(file))
    assert "Normalised" not in capsys.readouterr().out
    assert main([*arguments, "--output", str(tmp_path / "own")]) == 0
    assert f"Normalised as in training: {file}" in capsys.readouterr().out.replace("\n", "")
    raw, own = (load_records(tmp_path / f"{name}.npz") for name in ("raw", "own"))
    assert not np.array_equal(raw["value"], own["value"])


class Weak(gym.ActionWrapper):
    """Does a part of what it is asked to."""

    def __init__(self, env, share):
        super().__init__(env)
        self.share = share

    def action(self, action):
        return self.share * action


def zoo_run(tmp_path, config, args):
    """A model as rl-zoo3 leaves it."""
    folder = tmp_path / "td3" / "Pendulum-v1_1"
    (folder / "Pendulum-v1").mkdir(parents=True)
    for name, content in (("config.yml", config), ("args.yml", args)):
        (folder / "Pendulum-v1" / name).write_text(yaml.dump(OrderedDict(content)), encoding="utf-8")
    TD3("MlpPolicy", "Pendulum-v1", seed=0, buffer_size=200, policy_kwargs={"net_arch": [8]}).save(folder / "model.zip")
    return folder / "model.zip"


@pytest.mark.parametrize(
    ("config", "args", "told"),
    [
        ({"env_kwargs": {"g": 9.0}}, {"env_kwargs": None}, "env_kwargs {'g': 9.0}"),
        ({"gamma": 0.9}, {"env_kwargs": OrderedDict(g=2.0)}, "env_kwargs {'g': 2.0}"),
        ({"env_kwargs": OrderedDict(g=2.0), "frame_stack": 1}, {}, "env_kwargs {'g': 2.0}"),
        (
            {"env_wrapper": [{f"{__name__}.Weak": {"share": 0.1}}]},
            {},
            f"env_wrapper [{{'{__name__}.Weak': {{'share': 0.1}}}}]",
        ),
    ],
)
def test_the_environment_is_that_of_training(tmp_path, capsys, config, args, told):
    path = zoo_run(tmp_path, config, args)
    options = ["--env", "Pendulum-v1", *FEW, "--horizon", "30"]
    assert main(["diagnose", str(path), *options]) == 0
    assert f"Made as in training: {told}" in capsys.readouterr().out
    elsewhere = tmp_path / "model.zip"
    path.rename(elsewhere)
    assert main(["diagnose", str(elsewhere), "--algo", "td3", *options]) == 0
    assert "Made as" not in capsys.readouterr().out
    own, plain = (load_records(folder / "model_accuracy.npz") for folder in (path.parent, tmp_path))
    assert not np.allclose(own["policy_return"], plain["policy_return"], rtol=1e-3)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"frame_stack": 4}, "cannot be repeated here .*: frame_stack"),
        (
            {"vec_env_wrapper": "stable_baselines3.common.vec_env.VecEnvWrapper"},
            "cannot be repeated .*: vec_env_wrapper VecEnv",
        ),
        ({"env_wrapper": "nowhere.Wrapper"}, "there is no env_wrapper 'nowhere.Wrapper'"),
        ({"env_wrapper": [["a.b"]]}, "env_wrapper: .* is neither a class"),
        ({"env_wrapper": Weak}, "other values than plain ones"),
        ({"env_kwargs": {"g": np.float64(3)}}, "other values than plain ones"),
        ({"env_kwargs": [1]}, "other values than plain ones"),
        ({"env_wrapper": "os.mkdir"}, "env_wrapper mkdir, which is no gymnasium.Wrapper"),
        ({"env_kwargs": {"gravity": 3.0}}, "Pendulum-v1 cannot be made: .*gravity"),
        ({"env_wrapper": f"{__name__}.Weak"}, "Pendulum-v1 cannot be made: .*share"),
    ],
)
def test_an_environment_that_cannot_be_made_as_in_training_is_refused(tmp_path, capsys, config, message):
    text = said(capsys, zoo_run(tmp_path, config, {"env": "Pendulum-v1"}), "--env", "Pendulum-v1")
    assert re.search(message, text), text


def test_wrappers_that_only_watch_are_no_obstacle(tmp_path, capsys):
    path = zoo_run(tmp_path, {"vec_env_wrapper": "stable_baselines3.common.vec_env.VecMonitor"}, {})
    assert main(["diagnose", str(path), "--env", "Pendulum-v1", *FEW]) == 0


def test_files_of_a_run_are_read_and_not_carried_out(tmp_path):
    path = zoo_run(tmp_path, {"gamma": 0.9}, {"algo": "td3"})
    trap = tmp_path / "trap"
    text = f"!!python/object/apply:os.mkdir ['{trap}']"
    plain = "env_kwargs: {g: 3.0, render_mode: !!python/tuple [a, b]}"
    (path.parent / "Pendulum-v1" / "args.yml").write_text(f"env: {text}\n{plain}\n", encoding="utf-8")
    _, how = trained_env(path, "Pendulum-v1")
    assert how == "env_kwargs {'g': 3.0, 'render_mode': ('a', 'b')}"
    assert not trap.exists()
