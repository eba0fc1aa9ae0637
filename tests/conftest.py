import os

import gymnasium as gym
import numpy as np
import pytest
import torch as th

os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that tests start: tests run side by side, one core each


@pytest.fixture(autouse=True)
def one_thread():
    """As the processes that they start."""
    th.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def folder_of_loggers(tmp_path_factory):
    """Stable-Baselines3's loggers make a folder each, by default where nobody removes it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SB3_LOGDIR", str(tmp_path_factory.mktemp("loggers")))
        yield


@pytest.fixture(autouse=True)
def narrow_mlp_large(request, monkeypatch):
    """MLP-Large at its own width costs seconds a step; its size is tested where it is counted."""
    if "full_size" not in request.keywords:
        monkeypatch.setattr("sb3_hyper.policies.critic_names.LARGE_WIDTHS", (60, 50))


def pytest_collection_modifyitems(items):
    if not th.cuda.is_available():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="needs CUDA"))


class PointEnv(gym.Env):
    """A point that is paid for staying near the origin: MuJoCo's shapes at no cost."""

    def __init__(self, observation_dim=5, action_dim=2, length=25):
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (observation_dim,), np.float32)
        self.action_space = gym.spaces.Box(-2, 2, (action_dim,), np.float32)
        self.length = length

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        self.state = self.np_random.normal(size=self.observation_space.shape).astype(np.float32)
        return self.state.copy(), {}

    def step(self, action):
        self.t += 1
        self.state[: len(action)] += 0.1 * action
        return self.state.copy(), -float(np.square(self.state).sum()), False, self.t >= self.length, {}


@pytest.fixture
def env():
    return PointEnv()
