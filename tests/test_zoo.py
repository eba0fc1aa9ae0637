"""Training from the command line: through rl-zoo3 as it is, and through the package's own front door."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from sb3_hyper import zoo

ROOT = Path(__file__).parent.parent
SHORT = [
    "--env",
    "Pendulum-v1",
    "-n",
    "450",
    "--eval-freq",
    "200",
    "--eval-episodes",
    "2",
    "--seed",
    "0",
    "--num-threads",
    "1",
]
FAST = ["-params", "learning_starts:400", "batch_size:8", "buffer_size:1000"]


def python(module, *arguments, cwd=ROOT, ok=True):
    done = subprocess.run([sys.executable, "-m", module, *map(str, arguments)], cwd=cwd, capture_output=True, text=True)
    assert (done.returncode == 0) is ok, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("algo", ["td3", "sac"])
def test_the_front_door_trains_shows_and_goes_on(algo, tmp_path):
    out = python(
        "sb3_hyper.zoo", "train", "--algo", algo, "-f", tmp_path / "logs", "--save-replay-buffer", *SHORT, *FAST, cwd=tmp_path
    )
    folder = tmp_path / "logs" / algo / "Pendulum-v1_1"
    assert f"lie in {folder}" in out
    assert "Mean return of the last evaluation" in out
    assert f"enjoy --algo {algo} --env Pendulum-v1 -f {tmp_path / 'logs'} --exp-id 1" in out
    assert (folder / "learning_curve.png").stat().st_size > 10_000
    assert np.load(folder / "evaluations.npz")["timesteps"].tolist() == [200, 400]
    assert len((folder / "evaluations.csv").read_text().splitlines()) == 3
    config = yaml.unsafe_load((folder / "Pendulum-v1" / "config.yml").read_text())
    assert dict(config)["policy_kwargs"]["preset"] == "slim"

    out = python(
        "sb3_hyper.zoo", "enjoy", "--algo", algo, "--env", "Pendulum-v1", "-f", tmp_path / "logs", "--no-render", "-n", 250
    )
    assert "Mean reward" in out

    trained = folder / "Pendulum-v1.zip"
    out = python("sb3_hyper.zoo", "train", "--algo", algo, "-f", tmp_path / "more", "-i", trained, *SHORT, *FAST, cwd=tmp_path)
    assert "Loading pretrained agent" in out
    assert "Loading replay buffer" in out


@pytest.mark.slow
def test_rl_zoo3_as_it_is(tmp_path):
    arguments = ["--algo", "td3", "--gym-packages", "sb3_hyper", "-f", tmp_path]
    conf = ["--conf-file", "hyperparams/td3.yml"]
    python("rl_zoo3.train", *arguments, *conf, *SHORT, *FAST)
    out = python("rl_zoo3.enjoy", *arguments, "--env", "Pendulum-v1", "--no-render", "-n", 250)
    assert "Mean reward" in out


@pytest.mark.slow
def test_rl_zoo3_overrides_reach_the_policy(tmp_path):
    arguments = ["--algo", "sac", "--conf-file", "hyperparams/sac.yml", "-f", tmp_path, *SHORT, *FAST]
    out = python("rl_zoo3.train", *arguments, "policy_kwargs:dict(critic='as_hyper', preset='tiny')", ok=False)
    assert "Unknown preset 'tiny'. Accepted: 'paper', 'slim'" in out


@pytest.mark.slow
def test_a_rate_that_yaml_read_as_text_gets_a_sentence(tmp_path):
    (tmp_path / "conf.yml").write_text("default: {policy: HyperPolicy, n_timesteps: 100, learning_rate: 1e-3}")
    out = python(
        "sb3_hyper.zoo", "train", "--algo", "td3", "--conf-file", "conf.yml", "-f", tmp_path, *SHORT, cwd=tmp_path, ok=False
    )
    assert "got the text '1e-3'" in out.splitlines()[-1]
    assert "0.001" in out.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "file"), [([], None), (["--preset", "slim"], "td3.yml"), (["--preset", "paper"], "td3_paper.yml")]
)
def test_preset_chooses_the_file(arguments, file):
    rest = ["--algo", "td3", "--progress"]
    expected = rest if file is None else [*rest, "--conf-file", str(zoo.HYPERPARAMS / file)]
    assert zoo._take_own_arguments([*arguments, *rest]) == (expected, False)


def test_preset_without_a_file_is_an_error(capsys):
    with pytest.raises(SystemExit):
        zoo._take_own_arguments(["--algo", "ppo", "--preset", "paper"])
    assert "no hyperparameters for --algo ppo with --preset paper" in capsys.readouterr().err


def test_unknown_commands_show_the_usage():
    assert "usage: python -m sb3_hyper.zoo train|enjoy" in python("sb3_hyper.zoo", "trian", ok=False)
