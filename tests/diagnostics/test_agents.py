"""What an agent tells of observations that its replay buffer keeps in another shape than environments give them."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3 import TD3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from sb3_hyper.diagnostics.agents import Agent
from sb3_hyper.diagnostics.callbacks import DynamicWeightsCallback, GradientAccuracyCallback
from sb3_hyper.networks import HyperNetworkSpec

SMALL = HyperNetworkSpec(widths=(8,), n_blocks=1, dynamic_widths=(6,))
VECTOR = spaces.Box(-1, 1, (2,), np.float32)
IMAGE = spaces.Box(0, 255, (36, 40, 3), np.uint8)  # which SB3 stores with its channels first
SPACES = {
    "Discrete": spaces.Discrete(4),
    "MultiDiscrete": spaces.MultiDiscrete([3, 4]),
    "MultiBinary": spaces.MultiBinary((2, 3)),
    "Dict, the Discrete part first": spaces.Dict({"a": spaces.Discrete(4), "b": VECTOR}),
    "Dict, the Discrete part last": spaces.Dict({"a": VECTOR, "b": spaces.Discrete(4)}),
    "Dict with an image": spaces.Dict({"a": spaces.Discrete(4), "b": IMAGE}),
    "image": IMAGE,
}


class Showing(gym.Env):
    """Shows anything of its space, and pays for the action."""

    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, space):
        self.observation_space = space
        self.gone_to = []

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        return self.show(), {}

    def step(self, action):
        return self.show(), float(action[0]), False, False, {}

    def show(self):
        self.observation_space.seed(int(self.np_random.integers(2**31)))
        return self.observation_space.sample()

    def reset_to(self, observation):
        self.gone_to.append(observation)


def make_model(space, wrap=lambda env: env):
    policy = {"image": "HyperCnnPolicy"}.get(space, "HyperMultiInputPolicy" if space.startswith("Dict") else "HyperPolicy")
    kwargs = {"features_dim": 4} if space == "image" else {"cnn_output_dim": 4} if space == "Dict with an image" else {}
    policy_kwargs = {"preset": SMALL, "features_extractor_kwargs": kwargs, "net_arch": [8]}
    env = wrap(make_vec_env(lambda: make_env(space), n_envs=2, seed=0))
    arguments = {"learning_starts": 10, "batch_size": 8, "buffer_size": 100, "seed": 0}
    return TD3(policy, env, policy_kwargs=policy_kwargs, **arguments)


def make_env(space):
    return gym.wrappers.TimeLimit(Showing(SPACES[space]), 10)


@pytest.mark.parametrize("space", SPACES)
def test_stored_observations_are_the_environments(space):
    model = make_model(space).learn(20)
    for observation in Agent(model).stored_observations(30, np.random.default_rng(0)):
        assert model.observation_space.contains(observation)


@pytest.mark.parametrize("space", SPACES)
def test_all_kinds_of_observations_can_be_measured_from_the_replay_buffer(space):
    accuracy = GradientAccuracyCallback(lambda: make_env(space), 10, n_states=2, n_actions=6, states="replay")
    weights = DynamicWeightsCallback(10, n_states=5)
    make_model(space).learn(30, [accuracy, weights])
    assert len(accuracy.records.rows) == len(weights.records.rows) == 3
    if "image" not in space:
        for env in accuracy.branches.envs[:2]:
            assert env.unwrapped.gone_to
            assert all(SPACES[space].contains(observation) for observation in env.unwrapped.gone_to)


def test_what_is_normalised_beside_a_discrete_part_is_normalised_once():
    model = make_model("Dict, the Discrete part first", lambda env: VecNormalize(env, norm_obs_keys=["b"]))
    callback = DynamicWeightsCallback(10, n_states=5)
    model.learn(30, callback)
    assert len(callback.records.rows) == 3
    for observation in Agent(model).stored_observations(30, np.random.default_rng(0)):
        assert model.observation_space.contains(observation)
