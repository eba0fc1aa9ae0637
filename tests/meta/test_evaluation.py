"""Adaptation curves, and the callback that measures them."""

import csv
import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3 import TD3
from stable_baselines3.common.callbacks import BaseCallback, EveryNTimesteps, StopTrainingOnRewardThreshold
from stable_baselines3.common.env_util import make_vec_env

from sb3_hyper import MAML, PEARL
from sb3_hyper.meta.curves import AdaptationCurve, adaptation_curve, do_nothing_returns
from sb3_hyper.meta.evaluation import MetaEvalCallback
from sb3_hyper.tasks.interface import TaskSet
from tests.meta.test_pearl import ITERATION, SMALL, make, parameters


def test_every_task_is_evaluated_once_whatever_the_number_of_environments():
    tasks = [{"goal": [float(i), 0.0]} for i in range(5)]

    def adapt(env):
        goals = [task["goal"][0] for task in env.get_attr("task")]
        return AdaptationCurve.empty(env.num_envs, 1)._replace(returns=np.array(goals)[:, None])

    for n_envs in (1, 2, 3, 5, 8):
        curve = adaptation_curve(adapt, make_vec_env("PointGoal-v0", n_envs), tasks)
        assert curve.returns[:, 0].tolist() == [0, 1, 2, 3, 4]
        assert curve.lengths.shape == curve.successes.shape == (5, 1)


def test_doing_nothing_is_paid_the_distance_to_the_goal():
    tasks = [{"goal": [0.6, 0.8]}, {"goal": [0.0, 0.5]}, {"goal": [-1.0, 0.0]}]
    np.testing.assert_allclose(do_nothing_returns(make_vec_env("PointGoal-v0", 2), tasks), [-20, -10, -20])


@pytest.mark.parametrize("algorithm", [PEARL, MAML])
def test_a_compiled_policy_is_evaluated(algorithm):
    settings = {PEARL: dict(n_initial_steps=20, gradient_steps=1), MAML: dict(meta_batch_size=2, n_episodes=2)}[algorithm]
    env = make_vec_env("PointGoal-v0", 2)
    model = algorithm("MlpPolicy", env, n_train_tasks=2, n_test_tasks=2, device="cpu", **settings)
    model.policy = th.compile(model.policy, backend="eager")
    callback = MetaEvalCallback(make_vec_env("PointGoal-v0", 2), eval_freq=1)
    model.learn(100, callback)
    assert np.isfinite(callback.last_mean_reward)


def test_what_the_callback_keeps_and_logs(tmp_path, capsys):
    model = make(n_ood_tasks=2)
    callback = MetaEvalCallback(
        make_vec_env("PointGoal-v0", 2),
        n_train_tasks=3,
        eval_freq=150,
        stochastic=True,
        log_path=str(tmp_path),
        best_model_save_path=str(tmp_path / "best"),
    )
    logged = []
    original = model.learn

    def record(name, value, **kwargs):
        logged.append(name)

    callback.init_callback(model)
    model._logger = type("Spy", (), {"record": staticmethod(record), "dump": lambda self, step: None})()
    model._custom_logger = True
    original(ITERATION + 3 * 180, callback=callback)
    with np.load(tmp_path / "adaptation.npz") as data:
        n = len(data["timesteps"])
        assert n >= 3
        for split, n_tasks in (("test", 3), ("train", 3), ("ood", 2)):
            assert data[f"returns_{split}"].shape == (n, n_tasks, 3)
            assert data[f"returns_{split}_stochastic"].shape == (n, n_tasks, 3)
            np.testing.assert_allclose(data[f"nothing_{split}"], -20, atol=1e-4)
        assert not np.allclose(data["returns_test"], data["returns_test_stochastic"])
        post = data["returns_test"][:, :, -1]
    with np.load(tmp_path / "evaluations.npz") as data:
        np.testing.assert_allclose(data["results"], post)
        assert data["ep_lengths"].shape == post.shape
    with (tmp_path / "adaptation.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == n * (3 + 3 + 2) * 2 * 3
    first = next(row for row in rows if row["split"] == "test" and row["deterministic"] == "True" and row["episode"] == "2")
    assert float(first["return"]) == pytest.approx(post[0, 0], abs=1e-3)
    assert {"eval/test_0", "eval/test_2", "eval/ood_1", "eval/train_nothing", "eval/adaptation_steps"} <= set(logged)
    assert (tmp_path / "best" / "best_model.zip").is_file()
    assert callback.best_mean_reward == pytest.approx(post.mean(axis=1).max())
    assert "test tasks, by episode" in capsys.readouterr().out


def test_training_with_the_callback_is_bit_identical_to_training_without():
    plain, watched = make(), make()
    plain.set_random_seed(0)
    plain.learn(ITERATION + 180)
    callback = MetaEvalCallback(make_vec_env("PointGoal-v0", 2), eval_freq=10, verbose=0)
    watched.set_random_seed(0)  # making an environment draws from numpy's generator
    watched.learn(ITERATION + 180, callback=callback)
    for name, value in parameters(plain).items():
        assert th.equal(value, parameters(watched)[name]), name
    assert callback.last_mean_reward < 0


def test_evaluations_are_those_of_the_parameters_after_an_iteration(tmp_path):
    model = make()
    callback = MetaEvalCallback(make_vec_env("PointGoal-v0", 2), eval_freq=ITERATION, log_path=str(tmp_path), verbose=0)
    n = ITERATION + 2 * 180
    model.learn(n, callback=callback)
    steps = callback.evaluations_timesteps
    assert steps == [ITERATION, n]  # not twice at the end
    callback.evaluate()
    np.testing.assert_array_equal(callback.evaluations_results[-1], callback.evaluations_results[1])


def test_an_iteration_that_is_broken_off_counts_for_nothing(tmp_path):
    class StopAt(BaseCallback):
        def _on_step(self):
            return self.num_timesteps < ITERATION + 250

    model = make()
    callback = MetaEvalCallback(make_vec_env("PointGoal-v0", 2), eval_freq=10**6, log_path=str(tmp_path), verbose=0)
    model.learn(10_000, callback=[StopAt(), callback])
    assert model.num_timesteps > ITERATION + 180
    assert callback.evaluations_timesteps == [ITERATION + 180]


def test_callbacks_that_do_not_say_when_an_iteration_begins(tmp_path):
    model = make()
    callback = MetaEvalCallback(make_vec_env("PointGoal-v0", 2), eval_freq=1, log_path=str(tmp_path), verbose=0)
    model.learn(ITERATION + 2 * 180, callback=EveryNTimesteps(90, callback))
    steps = callback.evaluations_timesteps
    assert len(steps) >= 3
    assert steps == sorted(set(steps))


def test_a_callback_can_be_used_for_another_training(tmp_path):
    callback = MetaEvalCallback(make_vec_env("PointGoal-v0", 2), eval_freq=180, log_path=str(tmp_path), verbose=0)
    model = make()
    for _ in range(2):
        model.learn(ITERATION + 2 * 180, callback=callback)
    steps = callback.evaluations_timesteps
    # the second has its initial data already
    assert steps == [ITERATION, ITERATION + 180, ITERATION + 360, 180, 360, 540, 720]
    model.learn(0, callback=callback, reset_num_timesteps=False)
    assert callback.evaluations_timesteps == steps


def test_every_training_is_evaluated_at_its_end(tmp_path):
    callback = MetaEvalCallback(make_vec_env("PointGoal-v0", 2), eval_freq=10**6, log_path=str(tmp_path), verbose=0)
    for _ in range(2):
        make().learn(ITERATION, callback=callback)
    assert callback.evaluations_timesteps == [ITERATION, ITERATION]


def test_a_callback_does_not_mix_the_evaluations_of_other_tasks(tmp_path):
    env = make_vec_env("PointGoal-v0", 2)
    callback = MetaEvalCallback(env, eval_freq=10**6, log_path=str(tmp_path), verbose=0)
    make().learn(ITERATION, callback=callback)
    near = TaskSet(*[tuple({"goal": [0.0, 0.1 * i]} for i in range(1, 5))] * 2)
    with pytest.raises(ValueError, match="evaluations of other tasks"):
        make(tasks=near).learn(ITERATION, callback=callback)
    callback = MetaEvalCallback(env, eval_freq=10**6, verbose=0)  # keeps nothing
    for model in (make(), make(tasks=near)):
        model.learn(ITERATION, callback=callback)
    np.testing.assert_allclose(callback.nothing["test"], [-2, -4, -6, -8], atol=1e-5)


def test_what_is_not_a_number_is_not_the_best(tmp_path):
    model = make()
    best = tmp_path / "best_model.zip"
    callback = MetaEvalCallback(make_vec_env("PointGoal-v0", 2), best_model_save_path=str(tmp_path), verbose=0)
    callback.init_callback(model)
    model.learn(ITERATION)
    callback.evaluate()
    first, saved = callback.best_mean_reward, best.read_bytes()
    callback._measure = lambda: dict.fromkeys(("returns_test", "lengths_test", "successes_test"), np.full((3, 3), np.nan))
    callback.evaluate()
    assert np.isnan(callback.last_mean_reward)
    assert (callback.best_mean_reward, best.read_bytes()) == (first, saved)


def test_the_curve_is_long_enough_to_see_adaptation():
    assert make().n_curve_points == 3
    model = make(n_prior_episodes=3)
    assert model.n_curve_points == 4
    env = make_vec_env("PointGoal-v0", 2)
    with pytest.warns(UserWarning, match="All 3 points of the curve come before the model knows anything"):
        MetaEvalCallback(env, n_episodes=3).init_callback(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MetaEvalCallback(env).init_callback(model)
        MetaEvalCallback(env, n_episodes=1).init_callback(make(oracle_context=True))


def test_a_callback_that_waits_for_a_good_model_ends_training():
    model = make()
    env = make_vec_env("PointGoal-v0", 2)
    callback = MetaEvalCallback(
        env, eval_freq=1, callback_on_new_best=StopTrainingOnRewardThreshold(reward_threshold=-1e9), verbose=0
    )
    model.learn(10_000, callback=callback)
    assert callback.model.n_iterations <= 2
    assert model.num_timesteps < ITERATION + 180


def test_evaluations_repeat():
    model = make()
    callback = MetaEvalCallback(make_vec_env("PointGoal-v0", 2), verbose=0)
    callback.init_callback(model)
    model.learn(ITERATION)
    results = []
    for _ in range(2):
        callback.evaluate()
        results.append(callback.last_mean_reward)
        np.random.random(7)
    assert results[0] == results[1]


def test_errors_say_what_is_wrong():
    env = gym.make("PointGoal-v0")
    with pytest.raises(ValueError, match="TD3 cannot"):
        TD3("MlpPolicy", env).learn(1, callback=MetaEvalCallback(env))
    with pytest.raises(ValueError, match="no tasks in ood"):
        make().learn(1, callback=MetaEvalCallback(env, splits=("ood",)))
    with pytest.raises(ValueError, match="split must be one of 'train', 'test', 'ood', got 'tset'"):
        MetaEvalCallback(env, splits=("train", "tset"))
    assert MetaEvalCallback(env, splits="ood").splits == ("ood",)
    with pytest.raises(ValueError, match="n_episodes"):
        MetaEvalCallback(env, n_episodes=0)
    assert SMALL["n_test_tasks"] == 3
