"""PEARL's policies: actor, twin critic, state value and context encoder, and a belief about the task at hand."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch as th
from gymnasium import spaces
from stable_baselines3.common.preprocessing import get_action_dim, get_flattened_obs_dim
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import nn

from sb3_hyper.meta.pearl import networks
from sb3_hyper.meta.pearl.encoder import Belief, ContextEncoder, prior
from sb3_hyper.meta.policy import TaskPolicy
from sb3_hyper.networks.spec import HyperNetworkSpec, positive_number, resolve_spec
from sb3_hyper.policies.optimizers import changes, fix_learning_rate, fused_where_possible

NET_ARCH = (300, 300, 300)  # the authors' perceptrons
KINDS = ("mlp", "hyper")


class PEARLPolicy(TaskPolicy):
    """
    PEARL with perceptrons (``"MlpPolicy"``). :class:`HyperPEARLPolicy` (``"HyperPolicy"``) differs in its defaults.

    ``predict`` acts for the tasks of which :attr:`belief` and the latent variable are kept: the prior's mean at first, what
    :meth:`PEARL.adapt` inferred after that. They are part of the ``state_dict``.

    :param observation_space: Observation space, a flat Box.
    :param action_space: Action space, a Box.
    :param lr_schedule: Learning rate schedule
    :param latent_dim: Size of the latent task variable z.
    :param net_arch: Widths of actor, critic and value where they are perceptrons.
    :param encoder_arch: Widths of the context encoder.
    :param context_next_obs: Whether the encoder reads the next observation too.
    :param use_encoder: Whether z is inferred. Otherwise it is given from outside (the oracle context).
    :param actor: ``"mlp"`` or ``"hyper"``: a network of the observation whose weights are generated from z.
    :param critic: ``"mlp"`` or ``"hyper"``, for twin critic and state value.
    :param critic_meta: What a hypernetwork critic's weights are generated from: ``"obs"`` (the paper's), ``"z"`` (once per
        task, which is cheap), ``"obs_z"``; for the state value ``"obs"`` in place of the last.
    :param preset: The hypernetworks: ``"slim"``, ``"paper"``, or a :class:`~sb3_hyper.networks.spec.HyperNetworkSpec`.
    :param network_kwargs: Changes to the preset.
    :param actor_learning_rate: Step size of the actor. ``"auto"``: for generated actors the critic's, and twice that where the
        primary network is not normalised (1e-4 for ``paper``, as in the authors' code). None, and ``"auto"`` for perceptrons:
        the algorithm's schedule.
    :param critic_learning_rate: The same for critic and value (5e-5 for ``paper``, 3e-4 for ``slim``).
    :param optimizer_class: Optimizer of all four parts.
    :param optimizer_kwargs: Its arguments, but the learning rate.
    :raises ValueError: If an argument is not one of the above; the message says what is accepted.
    """

    latent: th.Tensor
    # a function of what is kept: not saved
    _condition: Any = None

    set_by_learner: ClassVar = {"use_encoder"}  # not to be offered to who gives policy_kwargs

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Box,
        lr_schedule: Schedule,
        latent_dim: int = 5,
        net_arch: Sequence[int] = NET_ARCH,
        encoder_arch: Sequence[int] = (200, 200, 200),
        context_next_obs: bool = False,
        use_encoder: bool = True,
        actor: str = "mlp",
        critic: str = "mlp",
        critic_meta: str = "obs",
        preset: str | HyperNetworkSpec = "slim",
        network_kwargs: Mapping[str, Any] | None = None,
        actor_learning_rate: float | str | None = "auto",
        critic_learning_rate: float | str | None = "auto",
        optimizer_class: type[th.optim.Optimizer] = th.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
    ) -> None:
        for name, value, accepted in (
            ("actor", actor, KINDS),
            ("critic", critic, KINDS),
            ("critic_meta", critic_meta, networks.CRITIC_METAS),
        ):
            if value not in accepted:
                raise ValueError(f"{name} must be one of {', '.join(map(repr, accepted))}, got {value!r}")
        if actor == critic == "mlp" and network_kwargs is not None:
            warnings.warn('network_kwargs are for actor="hyper" and critic="hyper" ("HyperPolicy")', stacklevel=2)
        if critic == "mlp" and critic_meta != "obs":
            warnings.warn('critic_meta is for critic="hyper" ("HyperPolicy")', stacklevel=2)
        if actor == critic == "hyper" and tuple(net_arch) != NET_ARCH:
            warnings.warn("net_arch is for perceptrons: sizes of hypernetworks are preset and network_kwargs", stacklevel=2)
        super().__init__(observation_space, action_space, optimizer_class=optimizer_class, optimizer_kwargs=optimizer_kwargs)
        self.latent_dim, self.net_arch, self.encoder_arch = latent_dim, list(net_arch), list(encoder_arch)
        self.context_next_obs, self.use_encoder = context_next_obs, use_encoder
        self.kinds = {"actor": actor, "critic": critic, "critic_meta": critic_meta}
        self.spec = resolve_spec(preset, network_kwargs)
        self.learning_rates = {"actor_learning_rate": actor_learning_rate, "critic_learning_rate": critic_learning_rate}

        obs_dim, action_dim = get_flattened_obs_dim(observation_space), get_action_dim(action_space)
        transition_dim = obs_dim + action_dim + 1 + (obs_dim if context_next_obs else 0)
        self.encoder = ContextEncoder(transition_dim, latent_dim, encoder_arch) if use_encoder else None
        self.actor: networks.Actor
        self.critic: networks.MlpCritic | networks.HyperCritic
        values: list[networks.MlpValue | networks.HyperValue]
        if actor == "hyper":
            self.actor = networks.HyperActor(obs_dim, latent_dim, action_dim, self.spec)
        else:
            self.actor = networks.MlpActor(obs_dim, latent_dim, action_dim, self.net_arch)
        if critic == "hyper":
            self.critic = networks.HyperCritic(obs_dim, latent_dim, action_dim, self.spec, critic_meta)
            values = [networks.HyperValue(obs_dim, latent_dim, self.spec, critic_meta) for _ in range(2)]
        else:
            self.critic = networks.MlpCritic(obs_dim, latent_dim, action_dim, self.net_arch)
            values = [networks.MlpValue(obs_dim, latent_dim, self.net_arch) for _ in range(2)]
        self.value, self.value_target = values
        self.value_target.load_state_dict(self.value.state_dict())
        self.value_target.requires_grad_(False)
        self._make_optimizers(lr_schedule)
        self.belief = prior(1, latent_dim)
        self.latent = self.belief.mean

    def _make_optimizers(self, lr_schedule: Schedule) -> None:
        kwargs = fused_where_possible(self.optimizer_class, self.optimizer_kwargs)
        parts = ["actor", "critic", "value"] + (["encoder"] if self.use_encoder else [])
        for name in parts:
            part = getattr(self, name)
            part.optimizer = self.optimizer_class(part.parameters(), lr=lr_schedule(1), **kwargs)  # type: ignore[call-arg]
        self._fix_learning_rates()
        auto = [name for name in ("actor", "critic") if self.learning_rates[f"{name}_learning_rate"] == "auto"]
        kept = [name for name in auto if self._own_rate(name) is not None]
        if kept and changes(lr_schedule):
            warnings.warn(
                f"learning_rate is a schedule, which {' and '.join(kept)} do not follow: hypernetworks keep the rate of their "
                f"preset. policy_kwargs=dict({kept[0]}_learning_rate=None) makes one follow too, a number says that it should "
                "not.",
                stacklevel=2,
            )

    def _fix_learning_rates(self) -> None:
        for name, optimizer in self.optimizers.items():
            rate = None if name == "encoder" else self._own_rate("actor" if name == "actor" else "critic")
            if rate is not None:
                fix_learning_rate(optimizer, rate)

    def __setstate__(self, state: dict[str, Any]) -> None:
        # copying an optimizer drops its hooks
        super().__setstate__(state)
        self._fix_learning_rates()

    @property
    def optimizers(self) -> dict[str, th.optim.Optimizer]:
        """The optimizers of the policy's parts, by the parts' names."""
        parts: dict[str, Any] = dict(self.named_children())
        return {name: part.optimizer for name, part in parts.items() if hasattr(part, "optimizer")}

    def _own_rate(self, part: str) -> float | None:
        rate = self.learning_rates[f"{part}_learning_rate"]
        if rate == "auto":
            if self.kinds[part] == "mlp":
                return None
            twice = part == "actor" and self.spec.primary == "residual"
            return (2 if twice else 1) * self.spec.critic_learning_rate
        return None if rate is None else positive_number(f"{part}_learning_rate", rate)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {
            "observation_space": self.observation_space,
            "action_space": self.action_space,
            "lr_schedule": self._dummy_schedule,
            "latent_dim": self.latent_dim,
            "net_arch": self.net_arch,
            "encoder_arch": self.encoder_arch,
            "context_next_obs": self.context_next_obs,
            "use_encoder": self.use_encoder,
            "preset": self.spec,
            **self.kinds,
            **self.learning_rates,
            "optimizer_class": self.optimizer_class,
            "optimizer_kwargs": self.optimizer_kwargs,
        }

    def set_belief(self, belief: Belief, latent: th.Tensor | None = None) -> None:
        """
        Act for these tasks from now on.

        :param belief: What is known of each task.
        :param latent: The latent variable to act with, ``(n_tasks, latent_dim)``; the belief's mean by default.
        """
        self.belief = Belief(belief.mean.detach(), belief.variance.detach())
        self.latent = self.belief.mean if latent is None else latent.detach()
        self._condition = None

    def sample_actions(self, obs: th.Tensor, z: th.Tensor) -> tuple[th.Tensor, th.Tensor, th.Tensor, th.Tensor]:
        """
        Draw actions with a gradient, and their log-probabilities.

        :param obs: ``(n_tasks, n, obs_dim)``
        :param z: ``(n_tasks, latent_dim)``
        :return: Actions in [-1, 1] ``(n_tasks, n, action_dim)``, log-probabilities ``(n_tasks, n)``; mean and log-std before
            the tanh.
        """
        mean, log_std = self.actor(obs, z)
        before_tanh = mean + log_std.exp() * th.randn_like(mean)
        actions = th.tanh(before_tanh)
        log_prob = th.distributions.Normal(mean, log_std.exp(), validate_args=False).log_prob(before_tanh)
        return actions, (log_prob - th.log(1 - actions.square() + 1e-6)).sum(dim=-1), mean, log_std

    def act(self, obs: th.Tensor, condition: Any, deterministic: bool = False) -> th.Tensor:
        """
        :param obs: Observations of each task, ``(n_tasks, n, obs_dim)``
        :param condition: What the actor made of the tasks.
        :param deterministic: The mode instead of a sample.
        :return: Actions in [-1, 1], ``(n_tasks * n, action_dim)``
        """
        mean, log_std = (part.flatten(0, 1) for part in self.actor.evaluate(condition, obs))
        return th.tanh(mean if deterministic else mean + log_std.exp() * th.randn_like(mean))

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> th.Tensor:
        return self.act(self.act_for(len(self.latent), observation), self.condition(), deterministic)

    def condition(self) -> Any:
        """
        :return: What the actor made of :attr:`latent`; computed once, until the latent variable changes or the policy is put
            into training mode, as every update does.
        """
        if self._condition is None:
            with th.no_grad():
                self._condition = self.actor.condition(self.latent)
        return self._condition

    def train(self, mode: bool = True) -> "PEARLPolicy":
        """
        :param mode: Training mode, or that of evaluation.
        :return: The policy.
        """
        if mode:
            self._condition = None
        return super().train(mode)

    def get_extra_state(self) -> th.Tensor:
        """
        :return: Belief and latent variable, ``(3, n_tasks, latent_dim)``: the number of tasks may differ from the one that
            the receiving policy has, which a buffer would not allow.
        """
        return th.stack([*self.belief, self.latent])

    def set_extra_state(self, state: th.Tensor) -> None:
        """
        :param state: What :meth:`get_extra_state` gave.
        """
        mean, variance, latent = state.to(self.device)
        self.set_belief(Belief(mean, variance), latent)

    def _apply(self, fn: Any, recurse: bool = True) -> nn.Module:
        super()._apply(fn, recurse)
        self.set_belief(Belief(*map(fn, self.belief)), fn(self.latent))
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_condition": None}


class HyperPEARLPolicy(PEARLPolicy):
    """
    Hyper-PEARL, the paper's: the actor's weights are generated from z, those of critic and value from the observation with z
    as a base variable (``"HyperPolicy"``). The parameters are those of :class:`PEARLPolicy`.

    :param args: As in the parent.
    :param kwargs: As in the parent; ``actor`` and ``critic`` are ``"hyper"`` by default.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"actor": "hyper", "critic": "hyper", **kwargs})
