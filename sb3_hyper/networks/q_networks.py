"""Action-value functions as hypernetworks: which variable goes where (Sec. 3 of the paper, its Fig. 2, and App. D.4)."""

from collections.abc import Sequence

import torch as th
from torch import nn

from sb3_hyper.networks.context import ContextColumns
from sb3_hyper.networks.hypernetwork import HyperNetwork
from sb3_hyper.networks.layers import ALL_MEMBERS
from sb3_hyper.networks.spec import HyperNetworkSpec

EMBEDDING_DIM = 5  # size of Emb-Hyper's learned meta variable: that of PEARL's latent (App. D.4)


def takes_many_actions(q_network: nn.Module) -> bool:
    """
    :param q_network: An action-value function.
    :return: Whether it evaluates actions ``(batch, n, action_dim)`` against one set of weights per state.
    """
    return bool(getattr(q_network, "takes_many_actions", False))


class SAHyperQ(HyperNetwork):
    """
    SA-Hyper, ``Q(s, a) = f_{w(s)}(a)``: the action gradient passes through the small dynamic network alone, and many
    actions per state, ``(batch, n, action_dim)``, cost one set of weights.

    :param state_dim: Size of the state (or of its features).
    :param action_dim: Size of the action.
    :param spec: The architecture.
    :param n_members: Number of independent action-value functions.
    :param n_outputs: Numbers per action-value: one, or the quantiles of its distribution.
    """

    takes_many_actions = True

    def __init__(self, state_dim: int, action_dim: int, spec: HyperNetworkSpec, n_members: int, n_outputs: int = 1) -> None:
        super().__init__(state_dim, action_dim, n_outputs, spec, n_members)


class ContextBesideAction(nn.Module):
    """
    Moves a context (a goal, a task) from the state to the side of the action: the base variable of SA-Hyper becomes
    [action, context], as in the paper's PEARL (Sec. 4.2), the meta variable of AS-Hyper likewise.

    :param q_network: An action-value function of ``state_dim - context_dim`` and ``action_dim + context_dim``.
    :param state_dim: Size of the state.
    :param context: Where the context stands in the state.
    """

    def __init__(self, q_network: nn.Module, state_dim: int, context: Sequence[int]) -> None:
        super().__init__()
        self.q_network = q_network
        self.takes_many_actions = takes_many_actions(q_network)
        self.columns = ContextColumns(state_dim, context)

    def forward(self, states: th.Tensor, actions: th.Tensor, members: slice = ALL_MEMBERS) -> th.Tensor:
        """
        :param states: ``(batch, state_dim)``
        :param actions: ``(batch, action_dim)`` or ``(batch, n, action_dim)``
        :param members: Which members to evaluate.
        :return: ``(n_members, batch, n_outputs)`` or ``(n_members, batch, n, n_outputs)``
        """
        context, rest = self.columns(states)
        if actions.dim() == 3:
            context = context.unsqueeze(1).expand(-1, actions.shape[1], -1)
        return self.q_network(rest, th.cat([actions, context], dim=-1), members)


class ASHyperQ(HyperNetwork):
    """
    AS-Hyper, ``Q(s, a) = f_{w(a)}(s)``: the action gradient passes through the whole primary network.

    :param state_dim: Size of the state (or of its features).
    :param action_dim: Size of the action.
    :param spec: The architecture.
    :param n_members: Number of independent action-value functions.
    :param n_outputs: Numbers per action-value: one, or the quantiles of its distribution.
    """

    def __init__(self, state_dim: int, action_dim: int, spec: HyperNetworkSpec, n_members: int, n_outputs: int = 1) -> None:
        super().__init__(action_dim, state_dim, n_outputs, spec, n_members)

    def forward(self, states: th.Tensor, actions: th.Tensor, members: slice = ALL_MEMBERS) -> th.Tensor:
        """
        :param states: ``(batch, state_dim)``
        :param actions: ``(batch, action_dim)``
        :param members: Which members to evaluate.
        :return: ``(n_members, batch, n_outputs)``
        """
        return super().forward(actions, states, members)


class EmbHyperQ(HyperNetwork):
    """
    Emb-Hyper, ``Q(s, a) = f_{w(e)}([s, a])`` with a learned vector ``e`` that all members share. The weights are the
    same for every row, so they are generated once per batch.

    :param state_dim: Size of the state (or of its features).
    :param action_dim: Size of the action.
    :param spec: The architecture.
    :param n_members: Number of independent action-value functions.
    :param n_outputs: Numbers per action-value: one, or the quantiles of its distribution.
    """

    def __init__(self, state_dim: int, action_dim: int, spec: HyperNetworkSpec, n_members: int, n_outputs: int = 1) -> None:
        super().__init__(EMBEDDING_DIM, state_dim + action_dim, n_outputs, spec, n_members)
        self.embedding = nn.Parameter(th.rand(EMBEDDING_DIM))  # U[0, 1)

    def forward(self, states: th.Tensor, actions: th.Tensor, members: slice = ALL_MEMBERS) -> th.Tensor:
        """
        :param states: ``(batch, state_dim)``
        :param actions: ``(batch, action_dim)``
        :param members: Which members to evaluate.
        :return: ``(n_members, batch, n_outputs)``
        """
        weights = self.generate(self.embedding.unsqueeze(0), members)
        rows = th.cat([states, actions], dim=-1)
        return self.evaluate(weights, rows.unsqueeze(0)).squeeze(1)


class SeparateMembers(nn.Module):
    """
    An ensemble of action-value functions of any kind, evaluated one after the other.

    :param members: Modules that map states ``(batch, state_dim)`` and actions ``(batch, action_dim)`` to
        ``(batch, n_outputs)``.
    :param n_outputs: Numbers per action-value.
    :raises ValueError: If a member is no module, or two are one and the same.
    """

    def __init__(self, members: Sequence[nn.Module], n_outputs: int = 1) -> None:
        super().__init__()
        for member in members:
            if not isinstance(member, nn.Module):
                raise ValueError(f"A critic's function must make a network (nn.Module), got {member!r}")
        if len(set(map(id, members))) < len(members):
            raise ValueError("Each call of a critic's function must make a new network, got the same one again")
        self.members = nn.ModuleList(members)
        self.n_outputs = n_outputs

    def forward(self, states: th.Tensor, actions: th.Tensor, members: slice = ALL_MEMBERS) -> th.Tensor:
        """
        :param states: ``(batch, state_dim)``
        :param actions: ``(batch, action_dim)``
        :param members: Which members to evaluate.
        :return: ``(n_members, batch, n_outputs)``
        """
        values = [q_network(states, actions) for q_network in self.members[members]]
        expected = (len(actions), self.n_outputs)
        if values[0].shape != expected:
            raise ValueError(
                f"A Q-network must give (batch, n_outputs) = {expected} values, {type(self.members[0]).__name__} gave "
                f"{tuple(values[0].shape)}"
            )
        return th.stack(values)
