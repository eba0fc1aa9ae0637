"""Meta-learners through the rl-zoo3 front door."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.test_zoo import python

SETTINGS = {
    "pearl": ["n_initial_steps:40", "gradient_steps:60", "n_train_tasks:4", "n_test_tasks:3", "meta_batch_size:3", "n_envs:3"],
    "maml": ["meta_batch_size:4", "n_episodes:3", "n_train_tasks:4", "n_test_tasks:3", "n_envs:4"],
}
STEPS = {"pearl": 6000, "maml": 4800}


def arguments(algo, folder, *more):
    options = {"--algo": algo, "--env": "PointGoal-v0", "-n": STEPS[algo], "--eval-freq": 1000, "--eval-episodes": 2}
    options |= {"--num-threads": 1, "--seed": 0, "-f": folder, "--verbose": 0}
    words = [str(word) for option in options.items() for word in option]
    return ["sb3_hyper.zoo", "train", *words, *more, "-params", *SETTINGS[algo]]


@pytest.mark.slow
@pytest.mark.parametrize("algo", SETTINGS)
def test_training_evaluates_adaptation_and_enjoy_adapts(algo, tmp_path):
    out = python(*arguments(algo, tmp_path))
    assert "Mean return of the last evaluation" in out
    run = tmp_path / algo / "PointGoal-v0_1"
    for name in ("best_model.zip", "adaptation.csv", "evaluations.csv", "learning_curve.png", "PointGoal-v0.zip"):
        assert (run / name).is_file(), name
    with np.load(run / "adaptation.npz") as data:
        assert data["returns_test"].shape[1:] == (3, 2)
        assert data["timesteps"][-1] >= STEPS[algo]  # the end is evaluated
        assert (np.diff(data["timesteps"] // 1000) >= 1)[:-1].all()
    watch = ["sb3_hyper.zoo", "enjoy", "--algo", algo, "--env", "PointGoal-v0", "-f", tmp_path, "-n", 25, "--no-render"]
    assert "Adapted to {'goal'" in python(*watch)


@pytest.mark.slow
@pytest.mark.parametrize("algo", SETTINGS)
def test_a_run_that_is_killed_goes_on_to_the_same_end(algo, tmp_path):
    python(*arguments(algo, tmp_path / "whole", "--resume"))
    command = [sys.executable, "-m", *map(str, arguments(algo, tmp_path / "killed", "--resume"))]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    run = tmp_path / "killed" / algo / "PointGoal-v0_1"
    while process.poll() is None and not [path for path in run.glob("checkpoint-*") if path.suffix != ".tmp"]:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() != 0, "the run ended before it could be killed"
    assert "Going on at step" in python(*arguments(algo, tmp_path / "killed", "--resume"))
    whole = tmp_path / "whole" / algo / "PointGoal-v0_1"
    for name in ("adaptation.csv", "evaluations.csv"):
        assert (run / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.slow
def test_environments_without_tasks_are_refused():
    options = ["--algo", "pearl", "--env", "Pendulum-v1", "-n", 100, "-params", "n_envs:1"]
    assert "environment with tasks" in python("sb3_hyper.zoo", "train", *options, ok=False)
