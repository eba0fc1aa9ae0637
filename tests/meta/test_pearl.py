"""PEARL as an SB3 algorithm, and its update against a plain one."""

import copy
import pickle
import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3.common.callbacks import CheckpointCallback, EvalCallback, StopTrainingOnMaxEpisodes
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecNormalize

import sb3_hyper  # noqa: F401 (registers environments)
from sb3_hyper.common.random_states import get_random_states, set_random_states
from sb3_hyper.meta.pearl.collection import Phases, groups_of_different
from sb3_hyper.meta.pearl.pearl import PEARL
from sb3_hyper.tasks.interface import TaskSet
from sb3_hyper.tasks.vectorized import reset_to_tasks

SMALL = dict(
    n_train_tasks=4,
    n_test_tasks=3,
    meta_batch_size=3,
    batch_size=8,
    context_batch_size=6,
    n_initial_steps=40,
    n_tasks_per_iteration=3,
    n_prior_steps=20,
    n_posterior_steps=40,
    gradient_steps=5,
    seed=0,
)
MLP = dict(net_arch=[16], encoder_arch=[16])
HYPER = dict(encoder_arch=[16], network_kwargs=dict(widths=[16], dynamic_widths=[8]), preset="slim")
POLICIES = {"MlpPolicy": MLP, "HyperPolicy": HYPER}
ITERATION = 4 * 40 + 3 * 60  # steps up to the end of the first iteration


def make(policy="MlpPolicy", n_envs=3, **kwargs):
    env = kwargs.pop("env", None) or make_vec_env("PointGoal-v0", n_envs)
    policy_kwargs = {**POLICIES[policy], **kwargs.pop("policy_kwargs", {})}
    return PEARL(policy, env, policy_kwargs=policy_kwargs, **{**SMALL, **kwargs})


def parameters(model):
    return {name: value.clone() for name, value in model.policy.state_dict().items()}


def assert_same(one, other):
    for name, value in one.items():
        th.testing.assert_close(other[name], value, atol=0, rtol=0)


# ---------------------------------------------------------------- the update


def plain_update(model, n_steps):  # noqa: C901 (plain, not short)
    """Each loss by itself, row by row, with the gradients of the parts that it shall change and no others."""
    policy = model.policy
    buffer = model.replay_buffer
    optimizers = {name: th.optim.Adam(getattr(policy, name).parameters(), lr=3e-4) for name in policy.optimizers}

    def descend(names, loss):
        variables = [parameter for name in names for parameter in getattr(policy, name).parameters()]
        gradients = th.autograd.grad(loss, variables, retain_graph=True)
        for parameter, gradient in zip(variables, gradients, strict=True):
            parameter.grad = gradient
        for name in names:
            optimizers[name].step()

    for _ in range(n_steps):
        tasks = np.random.randint(4, size=3)
        context = buffer.sample_context(tasks, 6)
        noise_of_z = th.randn(3, 5)
        batch = buffer.sample(tasks, 8)
        noise_of_actions = th.randn(3, 8, 2)
        z, kl = [], 0
        for i in range(3):
            factors = [
                policy.encoder.network(
                    th.cat([context.observations[i, j], context.actions[i, j], context.rewards[i, j]]).reshape(1, 1, -1)
                ).flatten()
                for j in range(6)
            ]
            precision = [1 / th.log1p(factor[5:].exp()) for factor in factors]
            variance = 1 / sum(precision)
            mean = variance * sum(p * factor[:5] for p, factor in zip(precision, factors, strict=True))
            z.append(mean + variance.sqrt() * noise_of_z[i])
            kl = kl + sum(0.5 * (variance + mean**2 - 1 - variance.log()))
        rows = [(i, j) for i in range(3) for j in range(8)]

        def row(tensor, i, j):
            return tensor[i, j].reshape(1, 1, -1)

        policy_out = {}
        for i, j in rows:
            mean, log_std = policy.actor(row(batch.observations, i, j), z[i].detach().reshape(1, -1))
            before = mean + log_std.exp() * noise_of_actions[i, j]
            action = before.tanh()
            density = -0.5 * ((before - mean) / log_std.exp()) ** 2 - log_std - 0.5 * np.log(2 * np.pi)
            policy_out[i, j] = action, (density - (1 - action**2 + 1e-6).log()).sum(), mean, log_std
        q_loss = 0
        for i, j in rows:
            with th.no_grad():
                next_value = policy.value_target(row(batch.next_observations, i, j), z[i].reshape(1, -1)).item()
            target = 5 * batch.rewards[i, j] + 0.99 * (1 - batch.dones[i, j]) * next_value
            q = policy.critic(row(batch.observations, i, j), row(batch.actions, i, j), z[i].reshape(1, -1)).flatten()
            q_loss = q_loss + ((q - target) ** 2).sum() / 24
        descend(["critic", "encoder"], q_loss + 0.1 * kl)
        value_loss, actor_loss, penalty = 0, 0, 0
        for i, j in rows:
            task = z[i].detach().reshape(1, -1)
            action, log_prob, mean, log_std = policy_out[i, j]
            min_q = policy.critic(row(batch.observations, i, j), action, task).min()
            value = policy.value(row(batch.observations, i, j), task).squeeze()
            value_loss = value_loss + (value - (min_q - log_prob).detach()) ** 2 / 24
            actor_loss = actor_loss + (log_prob - min_q) / 24
            penalty = penalty + model.mean_penalty * (mean**2).sum() / 48 + model.log_std_penalty * (log_std**2).sum() / 48
        descend(["value"], value_loss)
        for target, source in zip(policy.value_target.parameters(), policy.value.parameters(), strict=True):
            target.data = 0.995 * target.data + 0.005 * source.data
        descend(["actor"], actor_loss + penalty)


@pytest.mark.parametrize(
    ("policy", "policy_kwargs"),
    [("MlpPolicy", {}), *[("HyperPolicy", {"critic_meta": meta}) for meta in ("obs", "z", "obs_z")]],
)
def test_three_gradient_steps_are_those_of_a_plain_version(policy, policy_kwargs):
    rates = {"actor_learning_rate": 3e-4, "critic_learning_rate": 3e-4} if policy == "HyperPolicy" else {}
    penalties = {"mean_penalty": 0.3, "log_std_penalty": 0.7}
    kwargs = {**policy_kwargs, **rates, "optimizer_kwargs": {"eps": 1e-8}}
    model = make(policy, policy_kwargs=kwargs, gradient_steps=1, **penalties)
    model.learn(ITERATION)
    # float64, so that the two orders of summation agree closely
    plain = copy.copy(model)
    model.policy.double()
    plain.policy = copy.deepcopy(model.policy)
    for part in ("actor", "critic", "value", "encoder"):  # fresh moments on both sides
        module = getattr(model.policy, part)
        module.optimizer = th.optim.Adam(module.parameters(), lr=3e-4)
    buffer = model.replay_buffer
    buffer.to_torch = lambda array, copy=True: th.as_tensor(array, dtype=th.float64)
    before = parameters(model)
    states = get_random_states()
    th.set_default_dtype(th.float64)
    try:
        model.train(3, 8)
        set_random_states(states)
        plain_update(plain, 3)
    finally:
        th.set_default_dtype(th.float32)
    for name, expected in plain.policy.state_dict().items():
        if name != "_extra_state":
            moved = (expected - before[name]).abs().max()
            assert moved > 0, f"{name} did not move: the comparison would be empty"
            th.testing.assert_close(model.policy.state_dict()[name], expected, atol=1e-8, rtol=1e-6, msg=name)


def test_the_encoder_learns_from_the_critics_loss_and_the_divergence_alone():
    model = make(kl_weight=0.0)
    model.learn(ITERATION)
    # where the critic does not look at z, nothing is left for the encoder to learn
    with th.no_grad():
        model.policy.critic.network.hidden[0].weight[:, -5:] = 0
    model.policy.critic.optimizer = th.optim.SGD(model.policy.critic.parameters(), lr=1e-9)
    model.policy.encoder.optimizer = th.optim.SGD(model.policy.encoder.parameters(), lr=1.0)
    model.policy.critic.optimizer.register_step_pre_hook(lambda *_: model.policy.critic.zero_grad())
    before = copy.deepcopy(model.policy.encoder.state_dict())
    model.train(2, 8)
    assert_same(before, model.policy.encoder.state_dict())
    model.kl_weight = 0.1
    model.train(1, 8)
    moved = [not th.equal(value, before[name]) for name, value in model.policy.encoder.state_dict().items()]
    assert all(moved)


def test_terminal_transitions_have_no_future_and_time_limits_have_one():
    class Ending(gym.Wrapper):
        """Ends at the third step, while PointGoal's limit is 20."""

        def reset(self, **kwargs):
            self.t = 0
            return self.env.reset(**kwargs)

        def step(self, action):
            self.t += 1
            obs, reward, _, truncated, info = self.env.step(action)
            return obs, reward, self.t == 3, truncated, info

    kept = make(env=DummyVecEnv([lambda: Ending(gym.make("PointGoal-v0"))] * 2))
    kept.learn(1)
    dones = kept.replay_buffer.dones[0, : int(kept.replay_buffer.n_added[0]), 0]
    np.testing.assert_array_equal(dones[:6], [0, 0, 1, 0, 0, 1])
    dropped = make(env=DummyVecEnv([lambda: Ending(gym.make("PointGoal-v0"))] * 2), store_terminal=False)
    dropped.learn(1)
    assert dropped.replay_buffer.dones.sum() == 0
    limited = make()
    limited.learn(1)
    assert limited.replay_buffer.dones.sum() == 0


# ---------------------------------------------------------------- gathering data


def test_stored_transitions_follow_each_other_and_pay_what_their_task_pays():
    model = make(n_envs=2)
    model.learn(ITERATION)
    buffer = model.replay_buffer
    for index, task in enumerate(model.train_tasks):
        n = int(buffer.n_added[index])
        assert n >= 40
        obs, next_obs = buffer.observations[index, :n], buffer.next_observations[index, :n]
        inside = np.arange(n - 1) % 20 != 19
        np.testing.assert_array_equal(next_obs[:-1][inside], obs[1:][inside])
        assert (obs[::20] == 0).all()
        np.testing.assert_allclose(next_obs, obs + 0.1 * buffer.actions[index, :n], atol=1e-6)
        reward = -np.linalg.norm(next_obs - np.array(task["goal"]), axis=1)
        np.testing.assert_allclose(buffer.rewards[index, :n, 0], reward, atol=1e-5)


@pytest.mark.parametrize("n_envs", [1, 3, 5])
def test_an_iteration_has_the_steps_that_were_asked_for(n_envs):
    model = make(n_envs=n_envs, n_prior_steps=30, n_posterior_steps=50)  # episodes of 20 are brought to their end
    model.learn(1)
    assert model.num_timesteps == 4 * 40 + 3 * (40 + 60)
    assert model.replay_buffer.size() == model.num_timesteps
    sizes = model.replay_buffer.context_size(np.arange(4))
    assert set(sizes.tolist()) == {40}


def test_phases_follow_the_authors_order():
    phases = Phases(np.array([True, True]), n_prior_steps=2, n_posterior_steps=2)
    seen = []
    for _ in range(5):
        seen.append((bool(phases.to_context[0]), bool(phases.from_prior[0]), bool(phases.active[0])))
        phases.n_left -= 1
        phases.end_episodes(np.array([0]))
    # two episodes of context, one more with z from the prior, then the posterior until the steps are made
    assert seen == [(True, True, True), (True, True, True), (False, True, True), (False, False, True), (False, False, False)]
    assert phases.active[1]


def test_no_task_is_twice_in_a_group():
    groups = [group.tolist() for group in groups_of_different(np.array([0, 1, 0, 0, 2, 3]), 3)]
    assert groups == [[0, 1, 2], [0, 3], [0]]


def test_z_stays_through_an_episode_and_the_actor_is_conditioned_at_its_begin_only():
    model = make(n_envs=3)
    calls = []
    condition = model.policy.actor.condition
    model.policy.actor.condition = lambda z: calls.append(len(z)) or condition(z)
    model.learn(1)
    model.policy.actor.condition = condition
    # one per group of episodes that end together: 2 + 2 groups of initial steps in 4 tasks, then 1 or more of 3 episodes
    assert len(calls) < 25 + model.gradient_steps
    assert model.num_timesteps > 300


def test_the_prior_is_a_standard_normal_distribution():
    z = make().prior_latents(np.zeros(5000, dtype=int))
    assert z.shape == (5000, 5)
    assert z.mean(dim=0).abs().max() < 0.1
    assert (z.std(dim=0) - 1).abs().max() < 0.1


@pytest.mark.parametrize("policy", POLICIES)
def test_episodes_act_on_the_prior_first_and_on_what_was_inferred_then(policy):
    model, given, acted = make(policy), [], []
    condition, act = model.policy.actor.condition, model.policy.act

    def condition_on(z):
        given.append((z.clone(), condition(z)))
        return given[-1][1]

    def act_on(obs, conditioned):
        acted.append(next(z for z, made in given if made is conditioned))
        return act(obs, conditioned)

    model.policy.actor.condition, model.policy.act = condition_on, act_on
    model.prior_latents = lambda tasks: th.full((len(tasks), 5), 1.0)
    model.posterior_latents = lambda tasks: th.full((len(tasks), 5), 7.0)
    model.gradient_steps = 0
    model.learn(1)
    # at last three tasks at once: an episode of the first phase and one of the second on the prior, one on the posterior
    assert [z.unique().tolist() for z in acted[-60:]] == 40 * [[1.0]] + 20 * [[7.0]]


def test_the_belief_is_about_the_context_not_about_all_transitions():
    model = make()
    model.learn(1)
    buffer = model.replay_buffer
    read, sample_context = [], buffer.sample_context
    buffer.sample_context = lambda *args: read.append(sample_context(*args)) or read[-1]
    buffer.sample = None
    with th.random.fork_rng():
        z = model.posterior_latents(np.array([0, 2]))
    with th.random.fork_rng(), th.no_grad():
        th.testing.assert_close(model.belief(read[0]).sample(), z)


# ---------------------------------------------------------------- as an SB3 algorithm


@pytest.mark.parametrize("policy", POLICIES)
def test_save_and_load_give_the_same_model(policy, tmp_path):
    model = make(policy)
    model.learn(ITERATION)
    env = make_vec_env("PointGoal-v0", 3)
    reset_to_tasks(env, model.tasks.test)
    model.adapt(env, 2)
    obs = np.random.randn(3, 2).astype(np.float32)
    expected = model.predict(obs, deterministic=True)[0]
    model.save(tmp_path / "model.zip")
    loaded = PEARL.load(tmp_path / "model.zip")
    assert_same(parameters(model), parameters(loaded))
    np.testing.assert_array_equal(loaded.predict(obs, deterministic=True)[0], expected)
    assert loaded.tasks == model.tasks
    model.policy.save(tmp_path / "policy.pth")
    policy_alone = type(model.policy).load(tmp_path / "policy.pth")
    np.testing.assert_array_equal(policy_alone.predict(obs, deterministic=True)[0], expected)
    other = make(policy, seed=5)
    other.set_parameters(model.get_parameters())
    np.testing.assert_array_equal(other.predict(obs, deterministic=True)[0], expected)
    loaded.set_env(make_vec_env("PointGoal-v0", 3))
    loaded.learn(ITERATION + 100, reset_num_timesteps=False)


@pytest.mark.parametrize("policy", POLICIES)
def test_seeds_repeat_bit_for_bit_and_differ_from_each_other(policy):
    one, same, other = (make(policy, seed=seed) for seed in (1, 1, 2))
    for model in (one, same, other):
        model.set_random_seed(model.seed)
        model.learn(ITERATION)
    assert_same(parameters(one), parameters(same))
    assert one.tasks == other.tasks
    assert not th.equal(
        parameters(one)["actor." + next(iter(one.policy.actor.state_dict()))],
        parameters(other)["actor." + next(iter(one.policy.actor.state_dict()))],
    )


def test_a_replay_buffer_of_other_tasks_is_refused(tmp_path):
    model = make("MlpPolicy")
    model.save_replay_buffer(tmp_path / "buffer.pkl")
    make("MlpPolicy").load_replay_buffer(tmp_path / "buffer.pkl")
    other = make("MlpPolicy", task_seed=7)
    own = other.replay_buffer
    with pytest.raises(ValueError, match="not one of this model's 4 training tasks"):
        other.load_replay_buffer(tmp_path / "buffer.pkl")
    assert other.replay_buffer is own


@pytest.mark.parametrize("policy", POLICIES)
def test_resuming_is_exact(policy, tmp_path):
    model = make(policy)
    model.learn(ITERATION)
    model.save(tmp_path / "model.zip")
    model.save_replay_buffer(tmp_path / "buffer.pkl")
    states = get_random_states()
    for _ in range(2):
        model.learn(180, reset_num_timesteps=False)
    loaded = PEARL.load(tmp_path / "model.zip", env=make_vec_env("PointGoal-v0", 3))
    loaded.load_replay_buffer(tmp_path / "buffer.pkl")
    set_random_states(states)
    for _ in range(2):
        loaded.learn(180, reset_num_timesteps=False)
    assert_same(parameters(model), parameters(loaded))
    assert loaded.num_timesteps == model.num_timesteps


def rates(model):
    return {name: optimizer.param_groups[0]["lr"] for name, optimizer in model.policy.optimizers.items()}


def test_a_schedule_is_followed_and_ends_where_it_says():
    model, used = make(learning_rate=lambda progress: 1e-3 * progress), []
    for optimizer in model.policy.optimizers.values():
        optimizer.register_step_pre_hook(lambda optimizer, *_: used.append(optimizer.param_groups[0]["lr"]))
    total = ITERATION + 100
    model.learn(total)
    assert model.num_timesteps == ITERATION + 3 * 60 > total
    first = 1e-3 * (1 - ITERATION / total)
    assert used == pytest.approx([first] * (len(used) // 2) + [0] * (len(used) // 2))


def test_hypernetworks_keep_the_rate_of_their_preset_and_say_so():
    with pytest.warns(UserWarning, match="which actor and critic do not follow: hypernetworks keep the rate of their preset"):
        make("HyperPolicy", learning_rate=lambda progress: 1e-3 * progress)
    given = {"actor_learning_rate": 1e-4, "critic_learning_rate": None}
    make("HyperPolicy", learning_rate=lambda progress: 1e-3 * progress, policy_kwargs=given)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda policy: pickle.loads(pickle.dumps(policy))])
def test_own_learning_rates_survive_copies_of_the_policy(duplicate):
    model = make("HyperPolicy", learning_rate=1e-3, policy_kwargs={"actor_learning_rate": 1e-4, "critic_learning_rate": 5e-5})
    model.policy = duplicate(model.policy)
    model.learn(ITERATION)
    assert rates(model) == {"encoder": 1e-3, "actor": 1e-4, "critic": 5e-5, "value": 5e-5}


def test_worker_processes_give_the_same_as_one_process():
    models = [make(env=make_vec_env("sb3_hyper:PointGoal-v0", 3, vec_env_cls=kind)) for kind in (DummyVecEnv, SubprocVecEnv)]
    for model in models:
        model.set_random_seed(0)
        model.learn(ITERATION)
        model.env.close()
    assert_same(*map(parameters, models))


def test_callbacks_and_logs_work_as_elsewhere(tmp_path):
    model = make(tensorboard_log=str(tmp_path / "tb"))
    evaluation = EvalCallback(
        make_vec_env("PointGoal-v0", 1), eval_freq=20, n_eval_episodes=2, log_path=str(tmp_path), verbose=0
    )
    checkpoints = CheckpointCallback(50, str(tmp_path / "checkpoints"), save_replay_buffer=True)
    model.learn(ITERATION, callback=[evaluation, checkpoints], progress_bar=False)
    assert len(evaluation.evaluations_timesteps) >= 5
    assert len(list((tmp_path / "checkpoints").glob("*.zip"))) >= 2
    assert list((tmp_path / "tb").glob("PEARL_1/events*"))
    names = model.logger.name_to_value
    assert names == {}  # dumped
    stopped = make()
    stopped.learn(10_000, callback=StopTrainingOnMaxEpisodes(max_episodes=5))
    assert stopped.num_timesteps == 340  # 5 episodes per environment; in one group of tasks, two of three had no task
    assert len(evaluate_policy(model, make_vec_env("PointGoal-v0", 2), n_eval_episodes=3, return_episode_rewards=True)[0]) == 3


def test_what_is_logged(tmp_path):
    from stable_baselines3.common.logger import configure

    model = make()
    model.set_logger(configure(str(tmp_path), ["csv"]))
    model.learn(2 * ITERATION)
    model.logger.close()
    head = (tmp_path / "progress.csv").read_text().splitlines()[0].split(",")
    for name in ("critic_loss", "kl", "value_loss", "actor_loss", "entropy", "n_updates"):
        assert f"train/{name}" in head
    for name in ("rollout/prior_return", "rollout/posterior_return", "rollout/ep_rew_mean", "task_return/0"):
        assert name in head


# ---------------------------------------------------------------- new tasks


def test_adaptation_returns_are_those_of_the_tasks_and_later_episodes_know_more():
    model = make(n_envs=3)
    model.learn(ITERATION)
    env = make_vec_env("PointGoal-v0", 3)
    reset_to_tasks(env, model.tasks.test)
    curve = model.adapt(env, n_episodes=3)
    assert curve.returns.shape == (3, 3)
    assert (curve.returns < 0).all()
    assert (curve.lengths == 20).all()
    one, three = [], []
    for n, variances in ((1, one), (3, three)):
        reset_to_tasks(env, model.tasks.test)
        model.adapt(env, n_episodes=n)
        variances.append(model.policy.belief.variance)
    assert (three[0] < one[0]).all()  # more factors, less variance
    assert env.get_attr("task") == list(model.tasks.test)
    model.adapt(env, n_episodes=0)
    assert (model.policy.belief.variance == 1).all()


def test_what_was_inferred_is_forgotten_by_training():
    """It came from an older encoder."""
    model = make(n_envs=2)
    model.learn(ITERATION)
    env = make_vec_env("PointGoal-v0", 2)
    reset_to_tasks(env, model.tasks.test[:2])
    model.adapt(env, n_episodes=1)
    model.learn(ITERATION, reset_num_timesteps=False)
    assert model.policy.belief.mean.shape == (1, model.policy.latent_dim)
    assert (model.policy.belief.variance == 1).all()
    assert model.predict(env.reset()[0])[0].shape == (2,)
    assert model.predict(env.reset())[0].shape == (2, 2)


def test_adaptation_infers_from_exactly_the_transitions_of_the_episodes():
    model = make(n_envs=1)
    env = make_vec_env("PointGoal-v0", 2)
    seen = [[], []]
    step_wait = env.step_wait

    def spy():
        obs, actions = env.buf_obs[None].copy(), env.actions.copy()
        result = step_wait()
        for i in range(2):
            seen[i].append(np.concatenate([obs[i], actions[i], [result[1][i]]]))
        return result

    env.step_wait = spy
    reset_to_tasks(env, model.tasks.test[:2])
    model.adapt(env, n_episodes=2)
    for i in range(2):
        context = th.as_tensor(np.array(seen[i]), dtype=th.float32)[None]
        assert context.shape == (1, 40, 5)
        belief = model.policy.encoder(context)
        th.testing.assert_close(model.policy.belief.mean[i], belief.mean[0], atol=1e-5, rtol=1e-4)


def test_a_single_gymnasium_environment_will_do():
    model = make(n_envs=1)
    env = gym.make("PointGoal-v0")
    env.reset(options={"task": model.tasks.test[0]})
    assert model.adapt(env, 2).returns.shape == (1, 2)
    action, _ = model.predict(env.reset()[0], deterministic=True)
    assert env.action_space.contains(action)


def test_weights_are_generated_once_while_the_task_stays_and_anew_after_training():
    model = make("HyperPolicy", n_envs=1)
    model.learn(ITERATION)
    rows = []
    model.policy.actor.hypernetwork.primary.register_forward_pre_hook(lambda module, args: rows.append(len(args[0])))
    obs = np.zeros(2, dtype=np.float32)
    before = [model.predict(obs, deterministic=True)[0] for _ in range(5)]
    assert rows == [1]
    model.train(1, 8)
    rows.clear()
    after = model.predict(obs, deterministic=True)[0]
    assert rows == [1]
    assert not np.array_equal(before[0], after)


def test_the_oracle_context_is_the_scaled_task():
    model = make(oracle_context=True)
    model.learn(ITERATION)
    assert model.policy.encoder is None
    goals = np.array([task["goal"] for task in model.train_tasks])
    z = model.prior_latents(np.arange(4))
    np.testing.assert_allclose(z, goals / np.abs(goals).max(axis=0), rtol=1e-5)
    env = make_vec_env("PointGoal-v0", 2)
    reset_to_tasks(env, model.tasks.test[:2])
    model.adapt(env, 1)
    expected = np.array([task["goal"] for task in model.tasks.test[:2]]) / np.abs(goals).max(axis=0)
    np.testing.assert_allclose(model.policy.latent, expected, rtol=1e-5)


def test_context_with_the_next_observation():
    model = make(policy_kwargs=dict(context_next_obs=True))
    model.learn(ITERATION)
    env = make_vec_env("PointGoal-v0", 2)
    reset_to_tasks(env, model.tasks.test[:2])
    assert model.adapt(env, 2).returns.shape == (2, 2)
    assert model.policy.encoder.network.hidden[0].weight.shape[0] == 2 + 2 + 1 + 2


# ---------------------------------------------------------------- what is refused


def test_errors_say_what_is_accepted():
    with pytest.raises(ValueError, match="needs an environment with tasks"):
        PEARL("MlpPolicy", "Pendulum-v1")
    with pytest.raises(ValueError, match="VecNormalize"):
        make(env=VecNormalize(make_vec_env("PointGoal-v0", 1)))
    with pytest.raises(ValueError, match="Policy MultiInputPolicy unknown"):
        PEARL("MultiInputPolicy", "PointGoal-v0")
    with pytest.raises(ValueError, match="meta_batch_size must be a whole number of at least 1"):
        make(meta_batch_size=0)
    with pytest.raises(ValueError, match="n_posterior_steps must be a whole number of at least 0, got -1"):
        make(n_posterior_steps=-1)
    with pytest.raises(ValueError, match="gradient_steps must be a whole number of at least 0, got -1"):
        make(gradient_steps=-1)
    with pytest.raises(ValueError, match="use_encoder=False is not to be given: oracle_context=True"):
        make(policy_kwargs=dict(use_encoder=False))
    with pytest.raises(ValueError, match="n_episodes must be a whole number of at least 0, got -1"):
        make().adapt(make_vec_env("PointGoal-v0", 1), n_episodes=-1)
    with pytest.raises(ValueError, match="n_prior_episodes must be a whole number of at least 1, got 0"):
        make(n_prior_episodes=0)
    with pytest.raises(ValueError, match="n_prior_episodes must be a whole number of at least 1, got 0"):
        make().adapt(make_vec_env("PointGoal-v0", 1), n_prior_episodes=0)
    with pytest.raises(ValueError, match="tau must be positive, and 1 at most, got 7"):
        make(tau=7)
    with pytest.warns(UserWarning, match="latent_dim=5 is not used: z is the oracle context, 2 numbers"):
        make(oracle_context=True, policy_kwargs=dict(latent_dim=5))
    with pytest.warns(UserWarning, match="net_arch is for perceptrons"):
        make("HyperPolicy", policy_kwargs=dict(net_arch=[7]))
    with pytest.raises(ValueError, match="critic_meta must be one of 'obs', 'z', 'obs_z'"):
        make(policy_kwargs=dict(critic_meta="action"))
    with pytest.raises(ValueError, match="leaves no room"):
        make(buffer_size=3)
    model = make()
    env = make_vec_env("PointGoal-v0", 2)
    reset_to_tasks(env, model.tasks.test[:2])
    model.adapt(env, 1)
    with pytest.raises(ValueError, match="acts for 2 tasks"):
        model.predict(np.zeros((3, 2), dtype=np.float32))


def test_tasks_can_be_given():
    with warnings.catch_warnings():
        tasks = TaskSet(train=({"goal": [1.0, 0.0]}, {"goal": [0.0, 1.0]}), test=({"goal": [0.5, 0.5]},))
        model = make(tasks=tasks)
    assert model.replay_buffer.n_tasks == 2
    assert model.train_tasks == tasks.train
