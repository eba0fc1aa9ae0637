"""MAML's policies."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.preprocessing import get_action_dim, get_flattened_obs_dim
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import nn

from sb3_hyper.meta.maml.networks import Gaussian, GaussianHyper, GaussianMlp, Parameters, evaluate
from sb3_hyper.meta.policy import TaskPolicy
from sb3_hyper.networks.spec import HyperNetworkSpec, positive_number, resolve_spec

NET_ARCH = (100, 100)  # the paper's perceptrons


class MAMLPolicy(TaskPolicy):
    """
    A Gaussian perceptron (``"MlpPolicy"``): of the observation, or of observation and context.

    Actions are drawn without squashing, divided by ``action_scale``, clipped to [-1, 1] and scaled to the action space.

    ``predict`` acts with the parameters themselves (for a context of zeros, if the policy reads one), or with those that
    :meth:`MAML.adapt` has made of them for each environment; these are part of the ``state_dict``.

    :param observation_space: Observation space, a flat Box.
    :param action_space: Action space, a Box.
    :param lr_schedule: Learning rate schedule of the outer optimizer, which ProMP uses.
    :param net_arch: Widths of the hidden layers.
    :param context_dim: Size of the context, 0 for none; :class:`MAML` sets it.
    :param action_scale: What the policy gives for the largest action. ProMP's and others' code has 10: with the initial
        standard deviation of 1, exploration is a tenth of the range.
    :param optimizer_class: The outer optimizer.
    :param optimizer_kwargs: Its arguments, but the learning rate.
    """

    needs_context = False
    default_inner_learning_rate = 0.1

    network: GaussianMlp | GaussianHyper

    set_by_learner: ClassVar = {"context_dim"}  # not to be offered to who gives policy_kwargs

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Box,
        lr_schedule: Schedule,
        net_arch: Sequence[int] = NET_ARCH,
        context_dim: int = 0,
        action_scale: float = 1.0,
        optimizer_class: type[th.optim.Optimizer] = th.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
    ) -> None:
        positive_number("action_scale", action_scale)
        super().__init__(observation_space, action_space, optimizer_class=optimizer_class, optimizer_kwargs=optimizer_kwargs)
        self.net_arch, self.context_dim, self.action_scale = list(net_arch), context_dim, action_scale
        self.network = self.make_network(get_flattened_obs_dim(observation_space), get_action_dim(action_space))
        self.optimizer = optimizer_class(self.network.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)  # type: ignore[call-arg]
        self.adapted: Parameters | None = None
        self.context: th.Tensor | None = None

    def make_network(self, obs_dim: int, action_dim: int) -> GaussianMlp | GaussianHyper:
        """
        :param obs_dim: Size of the observation.
        :param action_dim: Size of the action.
        :return: The policy's network.
        """
        return GaussianMlp(obs_dim, self.context_dim, action_dim, self.net_arch)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {
            "observation_space": self.observation_space,
            "action_space": self.action_space,
            "lr_schedule": self._dummy_schedule,
            "net_arch": self.net_arch,
            "context_dim": self.context_dim,
            "action_scale": self.action_scale,
            "optimizer_class": self.optimizer_class,
            "optimizer_kwargs": self.optimizer_kwargs,
        }

    def set_adapted(self, adapted: Parameters | None, context: th.Tensor | None) -> None:
        """
        Act with these parameters from now on.

        :param adapted: Stacked parameters of the tasks; None: the policy's own.
        :param context: ``(n_tasks, context_dim)``, or None.
        """
        self.adapted, self.context = adapted, context

    def unscale(self, actions: np.ndarray) -> np.ndarray:
        """
        :param actions: As the policy draws them.
        :return: As the environment takes them.
        """
        return self.unscale_action(np.clip(actions / self.action_scale, -1, 1).astype(np.float32))

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> th.Tensor:
        n_tasks = len(next(iter(self.adapted.values()))) if self.adapted else 1 if self.context is None else len(self.context)
        obs = self.act_for(n_tasks, observation)
        context = self.context
        if self.context_dim and context is None:
            context = th.zeros(n_tasks, self.context_dim, device=obs.device)
        policy: Gaussian = evaluate(self.network, self.adapted, obs, context) if self.adapted else self.network(obs, context)
        actions = policy.mean if deterministic else policy.sample()
        return (actions.flatten(0, 1) / self.action_scale).clamp(-1, 1)

    def get_extra_state(self) -> dict[str, th.Tensor]:
        """
        :return: Adapted parameters and context.
        """
        state = {} if self.context is None else {"context": self.context}
        return state | {f"adapted.{name}": value for name, value in (self.adapted or {}).items()}

    def set_extra_state(self, state: dict[str, th.Tensor]) -> None:
        """
        :param state: What :meth:`get_extra_state` gave.
        """
        state = {name: value.to(self.device) for name, value in state.items()}
        context = state.pop("context", None)
        self.set_adapted({name.removeprefix("adapted."): value for name, value in state.items()} or None, context)

    def _apply(self, fn: Any, recurse: bool = True) -> nn.Module:
        super()._apply(fn, recurse)
        adapted = {name: fn(value) for name, value in self.adapted.items()} if self.adapted else None
        self.set_adapted(adapted, None if self.context is None else fn(self.context))
        return self


class HyperMAMLPolicy(MAMLPolicy):
    """
    Hyper-MAML (``"HyperPolicy"``): the weights of a network of the observation are generated from the task's context, once
    per task. All parameters of the hypernetwork are adapted; the log standard deviation is one of them and not generated.

    :param args: As in the parent.
    :param preset: ``"slim"``, ``"paper"``, or a :class:`~sb3_hyper.networks.spec.HyperNetworkSpec`.
    :param network_kwargs: Changes to the preset.
    :param kwargs: As in the parent.
    """

    needs_context = True
    default_inner_learning_rate = 5e-5

    def __init__(
        self,
        *args: Any,
        preset: str | HyperNetworkSpec = "slim",
        network_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.spec = resolve_spec(preset, network_kwargs)
        super().__init__(*args, **kwargs)
        if tuple(self.net_arch) != NET_ARCH:
            warnings.warn("net_arch is for perceptrons: sizes of hypernetworks are preset and network_kwargs", stacklevel=2)

    def make_network(self, obs_dim: int, action_dim: int) -> GaussianHyper:
        """As in the parent."""
        if self.context_dim < 1:
            raise ValueError("Hyper-MAML needs a context: context_dim must be positive")
        return GaussianHyper(obs_dim, self.context_dim, action_dim, self.spec)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "preset": self.spec}
