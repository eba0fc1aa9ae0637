"""Critics by name: what makes the Q-network of each."""

from collections.abc import Callable, Sequence

from torch import nn

from sb3_hyper.networks.baselines import (
    D2RLQ,
    LARGE_WIDTHS,
    RESNET35,
    SMALL_WIDTHS,
    MlpQ,
    ResNetFeaturesQ,
    ResNetQ,
    layernorm_mlp_like,
)
from sb3_hyper.networks.q_networks import ASHyperQ, ContextBesideAction, EmbHyperQ, SAHyperQ, SeparateMembers
from sb3_hyper.networks.spec import HyperNetworkSpec

QNetworkFactory = Callable[[int, int, int], nn.Module]
"""state_dim, action_dim, n_outputs -> a network of states and actions, ``(batch, n_outputs)``"""


EnsembleFactory = Callable[[int, int, HyperNetworkSpec, int, int], nn.Module]
"""state_dim, action_dim, spec, n_members, n_outputs -> a network with an ensemble axis, ``(n_members, batch, n_outputs)``"""

HYPER_CRITICS: dict[str, EnsembleFactory] = {"sa_hyper": SAHyperQ, "as_hyper": ASHyperQ, "emb_hyper": EmbHyperQ}
BASELINE_CRITICS: dict[str, EnsembleFactory] = {
    "mlp_small": lambda state_dim, action_dim, spec, *sizes: MlpQ(state_dim, action_dim, SMALL_WIDTHS, *sizes),
    "mlp_large": lambda state_dim, action_dim, spec, *sizes: MlpQ(state_dim, action_dim, LARGE_WIDTHS, *sizes),
    "resnet_features": ResNetFeaturesQ,
    "resnet35": lambda state_dim, action_dim, spec, *sizes: ResNetQ(state_dim, action_dim, *RESNET35, *sizes),
    "q_d2rl": lambda state_dim, action_dim, spec, *sizes: D2RLQ(state_dim, action_dim, 256, *sizes),
    "layernorm_mlp": layernorm_mlp_like,
}
SPEC_CRITICS = (*HYPER_CRITICS, "resnet_features", "layernorm_mlp")  # the others have one size
CRITICS: list[str] = [*HYPER_CRITICS, "mlp", *BASELINE_CRITICS]  # what is accepted by name
REGISTERED: dict[str, QNetworkFactory] = {}

# Where a critic reads the context if it is told to take it out of the state, and where it is otherwise
CONTEXT_PLACES = {"sa_hyper": ("base", "meta"), "as_hyper": ("meta", "base")}


def register_critic(name: str, factory: QNetworkFactory) -> None:
    """
    Let a critic of one's own be chosen by name, in YAML for example.

    :param name: A new name.
    :param factory: Makes one Q-network from ``state_dim``, ``action_dim`` and ``n_outputs`` (1, or TQC's quantiles): a
        module that maps states ``(batch, state_dim)`` and actions ``(batch, action_dim)`` to ``(batch, n_outputs)``.
    :raises ValueError: If the factory is no function, or the name is taken. (The same definition may come again, as
        cells of notebooks do.)
    """
    _check_factory(f"The critic {name!r}", factory)
    there = REGISTERED.get(name)
    if name not in CRITICS:
        CRITICS.append(name)
    elif there is None or _definition(there) != _definition(factory):
        raise ValueError(f"There is a critic named {name!r} already")
    REGISTERED[name] = factory


def _definition(factory: QNetworkFactory) -> object:
    name = getattr(factory, "__qualname__", "<lambda>")
    return factory if "<" in name else (factory.__module__, name)  # what is defined in functions may differ


def _check_factory(name: str, factory: object, others: str = "") -> None:
    if not callable(factory) or isinstance(factory, nn.Module):
        raise ValueError(
            f"{name} must be a function that makes a Q-network from state_dim, action_dim and n_outputs"
            f"{others}, got a {type(factory).__name__}"
        )


def check_critic(critic: str | QNetworkFactory, context: Sequence[int] | None, place: str | None) -> None:
    """
    :param critic: One of :data:`CRITICS`, or a factory as in :func:`register_critic`.
    :param context: Where a context stands in the features, if there is one.
    :param place: Where the critic is to read the context: ``"base"`` or ``"meta"``; None: with the state.
    :raises ValueError: If there is no such critic, or it has no such place.
    """
    if isinstance(critic, str) and critic not in CRITICS:
        raise ValueError(
            f"Unknown critic {critic!r}. Accepted: {', '.join(map(repr, CRITICS))}, or a function that makes one from "
            "state_dim, action_dim and n_outputs."
        )
    if not isinstance(critic, str):
        _check_factory("critic", critic, f", or one of {', '.join(map(repr, CRITICS))}")
    if place is None:
        return
    if place not in ("base", "meta"):
        raise ValueError(f"critic_context must be 'base', 'meta' or None, got {place!r}")
    if not isinstance(critic, str) or critic not in CONTEXT_PLACES:
        names = ", ".join(map(repr, CONTEXT_PLACES))
        raise ValueError(f"critic_context={place!r} is for the critics {names}; {critic!r} reads the context with the state")
    if context is None:
        raise ValueError(f"critic_context={place!r} needs a context: give context_keys or context_slice")


def q_network_maker(
    critic: str | QNetworkFactory, spec: HyperNetworkSpec, context: Sequence[int] | None = None, place: str | None = None
) -> Callable[[int, int, int, int], nn.Module]:
    """
    :param critic: One of :data:`CRITICS` other than ``"mlp"``, or a factory as in :func:`register_critic`.
    :param spec: The hypernetwork's architecture, or that which ``"layernorm_mlp"`` equals in size.
    :param context: Where a context stands in the state.
    :param place: Where the critic reads the context: ``"base"`` or ``"meta"``.
    :return: What makes a Q-network from state_dim, action_dim, n_critics and n_outputs.
    """
    factory = REGISTERED.get(critic) if isinstance(critic, str) else critic
    if factory is not None:
        return lambda state_dim, action_dim, n_critics, n_outputs: SeparateMembers(
            [factory(state_dim, action_dim, n_outputs) for _ in range(n_critics)], n_outputs
        )
    assert isinstance(critic, str)
    make = (HYPER_CRITICS | BASELINE_CRITICS)[critic]
    beside_action = place is not None and place == CONTEXT_PLACES[critic][0]

    def make_q_network(state_dim: int, action_dim: int, n_critics: int, n_outputs: int) -> nn.Module:
        if not beside_action or context is None:
            return make(state_dim, action_dim, spec, n_critics, n_outputs)
        inner = make(state_dim - len(context), action_dim + len(context), spec, n_critics, n_outputs)
        return ContextBesideAction(inner, state_dim, context)

    return make_q_network


def is_hyper(critic: str | QNetworkFactory) -> bool:
    """
    :param critic: A critic's name or factory.
    :return: Whether its weights are generated.
    """
    return isinstance(critic, str) and critic in HYPER_CRITICS


def reads_spec(critic: str | QNetworkFactory) -> bool:
    """
    :param critic: A critic's name or factory.
    :return: Whether its network is what the preset and the changes to it say.
    """
    return isinstance(critic, str) and critic in SPEC_CRITICS
