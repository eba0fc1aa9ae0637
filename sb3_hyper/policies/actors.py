"""
Actors whose weights are generated from a context: the part of an observation that says what is to be done, a goal or a
task (Sec. 4.2 of the paper). The context is the meta variable, the rest of the observation the base variable.
"""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
import sb3_contrib.tqc.policies as tqc
import stable_baselines3.sac.policies as sac
import stable_baselines3.td3.policies as td3
import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import get_action_dim, get_flattened_obs_dim
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, CombinedExtractor, FlattenExtractor
from stable_baselines3.common.type_aliases import PyTorchObs

from sb3_hyper.networks.context import ContextColumns
from sb3_hyper.networks.hypernetwork import HyperNetwork
from sb3_hyper.networks.spec import HyperNetworkSpec

ACTORS = ("mlp", "hyper")
# Of the log-std's heads, relative to the mean's, as in the paper's PEARL policy: where the spec's bounds count
LOG_STD_BOUND = 0.001 / 0.008


def context_columns(
    observation_space: spaces.Space,
    features_extractor_class: type[BaseFeaturesExtractor],
    features_extractor_kwargs: dict[str, Any],
    context_keys: Sequence[str] | None,
    context_slice: Sequence[int] | None,
) -> list[int] | None:
    """
    Find the context in what a features extractor gives.

    :param observation_space: Observation space.
    :param features_extractor_class: The features extractor.
    :param features_extractor_kwargs: Its arguments.
    :param context_keys: Keys of a Dict observation.
    :param context_slice: Start and end of the context in a flat observation.
    :return: Indices of features; None if neither is given.
    :raises ValueError: If the observation has no such part, or the extractor does not keep it apart.
    """
    if context_keys is None and context_slice is None:
        return None
    if context_keys is not None and context_slice is not None:
        raise ValueError("Give context_keys (Dict observations) or context_slice (flat ones), not both")
    if isinstance(observation_space, spaces.Dict):
        if context_keys is None:
            raise ValueError("context_slice is for flat observations; with Dict observations give context_keys")
        return _columns_of_keys(observation_space, features_extractor_class, features_extractor_kwargs, context_keys)
    if context_slice is None:
        raise ValueError("context_keys is for Dict observations; with flat ones give context_slice=(start, end)")
    if features_extractor_class is not FlattenExtractor:
        raise ValueError(f"context_slice needs FlattenExtractor, got {features_extractor_class.__name__}")
    n_features = get_flattened_obs_dim(observation_space)
    if isinstance(context_slice, (str, range)) or not isinstance(context_slice, (Sequence, np.ndarray)):
        raise ValueError(f"context_slice must be (start, end), two whole numbers, got {context_slice!r}")
    bounds = list(context_slice)
    if any(isinstance(bound, bool) or not isinstance(bound, Integral) for bound in bounds):
        raise ValueError(f"context_slice must be (start, end), two whole numbers, got {context_slice!r}")
    if len(bounds) != 2 or not 0 <= bounds[0] < bounds[1] <= n_features or bounds[1] - bounds[0] == n_features:
        raise ValueError(
            f"context_slice must be (start, end) with 0 <= start < end <= {n_features}, and leave the actor something to "
            f"read: got {context_slice!r}"
        )
    return list(range(*bounds))


def _columns_of_keys(
    observation_space: spaces.Dict,
    features_extractor_class: type[BaseFeaturesExtractor],
    features_extractor_kwargs: dict[str, Any],
    context_keys: Sequence[str],
) -> list[int]:
    if features_extractor_class is not CombinedExtractor:
        raise ValueError(f"context_keys needs CombinedExtractor, got {features_extractor_class.__name__}")
    keys = [context_keys] if isinstance(context_keys, str) else list(context_keys)
    unknown = [key for key in keys if key not in observation_space.spaces]
    if unknown or not keys or len(keys) == len(observation_space.spaces):
        raise ValueError(
            f"context_keys must be some, not all, of {', '.join(map(repr, observation_space.spaces))}, got {keys}"
        )
    columns, start = {}, 0
    with th.device("meta"):  # the extractor tells what it makes of each key; nothing is allocated or drawn
        extractor = CombinedExtractor(observation_space, **features_extractor_kwargs)
    for key, part in extractor.extractors.items():
        size = getattr(part, "features_dim", None) or get_flattened_obs_dim(observation_space.spaces[key])
        columns[key] = range(start, start + size)
        start += size
    return [column for key in keys for column in columns[key]]


class HyperActor(BasePolicy):
    """
    What context actors of all algorithms have in common.

    :param context: Indices of the context's features.
    :param spec: The hypernetwork's architecture.
    :param kwargs: The arguments of the algorithm's own actor.
    """

    features_dim: int
    net_arch: list[int]
    n_outputs = 1  # per action: its mean, perhaps its log-std

    def __init__(self, context: Sequence[int], spec: HyperNetworkSpec, **kwargs: Any) -> None:
        net_arch = kwargs.pop("net_arch")
        super().__init__(net_arch=[], **kwargs)
        self.net_arch = net_arch  # unused, but what the policy was made with
        for name in ("mu", "latent_pi", "log_std"):  # the parent's perceptron
            if hasattr(self, name):
                delattr(self, name)
        self.context, self.spec = list(context), spec
        self.columns = ContextColumns(self.features_dim, self.context)
        action_dim = get_action_dim(self.action_space)
        bounds = [spec.output_head_bound, LOG_STD_BOUND * spec.output_head_bound]
        self.hypernetwork = HyperNetwork(
            len(self.context),
            self.features_dim - len(self.context),
            [action_dim] * self.n_outputs,
            spec,
            output_bounds=bounds[: self.n_outputs],
        )

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "context": self.context, "spec": self.spec}

    def generated(self, obs: PyTorchObs) -> th.Tensor:
        """
        :param obs: Observations
        :return: Outputs of the generated network, ``(batch, n_outputs * action_dim)``
        """
        context, rest = self.columns(self.extract_features(obs, self.features_extractor))
        return self.hypernetwork(context, rest)


class HyperTD3Actor(HyperActor, td3.Actor):
    """TD3's and DDPG's actor, its weights generated from a context; arguments: :class:`HyperActor`."""

    def forward(self, obs: PyTorchObs) -> th.Tensor:
        """
        :param obs: Observations
        :return: Actions in [-1, 1], ``(batch, action_dim)``
        """
        return th.tanh(self.generated(obs))


class _GaussianHyperActor(HyperActor):
    n_outputs = 2

    def __init__(self, context: Sequence[int], spec: HyperNetworkSpec, **kwargs: Any) -> None:
        if kwargs.get("use_sde", False):
            raise ValueError('gSDE (use_sde=True) explores in a perceptron\'s features: it cannot be used with actor="hyper"')
        super().__init__(context, spec, **kwargs)

    def get_action_dist_params(self, obs: PyTorchObs) -> tuple[th.Tensor, th.Tensor, dict[str, th.Tensor]]:
        """
        :param obs: Observations
        :return: Mean and log-std before squashing, ``(batch, action_dim)`` each, and no further arguments
        """
        mean, log_std = self.generated(obs).chunk(2, dim=-1)
        return mean, log_std.clamp(sac.LOG_STD_MIN, sac.LOG_STD_MAX), {}


class HyperSACActor(_GaussianHyperActor, sac.Actor):
    """SAC's actor: mean and log-std share the generated hidden layer; arguments: :class:`HyperActor`."""


class HyperTQCActor(_GaussianHyperActor, tqc.Actor):
    """TQC's actor: mean and log-std share the generated hidden layer; arguments: :class:`HyperActor`."""
