"""
Actor, action values and state values that depend on the latent task variable: perceptrons and hypernetworks.

All of them work on ``n_tasks`` groups of rows. What depends on the task alone, the weights that a hypernetwork makes of it,
is computed once per task.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch as th
import torch.nn.functional as F
from stable_baselines3.sac.policies import LOG_STD_MAX, LOG_STD_MIN
from torch import nn

from sb3_hyper.networks.hypernetwork import HyperNetwork
from sb3_hyper.networks.layers import EnsembleLinear
from sb3_hyper.networks.spec import HyperNetworkSpec
from sb3_hyper.policies.actors import LOG_STD_BOUND

N_CRITICS = 2
OUTPUT_BOUND = 3e-3  # of initial weights and biases in last layers
ACTOR_OUTPUT_BOUND = 1e-3
HIDDEN_BIAS = 0.1
CRITIC_METAS = ("obs", "z", "obs_z")


def append_task(rows: th.Tensor, z: th.Tensor) -> th.Tensor:
    """
    :param rows: ``(n_tasks, n, d)``
    :param z: ``(n_tasks, latent_dim)``
    :return: ``(n_tasks, n, d + latent_dim)``
    """
    return th.cat([rows, z.unsqueeze(1).expand(-1, rows.shape[1], -1)], dim=-1)


class Mlp(nn.Module):
    """
    A perceptron with ReLU that starts as in the PEARL authors' code: weights U(+-1/sqrt(fan_out)), since their fan-in is
    read from a transposed weight, hidden biases 0.1, last layer U(+-output_bound).

    :param sizes: Sizes from the input to the output.
    :param n_members: Size of an ensemble axis, or None.
    :param output_bound: Of initial weights and biases in the last layer.
    """

    def __init__(self, sizes: Sequence[int], n_members: int | None = None, output_bound: float = OUTPUT_BOUND) -> None:
        super().__init__()
        *hidden, output = [EnsembleLinear(*pair, n_members) for pair in itertools.pairwise(sizes)]
        self.hidden, self.output = nn.ModuleList(hidden), output
        with th.no_grad():
            for layer in hidden:
                bound = 1 / math.sqrt(layer.weight.shape[-1])
                layer.weight.uniform_(-bound, bound)
                layer.bias.fill_(HIDDEN_BIAS)
            output.weight.uniform_(-output_bound, output_bound)
            output.bias.uniform_(-output_bound, output_bound)

    def forward(self, x: th.Tensor) -> th.Tensor:
        """
        :param x: ``(n_tasks, n, in)``
        :return: ``(*members, n_tasks, n, out)``
        """
        groups, x = x.shape[:-1], x.flatten(0, -2)
        for layer in self.hidden:
            x = F.relu_(layer(x))
        return self.output(x).unflatten(-2, groups)


class Actor(nn.Module):
    """
    Mean and log standard deviation of a Gaussian that a tanh will squash.

    What an actor makes of the task alone is its *condition*: it stays as long as z stays.
    """

    def condition(self, z: th.Tensor) -> Any:
        """
        :param z: ``(n_tasks, latent_dim)``
        :return: What :meth:`evaluate` needs to know of the tasks.
        """
        raise NotImplementedError

    def evaluate(self, condition: Any, obs: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        """
        :param condition: What :meth:`condition` gave.
        :param obs: ``(n_tasks, n, obs_dim)``
        :return: Mean and log-std, ``(n_tasks, n, action_dim)`` each.
        """
        mean, log_std = self.outputs(condition, obs).chunk(2, dim=-1)
        return mean, log_std.clamp(LOG_STD_MIN, LOG_STD_MAX)

    def outputs(self, condition: Any, obs: th.Tensor) -> th.Tensor:
        """
        :param condition: What :meth:`condition` gave.
        :param obs: ``(n_tasks, n, obs_dim)``
        :return: ``(n_tasks, n, 2 * action_dim)``
        """
        raise NotImplementedError

    def forward(self, obs: th.Tensor, z: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        """
        :param obs: ``(n_tasks, n, obs_dim)``
        :param z: ``(n_tasks, latent_dim)``
        :return: Mean and log-std, ``(n_tasks, n, action_dim)`` each.
        """
        return self.evaluate(self.condition(z), obs)


class MlpActor(Actor):
    """
    A perceptron of observation and z.

    :param obs_dim: Size of the observation.
    :param latent_dim: Size of z.
    :param action_dim: Size of the action.
    :param widths: Widths of the hidden layers.
    """

    def __init__(self, obs_dim: int, latent_dim: int, action_dim: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.network = Mlp([obs_dim + latent_dim, *widths, 2 * action_dim], output_bound=ACTOR_OUTPUT_BOUND)

    def condition(self, z: th.Tensor) -> th.Tensor:
        """The latent variable itself."""
        return z

    def outputs(self, condition: th.Tensor, obs: th.Tensor) -> th.Tensor:
        """As in the parent."""
        return self.network(append_task(obs, condition))


class HyperActor(Actor):
    """
    A network of the observation whose weights are generated from z, once per task.

    :param obs_dim: Size of the observation.
    :param latent_dim: Size of z.
    :param action_dim: Size of the action.
    :param spec: The hypernetwork's architecture.
    """

    def __init__(self, obs_dim: int, latent_dim: int, action_dim: int, spec: HyperNetworkSpec) -> None:
        super().__init__()
        bounds = [spec.output_head_bound, LOG_STD_BOUND * spec.output_head_bound]
        self.hypernetwork = HyperNetwork(latent_dim, obs_dim, [action_dim, action_dim], spec, output_bounds=bounds)

    def condition(self, z: th.Tensor) -> Any:
        """The generated weights of each task."""
        return self.hypernetwork.generate(z)

    def outputs(self, condition: Any, obs: th.Tensor) -> th.Tensor:
        """As in the parent."""
        return self.hypernetwork.evaluate(condition, obs)


class MlpCritic(nn.Module):
    """
    Twin perceptrons of observation, action and z.

    :param obs_dim: Size of the observation.
    :param latent_dim: Size of z.
    :param action_dim: Size of the action.
    :param widths: Widths of the hidden layers.
    """

    def __init__(self, obs_dim: int, latent_dim: int, action_dim: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.network = Mlp([obs_dim + action_dim + latent_dim, *widths, 1], N_CRITICS)

    def forward(self, obs: th.Tensor, actions: th.Tensor, z: th.Tensor) -> th.Tensor:
        """
        :param obs: ``(n_tasks, n, obs_dim)``
        :param actions: ``(n_tasks, n, action_dim)``, in [-1, 1]
        :param z: ``(n_tasks, latent_dim)``
        :return: ``(2, n_tasks, n)``
        """
        return self.network(append_task(th.cat([obs, actions], dim=-1), z)).squeeze(-1)


class HyperCritic(nn.Module):
    """
    Twin action values whose weights are generated from the observation, from z, or from both.

    :param obs_dim: Size of the observation.
    :param latent_dim: Size of z.
    :param action_dim: Size of the action.
    :param spec: The hypernetworks' architecture.
    :param meta: What the weights are generated from. ``"obs"``, the paper's choice: z stands beside the action, and the
        encoder's gradient need not pass the primary network. ``"z"``: observation and action are the base variable, and
        the weights are generated once per task. ``"obs_z"``: from both, the action alone being the base variable.
    """

    def __init__(self, obs_dim: int, latent_dim: int, action_dim: int, spec: HyperNetworkSpec, meta: str = "obs") -> None:
        super().__init__()
        self.meta = meta
        sizes = {
            "obs": (obs_dim, action_dim + latent_dim),
            "z": (latent_dim, obs_dim + action_dim),
            "obs_z": (obs_dim + latent_dim, action_dim),
        }
        self.hypernetwork = HyperNetwork(*sizes[meta], 1, spec, N_CRITICS)

    def forward(self, obs: th.Tensor, actions: th.Tensor, z: th.Tensor) -> th.Tensor:
        """
        :param obs: ``(n_tasks, n, obs_dim)``
        :param actions: ``(n_tasks, n, action_dim)``, in [-1, 1]
        :param z: ``(n_tasks, latent_dim)``
        :return: ``(2, n_tasks, n)``
        """
        if self.meta == "z":
            return self.hypernetwork(z, th.cat([obs, actions], dim=-1)).squeeze(-1)
        if self.meta == "obs":
            meta, base = obs, append_task(actions, z)
        else:
            meta, base = append_task(obs, z), actions
        return self.hypernetwork(meta.flatten(0, 1), base.flatten(0, 1)).squeeze(-1).unflatten(1, obs.shape[:2])


class MlpValue(nn.Module):
    """
    A perceptron of observation and z.

    :param obs_dim: Size of the observation.
    :param latent_dim: Size of z.
    :param widths: Widths of the hidden layers.
    """

    def __init__(self, obs_dim: int, latent_dim: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.network = Mlp([obs_dim + latent_dim, *widths, 1])

    def forward(self, obs: th.Tensor, z: th.Tensor) -> th.Tensor:
        """
        :param obs: ``(n_tasks, n, obs_dim)``
        :param z: ``(n_tasks, latent_dim)``
        :return: ``(n_tasks, n)``
        """
        return self.network(append_task(obs, z)).squeeze(-1)


class HyperValue(nn.Module):
    """
    State values whose weights are generated from the observation, z being the base variable; or the reverse.

    :param obs_dim: Size of the observation.
    :param latent_dim: Size of z.
    :param spec: The hypernetwork's architecture.
    :param meta: ``"z"``: the weights are generated from z. Otherwise from the observation.
    """

    def __init__(self, obs_dim: int, latent_dim: int, spec: HyperNetworkSpec, meta: str = "obs") -> None:
        super().__init__()
        self.meta = meta
        sizes = (latent_dim, obs_dim) if meta == "z" else (obs_dim, latent_dim)
        self.hypernetwork = HyperNetwork(*sizes, 1, spec)

    def forward(self, obs: th.Tensor, z: th.Tensor) -> th.Tensor:
        """
        :param obs: ``(n_tasks, n, obs_dim)``
        :param z: ``(n_tasks, latent_dim)``
        :return: ``(n_tasks, n)``
        """
        if self.meta == "z":
            return self.hypernetwork(z, obs).squeeze(-1)
        rows = z.unsqueeze(1).expand(-1, obs.shape[1], -1).flatten(0, 1)
        return self.hypernetwork(obs.flatten(0, 1), rows).squeeze(-1).unflatten(0, obs.shape[:2])
