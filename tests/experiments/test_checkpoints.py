"""A run that is interrupted and resumed ends as one that is not."""

import contextlib
import json
import shutil
import time
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium.wrappers import NormalizeReward
from sb3_contrib import ARS
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    CheckpointCallback,
    EvalCallback,
    EveryNTimesteps,
    StopTrainingOnMaxEpisodes,
)
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.vec_env import VecEnvWrapper, VecFrameStack, VecNormalize

from sb3_hyper.common.files import read_json, write_json
from sb3_hyper.experiments import checkpoints
from sb3_hyper.experiments.checkpoints import ResumableRun, _evaluations
from sb3_hyper.experiments.repeatable_resets import RepeatableResets
from tests.conftest import PointEnv

TOTAL = 400


class Killed(Exception):
    pass


class KillAt(BaseCallback):
    def __init__(self, step):
        super().__init__()
        self.step = step

    def _on_step(self):
        if self.num_timesteps == self.step:
            raise Killed
        return True


def run(folder, env_id, algorithm=TD3, kill_at=None, others=()):
    """Start or go on with a run, as a new process would."""
    shorter = {"max_episode_steps": 60} if isinstance(env_id, str) else {}
    logged = {"monitor_dir": str(folder), "monitor_kwargs": {"override_existing": not list(folder.glob("checkpoint-*"))}}
    env, eval_env = (
        make_vec_env(env_id, seed=3, wrapper_class=RepeatableResets, env_kwargs=shorter, **kwargs) for kwargs in (logged, {})
    )
    with contextlib.closing(env):
        return go_on(folder, env, eval_env, algorithm, kill_at, others)


def go_on(folder, env, eval_env, algorithm, kill_at, others):
    eval_callback = EvalCallback(eval_env, eval_freq=70, n_eval_episodes=2, log_path=str(folder), verbose=0)
    resumable = ResumableRun(folder, TOTAL, eval_callback, save_freq=50, callbacks=[eval_callback, *others])
    model = resumable.load(algorithm, env, "cpu")
    started_at = 0 if model is None else model.num_timesteps
    if model is None:
        n_actions = env.action_space.shape[0]
        noise = NormalActionNoise(np.zeros(n_actions), 0.1 * np.ones(n_actions))
        kwargs = {} if algorithm is SAC else {"action_noise": noise}
        policy_kwargs = {"preset": "slim", "network_kwargs": {"widths": [16], "dynamic_widths": [8]}, "net_arch": [16]}
        model = algorithm(
            "HyperPolicy",
            env,
            1e-3,
            learning_starts=120,
            batch_size=16,
            buffer_size=TOTAL,
            policy_kwargs=policy_kwargs,
            seed=3,
            device="cpu",
            **kwargs,
        )
    callbacks = CallbackList([eval_callback, *others, resumable, *([] if kill_at is None else [KillAt(kill_at)])])
    try:
        model.learn(TOTAL - started_at, callback=callbacks, reset_num_timesteps=False)
    except Killed:
        return started_at, None
    return started_at, model


@pytest.mark.parametrize(
    ("env_id", "algorithm"),
    [(PointEnv, TD3), (PointEnv, SAC), ("Hopper-v5", TD3), ("Pendulum-v1", SAC), ("Ant-v5", TD3)],
)
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, env_id, algorithm):
    _, whole = run(tmp_path / "whole", env_id, algorithm)
    starts = [run(tmp_path / "killed", env_id, algorithm, kill_at)[0] for kill_at in (20, 333)]
    start, resumed = run(tmp_path / "killed", env_id, algorithm)
    assert starts == [0, 0]
    assert 100 < start < 333
    assert whole.num_timesteps == resumed.num_timesteps == TOTAL
    state, resumed_state = whole.policy.state_dict(), resumed.policy.state_dict()
    assert all(th.equal(state[name], resumed_state[name]) for name in state)
    one, other = (read_json(tmp_path / name / "progress.json")["evaluations"] for name in ("whole", "killed"))
    assert one["timesteps"] == other["timesteps"] == [70, 140, 210, 280, 350]
    assert one["results"] == other["results"]
    for clock in ("seconds", "cpu_seconds"):
        assert len(other[clock]) == 5
        assert other[clock] == sorted(other[clock])


class SuccessfulEnv(PointEnv):
    def step(self, action):
        *step, _ = super().step(action)
        return *step, {"is_success": bool(self.state[0] > 0)}


def test_evaluations_of_success_go_on_too(tmp_path):
    run(tmp_path / "whole", SuccessfulEnv)
    run(tmp_path / "killed", SuccessfulEnv, kill_at=333)
    run(tmp_path / "killed", SuccessfulEnv)
    whole, killed = (np.load(tmp_path / name / "evaluations.npz") for name in ("whole", "killed"))
    assert whole["successes"].shape == (5, 2)
    assert 0 < whole["successes"].mean() < 1
    np.testing.assert_array_equal(whole["successes"], killed["successes"])


def test_the_log_of_episodes_goes_on_in_time(tmp_path):
    """SB3's plots sort episodes by it."""
    log = tmp_path / "0.monitor.csv"
    run(tmp_path, PointEnv, kill_at=333)
    before = log.read_text().splitlines()
    time.sleep(0.5)
    run(tmp_path, PointEnv)
    after = log.read_text().splitlines()
    assert after[: len(before) - 1] == before[:-1]  # the episode after the checkpoint has come again
    _, lengths, times = zip(*(map(float, line.split(",")) for line in after[2:]), strict=True)
    assert sum(lengths) == TOTAL
    assert list(times) == sorted(times)
    assert np.diff(times).max() > 0.5


def test_a_log_of_episodes_that_another_hand_has_changed_is_no_obstacle(tmp_path):
    log = tmp_path / "0.monitor.csv"
    run(tmp_path, PointEnv, kill_at=120)
    log.write_text("")  # shorter than it was
    (tmp_path / "1.monitor.csv").write_text('#{"t_start": 0.0}\nr,l,t\n')  # of an earlier start with more environments
    run(tmp_path, PointEnv, kill_at=233)
    start, model = run(tmp_path, PointEnv)  # with a log that has no header
    assert (start, model.num_timesteps) == (200, TOTAL)
    assert "\0" not in log.read_text()


def test_callbacks_go_on_counting(tmp_path):
    def stop():
        return EveryNTimesteps(1, StopTrainingOnMaxEpisodes(15))

    _, whole = run(tmp_path / "whole", PointEnv, others=[stop()])
    run(tmp_path / "killed", PointEnv, kill_at=333, others=[stop()])
    other = CheckpointCallback(1000, str(tmp_path))  # that was not there before
    start, resumed = run(tmp_path / "killed", PointEnv, others=[other, stop()])
    assert start == 300
    assert other.save_freq == 1000
    assert whole.num_timesteps == resumed.num_timesteps == 375  # the end of the 15th episode


def test_it_is_said_that_checkpoints_are_seldom(tmp_path):
    env = make_vec_env(PointEnv, wrapper_class=RepeatableResets)
    eval_callback = EvalCallback(env, eval_freq=100, n_eval_episodes=1, log_path=str(tmp_path), verbose=0)
    model = TD3("MlpPolicy", env, train_freq=7, learning_starts=100, device="cpu")
    with pytest.warns(UserWarning, match="trained every 7 steps: checkpoints are taken where an episode ends"):
        model.learn(20, [eval_callback, ResumableRun(tmp_path, 20, eval_callback, 50)])


def test_only_the_last_checkpoint_is_kept_and_none_in_the_end(tmp_path):
    run(tmp_path, PointEnv, kill_at=333)
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-000000000300"]
    ResumableRun(tmp_path, TOTAL, None, 50).finish()
    assert not list(tmp_path.glob("checkpoint-*"))
    assert (tmp_path / "complete").is_file()


def test_a_checkpoint_that_was_not_finished_is_ignored(tmp_path):
    run(tmp_path, PointEnv, kill_at=333)
    (tmp_path / "checkpoint-000000000350.tmp").mkdir()
    start, model = run(tmp_path, PointEnv)
    assert start == 300
    assert model.num_timesteps == TOTAL


def cut(content):
    return content[: len(content) // 10]


def cut_near_the_end(content):
    return content[:-20]


def zero(content):
    middle = len(content) // 2
    return content[:middle] + bytes(20) + content[middle + 20 :]


@pytest.mark.parametrize("name", ["model.zip", "replay_buffer.pkl", "state.json"])
@pytest.mark.parametrize("damage", [cut, cut_near_the_end, zero, None])
def test_a_checkpoint_that_is_damaged_starts_again(tmp_path, name, damage):
    run(tmp_path, PointEnv, kill_at=333)
    path = next(tmp_path.glob("checkpoint-*")) / name
    path.unlink() if damage is None else path.write_bytes(damage(path.read_bytes()))
    monitor = tmp_path / "0.monitor.csv"
    monitor.write_text('#{"t_start": 0.0}\nr,l,t\n1.0,25,0.1\n2.0,25,0.2\n')
    with pytest.warns(UserWarning, match="cannot be used .* starts from the beginning"):
        start, model = run(tmp_path, PointEnv)
    header, names, *episodes = monitor.read_text().splitlines()
    assert (header, names) == ('#{"t_start": 0.0}', "r,l,t")
    assert len(episodes) == TOTAL / 25  # all of them came again
    assert start == 0
    assert model.num_timesteps == TOTAL


def test_an_older_checkpoint_takes_the_place_of_one_that_is_damaged(tmp_path):
    """A kill has come before it was removed."""
    run(tmp_path, PointEnv, kill_at=233)
    (older,) = tmp_path.glob("checkpoint-*")
    shutil.copytree(older, tmp_path / "kept")
    run(tmp_path, PointEnv, kill_at=333)
    (newer,) = tmp_path.glob("checkpoint-*")
    (tmp_path / "kept").rename(older)
    (newer / "model.zip").unlink()
    with pytest.warns(UserWarning, match=f"{newer.name} cannot be used .* starts from an older one"):
        start, model = run(tmp_path, PointEnv)
    assert (start, model.num_timesteps) == (200, TOTAL)


@pytest.mark.parametrize(
    ("kind", "method", "error"),
    [
        (TD3, "load_replay_buffer", MemoryError()),
        (PointEnv, "reset", FileNotFoundError("/not-mounted/terrain.xml")),
        (PointEnv, "reset", EOFError()),
    ],
)
def test_what_may_succeed_another_time_loses_nothing(tmp_path, monkeypatch, kind, method, error):
    run(tmp_path, PointEnv, kill_at=333)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def fail(*args, **kwargs):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(kind, method, fail)
        with pytest.raises(RuntimeError, match=r"checkpoint-000000000300 cannot be loaded now .* --retry-failed"):
            run(tmp_path, PointEnv)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    start, model = run(tmp_path, PointEnv)
    assert (start, model.num_timesteps) == (300, TOTAL)


def test_a_checkpoint_of_another_version_is_kept(tmp_path):
    run(tmp_path, PointEnv, kill_at=333)
    path = next(tmp_path.glob("checkpoint-*")) / "state.json"
    state = read_json(path)
    del state["seconds"]
    write_json(path, state)
    with pytest.raises(RuntimeError, match=r"another version .* seconds are missing"):
        run(tmp_path, PointEnv)
    assert path.is_file()


class ForgetfulEnv(PointEnv):
    """Its resets depend on more than its random state."""

    resets = 0

    def reset(self, seed=None, options=None):
        _, info = super().reset(seed=seed, options=options)
        ForgetfulEnv.resets += 1
        self.state += ForgetfulEnv.resets
        return self.state.copy(), info


def test_an_environment_that_cannot_be_repeated_starts_again(tmp_path):
    run(tmp_path, ForgetfulEnv, kill_at=333)
    with pytest.warns(UserWarning, match="does not repeat its resets"):
        start, model = run(tmp_path, ForgetfulEnv)
    assert start == 0
    assert model.num_timesteps == TOTAL


def test_a_checkpoint_that_cannot_be_used_leaves_no_trace(tmp_path, monkeypatch):
    _, whole = run(tmp_path / "whole", PointEnv)
    run(tmp_path / "killed", PointEnv, kill_at=333)
    monkeypatch.setattr(checkpoints, "_equal", lambda *observations: False)  # which is asked when the model has been loaded
    with pytest.warns(UserWarning, match="does not repeat its resets"):
        _, resumed = run(tmp_path / "killed", PointEnv)
    weights, resumed_weights = whole.policy.state_dict(), resumed.policy.state_dict()
    assert all(th.equal(weights[name], resumed_weights[name]) for name in weights)


def test_a_checkpoint_is_also_taken_after_a_while(tmp_path):
    env = make_vec_env(PointEnv, wrapper_class=RepeatableResets)
    eval_callback = EvalCallback(env, eval_freq=1000, verbose=0, warn=False)
    model = TD3("MlpPolicy", env, policy_kwargs={"net_arch": [8]})
    model.learn(100, callback=[eval_callback, ResumableRun(tmp_path / "late", 100, eval_callback, 1000)])
    assert not list((tmp_path / "late").glob("checkpoint-*"))
    model.learn(100, callback=[eval_callback, ResumableRun(tmp_path / "soon", 100, eval_callback, 1000, save_seconds=0)])
    assert len(list((tmp_path / "soon").glob("checkpoint-*"))) == 1


def point_env(n_envs=1, wrapper=None):
    return make_vec_env(lambda: PointEnv() if wrapper is None else wrapper(PointEnv()), n_envs)


class HalfOfIt(VecEnvWrapper):
    """Rewards and observations of another scale."""

    def reset(self):
        return self.venv.reset() / 2

    def step_wait(self):
        observations, *others = self.venv.step_wait()
        return observations / 2, *others


@pytest.mark.parametrize(
    ("make_model", "reason"),
    [
        (lambda: TD3("MlpPolicy", point_env(2)), "2 training environments"),
        (lambda: TD3("MlpPolicy", VecNormalize(point_env())), "running averages"),
        (lambda: TD3("MlpPolicy", point_env(wrapper=NormalizeReward)), "running averages"),
        (lambda: SAC("MlpPolicy", point_env(), use_sde=True), "gSDE"),
        (lambda: TD3("MlpPolicy", VecFrameStack(point_env(), 2)), "stacks frames"),
        (lambda: TD3("MlpPolicy", HalfOfIt(point_env())), "HalfOfIt may change observations"),
        (lambda: ARS("MlpPolicy", point_env()), "ARS is no off-policy algorithm"),
        (lambda: PPO("MlpPolicy", point_env(), n_steps=20, batch_size=20), "PPO is no off-policy algorithm"),
    ],
)
def test_what_cannot_go_on_exactly_says_so_and_takes_no_checkpoints(tmp_path, make_model, reason):
    model = make_model()
    eval_callback = EvalCallback(model.env, verbose=0, warn=False)
    with pytest.warns(UserWarning, match=f"interrupted, it starts from the beginning: .*{reason}"):
        model.learn(60, callback=[eval_callback, ResumableRun(tmp_path, 60, eval_callback, 5)])
    assert not list(tmp_path.glob("checkpoint-*"))
    assert read_json(tmp_path / "progress.json")["step"] >= 60


@pytest.mark.parametrize("env_id", ["HalfCheetah-v5", "Walker2d-v5", "PaperAnt-v4", "Reacher-v5"])
@pytest.mark.parametrize("seed", [5, None])
def test_resets_can_be_repeated(env_id, seed):
    env, other = (RepeatableResets(gym.make(env_id)) for _ in range(2))
    env.reset(seed=1)
    first, _ = env.reset(seed=seed)
    other.reset(seed=2)
    second = other.repeat_reset(env.before_last_reset())
    np.testing.assert_array_equal(first, second)
    for _ in range(5):
        action = env.action_space.sample()
        one, reward, *_ = env.step(action)
        another, other_reward, *_ = other.step(action)
        np.testing.assert_array_equal(one, another)
        assert reward == other_reward


def test_lengths_that_are_means_are_kept_as_they_are():
    callback = SimpleNamespace(
        evaluations_timesteps=[100],
        evaluations_results=[[1.5, 2]],
        evaluations_length=[np.array([7.25, 14.5])],
        evaluations_successes=[],
    )
    assert _evaluations(callback)["ep_lengths"] == [[7.25, 14.5]]
    callback.evaluations_length = [[7, 14]]
    assert json.dumps(_evaluations(callback)["ep_lengths"]) == "[[7, 14]]"
