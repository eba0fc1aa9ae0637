import gymnasium as gym
import numpy as np
import pytest
import torch as th
from sb3_contrib import TQC
from stable_baselines3 import SAC, TD3, HerReplayBuffer
from stable_baselines3.common.callbacks import CallbackList, CheckpointCallback, EvalCallback, StopTrainingOnMaxEpisodes
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import BitFlippingEnv, FakeImageEnv, SimpleMultiObsEnv
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_hyper.diagnostics.callbacks import LearningRateCallback
from tests.conftest import PointEnv

ALGORITHMS = [TD3, SAC, TQC]
MUJOCO = ["HalfCheetah-v5", "Hopper-v5", "Walker2d-v5", "Ant-v5", "PaperAnt-v4"]


def make_model(algorithm, env, policy="HyperPolicy", policy_kwargs=None, **kwargs):
    policy_kwargs = {"preset": "slim", "net_arch": [16], **(policy_kwargs or {})}
    return algorithm(policy, env, policy_kwargs=policy_kwargs, **{"learning_starts": 20, "batch_size": 8, "seed": 0, **kwargs})


def finite(model):
    return all(th.isfinite(parameter).all() for parameter in model.policy.parameters())


@pytest.mark.parametrize("env_id", MUJOCO)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_runs_on_mujoco(algorithm, env_id):
    noise = NormalActionNoise(np.zeros(6), 0.1 * np.ones(6)) if env_id == "HalfCheetah-v5" else None
    model = make_model(algorithm, env_id, action_noise=noise).learn(40)
    assert finite(model)
    assert np.isfinite(evaluate_policy(model, model.get_env(), n_eval_episodes=1)[0])


@pytest.mark.parametrize("n_critics", [1, 2, 3])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_any_number_of_critics(env, algorithm, n_critics):
    model = make_model(algorithm, env, policy_kwargs={"n_critics": n_critics}).learn(30)
    assert model.critic.n_critics == n_critics
    assert finite(model)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_target_follows_the_critic(env, algorithm):
    model = make_model(algorithm, env, tau=0.5).learn(20)
    before = [parameter.clone() for parameter in model.critic_target.parameters()]
    model.train(gradient_steps=2, batch_size=8)
    for old, target, online in zip(before, model.critic_target.parameters(), model.critic.parameters(), strict=True):
        assert not th.equal(target, online)
        assert not th.equal(target, old)
        assert (target - online).norm() < (old - online).norm()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_n_step_returns(env, algorithm):
    assert finite(make_model(algorithm, env, n_steps=3).learn(40))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_several_environments(algorithm):
    vec_env = make_vec_env(PointEnv, n_envs=3)
    assert finite(make_model(algorithm, vec_env, train_freq=1, gradient_steps=-1).learn(60))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_vec_normalize(algorithm):
    vec_env = VecNormalize(make_vec_env(PointEnv, n_envs=2))
    model = make_model(algorithm, vec_env).learn(60)
    assert model.get_vec_normalize_env() is vec_env
    assert finite(model)


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_images(algorithm, share):
    env = FakeImageEnv(screen_height=40, screen_width=40, n_channels=1, discrete=False)
    policy_kwargs = {"share_features_extractor": share, "features_extractor_kwargs": {"features_dim": 12}}
    model = make_model(algorithm, env, "HyperCnnPolicy", policy_kwargs, buffer_size=100).learn(30)
    assert (model.critic.features_extractor is model.actor.features_extractor) is share
    assert model.critic.q_network.meta_dim == 12
    assert finite(model)


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_dict_observations(algorithm, share):
    env = SimpleMultiObsEnv(random_start=False, discrete_actions=False, channel_last=False)
    policy_kwargs = {"share_features_extractor": share, "features_extractor_kwargs": {"cnn_output_dim": 12}}
    model = make_model(algorithm, env, "HyperMultiInputPolicy", policy_kwargs, buffer_size=100).learn(30)
    assert finite(model)
    model.predict(env.observation_space.sample())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_hindsight_experience_replay(algorithm):
    env = BitFlippingEnv(n_bits=3, continuous=True)
    model = make_model(algorithm, env, "HyperMultiInputPolicy", replay_buffer_class=HerReplayBuffer).learn(60)
    assert finite(model)


@pytest.mark.parametrize("critic", ["sa_hyper", "mlp"])
def test_state_dependent_exploration(env, critic):
    model = make_model(SAC, env, policy_kwargs={"critic": critic}, use_sde=True, use_sde_at_warmup=True).learn(60)
    assert model.actor.use_sde
    assert finite(model)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("shape", [(3,), (2, 3)])
def test_action_spaces_of_any_shape_and_scale(algorithm, shape):
    class Env(PointEnv):
        def __init__(self):
            super().__init__(observation_dim=6)
            self.action_space = gym.spaces.Box(-0.3, 5.0, shape, np.float32)

        def step(self, action):
            assert self.action_space.contains(action)
            return super().step(action.flatten())

    model = make_model(algorithm, Env()).learn(30)
    assert model.predict(np.zeros(6, np.float32))[0].shape == shape


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    "observation_space",
    [gym.spaces.Discrete(4), gym.spaces.MultiDiscrete([3, 2]), gym.spaces.MultiBinary(3)],
    ids=lambda space: type(space).__name__,
)
def test_other_observation_spaces(algorithm, observation_space):
    class Env(PointEnv):
        def __init__(self):
            super().__init__()
            self.observation_space = observation_space

        def reset(self, seed=None, options=None):
            self.t = 0
            return self.observation_space.sample(), {}

        def step(self, action):
            self.t += 1
            return self.observation_space.sample(), 0.0, False, self.t >= 10, {}

    assert finite(make_model(algorithm, Env()).learn(30))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_modes(env, algorithm):
    model = make_model(algorithm, env).learn(30)
    model.train(gradient_steps=1, batch_size=8)
    assert model.actor.training
    assert model.critic.training
    assert not model.critic_target.training
    model.predict(np.zeros(5, np.float32))
    assert not model.actor.training
    assert not model.critic.training


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_equal_seeds_give_equal_agents(algorithm):
    first, second = (make_model(algorithm, PointEnv(), seed=4).learn(60).policy.state_dict() for _ in range(2))
    other = make_model(algorithm, PointEnv(), seed=5).learn(60).policy.state_dict()
    assert all(th.equal(first[name], second[name]) for name in first)
    assert not all(th.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_callbacks(algorithm, tmp_path):
    callbacks = CallbackList(
        [
            CheckpointCallback(20, str(tmp_path), save_replay_buffer=True),
            EvalCallback(DummyVecEnv([PointEnv]), eval_freq=25, n_eval_episodes=1, log_path=str(tmp_path), warn=False),
            StopTrainingOnMaxEpisodes(3),
            LearningRateCallback(),
        ]
    )
    model = make_model(algorithm, PointEnv(length=25)).learn(1000, callback=callbacks)
    assert model.num_timesteps == 75
    assert (tmp_path / "evaluations.npz").is_file()
    assert (tmp_path / "rl_model_60_steps.zip").is_file()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_torch_compile(env, algorithm):
    model = make_model(algorithm, env)
    model.policy = th.compile(model.policy, backend="eager")
    assert finite(model.learn(30))
