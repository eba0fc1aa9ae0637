"""Training from the command line: through rl-zoo3 as it is, and through the package's own front door."""

import argparse
import contextlib
import gc
import re
import shlex
import subprocess
import sys
import time
import warnings
from pathlib import Path

import gymnasium as gym
import numpy as np
import optuna
import pytest
import rl_zoo3.exp_manager
import yaml
from filelock import FileLock
from stable_baselines3 import PPO
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sb3_hyper.zoo import __main__ as zoo
from sb3_hyper.zoo.managers import _remove_if_nothing_ran
from sb3_hyper.zoo.restarted_logs import RestartLogs
from tests.conftest import PointEnv

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
        "sb3_hyper.zoo",
        "train",
        "--algo",
        algo,
        "-f",
        tmp_path / "logs",
        "--save-replay-buffer",
        *SHORT,
        *FAST,
        "callback:[{'sb3_hyper.diagnostics.callbacks.CriticBiasCallback': {'eval_freq': 200, 'n_states': 2, 'horizon': 5}}]",
        cwd=tmp_path,
    )
    folder = tmp_path / "logs" / algo / "Pendulum-v1_1"
    assert f"Model, evaluations and learning curve lie in {folder}" in out
    assert "Mean return of the last evaluation" in out
    assert (folder / "learning_curve.png").stat().st_size > 10_000
    assert np.load(folder / "evaluations.npz")["timesteps"].tolist() == [200, 400]
    assert np.load(folder / "critic_bias.npz")["timesteps"].tolist() == [0, 200, 400]  # no log_path: the run's folder
    assert len((folder / "evaluations.csv").read_text().splitlines()) == 3
    config = yaml.unsafe_load((folder / "Pendulum-v1" / "config.yml").read_text())
    assert dict(config)["policy_kwargs"]["preset"] == "bounded"

    command = [*shlex.split(out.splitlines()[-1]), "--no-render", "-n", "250"]  # as it was printed
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "Mean reward" in done.stdout, done.stdout + done.stderr

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
    assert "Unknown preset 'tiny'. Accepted: 'paper', 'slim', 'bounded'" in out


@pytest.mark.slow
def test_a_number_that_yaml_read_as_text_gets_a_sentence(tmp_path):
    (tmp_path / "conf.yml").write_text("default: {policy: HyperPolicy, n_timesteps: 100, tau: 5e-3}")
    arguments = ["--algo", "td3", "--conf-file", "conf.yml", "-f", tmp_path, *SHORT]
    out = python("sb3_hyper.zoo", "train", *arguments, cwd=tmp_path, ok=False)
    assert "tau must be a number, got the text '5e-3'" in out.splitlines()[-1]
    assert "0.001" in out.splitlines()[-1]


@pytest.mark.slow
def test_a_run_that_cannot_start_leaves_no_folder_behind_that_enjoy_would_take(tmp_path):
    other = tmp_path / "td3" / "Pendulum-v1_1"
    other.mkdir(parents=True)
    (other / "0.monitor.csv").touch()
    wrong = ["-params", "policy_kwargs:dict(critic='as_hypr')"]
    out = python("sb3_hyper.zoo", "train", "--algo", "td3", "-f", tmp_path, *SHORT, *wrong, ok=False)
    assert "Unknown critic 'as_hypr'" in out
    assert re.search(r"-params replaces all of policy_kwargs; .*td3.yml also has \{'preset': 'bounded'\}", out)
    assert list((tmp_path / "td3").iterdir()) == [other]
    assert list(other.iterdir()) == [other / "0.monitor.csv"]


@pytest.mark.parametrize("there", ["lock", "evaluations.npz", "Pendulum-v1/config.yml", "checkpoint-15000/model.zip"])
def test_what_another_process_has_put_into_a_runs_folder_stays(there, tmp_path):
    for name in (there, "0.monitor.csv", "Pendulum-v1/"):
        path = tmp_path / "run" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(exist_ok=True) if name.endswith("/") else path.touch()
    _remove_if_nothing_ran(tmp_path / "run")
    assert (tmp_path / "run" / there).is_file()
    assert (tmp_path / "run" / "0.monitor.csv").is_file()


@pytest.mark.slow
def test_without_evaluations_no_curve_is_promised(tmp_path):
    quick = ["--env", "Pendulum-v1", "-n", "100", "--eval-freq", "-1", "--num-threads", "1"]
    out = python("sb3_hyper.zoo", "train", "--algo", "td3", "-f", tmp_path / "a log", "--uuid", *quick, *FAST)
    assert "The model lies in" in out
    assert "learning curve" not in out
    assert "enjoy" not in out  # rl_zoo3.enjoy finds no runs with a uuid


@pytest.mark.slow
def test_searching_for_hyperparameters_keeps_the_critic(tmp_path):
    search = ["-optimize", "--n-trials", "1", "--n-startup-trials", "1", "--n-evaluations", "1", "--no-optim-plots"]
    arguments = ["--algo", "td3", "--env", "Pendulum-v1", "-n", "250", "--eval-episodes", "1", "-f", tmp_path, "--seed", "0"]
    override = "policy_kwargs:dict(critic='nothing')"
    out = python("sb3_hyper.zoo", "train", *arguments, *search, *FAST, override, cwd=tmp_path, ok=False)
    assert "Unknown critic 'nothing'" in out  # the sampled architecture did not replace it


@pytest.mark.slow
def test_a_trial_of_a_search_is_trained_with_the_critic_it_was_tried_with(tmp_path):
    storage = f"sqlite:///{tmp_path}/search.db"
    values = {"one_minus_gamma": 0.01, "batch_size_pow": 5, "learning_rate": 0.002, "train_freq": 2, "net_arch": "small"}
    distributions = {name: optuna.distributions.CategoricalDistribution([value]) for name, value in values.items()}
    tried = optuna.trial.create_trial(params=values, distributions=distributions, value=1.0)
    optuna.create_study(storage=storage, study_name="search").add_trial(tried)
    (tmp_path / "conf.yml").write_text("default: {policy: HyperPolicy, n_timesteps: 100, policy_kwargs: {critic: nothing}}")
    arguments = ["--algo", "td3", "--conf-file", "conf.yml", "-f", tmp_path, *SHORT]
    trial = ["--storage", storage, "--study-name", "search", "--trial-id", "0"]  # rl-zoo3 by itself takes 0 for none
    out = python("sb3_hyper.zoo", "train", *arguments, *trial, cwd=tmp_path, ok=False)
    assert "Unknown critic 'nothing'" in out
    assert "'learning_rate': 0.002" in out
    (tmp_path / "conf.yml").write_text("default: {policy: HyperPolicy, n_timesteps: 100, policy_kwargs: dict()}")
    out = python("sb3_hyper.zoo", "train", *arguments, *trial, cwd=tmp_path, ok=False)
    assert "conf.yml is text, to which those of a trial cannot be added" in out


@pytest.mark.slow
def test_runs_that_start_together_keep_apart(tmp_path):
    command = [sys.executable, "-m", "sb3_hyper.zoo", "train", "--algo", "td3", "-f", str(tmp_path), *SHORT, *FAST]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(2)]
    outputs = [run.communicate(timeout=120)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    assert (tmp_path / "td3" / "Pendulum-v1_1" / "Pendulum-v1.zip").is_file()
    assert (tmp_path / "td3" / "Pendulum-v1_2" / "Pendulum-v1.zip").is_file()


@pytest.mark.parametrize(
    ("arguments", "file"), [([], None), (["--preset", "bounded"], "td3.yml"), (["--preset", "paper"], "td3_paper.yml")]
)
def test_preset_chooses_the_file(arguments, file):
    rest = ["--algo", "td3", "--progress"]
    expected = rest if file is None else [*rest, "--conf-file", str(zoo.HYPERPARAMS / file)]
    assert zoo._take_own_arguments([*arguments, *rest]) == (expected, False)


@pytest.mark.parametrize(("given", "seed"), [([], 0), (["--seed", "3"], 3), (["--seed=3"], 3)])
def test_a_resumable_run_has_the_seed_that_was_asked_for(given, seed):
    rest, resume = zoo._take_own_arguments(["--algo", "td3", *given, "--resume"])
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=-1)
    assert parser.parse_known_args(rest)[0].seed == seed
    assert resume


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--algo", "ppo", "--preset", "paper"],
            "no hyperparameters for --algo ppo with --preset paper .*some for --algo ddpg, maml, pearl, sac, td3, tqc",
        ),
        (["--algo", "td3", "--preset", "paper", "-conf", "mine.yml"], "give either --preset or --conf-file"),
        (
            ["--algo", "td3", "--preset", "slim"],
            "td3 with --preset slim .*some for --preset paper, bounded, whose policy_kwargs can be replaced",
        ),
        (["--algo", "td3", "--preset", "tiny"], "invalid choice: 'tiny'"),
    ],
)
def test_preset_without_a_file_is_an_error(capsys, arguments, message):
    with pytest.raises(SystemExit):
        zoo._take_own_arguments(arguments)
    assert re.search(message, capsys.readouterr().err)


def test_resume_leaves_other_runs_alone(tmp_path):
    (tmp_path / "td3" / "Pendulum-v1_1" / "Pendulum-v1").mkdir(parents=True)
    (tmp_path / "td3" / "Pendulum-v1_1" / "Pendulum-v1" / "config.yml").touch()
    (tmp_path / "td3" / "Pendulum-v1_1" / "lock").touch()  # of a command that was refused
    out = python("sb3_hyper.zoo", "train", "--algo", "td3", "-f", tmp_path, "--resume", *SHORT, ok=False)
    assert "Pendulum-v1_1 holds a run that was not started with --resume" in out


def test_what_a_run_is_can_not_be_changed_while_it_runs(tmp_path):
    command = ["sb3_hyper.zoo", "train", "--algo", "td3", "-f", tmp_path, "--resume", *SHORT, *FAST]
    folder = tmp_path / "td3" / "Pendulum-v1_1"
    folder.mkdir(parents=True)
    with FileLock(folder / "lock"):  # as the other process has it, from its first moments on
        assert "Another process works on" in python(*command, ok=False)
    assert not (folder / "asked.json").exists()


@pytest.mark.slow
def test_resume_goes_on_with_the_same_run_only(tmp_path):
    command = ["sb3_hyper.zoo", "train", "--algo", "td3", "-f", tmp_path, "--resume", *SHORT]
    python(*command, *FAST)
    (tmp_path / "td3" / "Pendulum-v1_1" / "lock").unlink()  # as some versions of filelock do, and Windows
    assert "Complete" in python(*command, *FAST)
    for changes, message in (
        (["--seed", "5", *FAST], "holds another run: seed 0, not 5. Repeat the command"),
        (["-n", "900", *FAST], "n_timesteps 450, not 900"),
        ([*FAST, "gamma:0.5"], "hyperparams .*not .*0.5"),
        (["--eval-env-kwargs", "g:1.0", *FAST], "eval_env_kwargs None, not "),
    ):
        assert re.search(message, python(*command, *changes, ok=False))


def test_a_command_that_failed_before_it_began_can_be_corrected(tmp_path):
    command = ["sb3_hyper.zoo", "train", "--algo", "td3", "-f", tmp_path, "--resume", *SHORT]
    assert "There is no file nowhere.yml" in python(*command, *FAST, "--conf-file", "nowhere.yml", ok=False)
    assert not list(tmp_path.iterdir())
    assert "learning_start" in python(*command, *FAST, "learning_start:50", ok=False)
    assert "Model, evaluations and learning curve lie" in python(*command, *FAST)


@pytest.mark.slow
def test_a_run_that_began_without_logs_goes_on_with_them(tmp_path):
    arguments = ["sb3_hyper.zoo", "train", "--algo", "td3", "-f", tmp_path / "logs", "--resume", *SHORT, *FAST]
    arguments[arguments.index("450")] = "2000"
    command = [sys.executable, "-m", *map(str, arguments)]
    run = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not [path for path in (tmp_path / "logs").rglob("checkpoint-*") if path.suffix != ".tmp"]:
        assert run.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    run.kill()
    run.wait()
    assert "Going on at step" in python(*arguments, "--tensorboard-log", "tensorboard", cwd=tmp_path)
    (folder,) = {path.parent for path in (tmp_path / "tensorboard").rglob("events*")}
    steps = [event.step for event in EventAccumulator(str(folder)).Reload().Scalars("rollout/ep_rew_mean")]
    assert 0 < steps[0] <= steps[-1] <= 2000


def test_logs_of_a_run_that_starts_again_are_shown_once(tmp_path):
    for n_steps in (512, 1024):  # the first process dies without a checkpoint
        model = PPO("MlpPolicy", "Pendulum-v1", n_steps=256, n_epochs=1, tensorboard_log=str(tmp_path), seed=0, device="cpu")
        model.learn(n_steps, RestartLogs(), reset_num_timesteps=False)
        model.logger.close()
        time.sleep(1.1)  # files are read in the order of the seconds in their names
    steps = [event.step for event in EventAccumulator(str(tmp_path / "PPO_0")).Reload().Scalars("time/fps")]
    assert steps == [256, 512, 768, 1024]


class Robot(PointEnv):
    """It says whether it is successful, and is interrupted once."""

    interrupt_at = 80

    def step(self, action):
        Robot.interrupt_at -= 1
        if Robot.interrupt_at == 0:
            raise KeyboardInterrupt
        *step, _ = super().step(action)
        return *step, {"is_success": bool(self.state[0] > 0)}


def test_what_rl_zoo3_logs_of_robots_goes_on(tmp_path, monkeypatch):
    gym.register("Robot-v0", Robot)
    monkeypatch.setattr(rl_zoo3.exp_manager.ExperimentManager, "is_robotics_env", staticmethod(lambda env_id: True))
    settings = {"Robot-v0": {"policy": "MlpPolicy", "n_timesteps": 100, "learning_starts": 200}}
    (tmp_path / "td3.yml").write_text(yaml.safe_dump(settings))
    arguments = ["--algo", "td3", "--env", "Robot-v0", "-f", str(tmp_path), "--eval-freq", "30", "--eval-episodes", "1"]
    logs = []
    for _ in range(2):
        monkeypatch.setattr(sys, "argv", ["zoo", "train", *arguments, "--resume", "-conf", str(tmp_path / "td3.yml")])
        with contextlib.suppress(SystemExit):
            zoo.main()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gc.collect()  # an interrupted run leaves its log of episodes open, as its process ends
        logs.append((tmp_path / "td3" / "Robot-v0_1" / "0.monitor.csv").read_text().splitlines())
    interrupted, whole = logs
    assert (tmp_path / "td3" / "Robot-v0_1" / "complete").is_file()
    assert interrupted[1] == "r,l,t,is_success"
    assert [len(log) for log in logs] == [2 + 2, 2 + 4]
    assert whole[:4] == interrupted


def test_resume_refuses_what_it_cannot_resume(tmp_path):
    arguments = ["--algo", "ars", *SHORT, "-f", tmp_path, "--resume", "-params", "n_envs:2", "n_delta:2"]
    assert "takes ARS with n_envs: 1, got 2" in python("sb3_hyper.zoo", "train", *arguments, ok=False)
    out = python("sb3_hyper.zoo", "train", "--algo", "td3", "-f", tmp_path, "--resume", "--uuid", *SHORT, ok=False)
    assert "--resume cannot be combined with --uuid" in out


def test_unknown_commands_show_the_usage():
    assert "usage: python -m sb3_hyper.zoo train|enjoy" in python("sb3_hyper.zoo", "trian", ok=False)
