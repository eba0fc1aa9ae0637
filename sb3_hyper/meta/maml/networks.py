"""
Gaussian policies as functions of their parameters, which may be the same for all tasks or differ from task to task.

Parameters of T tasks are stacked: each has a leading axis of that length. The layers take stacked parameters as an ensemble
and evaluate all tasks by batched products.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch as th
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from sb3_hyper.networks.dynamic import DynamicWeights
from sb3_hyper.networks.hypernetwork import HyperNetwork
from sb3_hyper.networks.layers import EnsembleLinear
from sb3_hyper.networks.spec import HyperNetworkSpec

MIN_STD = 1e-6
LOG_TWO_PI = math.log(2 * math.pi)
Parameters = dict[str, th.Tensor]


class Gaussian(NamedTuple):
    """
    Normal distributions of actions, not squashed.

    :param mean: ``(n_tasks, n, action_dim)``
    :param log_std: ``(n_tasks, 1, action_dim)``
    """

    mean: th.Tensor
    log_std: th.Tensor

    def log_prob(self, actions: th.Tensor) -> th.Tensor:
        """
        :param actions: ``(n_tasks, n, action_dim)``
        :return: Log-densities, summed over the action's dimensions, ``(n_tasks, n)``
        """
        z = (actions - self.mean) / self.log_std.exp()
        return -(0.5 * z.square() + self.log_std + 0.5 * LOG_TWO_PI).sum(dim=-1)

    def divergence_from(self, other: "Gaussian") -> th.Tensor:
        """
        ``KL(self || other)``, summed over the action's dimensions.

        :param other: As many distributions.
        :return: ``(n_tasks, n)``
        """
        ratio = (self.mean - other.mean).square() + (2 * self.log_std).exp()
        return (other.log_std - self.log_std + 0.5 * ratio / (2 * other.log_std).exp() - 0.5).sum(dim=-1)

    def sample(self) -> th.Tensor:
        """
        :return: ``(n_tasks, n, action_dim)``
        """
        return self.mean + self.log_std.exp() * th.randn_like(self.mean)


class GaussianPolicy(nn.Module):
    """
    Mean and a learned log standard deviation that does not depend on the state and starts at 0.

    :param action_dim: Size of the action.
    """

    def __init__(self, action_dim: int) -> None:
        super().__init__()
        self.log_std = nn.Parameter(th.zeros(action_dim))

    def forward(self, obs: th.Tensor, context: th.Tensor | None, prepared: Any = None) -> Gaussian:
        """
        :param obs: ``(n_tasks, n, obs_dim)``
        :param context: ``(n_tasks, context_dim)``, or None
        :param prepared: What :meth:`prepare` made of the context, if that has been done before.
        :return: The distributions.
        """
        prepared = self.prepare(context) if prepared is None else prepared
        log_std = self.log_std.clamp(min=math.log(MIN_STD))
        log_std = log_std.expand(len(obs), -1) if log_std.dim() == 1 else log_std
        return Gaussian(self.mean(obs, prepared), log_std.unsqueeze(1))

    def prepare(self, context: th.Tensor | None) -> Any:
        """
        :param context: ``(n_tasks, context_dim)``, or None
        :return: All that can be computed before the first observation.
        """
        return context

    def mean(self, obs: th.Tensor, prepared: Any) -> th.Tensor:
        """
        :param obs: ``(n_tasks, n, obs_dim)``
        :param prepared: What :meth:`prepare` gave.
        :return: ``(n_tasks, n, action_dim)``
        """
        raise NotImplementedError


class GaussianMlp(GaussianPolicy):
    """
    A ReLU perceptron of the observation (vanilla MAML), or of observation and context (context MAML). Weights start
    Xavier-uniform, biases at zero.

    :param obs_dim: Size of the observation.
    :param context_dim: Size of the context, 0 for none.
    :param action_dim: Size of the action.
    :param widths: Widths of the hidden layers.
    """

    def __init__(self, obs_dim: int, context_dim: int, action_dim: int, widths: Sequence[int] = (100, 100)) -> None:
        super().__init__(action_dim)
        self.context_dim = context_dim
        sizes = [obs_dim + context_dim, *widths, action_dim]
        layers = [EnsembleLinear(*pair) for pair in itertools.pairwise(sizes)]
        self.layers = nn.ModuleList(layers)
        for layer in layers:
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def mean(self, obs: th.Tensor, prepared: th.Tensor | None) -> th.Tensor:
        """As in the parent."""
        x = obs
        if self.context_dim:
            assert prepared is not None
            x = th.cat([x, prepared.unsqueeze(1).expand(-1, x.shape[1], -1)], dim=-1)
        hidden: list[nn.Module]
        *hidden, output = self.layers
        stacked = output.weight.dim() == 3  # type: ignore[operator]
        x = x if stacked else x.flatten(0, 1)
        for layer in hidden:
            x = F.relu(layer(x))
        x = output(x)
        return x if stacked else x.unflatten(0, obs.shape[:2])


class GaussianHyper(GaussianPolicy):
    """
    A network of the observation whose weights are generated from the context, once per task. The log standard deviation is
    learned, not generated.

    :param obs_dim: Size of the observation.
    :param context_dim: Size of the context.
    :param action_dim: Size of the action.
    :param spec: The hypernetwork's architecture.
    """

    def __init__(self, obs_dim: int, context_dim: int, action_dim: int, spec: HyperNetworkSpec) -> None:
        super().__init__(action_dim)
        self.hypernetwork = HyperNetwork(context_dim, obs_dim, action_dim, spec)

    def prepare(self, context: th.Tensor | None) -> DynamicWeights:
        """The generated weights."""
        assert context is not None
        weight: th.Tensor = self.hypernetwork.primary.layers[0].weight  # type: ignore[assignment]
        # with stacked parameters, each task's hypernetwork has one context
        return self.hypernetwork.generate(context if weight.dim() == 2 else context.unsqueeze(1))

    def mean(self, obs: th.Tensor, prepared: DynamicWeights) -> th.Tensor:
        """As in the parent."""
        if prepared[0].bias.dim() == 2:
            return self.hypernetwork.evaluate(prepared, obs)
        return self.hypernetwork.evaluate(prepared, obs.unsqueeze(1)).squeeze(1)


class _Preparation(nn.Module):
    def __init__(self, policy: GaussianPolicy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, context: th.Tensor | None) -> Any:
        return self.policy.prepare(context)


def stack(module: nn.Module, n_tasks: int) -> Parameters:
    """
    :param module: A network.
    :param n_tasks: Number of tasks.
    :return: Its parameters, the same for each task, ``(n_tasks, ...)``; views that carry the gradient to it.
    """
    return {name: parameter.expand(n_tasks, *parameter.shape) for name, parameter in module.named_parameters()}


def evaluate(module: GaussianPolicy, parameters: Parameters, obs: th.Tensor, context: th.Tensor | None) -> Gaussian:
    """
    All tasks by batched products.

    :param module: The network.
    :param parameters: Stacked parameters.
    :param obs: ``(n_tasks, n, obs_dim)``
    :param context: ``(n_tasks, context_dim)``, or None
    :return: The distributions.
    """
    return functional_call(module, parameters, (obs, context))


def prepared(module: GaussianPolicy, parameters: Parameters, context: th.Tensor | None) -> Callable[[th.Tensor], Gaussian]:
    """
    For acting: what depends on the task alone is computed once.

    :param module: The network.
    :param parameters: Stacked parameters.
    :param context: ``(n_tasks, context_dim)``, or None
    :return: Maps observations ``(n_tasks, n, obs_dim)`` to distributions.
    """
    with th.no_grad():
        own = {f"policy.{name}": value for name, value in parameters.items()}
        ready = functional_call(_Preparation(module), own, (context,))

    @th.no_grad()
    def act(obs: th.Tensor) -> Gaussian:
        return functional_call(module, parameters, (obs, context, ready), tie_weights=False)

    return act


def evaluate_by_loop(module: GaussianPolicy, parameters: Parameters, obs: th.Tensor, context: th.Tensor | None) -> Gaussian:
    """
    Task after task. The parameters are those of :func:`evaluate`.

    :param module: The network.
    :param parameters: Stacked parameters.
    :param obs: ``(n_tasks, n, obs_dim)``
    :param context: ``(n_tasks, context_dim)``, or None
    :return: The distributions.
    """
    results = []
    for task in range(len(obs)):
        own = {name: parameter[task] for name, parameter in parameters.items()}
        own_context = None if context is None else context[task : task + 1]
        results.append(functional_call(module, own, (obs[task : task + 1], own_context)))
    return Gaussian(*(th.cat(parts) for parts in zip(*results, strict=True)))


def evaluate_by_vmap(module: GaussianPolicy, parameters: Parameters, obs: th.Tensor, context: th.Tensor | None) -> Gaussian:
    """
    By ``torch.vmap``. The parameters are those of :func:`evaluate`.

    :param module: The network.
    :param parameters: Stacked parameters.
    :param obs: ``(n_tasks, n, obs_dim)``
    :param context: ``(n_tasks, context_dim)``, or None
    :return: The distributions.
    """

    def one(parameters: Mapping[str, th.Tensor], obs: th.Tensor, context: th.Tensor | None) -> tuple[th.Tensor, th.Tensor]:
        own_context = None if context is None else context.unsqueeze(0)
        result = functional_call(module, dict(parameters), (obs.unsqueeze(0), own_context))
        return result.mean.squeeze(0), result.log_std.squeeze(0)

    in_dims = (0, 0, None if context is None else 0)
    return Gaussian(*th.vmap(one, in_dims=in_dims)(parameters, obs, context))


BACKENDS = {"batched": evaluate, "vmap": evaluate_by_vmap, "loop": evaluate_by_loop}
