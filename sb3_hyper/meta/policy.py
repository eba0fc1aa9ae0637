"""What the policies of learners of tasks have in common: they act for several tasks at once."""

from typing import Any

import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import PyTorchObs


def refuse_other_than_flat(name: str, observation_space: spaces.Space | None, action_space: spaces.Space | None) -> None:
    """
    :param name: Of what needs flat spaces.
    :param observation_space: Observation space.
    :param action_space: Action space.
    :raises ValueError: If one of them is not a Box with one axis.
    """
    for kind, space in (("observations", observation_space), ("actions", action_space)):
        if not isinstance(space, spaces.Box) or len(space.shape) != 1:
            raise ValueError(f"{name} needs flat Box {kind}, got {space}")


class TaskPolicy(BasePolicy):
    """
    A policy that acts for several tasks, one per environment, or for one.

    :param observation_space: Observation space, a flat Box.
    :param action_space: Action space, a flat Box.
    :param kwargs: Arguments of SB3's policies.
    :raises ValueError: If a space is another one.
    """

    def __init__(self, observation_space: spaces.Space, action_space: spaces.Box, **kwargs: Any) -> None:
        refuse_other_than_flat(type(self).__name__, observation_space, action_space)
        super().__init__(observation_space, action_space, squash_output=True, **kwargs)

    def act_for(self, n_tasks: int, obs: PyTorchObs) -> th.Tensor:
        """
        :param n_tasks: How many tasks the policy is ready for.
        :param obs: Observations.
        :return: They, grouped by tasks: ``(1, n, obs_dim)`` or ``(n, 1, obs_dim)``
        :raises ValueError: If there are other than one, or as many observations.
        """
        assert isinstance(obs, th.Tensor)
        if n_tasks not in (1, len(obs)):
            raise ValueError(
                f"The policy acts for {n_tasks} tasks, one per environment, and was given {len(obs)} observations: adapt() to "
                "as many environments as predict() is for"
            )
        return obs.float().unsqueeze(0 if n_tasks == 1 else 1)

    def forward(self, obs: th.Tensor, deterministic: bool = False) -> th.Tensor:
        """
        :param obs: Observations
        :param deterministic: The mode instead of a sample.
        :return: Actions in [-1, 1]
        """
        return self._predict(obs, deterministic)
