"""Settings of a hyper policy that nothing uses."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch as th

from sb3_hyper.policies.critic_names import SPEC_CRITICS, QNetworkFactory, is_hyper, reads_spec

NET_ARCH = [256, 256]  # the paper's hidden layers


def unused_settings(
    critic: str | QNetworkFactory,
    actor: str,
    net_arch: list[int] | dict[str, list[int]],
    network_kwargs: Mapping[str, Any] | None,
    actor_network_kwargs: Mapping[str, Any] | None,
    activation_fn: type[th.nn.Module],
) -> Iterator[str]:
    """
    :param critic: A critic's name or factory.
    :param actor: An actor's name.
    :param net_arch: Hidden layers.
    :param network_kwargs: Changes to the preset.
    :param actor_network_kwargs: Those of the actor's.
    :param activation_fn: Activation function.
    :return: What was given and has no effect, in sentences.
    """
    if actor == "mlp" and actor_network_kwargs is not None:
        yield 'actor_network_kwargs is for actor="hyper"'
    changed = set(network_kwargs or ())
    if "critic_learning_rate" in changed and not is_hyper(critic):
        yield (
            f"critic_learning_rate in network_kwargs is for hypernetworks, and not used by {critic!r}: "
            "policy_kwargs=dict(critic_learning_rate=...) is for all critics"
        )
    actor_reads = actor == "hyper" and actor_network_kwargs is None
    if changed - {"critic_learning_rate"} and not reads_spec(critic) and not actor_reads:
        yield (
            f'network_kwargs is for the critics {", ".join(map(repr, SPEC_CRITICS))}, and for actor="hyper" without '
            f"actor_network_kwargs: it is not used by {critic!r}"
        )
    others = [f"{role}={name!r}" for role, name in (("critic", critic), ("actor", actor)) if name != "mlp"]
    if len(others) == 2 and net_arch != NET_ARCH:
        yield f'net_arch is for "mlp", and not used by {" and ".join(others)}'
    elif critic != "mlp" and isinstance(net_arch, dict) and net_arch.get("qf", net_arch.get("pi")) != net_arch.get("pi"):
        yield f'net_arch["qf"] is for critic="mlp", and not used by {critic!r}: a list is the actor\'s'
    if activation_fn is not th.nn.ReLU and others:
        yield f'activation_fn is for "mlp", and not used by {" and ".join(others)}'
