"""How accurate a critic is, where that is known."""

from contextlib import nullcontext
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from sb3_contrib import TQC, CrossQ
from stable_baselines3 import DDPG, PPO, SAC, TD3, HerReplayBuffer
from stable_baselines3.common.callbacks import ConvertCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import BitFlippingEnv
from stable_baselines3.common.logger import configure
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecCheckNan,
    VecEnvWrapper,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
)

from sb3_hyper.diagnostics import accuracy as accuracy_module
from sb3_hyper.diagnostics.accuracy import measure_accuracy, measure_bias, summarise
from sb3_hyper.diagnostics.agents import Agent
from sb3_hyper.diagnostics.branches import LocalBranches
from sb3_hyper.diagnostics.callbacks import (
    CriticBiasCallback,
    DynamicWeightsCallback,
    GradientAccuracyCallback,
    GradientNormCallback,
    LearningRateCallback,
)
from sb3_hyper.diagnostics.environments import like_training
from sb3_hyper.diagnostics.gradients import ceiling, fit_gradients
from sb3_hyper.diagnostics.records import load_records
from sb3_hyper.diagnostics.rollouts import sample_states
from sb3_hyper.diagnostics.snapshots import layers_of
from sb3_hyper.meta.pearl.pearl import PEARL
from sb3_hyper.tasks.vectorized import reset_to_tasks
from tests.conftest import PointEnv


class Bandits(gym.Env):
    """The reward is minus the squared distance of the action from half the state; states come as they like."""

    spec = gym.envs.registration.EnvSpec("Bandits-v0", "none", max_episode_steps=10)

    def __init__(self):
        self.observation_space = gym.spaces.Box(-1, 1, (3,), np.float32)
        self.action_space = gym.spaces.Box(-1, 1, (3,), np.float32)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.state = 0, self.np_random.uniform(-1, 1, 3).astype(np.float32)
        return self.state.copy(), {}

    def step(self, action):
        reward = -float(np.square(action - self.state / 2).sum())
        self.t += 1
        self.state = self.np_random.uniform(-1, 1, 3).astype(np.float32)
        return self.state.copy(), reward, False, self.t >= 10, {}


class TrueQ(th.nn.Module):
    """Of Bandits, where nothing counts but the first reward."""

    sign = 1

    def __init__(self, state_dim, action_dim, n_outputs):
        super().__init__()
        self.unused = th.nn.Parameter(th.zeros(1))

    def forward(self, states, actions):
        return -self.sign * (actions - states / 2).square().sum(1, keepdim=True) + self.unused


class WrongQ(TrueQ):
    sign = -1


def make_agent(critic, gamma=0.0):
    return Agent(TD3("HyperPolicy", Bandits(), gamma=gamma, seed=0, policy_kwargs={"critic": critic, "net_arch": [8]}))


def measure(agent, **kwargs):
    kwargs = {"n_states": 6, "n_actions": 15, "action_std": 0.01, "action_repeat": 1, **kwargs}
    branches = LocalBranches(Bandits, 6 * 16)
    return measure_accuracy(agent, branches, np.random.default_rng(0), 10, **kwargs)


def test_the_true_critic_is_found_accurate_and_the_wrong_one_wrong():
    for critic, sign in ((TrueQ, 1), (WrongQ, -1)):
        accuracy = measure(make_agent(critic))
        assert (sign * accuracy.cosine > 0.99).all()
        assert (accuracy.self_cosine > 0.99).all()
        assert (accuracy.noise_floor > 0.99).all()
        assert (sign * accuracy.value_correlation > 0.99).all()
        assert (accuracy.rank == 3).all()
        assert not accuracy.terminated.any()


def test_the_true_values_have_no_bias():
    accuracy = measure(make_agent(TrueQ, gamma=0.0), action_repeat=3)
    np.testing.assert_allclose(accuracy.value, accuracy.policy_return, atol=1e-6)
    accuracy = measure(make_agent(WrongQ, gamma=0.0))
    np.testing.assert_allclose(accuracy.value, -accuracy.policy_return, atol=1e-6)


def test_the_first_critics_values_are_measured():
    agent = make_agent(TrueQ)
    with th.no_grad():
        agent.policy.critic.q_network.members[1].unused.fill_(-5)
    accuracy = measure(agent)
    np.testing.assert_allclose(accuracy.value, accuracy.policy_return, atol=1e-6)
    assert (accuracy.value_correlation > 0.99).all()


class Drift(gym.Env):
    """Without chance, and with all of its state in its observation, so that returns can be computed by hand."""

    spec = gym.envs.registration.EnvSpec("Drift-v0", "none", max_episode_steps=8)

    def __init__(self):
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.t = float(self.np_random.uniform(-1, 1)), 0
        return np.array([self.x, self.t], dtype=np.float32), {}

    def step(self, action):
        reward = self.x - float(action[0]) ** 2
        self.x, self.t = 0.9 * self.x + 0.5 * float(action[0]), self.t + 1
        return np.array([self.x, self.t], dtype=np.float32), reward, False, self.t >= 8, {}


@pytest.mark.parametrize("variance", [None, 4.0])
def test_returns_are_those_of_the_policy_in_units_of_the_rewards(variance, monkeypatch):
    env = DummyVecEnv([Drift])
    if variance is not None:
        env = VecNormalize(env, norm_obs=False)
        env.ret_rms.var = np.array(variance)
    agent = Agent(TD3("MlpPolicy", env, gamma=0.9, seed=0))
    with th.no_grad():  # an action that depends on the state, and a target critic of its own
        agent.policy.actor.mu[-2].bias.fill_(0.5)
        agent.policy.critic_target.qf0[-1].bias.fill_(3.0)
        agent.policy.critic_target.qf1[-1].bias.fill_(2.0)
    found = []

    def sampling(*args):
        found.append(sample_states(*args))
        return found[-1]

    monkeypatch.setattr(accuracy_module, "sample_states", sampling)
    bias = measure_bias(agent, LocalBranches(Drift, 5), np.random.default_rng(0), 8, 5)
    accuracy = measure_accuracy(agent, LocalBranches(Drift, 30), np.random.default_rng(0), 8, 5, 5)
    scale = 1.0 if variance is None else 0.5
    for measured, (snapshots, _) in zip((bias, accuracy), found, strict=True):
        for value, policy_return, snapshot in zip(measured.value, measured.policy_return, snapshots, strict=True):
            env = Drift()
            env.reset()
            env.x, env.t = map(float, snapshot.observation)
            observation, truncated, expected, discount = snapshot.observation, False, 0.0, 1.0
            while not truncated:
                observation, reward, _, truncated, _ = env.step(agent.act(observation[None])[0])
                expected, discount = expected + discount * reward, 0.9 * discount
            expected += discount * agent.time_out_values(observation[None])[0] / scale
            assert policy_return == pytest.approx(expected, abs=1e-5)
            own = agent.values(snapshot.observation[None], agent.actions(snapshot.observation[None]))[0, 0]
            assert value == pytest.approx(own / scale, abs=1e-5)


class Paid(gym.Env):
    """A reward of one in each of eight steps."""

    spec = gym.envs.registration.EnvSpec("Paid-v0", "none", max_episode_steps=8)
    observation_space = action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.t += 1
        return np.zeros(1, np.float32), 1.0, False, self.t >= 8, {}


@pytest.mark.parametrize("optimize_memory_usage", [True, False])  # which SB3 has only where time-outs are ends
def test_nothing_follows_a_time_out_where_training_takes_it_for_an_end(optimize_memory_usage):
    kwargs = {"replay_buffer_kwargs": {"handle_timeout_termination": False}, "optimize_memory_usage": optimize_memory_usage}
    agent = Agent(TD3("MlpPolicy", Paid(), gamma=0.9, seed=0, **kwargs))
    with th.no_grad():
        for network in (agent.policy.critic_target.qf0, agent.policy.critic_target.qf1):
            network[-1].weight.zero_()
            network[-1].bias.fill_(100.0)
    of_steps = (1 - 0.9 ** np.arange(1, 9)) / (1 - 0.9)  # the returns of one to eight steps
    for horizon, expected in ((None, of_steps), (3, [*of_steps[:3], of_steps[2] + 0.9**3 * 100])):
        bias = measure_bias(agent, LocalBranches(Paid, 30), np.random.default_rng(0), 8, 30, horizon)
        accuracy = measure_accuracy(agent, LocalBranches(Paid, 150), np.random.default_rng(0), 8, 30, 4, horizon=horizon)
        for returns in (bias.policy_return, accuracy.policy_return):
            distances = np.abs(returns[:, None] - np.array(expected))
            assert (distances.min(axis=1) < 1e-4).all()
            assert set(distances.argmin(axis=1)) == set(range(len(expected)))


def test_the_first_action_of_a_state_is_the_policys(monkeypatch):
    fitted = []
    monkeypatch.setattr(accuracy_module, "fit_gradients", lambda *args: fitted.append(args[0]) or fit_gradients(*args))
    agent = make_agent(TrueQ)
    states = []
    monkeypatch.setattr(agent, "actions", lambda obs, actions=agent.actions: states.append(actions(obs)) or states[-1])
    measure(agent, action_std=0.3)
    np.testing.assert_array_equal(fitted[0][:, 0], states[0])
    assert (np.abs(fitted[0][:, 1:] - states[0][:, None]).max(axis=2) > 0.01).all()


def test_a_critic_that_is_far_from_linear_fails_its_self_test():
    agent = make_agent(TrueQ)
    near, far = (measure(agent, action_std=std).self_cosine.mean() for std in (0.01, 1.0))
    assert far < near - 0.01


def test_the_step_count_is_that_of_all_branches():
    accuracy = measure(make_agent(TrueQ), horizon=4)
    assert 6 * 16 <= accuracy.env_steps <= 6 * 16 * 4 + 6 * 10
    assert accuracy.seconds > 0


MODELS = {
    "stock TD3": lambda env: TD3("MlpPolicy", env, learning_starts=20, batch_size=8, seed=0),
    "DDPG": lambda env: DDPG("HyperPolicy", env, learning_starts=20, batch_size=8, seed=0, policy_kwargs={"preset": "slim"}),
    "stock SAC": lambda env: SAC("MlpPolicy", env, learning_starts=20, batch_size=8, seed=0),
    "SAC": lambda env: SAC("HyperPolicy", env, learning_starts=20, batch_size=8, seed=0, policy_kwargs={"preset": "slim"}),
    "stock TQC": lambda env: TQC("MlpPolicy", env, learning_starts=20, batch_size=8, seed=0),
    "TQC": lambda env: TQC("HyperPolicy", env, learning_starts=20, batch_size=8, seed=0, policy_kwargs={"preset": "slim"}),
    "CrossQ": lambda env: CrossQ("MlpPolicy", env, learning_starts=20, batch_size=8, seed=0),
}
FEW = {"n_states": 2, "n_actions": 6}


def make_callback(folder=None, **kwargs):
    return GradientAccuracyCallback(lambda: gym.make("Pendulum-v1"), log_path=folder, **{"horizon": 5, **FEW, **kwargs})


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("vec_env", ["one", "normalised, two"])
def test_training_goes_on_as_if_nothing_had_been_measured(name, vec_env):
    weights = []
    for callback in (None, make_callback(eval_freq=15)):
        env = make_vec_env("Pendulum-v1", n_envs=1 if vec_env == "one" else 2, seed=0)
        model = MODELS[name](env if vec_env == "one" else VecNormalize(env)).learn(50, callback)
        weights.append(model.policy.state_dict())
    assert all(th.equal(one, weights[1][key]) for key, one in weights[0].items())
    assert len(callback.records.rows) >= 4


def test_when_it_measures_and_what_it_keeps(tmp_path):
    model = MODELS["stock TD3"](make_vec_env("Pendulum-v1", seed=0))
    model.set_logger(configure(str(tmp_path / "log"), ["csv"]))
    model.learn(60, make_callback(eval_freq=20))
    records = load_records(tmp_path / "log" / "gradient_accuracy.npz")
    assert records["timesteps"].tolist() == [0, 20, 40, 60]
    assert records["cosine"].shape == (4, 2)
    assert (records["env_steps"] > 0).all()
    logged = model.logger.name_to_value
    assert {"gradient/cosine_mean", "gradient/learnable_0.25", "gradient/noise_floor_mean", "gradient/bias_mean"} <= set(
        logged
    )
    values = records["value"][-1] - records["policy_return"][-1]
    assert logged["gradient/bias_mean"] == pytest.approx(values.mean())
    model.logger.close()


def test_an_interrupted_run_measures_what_an_uninterrupted_one_does(tmp_path):
    whole = MODELS["stock TD3"](make_vec_env("Pendulum-v1", seed=0))
    whole.learn(60, make_callback(tmp_path / "whole", eval_freq=20))
    model = MODELS["stock TD3"](make_vec_env("Pendulum-v1", seed=0))
    for end in (30, 30):
        model.learn(end, make_callback(tmp_path / "parts", eval_freq=20), reset_num_timesteps=False)
    one, other = (load_records(tmp_path / name / "gradient_accuracy.npz") for name in ("whole", "parts"))
    assert one["timesteps"].tolist() == other["timesteps"].tolist()
    for name in ("cosine", "noise_floor"):  # up to where the second call of learn() resets the environment
        np.testing.assert_array_equal(one[name][:2], other[name][:2])


def test_rows_beyond_the_checkpoint_are_measured_again(tmp_path):
    model = MODELS["stock TD3"](make_vec_env("Pendulum-v1", seed=0))
    model.learn(60, make_callback(tmp_path, eval_freq=20))
    model.num_timesteps = 30
    callback = make_callback(tmp_path, eval_freq=20)
    model.learn(10, callback, reset_num_timesteps=False)
    assert callback.records.columns()["timesteps"].tolist() == [0, 20, 40]


def test_the_registered_environment_is_found_without_help():
    callback = GradientAccuracyCallback(eval_freq=40, horizon=5, **FEW)
    MODELS["stock TD3"](make_vec_env("Pendulum-v1", seed=0)).learn(30, callback)
    assert len(callback.records.rows) == 1


@pytest.mark.parametrize("name", ["stock TD3", "SAC", "TQC"])
def test_the_other_callbacks_leave_no_trace_either(name, tmp_path):
    weights = []
    bias = CriticBiasCallback(lambda: gym.make("Pendulum-v1"), 15, n_states=3, horizon=5, log_path=tmp_path, verbose=1)
    for callback in (None, [bias, GradientNormCallback(log_freq=10)]):
        model = MODELS[name](make_vec_env("Pendulum-v1", seed=0)).learn(50, callback)
        weights.append(model.policy.state_dict())
    assert all(th.equal(one, weights[1][key]) for key, one in weights[0].items())
    records = load_records(tmp_path / "critic_bias.npz")
    assert records["timesteps"].tolist() == [0, 15, 30, 45]
    assert records["value"].shape == records["policy_return"].shape == (4, 3)


@pytest.mark.parametrize("algorithm", [TD3, SAC])
def test_all_callbacks_together_leave_no_trace(algorithm):
    weights, random_numbers = [], []
    for watched in (False, True):
        env = VecNormalize(make_vec_env("Hopper-v5", n_envs=2, seed=0))
        kwargs = {"learning_starts": 20, "batch_size": 8, "seed": 0, "policy_kwargs": {"preset": "slim"}}
        model = algorithm("HyperPolicy", env, **kwargs)
        callbacks = [
            GradientAccuracyCallback(eval_freq=20, horizon=4, n_states=2, n_actions=10),
            CriticBiasCallback(eval_freq=20, horizon=4, n_states=2),
            DynamicWeightsCallback(eval_freq=20),
            GradientNormCallback(10),
            LearningRateCallback(),
        ]
        model.learn(80, callbacks if watched else None)
        weights.append(model.policy.state_dict())
        random_numbers.append((np.random.random(), th.rand(1).item()))
    assert all(th.equal(one, weights[1][key]) for key, one in weights[0].items())
    assert random_numbers[0] == random_numbers[1]


def test_values_equal_returns_where_they_should():
    agent = make_agent(TrueQ, gamma=0.0)
    bias = measure_bias(agent, LocalBranches(Bandits, 20), np.random.default_rng(0), 10, n_states=20)
    np.testing.assert_allclose(bias.value, bias.policy_return, atol=1e-6)


def test_gradient_norms_are_those_of_the_steps(tmp_path):
    model = MODELS["stock SAC"](make_vec_env("Pendulum-v1", seed=0))
    model.set_logger(configure(str(tmp_path), ["csv"]))
    seen = []

    def keep(optimizer, args, kwargs):
        seen.append(th.cat([parameter.grad.flatten() for parameter in model.critic.parameters()]))

    model.critic.optimizer.register_step_pre_hook(keep)
    model.learn(30, GradientNormCallback(log_freq=1000))
    assert len(seen) == 10
    gradients = th.stack(seen)
    logged = model.logger.name_to_value
    mean_norm = gradients.norm(dim=1).mean().item()
    assert logged["gradient_norm/critic"] == pytest.approx(mean_norm, rel=1e-5)
    assert logged["gradient_signal/critic"] == pytest.approx(gradients.mean(0).norm().item() / mean_norm, rel=1e-4)
    assert logged["gradient_norm/actor"] > 0
    model.logger.close()
    model.train(1, 8)
    assert model.critic.optimizer._optimizer_step_pre_hooks  # ours of this test; the callback's are gone
    assert len(model.critic.optimizer._optimizer_step_pre_hooks) == 1


def test_gradients_are_let_go_after_an_interruption(monkeypatch):
    model = MODELS["stock SAC"](make_vec_env("Pendulum-v1", seed=0))
    callback = GradientNormCallback(log_freq=1000)

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    def seen():
        return len(callback._norms["critic"])

    with monkeypatch.context() as patch:
        patch.setattr(model.actor.optimizer, "step", interrupt)
        with pytest.raises(KeyboardInterrupt):
            model.learn(40, callback)
    assert seen() > 0
    n_seen = seen()
    model.learn(40, reset_num_timesteps=False)
    assert seen() == n_seen

    numbers = []

    def count(*_):
        numbers.append((seen(), len(model.critic.optimizer._optimizer_step_pre_hooks)))
        return True

    model.learn(3, [callback, ConvertCallback(count)])
    assert numbers == [(0, 1), (0, 1), (0, 1)]  # learning starts later, and there is one hook
    assert not model.critic.optimizer._optimizer_step_pre_hooks


class Tenfold(VecEnvWrapper):
    def reset(self):
        return self.venv.reset()

    def step_wait(self):
        observations, rewards, *rest = self.venv.step_wait()
        return observations, 10 * rewards, *rest


def test_what_wraps_the_vectorized_environment_is_not_passed_over():
    with pytest.raises(ValueError, match="Rollouts would do without Tenfold"):
        MODELS["stock TD3"](Tenfold(make_vec_env("Pendulum-v1"))).learn(5, CriticBiasCallback(horizon=5))
    callback = CriticBiasCallback(lambda: gym.make("Pendulum-v1"), horizon=5, n_states=2)
    MODELS["stock TD3"](Tenfold(make_vec_env("Pendulum-v1"))).learn(5, callback)
    known = VecMonitor(VecCheckNan(VecNormalize(DummyVecEnv([lambda: gym.make("Pendulum-v1")]))))
    MODELS["stock TD3"](known).learn(5, CriticBiasCallback(horizon=5, n_states=2))


@pytest.mark.parametrize(
    ("wrap", "length"),
    [
        (lambda env: env, 200),
        (lambda env: gym.wrappers.TimeLimit(env, 50), 50),
        (lambda env: gym.wrappers.TimeLimit(Monitor(env), 50), 50),
        (lambda env: gym.wrappers.TimeLimit(gym.wrappers.RescaleAction(env, -1, 1), 50), 50),
        (lambda env: gym.wrappers.TimeLimit(env, 500), None),
        (lambda env: gym.wrappers.TimeLimit(gym.wrappers.MaxAndSkipObservation(env, 4), 50), None),
    ],
)
def test_episodes_are_as_long_as_those_of_training(wrap, length):
    env = DummyVecEnv([lambda: wrap(gym.make("Pendulum-v1"))])
    if length is None:
        with pytest.raises(ValueError, match=r"inside a TimeLimit, .* another time: give make_env"):
            like_training(env)
        return
    made = like_training(env)()
    made.reset(seed=0)
    assert next(step for step in range(1, 1000) if made.step(made.action_space.sample())[3]) == length


def test_what_an_entry_point_wraps_it_wraps_again():
    def skipping(**kwargs):
        return gym.wrappers.MaxAndSkipObservation(gym.make("Pendulum-v1", **kwargs).unwrapped, 4)

    gym.register("Skipping-v0", skipping, max_episode_steps=30)
    try:
        env = DummyVecEnv([lambda: gym.make("Skipping-v0")])
        assert [type(layer) for layer in layers_of(like_training(env)())] == [type(layer) for layer in layers_of(env.envs[0])]
    finally:
        gym.registry.pop("Skipping-v0")


def test_one_normalisation_is_known_and_no_second_one():
    env = VecNormalize(VecNormalize(make_vec_env("Pendulum-v1"), norm_reward=False), norm_obs=False)
    with pytest.raises(ValueError, match="Of two VecNormalize"):
        MODELS["stock TD3"](env).learn(5, CriticBiasCallback(horizon=5))


class Configured(PointEnv):
    def __init__(self, array):
        super().__init__()
        self.spec = gym.envs.registration.EnvSpec("Configured-v0", "none", kwargs={"array": array, "made": object()})


def test_environments_made_in_different_ways_are_not_taken_for_one():
    def pendulum(wrapper=lambda env: env, **kwargs):
        return lambda: wrapper(gym.make("Pendulum-v1", **kwargs))

    with pytest.raises(ValueError, match="environments are made in different ways: give make_env"):
        MODELS["stock TD3"](DummyVecEnv([pendulum(g=10.0), pendulum(g=1.0)])).learn(5, CriticBiasCallback(horizon=5))
    other = np.zeros(5000)
    other[2500] = 1
    with pytest.raises(ValueError, match="environments are made in different ways: give make_env"):
        like_training(DummyVecEnv([lambda array=array: Configured(array) for array in (np.zeros(5000), other)]))
    like_training(DummyVecEnv([lambda: Configured(np.zeros(5000)), lambda: Configured(np.zeros(5000))]))
    halved = [pendulum(lambda env: gym.wrappers.TransformReward(env, lambda reward: reward / 2)) for _ in range(2)]
    MODELS["stock TD3"](DummyVecEnv(halved)).learn(5, CriticBiasCallback(horizon=5, n_states=2))
    watched = [pendulum(gym.wrappers.RecordEpisodeStatistics), pendulum()]
    MODELS["stock TD3"](DummyVecEnv(watched)).learn(5, CriticBiasCallback(horizon=5, n_states=2))


class Halving(gym.RewardWrapper):
    def reward(self, reward):
        return reward / 2


def test_wrappers_are_made_again_or_named():
    env = make_vec_env("Pendulum-v1", wrapper_class=Halving)
    with pytest.raises(ValueError, match=r"wrappers that cannot be made again \(Halving\): give make_env"):
        TD3("MlpPolicy", env).learn(5, GradientAccuracyCallback())
    env = make_vec_env("Pendulum-v1", wrapper_class=gym.wrappers.RecordEpisodeStatistics)
    callback = GradientAccuracyCallback(horizon=5, **FEW)
    MODELS["stock TD3"](env).learn(5, callback)
    assert len(callback.records.rows) == 1


class Point(PointEnv):
    def reset_to(self, observation):
        self.state, self.t = np.array(observation, np.float32), 0


def test_what_only_watches_is_not_made_again(tmp_path):
    env = gym.wrappers.RecordVideo(gym.make("Pendulum-v1", render_mode="rgb_array"), str(tmp_path / "videos"))
    made = like_training(make_vec_env(lambda: gym.wrappers.RecordEpisodeStatistics(env)))()
    assert made.render_mode is None
    names = [type(layer).__name__ for layer in layers_of(made)]
    assert len(names) == 4  # gymnasium's own three, and the environment
    assert not {"RecordVideo", "RecordEpisodeStatistics", "Monitor"} & set(names)


def test_tasks_are_those_of_training():
    env = make_vec_env("PointGoal-v0", n_envs=2)
    model = TD3("MlpPolicy", env, policy_kwargs={"net_arch": [8]}, seed=0)
    reset_to_tasks(env, [{"goal": [0.6, 0.8]}] * 2)
    callback = CriticBiasCallback(eval_freq=10, n_states=2)
    model.learn(20, callback)
    assert [one.unwrapped.task for one in callback.branches.envs] == [{"goal": [0.6, 0.8]}] * 2
    reset_to_tasks(env, [{"goal": [0.6, 0.8]}, {"goal": [0.0, 1.0]}])
    with pytest.raises(ValueError, match="have different tasks: give make_env"):
        model.learn(20, CriticBiasCallback(eval_freq=10, n_states=2))


@pytest.mark.parametrize("wrap", [lambda env: env, lambda env: gym.wrappers.RescaleAction(env, -1, 1)])
def test_environments_must_be_new_ones(wrap):
    env = gym.make("Pendulum-v1")
    with pytest.raises(ValueError, match="make_env gave the same environment twice"):
        TD3("MlpPolicy", "Pendulum-v1").learn(5, CriticBiasCallback(lambda: wrap(env), n_states=2))


def test_a_callback_that_could_not_start_can_be_ended():
    callback = CriticBiasCallback(n_states=2)
    callback.init_callback(TD3("MlpPolicy", "Pendulum-v1"))
    callback.on_training_end()
    assert not callback.records.rows


@pytest.mark.parametrize("action_std", [0, -1, float("nan")])
def test_perturbations_must_have_a_size(action_std):
    with pytest.raises(ValueError, match="action_std must be a positive number"):
        GradientAccuracyCallback(action_std=action_std)


def test_states_of_the_replay_buffer():
    callback = GradientAccuracyCallback(Point, 30, states="replay", horizon=4, n_states=2, n_actions=8)
    model = TD3("MlpPolicy", make_vec_env(Point, seed=0), learning_starts=20, batch_size=8, seed=0)
    model.learn(40, callback)
    assert callback.records.columns()["timesteps"].tolist() == [20, 30]
    assert callback.records.columns()["env_steps"].tolist() == [2 * 9 * 4] * 2  # none to get there
    stored = model.replay_buffer.observations[:40, 0]
    for observation in callback.agent.stored_observations(50, np.random.default_rng(0)):
        assert any(np.array_equal(observation, row) for row in stored)


def test_a_model_without_its_replay_buffer_is_measured_when_it_has_one(tmp_path):
    kwargs = {"learning_starts": 20, "batch_size": 8, "policy_kwargs": {"preset": "slim"}}
    TD3("HyperPolicy", make_vec_env(Point), **kwargs).learn(30).save(tmp_path / "model")
    model = TD3.load(tmp_path / "model", env=make_vec_env(Point))
    callbacks = [
        DynamicWeightsCallback(20),
        GradientAccuracyCallback(Point, 20, states="replay", horizon=4, n_states=2, n_actions=8),
    ]
    model.learn(15, callbacks, reset_num_timesteps=False)
    for callback in callbacks:
        assert callback.records.columns()["timesteps"].tolist() == [31, 40]


def test_states_of_the_replay_buffer_need_an_environment_that_goes_there():
    model = MODELS["stock TD3"](make_vec_env("Pendulum-v1", seed=0))
    with pytest.raises(ValueError, match=r"PendulumEnv cannot go to .* no method reset_to\(observation\)"):
        model.learn(40, make_callback(states="replay"))
    with pytest.raises(ValueError, match="states must be 'rollouts' or 'replay', got 'all'"):
        make_callback(states="all")


def test_goals_and_dict_observations():
    def make_env():
        return gym.wrappers.TimeLimit(BitFlippingEnv(n_bits=3, continuous=True), 5)

    kwargs = {"replay_buffer_class": HerReplayBuffer, "learning_starts": 20, "batch_size": 8}
    model = SAC("HyperMultiInputPolicy", make_env(), policy_kwargs={"preset": "slim"}, seed=0, **kwargs)
    callback = GradientAccuracyCallback(make_env, eval_freq=30, horizon=4, n_states=2, n_actions=10)
    model.learn(40, callback)
    assert len(callback.records.rows) == 2


def test_what_cannot_be_measured_is_said():
    with pytest.raises(ValueError, match=r"critic of continuous actions is needed \(TD3, .*got PPO"):
        PPO("MlpPolicy", "Pendulum-v1", n_steps=8, batch_size=8).learn(8, make_callback())
    model = TD3("MlpPolicy", PointEnv())
    with pytest.raises(ValueError, match="not a registered one: give make_env"):
        model.learn(8, GradientAccuracyCallback())
    with pytest.raises(ValueError, match="has no time limit: give a horizon"):
        model.learn(8, GradientAccuracyCallback(PointEnv))
    for kwargs in ({"eval_freq": 0}, {"eval_freq": "1e4"}, {"n_states": 0}, {"n_states": 2.5}, {"n_actions": 3}):
        with pytest.raises(ValueError, match="must be a whole number of at least"):
            GradientAccuracyCallback(**kwargs)
    for callback in (CriticBiasCallback, GradientNormCallback):
        with pytest.raises(ValueError, match="must be a whole number of at least 1, got 0"):
            callback(**{"log_freq" if callback is GradientNormCallback else "n_states": 0})


def test_an_environment_that_shows_other_observations_is_refused_with_advice():
    env = VecFrameStack(make_vec_env(PointEnv), 2)
    model = TD3("MlpPolicy", env, device="cpu")
    with pytest.raises(ValueError, match=r"are not what the model reads .*\(1, 5\).*make_env.*VecFrameStack"):
        model.learn(1, GradientAccuracyCallback(lambda: gym.wrappers.TimeLimit(PointEnv(), 25)))


class GlobalRandomness(PointEnv):
    """Draws where it starts from numpy's global generator."""

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.state = np.random.normal(size=self.observation_space.shape).astype(np.float32)
        return self.state.copy(), {}


@pytest.mark.parametrize("make_callback", [GradientAccuracyCallback, CriticBiasCallback])
def test_environments_that_draw_from_the_global_generator_leave_no_trace(make_callback):
    weights = []
    few = {"n_actions": 8} if make_callback is GradientAccuracyCallback else {}
    for callback in (None, make_callback(GlobalRandomness, 20, n_states=2, horizon=4, **few)):
        env = make_vec_env(GlobalRandomness, seed=0)
        model = TD3("MlpPolicy", env, learning_starts=20, batch_size=8, seed=0, policy_kwargs={"net_arch": [8]})
        weights.append(model.learn(60, callback).policy.state_dict())
    assert all(th.equal(one, weights[1][key]) for key, one in weights[0].items())


def test_a_measurement_that_fails_leaves_no_trace_either():
    model = MODELS["stock TD3"](make_vec_env("Pendulum-v1", seed=0))
    callback = make_callback()
    callback.init_callback(model)
    model.policy.set_training_mode(True)

    def fail(rng):
        np.random.random()
        raise ArithmeticError

    callback._measure = fail
    before = np.random.get_state()[1].copy(), np.random.get_state()[2]
    with pytest.raises(ArithmeticError):
        callback.measure()
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])
    assert np.random.get_state()[2] == before[1]
    assert model.policy.training


class Stochastic(Bandits):
    """Rewards are noise, of which actions choose the part: no action is better than another."""

    def step(self, action):
        observation, _, *rest = super().step(action)
        return observation, float(self.np_random.normal(size=3) @ action), *rest


def test_noise_is_seen_in_the_noise_floor():
    agent = Agent(TD3("MlpPolicy", Stochastic(), seed=0))
    branches = LocalBranches(Stochastic, 30 * 16)
    accuracy = measure_accuracy(agent, branches, np.random.default_rng(0), 10, 30, 15)
    assert abs(accuracy.noise_floor.mean()) < 0.4
    assert accuracy.noise_floor.std() > 0.2


class Sparse(Bandits):
    """No action makes a difference."""

    def step(self, action):
        observation, _, _, truncated, info = super().step(action)
        return observation, -1.0, self.ends and truncated, truncated, info


@pytest.mark.parametrize("ends", [True, False])
def test_equal_returns_have_no_direction(ends, monkeypatch):
    monkeypatch.setattr(Sparse, "ends", ends, raising=False)
    model = TD3("MlpPolicy", Sparse(), seed=0)
    for critic in (model.critic, model.critic_target):
        th.nn.init.zeros_(critic.qf0[-1].weight)
        th.nn.init.zeros_(critic.qf1[-1].weight)
    accuracy = measure_accuracy(Agent(model), LocalBranches(Sparse, 10 * 16), np.random.default_rng(0), 10, 10, 15)
    for cosines in (accuracy.cosine, accuracy.self_cosine, accuracy.noise_floor, accuracy.value_correlation):
        assert np.isnan(cosines).all()
    summary = summarise(accuracy, 3)
    assert summary["gradient/states_without_direction"] == 10
    assert np.isnan(summary["gradient/cosine_ceiling"])


def test_the_ceiling_is_that_of_the_mean_floor():
    accuracy = measure(make_agent(TrueQ), action_std=1.0)
    summary = summarise(accuracy, 3)
    assert summary["gradient/cosine_ceiling"] == pytest.approx(ceiling(accuracy.noise_floor.mean()))


def test_few_actions_for_many_dimensions_are_warned_of():
    callback = GradientAccuracyCallback(eval_freq=100, horizon=2, n_states=1, n_actions=9)
    model = TD3("MlpPolicy", make_vec_env("Hopper-v5"), learning_starts=20, policy_kwargs={"net_arch": [8]})
    with pytest.warns(UserWarning, match=r"n_actions=9 are few for 3 action dimensions.* 10 would do") as warned:
        model.learn(5, callback)
    assert len(warned) == 1


class Unregistered(gym.Env):
    """Acts with a matrix, and never ends."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = gym.spaces.Box(np.float32([[0, -1], [-2, 3]]), np.float32([[1, 1], [2, 4]]))

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.x = 0.0
        return np.array([self.x], np.float32), {}

    def step(self, action):
        assert self.action_space.contains(action)
        self.x += float(action[0, 1])
        return np.array([self.x], np.float32), self.x, False, False, {}


def make_unregistered():
    return gym.wrappers.TimeLimit(Unregistered(), 12)


def test_the_time_limit_of_a_wrapper_counts_and_actions_may_be_matrices():
    model = TD3("MlpPolicy", make_unregistered(), learning_starts=5, batch_size=8, seed=0, policy_kwargs={"net_arch": [8]})
    callback = GradientAccuracyCallback(make_unregistered, 20, n_states=2, n_actions=12)
    model.learn(30, callback)
    assert callback.max_episode_steps == 12
    assert callback.records.columns()["rank"].tolist() == [[4, 4]] * 2
    observations = np.zeros((3, 1), np.float32)
    expected, _ = model.predict(observations, deterministic=True)
    np.testing.assert_array_equal(callback.agent.act(observations), expected)


def steps_of(folder, name="gradient_accuracy"):
    return {path.name: load_records(path)["timesteps"].tolist() for path in sorted(folder.glob(f"{name}*"))}


@pytest.mark.parametrize("settings", [{"n_states": 3}, {"action_std": 0.1}, {"horizon": 4}, {"seed": 1}])
def test_what_goes_on_with_other_settings_has_a_file_of_its_own(tmp_path, settings):
    model = MODELS["stock TD3"](make_vec_env("Pendulum-v1", seed=0))
    model.learn(30, make_callback(tmp_path, eval_freq=20))
    assert steps_of(tmp_path) == {"gradient_accuracy.npz": [0, 20]}
    with pytest.warns(UserWarning, match=r"gradient_accuracy\.npz was there before: it is gradient_accuracy-1\.npz now"):
        model.learn(30, make_callback(tmp_path, eval_freq=20, **settings), reset_num_timesteps=False)
    assert steps_of(tmp_path) == {"gradient_accuracy-1.npz": [0, 20], "gradient_accuracy.npz": [30, 40, 60]}
    model.learn(30, make_callback(tmp_path, eval_freq=20), reset_num_timesteps=False)  # finds its own
    assert steps_of(tmp_path) == {"gradient_accuracy-1.npz": [0, 20, 60, 80], "gradient_accuracy.npz": [30, 40, 60]}


def test_a_run_does_not_write_over_anothers_measurements(tmp_path):
    file = tmp_path / "gradient_accuracy.npz"
    contents = []
    for index, name in enumerate(("stock TD3", "stock SAC", "stock TD3")):
        with pytest.warns(UserWarning, match="was there before") if index else nullcontext():
            MODELS[name](make_vec_env("Pendulum-v1", seed=0)).learn(30, make_callback(tmp_path, eval_freq=20))
        contents.append(file.read_bytes())
    assert [(tmp_path / f"gradient_accuracy{suffix}.npz").read_bytes() for suffix in ("-1", "-2", "")] == contents


def test_two_callbacks_with_one_log_path_both_keep_what_they_measured(tmp_path):
    def both():
        return [
            CriticBiasCallback(lambda: gym.make("Pendulum-v1"), 20, 3, 5, log_path=tmp_path, deterministic=deterministic)
            for deterministic in (True, False)
        ]

    model = MODELS["stock SAC"](make_vec_env("Pendulum-v1", seed=0))
    with pytest.warns(UserWarning, match=r"critic_bias\.npz") as told:
        model.learn(30, one := both())
    assert "was there before: it is critic_bias-1.npz now" in str(told[0].message)
    assert "Another run or callback writes" in str(told[1].message)
    model.learn(30, two := both(), reset_num_timesteps=False)
    for first, second in zip(one, two, strict=True):
        kept = load_records(second.records.path)
        assert kept["timesteps"].tolist() == [0, 20, 40, 60]
        np.testing.assert_array_equal(kept["value"][:2], first.records.columns()["value"])


def test_a_file_without_a_mark_is_kept(tmp_path):
    model = MODELS["stock TD3"](make_vec_env("Pendulum-v1", seed=0)).learn(20)
    np.savez(tmp_path / "gradient_accuracy.npz", timesteps=[0], cosine=[[1.0]])
    (tmp_path / "gradient_accuracy-3.npz").write_text("no numbers")
    with pytest.warns(UserWarning, match="was there before"):
        model.learn(20, make_callback(tmp_path, eval_freq=20), reset_num_timesteps=False)
    assert load_records(tmp_path / "gradient_accuracy-1.npz")["cosine"] == [[1.0]]


def test_without_a_folder_measurements_are_in_memory_and_go_on_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, callback = MODELS["stock TD3"](make_vec_env("Pendulum-v1", seed=0)), make_callback(eval_freq=20)
    model.learn(30, callback)
    model.learn(30, callback, reset_num_timesteps=False)
    assert callback.records.path is None
    assert callback.records.columns()["timesteps"].tolist() == [0, 20, 40, 60]
    model.learn(10, callback)
    assert callback.records.columns()["timesteps"].tolist() == [0]


def test_a_loggers_folder_is_used_if_it_writes_files(tmp_path):
    model = MODELS["stock TD3"](make_vec_env("Pendulum-v1", seed=0))
    model.set_logger(configure(str(tmp_path), ["csv"]))
    model.learn(10, make_callback(eval_freq=20))
    model.logger.close()
    assert steps_of(tmp_path) == {"gradient_accuracy.npz": [0]}


def test_a_callback_that_did_not_start_measures_nothing_in_the_end(tmp_path):
    model = TD3("MlpPolicy", "Pendulum-v1", learning_starts=5, batch_size=8)
    model.learn(20)
    model.policy.critic.q_networks = th.nn.ModuleList()  # nothing to look at
    callback = DynamicWeightsCallback(log_path=tmp_path)
    callback.init_callback(model)
    with pytest.raises(ValueError, match="has no hypernetwork"):
        callback.on_training_start({}, {})
    callback.on_training_end()
    assert not list(tmp_path.iterdir())


class Quadratic(Bandits):
    """The reward is minus the squared action."""

    def step(self, action):
        observation, _, *rest = super().step(action)
        return observation, -float(np.square(action).sum()), *rest


def test_drawn_actions_are_followed_where_that_is_asked_for():
    model = SAC("MlpPolicy", Quadratic(), gamma=0.9, seed=0)
    for parameter in model.actor.parameters():  # a mean of 0, a standard deviation of 1 before the tanh
        th.nn.init.zeros_(parameter)
    squared = float(np.tanh(np.random.default_rng(0).normal(size=100_000)) ** 2 @ np.full(100_000, 1e-5))
    means = {}
    for deterministic in (True, False):
        agent = Agent(model, deterministic)
        agent.values = lambda observations, actions, target=False: np.zeros((2, len(observations)))  # nothing follows
        with th.random.fork_rng():
            th.manual_seed(0)
            bias = measure_bias(agent, LocalBranches(Quadratic, 200), np.random.default_rng(0), 10, 200)
        means[deterministic] = bias.policy_return.mean()
    assert means[True] == 0
    # after the first action, which is the mean one; from a state after t steps 9 - t follow, t uniform
    discounts = np.mean([sum(0.9**k for k in range(1, 10 - t)) for t in range(10)])
    assert means[False] == pytest.approx(-3 * squared * discounts, rel=0.1)


def test_measuring_drawn_actions_leaves_no_trace():
    weights = []
    for callbacks in (None, [make_callback(eval_freq=15, deterministic=False), bias_of_drawn_actions()]):
        model = MODELS["stock SAC"](make_vec_env("Pendulum-v1", seed=0)).learn(50, callbacks)
        weights.append(model.policy.state_dict())
    assert all(th.equal(one, weights[1][key]) for key, one in weights[0].items())
    accuracy, bias = callbacks
    repeated = make_callback(eval_freq=15, deterministic=False)
    MODELS["stock SAC"](make_vec_env("Pendulum-v1", seed=0)).learn(50, repeated)
    np.testing.assert_array_equal(repeated.records.columns()["policy_return"], accuracy.records.columns()["policy_return"])
    assert len(bias.records.rows) == 4


def bias_of_drawn_actions():
    return CriticBiasCallback(lambda: gym.make("Pendulum-v1"), 15, n_states=3, horizon=5, deterministic=False)


def test_gsde_draws_no_action_for_each_state():
    with pytest.raises(ValueError, match="only the deterministic policy"):
        Agent(SAC("MlpPolicy", "Pendulum-v1", use_sde=True), deterministic=False)


def test_a_critic_that_reads_a_latent_variable_is_refused():
    model = PEARL(
        "MlpPolicy", "PointGoal-v0", n_train_tasks=2, n_test_tasks=1, n_prior_steps=5, n_posterior_steps=5, buffer_size=100
    )
    with pytest.raises(
        ValueError, match="of observations and actions alone is needed; in PEARL, the critic reads obs, actions, z"
    ):
        Agent(model)


def test_parameters_may_have_a_gradient_in_some_steps_only():
    one, other = th.nn.Parameter(th.ones(2)), th.nn.Parameter(th.ones(3))
    callback = GradientNormCallback()
    callback.model = SimpleNamespace(num_timesteps=0)
    callback._norms["critic"], callback._sums["critic"] = [], []
    look, optimizer = callback._watch("critic"), th.optim.SGD([one, other], 0.1)
    for gradients in ((th.ones(2), None), (th.ones(2), th.ones(3)), (None, th.ones(3))):
        one.grad, other.grad = gradients
        look(optimizer, (), {})
    np.testing.assert_allclose(callback._norms["critic"], np.sqrt([2, 5, 3]), rtol=1e-6)
    assert [total.tolist() for total in callback._sums["critic"]] == [[2, 2], [2, 2, 2]]
