"""What the hyper policies of all algorithms have in common: the choice of a critic, its optimizer, and an actor."""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, CombinedExtractor, FlattenExtractor
from stable_baselines3.common.type_aliases import Schedule

from sb3_hyper.common.arguments import refuse_unknown
from sb3_hyper.networks.baselines import xavier_
from sb3_hyper.networks.spec import HyperNetworkSpec, positive_number, resolve_spec
from sb3_hyper.policies.actors import ACTORS, HyperActor, context_columns
from sb3_hyper.policies.cpu_cost import warn_if_slow
from sb3_hyper.policies.critic_names import (
    QNetworkFactory,
    check_critic,
    is_hyper,
    q_network_maker,
)
from sb3_hyper.policies.critics import EnsembleCritic, FreezingCritic, MlpCritic, QNetworkCritic
from sb3_hyper.policies.optimizers import changes, fix_learning_rate, fused_where_possible
from sb3_hyper.policies.unused_settings import NET_ARCH, unused_settings


class HyperCriticMixin(BasePolicy):
    """
    Gives an SB3 actor-critic policy a critic of one's choice. Everything else is the SB3 policy it is mixed into.

    When the actor is improved, i.e. wherever the critic is given actions that carry a gradient, no gradient is computed
    for the critic's parameters; ``skip_parameter_gradients=False`` turns that off.

    :param observation_space: Observation space
    :param action_space: Action space
    :param lr_schedule: Learning rate schedule (could be constant)
    :param net_arch: Architecture of the actor, and of the critic where that is ``"mlp"``; the paper's [256, 256]
        by default.
    :param args: Further positional arguments of the SB3 policy.
    :param critic: A name of :data:`~sb3_hyper.policies.critic_names.CRITICS`: ``"sa_hyper"`` (the paper's method: weights
        from the state, input the action), ``"as_hyper"`` (the reverse), ``"emb_hyper"`` (weights from a learned vector),
        ``"mlp"`` (SB3's own), ``"layernorm_mlp"`` (the control: a normalised residual network as large as the preset's
        hypernetwork), the paper's other baselines ``"mlp_small"``, ``"mlp_large"``, ``"resnet_features"``,
        ``"resnet35"``, ``"q_d2rl"``, a name given to :func:`~sb3_hyper.policies.critic_names.register_critic`, or a function
        as described there.
    :param preset: The hypernetwork: ``"bounded"`` (a fortieth of the paper's size, for CPUs), ``"slim"`` (a fifteenth),
        ``"paper"``, or a :class:`~sb3_hyper.networks.spec.HyperNetworkSpec`.
    :param network_kwargs: Changes to the preset, e.g. ``dict(dynamic_widths=[64])``.
    :param critic_learning_rate: Step size of the critic's optimizer, whatever the algorithm's ``learning_rate`` is.
        ``"auto"``: what goes with the preset (3e-4 for ``bounded`` and ``slim``, 5e-5 for ``paper`` and, unless it says
        otherwise, a spec). None, which is also what ``"auto"`` means for critics that are no hypernetworks: follow the
        algorithm's schedule. SB3 logs that schedule as ``train/learning_rate``;
        :class:`~sb3_hyper.diagnostics.callbacks.LearningRateCallback` logs the critic's own.
    :param critic_init: Initial weights of critics that are no hypernetworks: ``"pytorch"``, or ``"xavier"``, which the
        authors' SAC code uses.
    :param skip_parameter_gradients: Whether to compute no gradient of the critic's parameters where the actions carry one.
    :param actor: ``"mlp"`` (SB3's own) or ``"hyper"``: its weights are generated from the context.
    :param actor_network_kwargs: Changes to the preset for the actor's hypernetwork; ``network_kwargs`` by default.
    :param context_keys: The context's keys in Dict observations, e.g. ``("desired_goal",)``.
    :param context_slice: Start and end of the context in flat observations, e.g. ``(4, 6)``.
    :param critic_context: Where a hypernetwork critic reads the context: ``"base"`` (with the action in SA-Hyper, as in
        the paper's PEARL) or ``"meta"``. None: it is part of the state.
    :param kwargs: Further keyword arguments of the SB3 policy.
    :raises ValueError: If an argument is not one of the above; the message says what is accepted.
    """

    # what the algorithm asks for
    mlp_critic_class: type[FreezingCritic] = MlpCritic
    q_network_critic_class: type[QNetworkCritic] = EnsembleCritic
    hyper_actor_class: type[HyperActor]

    critic: Any  # a FreezingCritic, and the algorithm's own kind of critic
    actor_kwargs: dict[str, Any]
    critic_kwargs: dict[str, Any]
    share_features_extractor: bool

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Box,
        lr_schedule: Schedule,
        net_arch: list[int] | dict[str, list[int]] | None = None,
        *args: Any,
        critic: str | QNetworkFactory = "sa_hyper",
        preset: str | HyperNetworkSpec = "bounded",
        network_kwargs: Mapping[str, Any] | None = None,
        critic_learning_rate: float | str | None = "auto",
        critic_init: str = "pytorch",
        skip_parameter_gradients: bool = True,
        actor: str = "mlp",
        actor_network_kwargs: Mapping[str, Any] | None = None,
        context_keys: Sequence[str] | None = None,
        context_slice: Sequence[int] | None = None,
        critic_context: str | None = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(action_space, spaces.Box):
            raise ValueError(f"{type(self).__name__} acts in continuous (Box) action spaces, got {action_space}")
        fits = (
            " (An algorithm gives use_sde that wants another policy: HyperTD3Policy is for TD3 and DDPG, HyperSACPolicy for "
            'SAC, HyperTQCPolicy for TQC. The strings "HyperPolicy", "HyperCnnPolicy" and "HyperMultiInputPolicy" name those '
            "that fit the algorithm.)"
        )
        hint = fits if "use_sde" in kwargs else ""  # an algorithm gives it that wants another policy
        refuse_unknown(type(self), kwargs, hint)
        if actor not in ACTORS:
            raise ValueError(f"Unknown actor {actor!r}. Accepted: {', '.join(map(repr, ACTORS))}.")
        if actor == "hyper" and context_keys is None and context_slice is None:
            raise ValueError(
                'actor="hyper" generates the actor\'s weights from a context: add context_keys=("desired_goal",) for Dict '
                "observations, or context_slice=(start, end) for flat ones"
            )
        check_critic(critic, None, None)
        if actor == "mlp" and critic_context is None and not (context_keys is None and context_slice is None):
            warnings.warn('A context was given that nobody reads apart: actor="hyper" or critic_context would', stacklevel=2)
        if critic_init not in ("pytorch", "xavier"):
            raise ValueError(f"critic_init must be 'pytorch' or 'xavier', got {critic_init!r}")
        n_critics = kwargs.get("n_critics", 2)
        if isinstance(n_critics, bool) or not isinstance(n_critics, Integral) or n_critics < 1:
            raise ValueError(f"n_critics must be a whole number of at least 1, got {n_critics!r}")
        # plain values only before nn.Module.__init__, which the parent calls; it ends with _build()
        self.critic_name = critic
        self.critic_init = critic_init
        self.skip_parameter_gradients = skip_parameter_gradients
        self.network_spec = resolve_spec(preset, network_kwargs)
        self.actor_name = actor
        self.actor_spec = self.network_spec if actor_network_kwargs is None else resolve_spec(preset, actor_network_kwargs)
        self.context_keys, self.context_slice, self.critic_context = context_keys, context_slice, critic_context
        self._rate_of_preset = critic_learning_rate == "auto"
        self.critic_learning_rate = _resolve_learning_rate(critic_learning_rate, critic, self.network_spec)
        self._cost_was_checked = False
        net_arch = list(NET_ARCH) if net_arch is None else net_arch
        activation_fn = kwargs.get("activation_fn", th.nn.ReLU)
        for message in unused_settings(critic, actor, net_arch, network_kwargs, actor_network_kwargs, activation_fn):
            warnings.warn(message, stacklevel=2)
        super().__init__(observation_space, action_space, lr_schedule, net_arch, *args, **kwargs)

    def _build(self, lr_schedule: Schedule) -> None:
        if self.features_extractor_class is FlattenExtractor and isinstance(self.observation_space, spaces.Dict):
            raise ValueError("A Dict observation space needs HyperMultiInputPolicy (or a features extractor of your own)")
        if self.features_extractor_class is CombinedExtractor and not isinstance(self.observation_space, spaces.Dict):
            raise ValueError(f"HyperMultiInputPolicy is for Dict observation spaces, got {self.observation_space}")
        self.context = context_columns(
            self.observation_space,
            self.features_extractor_class,
            self.features_extractor_kwargs,
            self.context_keys,
            self.context_slice,
        )
        check_critic(self.critic_name, self.context, self.critic_context)
        given_kwargs = self.optimizer_kwargs
        self.optimizer_kwargs = fused_where_possible(self.optimizer_class, given_kwargs)
        super()._build(lr_schedule)  # type: ignore[misc]
        self.optimizer_kwargs = given_kwargs
        self._fix_critic_learning_rate()
        if self._rate_of_preset and self.critic_learning_rate is not None and changes(lr_schedule):
            warnings.warn(
                f"learning_rate is a schedule, which the actor follows; the critic keeps {self.critic_learning_rate:g}, the "
                "rate of its preset. policy_kwargs=dict(critic_learning_rate=None) makes it follow too, a number says that "
                "it should not.",
                stacklevel=2,
            )

    def _fix_critic_learning_rate(self) -> None:
        if self.critic_learning_rate is not None:
            fix_learning_rate(self.critic.optimizer, self.critic_learning_rate)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """As in torch, with advice where a network is another one than the file's."""
        try:
            return super().load_state_dict(*args, **kwargs)
        except RuntimeError as error:
            raise RuntimeError(
                f"{error}\nThese are parameters of another network. Models keep the policy_kwargs that they were given; if a "
                "default was another one then, name it: load(..., custom_objects={'policy_kwargs': {'preset': 'slim', ...}})"
            ) from error

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError as error:
            if name != "actor_target":
                raise
            raise AttributeError(
                f"{type(self).__name__} has no target actor, which TD3 and DDPG ask for: HyperTD3Policy, HyperTD3CnnPolicy "
                "and HyperTD3MultiInputPolicy have one"
            ) from error

    def __setstate__(self, state: dict[str, Any]) -> None:
        # copying an optimizer drops its hooks
        super().__setstate__(state)
        self._fix_critic_learning_rate()

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> Any:
        """
        Make a critic, or its target.

        :param features_extractor: The features extractor to share with the actor; None for one of its own.
        :return: The critic.
        """
        critic_kwargs = self._update_features_extractor(self.critic_kwargs, features_extractor)
        if self.critic_name == "mlp":
            critic = self.mlp_critic_class(**critic_kwargs)
        else:
            maker = q_network_maker(self.critic_name, self.network_spec, self.context, self.critic_context)
            critic = self.q_network_critic_class(maker, **critic_kwargs)
        if self.critic_init == "xavier" and not is_hyper(self.critic_name):
            for name, module in critic.named_children():
                if name != "features_extractor":
                    xavier_(module)
        critic.skip_parameter_gradients = self.skip_parameter_gradients
        return critic.to(self.device)

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> Any:
        """
        Make an actor, or its target.

        :param features_extractor: The features extractor to share; None for one of its own.
        :return: The actor.
        """
        if self.actor_name == "mlp":
            actor = super().make_actor(features_extractor)  # type: ignore[misc]
        else:
            assert self.context is not None
            actor_kwargs = self._update_features_extractor(self.actor_kwargs, features_extractor)
            actor = self.hyper_actor_class(self.context, self.actor_spec, **actor_kwargs).to(self.device)
        actor.set_bn_training_mode = _set_bn_training_mode
        return actor

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {
            **super()._get_constructor_parameters(),
            "share_features_extractor": self.share_features_extractor,
            "critic": self.critic_name,
            # complete, so that a saved policy does not depend on what a preset's name means later
            "preset": self.network_spec,
            "critic_learning_rate": self.critic_learning_rate,
            "critic_init": self.critic_init,
            "skip_parameter_gradients": self.skip_parameter_gradients,
            "actor": self.actor_name,
            "actor_network_kwargs": dataclasses.asdict(self.actor_spec) if self.actor_name == "hyper" else None,
            "context_keys": self.context_keys,
            "context_slice": self.context_slice,
            "critic_context": self.critic_context,
        }

    def set_training_mode(self, mode: bool) -> None:
        """
        Put the policy in either training or evaluation mode.

        :param mode: if true, set to training mode, else set to evaluation mode
        """
        super().set_training_mode(mode)
        if mode and not self._cost_was_checked:
            self._cost_was_checked = True
            if isinstance(self.critic, QNetworkCritic) and self.device.type == "cpu":
                warn_if_slow(self.critic, is_hyper(self.critic_name))


def _set_bn_training_mode(mode: bool) -> None:
    """What CrossQ asks of its actor."""
    raise AttributeError(
        "Hyper policies have no batch normalisation, which CrossQ asks for: they are for TD3, DDPG, SAC and TQC"
    )


def _resolve_learning_rate(given: float | str | None, critic: str | QNetworkFactory, spec: HyperNetworkSpec) -> float | None:
    if given == "auto":
        return spec.critic_learning_rate if is_hyper(critic) else None
    if callable(given) or (isinstance(given, str) and given.startswith("lin_")):  # rl-zoo3 writes schedules so
        raise ValueError(
            f'critic_learning_rate must be a number, "auto" or None, got {given!r}. For a schedule give None: the critic '
            "follows the algorithm's learning_rate then"
        )
    return None if given is None else positive_number('critic_learning_rate (a number, "auto" or None)', given)
