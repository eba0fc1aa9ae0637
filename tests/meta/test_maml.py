"""MAML as an SB3 algorithm: episodes, baseline, sampling, saving, adapting."""

import copy
import csv

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from rl_zoo3.exp_manager import ExperimentManager
from stable_baselines3.common.callbacks import BaseCallback, CheckpointCallback, EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecNormalize

from sb3_hyper import MAML, PEARL, MetaEvalCallback, reset_to_tasks
from sb3_hyper.common.random_states import get_random_states, set_random_states
from sb3_hyper.meta.maml import adaptation
from sb3_hyper.meta.maml.adaptation import play
from sb3_hyper.meta.maml.episodes import Episodes, LinearBaseline, discounted_sums, make_batch
from sb3_hyper.meta.maml.sampler import WorkerDied, plan

SMALL = dict(n_train_tasks=6, n_test_tasks=3, meta_batch_size=4, n_episodes=3, seed=0)
SLIM = dict(preset="slim", network_kwargs=dict(widths=[16], dynamic_widths=[8]))
ARMS = {
    "vanilla": ("MlpPolicy", dict(policy_kwargs=dict(net_arch=[16]))),
    "context": ("MlpPolicy", dict(policy_kwargs=dict(net_arch=[16]), use_context=True)),
    "hyper": ("HyperPolicy", dict(policy_kwargs=SLIM)),
    "multi-task": ("HyperPolicy", dict(policy_kwargs=SLIM, multi_task=True)),
    "promp": ("MlpPolicy", dict(policy_kwargs=dict(net_arch=[16]), outer="promp")),
}
ITERATION = 4 * 3 * 20 * 2  # steps


def make(arm="vanilla", n_envs=4, env=None, **kwargs):
    policy, own = ARMS[arm]
    return MAML(policy, env or make_vec_env("PointGoal-v0", n_envs), **{**SMALL, **own, **kwargs})


def parameters(model):
    return {name: value.clone() for name, value in model.policy.network.state_dict().items()}


def same(one, other):
    return all(th.equal(value, other[name]) for name, value in one.items())


def random_episodes(n_tasks=2, n_episodes=3, n_steps=5, obs_dim=2):
    mask = th.ones(n_tasks, n_episodes, n_steps)
    mask[0, 1, 3:] = 0
    obs = th.randn(n_tasks, n_episodes, n_steps, obs_dim) * mask.unsqueeze(-1)
    actions = th.randn(n_tasks, n_episodes, n_steps, 2) * mask.unsqueeze(-1)
    rewards, unknown = th.randn(n_tasks, n_episodes, n_steps) * mask, np.full((n_tasks, n_episodes), np.nan)
    return Episodes(obs, actions, rewards, mask, unknown)


# ---------------------------------------------------------------- baseline and advantages


def test_discounted_sums():
    np.testing.assert_allclose(discounted_sums(th.tensor([1.0, 2.0, 4.0]), 0.5), [3.0, 4.0, 4.0])


def test_the_baseline_is_ridge_regression_task_by_task():
    episodes = random_episodes(n_episodes=20)
    values = LinearBaseline(0.9).fit(episodes).values(episodes)
    for task in range(2):
        rows, targets, places = [], [], []
        for episode in range(20):
            length = int(episodes.mask[task, episode].sum())
            rewards = episodes.rewards[task, episode].double().numpy()
            for t in range(length):
                s = episodes.observations[task, episode, t].double().numpy()
                time = (t + 1) / 100
                rows.append([*s, *s**2, time, time**2, time**3, 1.0])
                targets.append(sum(0.9**k * rewards[t + k] for k in range(length - t)))
                places.append((episode, t))
        rows, targets = np.array(rows), np.array(targets)
        coefficients = np.linalg.solve(rows.T @ rows + 1e-5 * np.eye(rows.shape[1]), rows.T @ targets)
        ours = np.array([values[task][place] for place in places])
        np.testing.assert_allclose(ours, rows @ coefficients, atol=1e-6)
    assert (values[0, 1, 3:] == 0).all()


@pytest.mark.parametrize("gae_lambda", [1.0, 0.7])
def test_advantages_are_generalised_and_normalised_over_a_tasks_steps(gae_lambda):
    episodes = random_episodes()
    baseline = LinearBaseline(0.9).fit(episodes)
    batch, values = make_batch(episodes, baseline, 0.9, gae_lambda), baseline.values(episodes)
    for task in range(2):
        advantages = []
        for episode in range(3):
            length = int(episodes.mask[task, episode].sum())
            for t in range(length):
                total = 0.0
                for k in range(length - t):
                    following = values[task, episode, t + k + 1].item() if t + k + 1 < length else 0.0
                    error = episodes.rewards[task, episode, t + k] + 0.9 * following - values[task, episode, t + k]
                    total += (0.9 * gae_lambda) ** k * error.item()
                advantages.append(total)
        advantages = np.array(advantages)
        expected = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        counted = batch.weights[task] > 0
        np.testing.assert_allclose(batch.advantages[task][counted], expected, atol=1e-5)
        np.testing.assert_allclose(batch.weights[task].sum(), 1, rtol=1e-6)
        np.testing.assert_allclose(batch.weights[task][counted], 1 / len(advantages), rtol=1e-6)


# ---------------------------------------------------------------- sampling


@pytest.mark.parametrize(
    ("n_tasks", "n_episodes", "n_envs"), [(4, 3, 1), (4, 3, 3), (4, 3, 4), (4, 3, 11), (2, 5, 40), (1, 1, 1)]
)
def test_the_plan_plays_every_task_as_often_as_asked(n_tasks, n_episodes, n_envs):
    counts = np.zeros(n_tasks, dtype=int)
    for part in plan(n_tasks, n_episodes, n_envs):
        assert len(part.n_episodes) == len(part.tasks) * part.n_copies <= n_envs
        np.add.at(counts, np.repeat(part.tasks, part.n_copies), part.n_episodes)
    assert (counts == n_episodes).all()


@pytest.mark.parametrize("n_envs", [1, 3, 4, 9])
def test_episodes_are_whole_and_belong_to_their_tasks(n_envs):
    model = make(n_envs=n_envs)
    tasks = list(model.train_tasks[:4])
    stacked = {name: value.expand(4, *value.shape).detach() for name, value in model.policy.network.named_parameters()}
    episodes = play(model, model.env, tasks, stacked, None, 3)
    assert episodes.observations.shape == (4, 3, 20, 2)
    assert episodes.mask.sum() == 240
    for task in range(4):
        goal = np.array(tasks[task]["goal"])
        for episode in range(3):
            obs, actions = episodes.observations[task, episode].numpy(), episodes.actions[task, episode].numpy()
            assert (obs[0] == 0).all()
            after = obs + 0.1 * np.clip(actions, -1, 1)
            np.testing.assert_allclose(obs[1:], after[:-1], atol=1e-6)
            np.testing.assert_allclose(episodes.rewards[task, episode], -np.linalg.norm(after - goal, axis=1), atol=1e-5)


def test_where_environments_are_few_tasks_are_played_with_their_own_contexts():
    model = make("context", n_envs=2)
    tasks = list(model.train_tasks[:4])
    context = model.contexts(tasks)
    stacked = {name: value.expand(4, *value.shape).detach() for name, value in model.policy.network.named_parameters()}
    episodes = play(model, model.env, tasks, stacked, context, 2, deterministic=True)
    with th.no_grad():
        means = model.evaluator(context)(stacked, episodes.observations.flatten(1, 2)).mean
    th.testing.assert_close(episodes.actions.flatten(1, 2), means)
    assert len(episodes.actions[:, 0, 0].unique(dim=0)) == 4


class EndsEarly(gym.Wrapper):
    """Ends after 3, 4, 5, 3, ... steps."""

    n = 0

    def reset(self, **kwargs):
        self.n += 1
        self.left = 3 + self.n % 3
        return self.env.reset(**kwargs)

    def step(self, action):
        self.left -= 1
        obs, reward, _, truncated, info = self.env.step(action)
        return obs, reward, self.left == 0, truncated, info


def test_episodes_of_different_lengths_are_padded():
    model = make(env=DummyVecEnv([lambda: EndsEarly(gym.make("PointGoal-v0"))] * 2))
    tasks = list(model.train_tasks[:3])
    stacked = {name: value.expand(3, *value.shape).detach() for name, value in model.policy.network.named_parameters()}
    episodes = play(model, model.env, tasks, stacked, None, 4)
    lengths = episodes.mask.sum(dim=-1)
    assert set(lengths.flatten().tolist()) == {3.0, 4.0, 5.0}
    assert ((episodes.rewards != 0) == episodes.mask.bool()).all()
    model.learn(50)
    assert model._n_updates >= 1


class Dies(gym.Wrapper):
    def step(self, action):
        import os

        os._exit(1)


def test_a_worker_that_dies_is_an_error_that_names_its_task():
    env = SubprocVecEnv([lambda: gym.make("sb3_hyper:PointGoal-v0"), lambda: Dies(gym.make("sb3_hyper:PointGoal-v0"))])
    model = make(env=env, tasks=None)
    with pytest.raises(WorkerDied, match=r"environment 1 with task \{'goal'"):
        model.learn(100)


def test_a_callbacks_broken_connection_is_not_taken_for_a_workers():
    class Reports(BaseCallback):
        def _on_step(self):
            raise ConnectionResetError("no server")

    env = SubprocVecEnv([lambda: gym.make("sb3_hyper:PointGoal-v0")] * 2)
    with pytest.raises(ConnectionResetError, match="no server"):
        make(env=env).learn(100, Reports())
    env.close()


# ---------------------------------------------------------------- as an SB3 algorithm


@pytest.mark.parametrize(
    ("clip_range", "logged"),
    [
        (ExperimentManager._preprocess_schedules({"clip_range": 0.2})["clip_range"], [0.2, 0.2]),  # rl-zoo3 makes one of 0.2
        (lambda remaining: 0.1 + remaining, [0.6, 0.1]),
    ],
)
def test_the_clip_range_may_be_a_schedule(clip_range, logged, tmp_path):
    model = make("promp", clip_range=clip_range)
    model.set_logger(configure(str(tmp_path), ["csv"]))
    model.learn(2 * ITERATION)
    model.logger.close()
    rows = csv.DictReader((tmp_path / "progress.csv").read_text().splitlines())
    assert [float(row["train/clip_range"]) for row in rows] == logged


def test_successes_are_logged_as_by_other_algorithms(tmp_path):
    class Reaches(gym.Wrapper):
        def step(self, action):
            *seen, info = self.env.step(action)
            return *seen, info | {"is_success": True}

    env = make_vec_env(lambda: Reaches(gym.make("sb3_hyper:PointGoal-v0")), n_envs=2)
    model = make(env=env)
    model.set_logger(configure(str(tmp_path), ["csv"]))
    model.learn(ITERATION)
    model.logger.close()
    (row,) = csv.DictReader((tmp_path / "progress.csv").read_text().splitlines())
    assert float(row["rollout/success_rate"]) == 1
    assert float(row["time/iterations"]) == 1
    assert float(row["time/total_timesteps"]) == model.num_timesteps


@pytest.mark.filterwarnings("ignore::tqdm.TqdmExperimentalWarning")
def test_with_a_progress_bar_callbacks_begin_once_and_have_a_logger():
    class Begins(BaseCallback):
        n_begun = 0

        def _init_callback(self):
            self.logger.record("begun", 1)
            self.n_begun += 1

        def _on_step(self):
            return True

    alone, in_list, called = Begins(), Begins(), []
    for callback in (alone, [in_list], lambda *_: called.append(True) is None):
        make().learn(1, callback, progress_bar=True)
    assert alone.n_begun == in_list.n_begun == 1
    assert called


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_learns_saves_loads_and_adapts(arm, tmp_path):
    model = make(arm)
    before = parameters(model)
    model.set_logger(configure(str(tmp_path), ["csv"]))
    model.learn(3 * ITERATION)
    model.logger.close()
    assert not same(before, parameters(model))
    head = (tmp_path / "progress.csv").read_text().splitlines()[0].split(",")
    assert {"rollout/pre_return", "rollout/adaptation_kl", "train/kl", "rollout/ep_rew_mean"} <= set(head)
    assert ("rollout/post_return" in head) == (arm != "multi-task")
    env = make_vec_env("PointGoal-v0", 3)
    reset_to_tasks(env, model.tasks.test)
    curve = model.adapt(env, n_episodes=4, n_steps=2)
    assert curve.returns.shape == (3, 3)
    assert (curve.lengths == 20).all()
    obs = np.random.randn(3, 2).astype(np.float32)
    expected = model.predict(obs, deterministic=True)[0]
    model.save(tmp_path / "model")
    loaded = MAML.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(obs, deterministic=True)[0], expected)
    model.policy.save(tmp_path / "policy.pth")
    alone = type(model.policy).load(tmp_path / "policy.pth")
    np.testing.assert_array_equal(alone.predict(obs, deterministic=True)[0], expected)
    with pytest.raises(ValueError, match="acts for 3 tasks"):
        model.predict(np.zeros((2, 2), dtype=np.float32))
    loaded.set_env(make_vec_env("PointGoal-v0", 4))
    loaded.learn(ITERATION, reset_num_timesteps=False)
    assert loaded.policy.adapted is None  # what was adapted came from other parameters
    other = make(arm, seed=7)
    other.set_parameters(model.get_parameters())
    assert same(parameters(other), parameters(model))


def test_adapting_is_the_inner_step_on_the_episodes_that_were_played(monkeypatch):
    model = make()
    env = make_vec_env("PointGoal-v0", 2)
    reset_to_tasks(env, model.tasks.test[:2])
    seen = []
    monkeypatch.setattr(adaptation, "play", lambda *args, **kwargs: seen.append(play(*args, **kwargs)) or seen[-1])
    model.adapt(env, n_episodes=5)
    batch = make_batch(seen[0], LinearBaseline(0.95).fit(seen[0]), 0.95, 1.0)
    for task in range(2):
        network = copy.deepcopy(model.policy.network)
        policy = network(batch.observations[task : task + 1], None)
        loss = -(policy.log_prob(batch.actions[task : task + 1]) * batch.advantages[task] * batch.weights[task]).sum()
        loss.backward()
        for name, parameter in network.named_parameters():
            th.testing.assert_close(
                model.policy.adapted[name][task], parameter.detach() - 0.1 * parameter.grad, atol=1e-6, rtol=1e-5
            )


def test_adapting_does_not_depend_on_whether_gradients_are_recorded():
    env = make_vec_env("PointGoal-v0", 2)
    adapted = []
    for recorded in (True, False):
        model = make()
        reset_to_tasks(env, model.tasks.test[:2])
        with th.set_grad_enabled(recorded):
            model.adapt(env, n_episodes=2)
        adapted.append(model.policy.adapted)
    assert same(*adapted)
    assert not any(th.equal(value, adapted[0][name][0]) for name, value in model.policy.network.named_parameters())


def test_the_baseline_is_that_of_the_episodes_before_the_first_step():
    model = make()
    first, second = adaptation.stages(model, model.env, list(model.tasks.test[:2]), None, n_episodes=3, n_steps=1)
    baseline = LinearBaseline(model.gamma).fit(first.episodes)
    expected = make_batch(second.episodes, baseline, model.gamma, model.gae_lambda)
    th.testing.assert_close(second.batch.advantages, expected.advantages)


def test_multi_task_training_does_not_adapt_and_needs_half_the_steps():
    models = {arm: make(arm) for arm in ("hyper", "multi-task")}
    for model in models.values():
        model.learn(1)
    assert models["hyper"].num_timesteps == ITERATION
    assert models["multi-task"].num_timesteps == ITERATION // 2


@pytest.mark.parametrize("arm", ["vanilla", "hyper"])
def test_seeds_repeat_bit_for_bit_and_resuming_is_exact(arm, tmp_path):
    one, two, other = make(arm), make(arm), make(arm, seed=1)
    for model in (one, two, other):
        model.set_random_seed(model.seed)
        model.learn(2 * ITERATION)
    assert same(parameters(one), parameters(two))
    assert not same(parameters(one), parameters(other))
    one.save(tmp_path / "model")
    states = get_random_states()
    one.learn(2 * ITERATION, reset_num_timesteps=False)
    loaded = MAML.load(tmp_path / "model", env=make_vec_env("PointGoal-v0", 4))
    set_random_states(states)
    loaded.learn(2 * ITERATION, reset_num_timesteps=False)
    assert same(parameters(one), parameters(loaded))
    assert one.num_timesteps == loaded.num_timesteps


def test_callbacks_work_and_leave_no_trace(tmp_path):
    plain, watched = make(), make()
    env, evaluated = make_vec_env("PointGoal-v0", 2), make_vec_env("PointGoal-v0", 1)
    callbacks = [
        MetaEvalCallback(env, eval_freq=ITERATION, log_path=str(tmp_path), verbose=0),
        CheckpointCallback(50, str(tmp_path)),
    ]
    for model, callback in ((plain, None), (watched, callbacks)):
        model.set_random_seed(0)
        model.learn(3 * ITERATION, callback=callback)
    assert same(parameters(plain), parameters(watched))
    with np.load(tmp_path / "adaptation.npz") as data:
        assert data["returns_test"].shape[1:] == (3, 2)
        assert len(data["timesteps"]) >= 3
    assert list(tmp_path.glob("rl_model_*.zip"))
    watched.learn(ITERATION, callback=EvalCallback(evaluated, eval_freq=40, n_eval_episodes=1, verbose=0))


def test_a_callback_can_stop_training():
    class Stop(BaseCallback):
        def _on_step(self):
            return self.n_calls < 30

    model = make()
    model.learn(10 * ITERATION, callback=Stop())
    assert model.num_timesteps == 30 * 4
    assert model._n_updates == 0
    model.learn(ITERATION)
    assert model._n_updates == 1


def test_the_context_is_the_scaled_task():
    model = make("context")
    goals = np.array([task["goal"] for task in model.train_tasks])
    np.testing.assert_allclose(model.contexts(model.train_tasks), goals / np.abs(goals).max(axis=0), rtol=1e-5)
    assert make().contexts(model.train_tasks) is None


def test_inner_learning_rates_can_differ_by_parameter():
    rates = make(inner_learning_rate={"": 0.1, "log_std": 0.0, "layers.1": 0.5}).inner_step().learning_rates
    assert rates["log_std"] == 0.0
    assert rates["layers.0.weight"] == 0.1
    assert rates["layers.1.bias"] == 0.5
    assert set(make().inner_step().learning_rates.values()) == {0.1}
    assert set(make("hyper").inner_step().learning_rates.values()) == {5e-5}


def test_actions_are_scaled_by_the_policys_own_scale():
    model = make(policy_kwargs=dict(net_arch=[16], action_scale=10.0))
    np.testing.assert_allclose(model.policy.unscale(np.array([[5.0, -20.0]], dtype=np.float32)), [[0.5, -1.0]])
    with th.no_grad():
        for parameter in model.policy.network.parameters():
            parameter.zero_()
        model.policy.network.layers[-1].bias.fill_(5)
    np.testing.assert_allclose(model.predict(np.zeros((1, 2), dtype=np.float32), deterministic=True)[0], [[0.5, 0.5]])


def test_errors_say_what_is_accepted():
    with pytest.raises(ValueError, match="needs an environment with tasks"):
        MAML("MlpPolicy", "Pendulum-v1")
    with pytest.raises(ValueError, match="VecNormalize"):
        make(env=VecNormalize(make_vec_env("PointGoal-v0", 1)))
    with pytest.raises(ValueError, match="order must be one of 'second', 'first', got 'third'"):
        make(order="third")
    with pytest.raises(ValueError, match="outer must be one of"):
        make(outer="adam")
    with pytest.raises(ValueError, match="n_episodes must be a whole number of at least 1"):
        make(n_episodes=0)
    with pytest.raises(ValueError, match="no parameter begins with nothing"):
        make(inner_learning_rate={"": 0.1, "nothing": 1.0})
    with pytest.raises(ValueError, match="has nothing for layers"):
        make(inner_learning_rate={"log_std": 0.1})
    with pytest.raises(ValueError, match="inner_learning_rate must be"):
        make(inner_learning_rate=float("nan"))
    for wrong in (True, None, [0.1], {"": None}, {"": "0.1"}):
        with pytest.raises(ValueError, match="inner_learning_rate must be a number, numbers by parameter or 'auto', got"):
            make(inner_learning_rate=wrong)
    with pytest.warns(UserWarning, match="net_arch is for perceptrons"):
        make("hyper", policy_kwargs=dict(net_arch=[7]))
    with pytest.raises(ValueError, match="cg_damping must be a number that is not negative, got -1"):
        make(cg_damping=-1)
    with pytest.raises(ValueError, match="line_search_shrinking_factor must be between 0 and 1, got 2"):
        make(line_search_shrinking_factor=2)
    with pytest.raises(ValueError, match="context_dim is not to be given: use_context=True"):
        make(policy_kwargs=dict(context_dim=2))
    with pytest.raises(ValueError, match="gamma must be positive, and 1 at most"):
        make(gamma=1.5)
    with pytest.raises(ValueError, match="n_steps must be"):
        make().adapt(make_vec_env("PointGoal-v0", 1), n_steps=-1)
    with pytest.raises(ValueError, match="needs an environment with tasks"):
        make().adapt(make_vec_env("Pendulum-v1", 1))
    with pytest.raises(ValueError, match="Policy MultiInputPolicy unknown"):
        MAML("MultiInputPolicy", "PointGoal-v0")
    assert PEARL.policy_aliases.keys() == MAML.policy_aliases.keys()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_vanilla_maml_adapts_to_unseen_tasks(seed):
    model = make(
        n_envs=20, n_train_tasks=100, n_test_tasks=20, meta_batch_size=20, n_episodes=10, gamma=0.99, seed=seed,
        policy_kwargs={},
    )  # fmt: skip
    model.learn(240_000)
    env = make_vec_env("PointGoal-v0", 20)
    reset_to_tasks(env, model.tasks.test)
    before, after = model.adapt(env, 10, 1).returns.mean(axis=0)
    assert after > -11  # doing nothing pays -20
    assert after > before + 5
