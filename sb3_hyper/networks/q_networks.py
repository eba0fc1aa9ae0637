"""Action-value functions as hypernetworks: which variable goes where (Sec. 3 of the paper, its Fig. 2, and App. D.4)."""

import torch as th
from torch import nn

from sb3_hyper.networks.hypernetwork import HyperNetwork
from sb3_hyper.networks.layers import ALL_MEMBERS
from sb3_hyper.networks.spec import HyperNetworkSpec

EMBEDDING_DIM = 5  # size of Emb-Hyper's learned meta variable: that of PEARL's latent (App. D.4)


class SAHyperQ(HyperNetwork):
    """
    SA-Hyper, ``Q(s, a) = f_{w(s)}(a)``: the action gradient passes through the small dynamic network alone.

    :param state_dim: Size of the state (or of its features).
    :param action_dim: Size of the action.
    :param spec: The architecture.
    :param n_members: Number of independent action-value functions.
    """

    def __init__(self, state_dim: int, action_dim: int, spec: HyperNetworkSpec, n_members: int) -> None:
        super().__init__(state_dim, action_dim, 1, spec, n_members)


class ASHyperQ(HyperNetwork):
    """
    AS-Hyper, ``Q(s, a) = f_{w(a)}(s)``: the action gradient passes through the whole primary network.

    :param state_dim: Size of the state (or of its features).
    :param action_dim: Size of the action.
    :param spec: The architecture.
    :param n_members: Number of independent action-value functions.
    """

    def __init__(self, state_dim: int, action_dim: int, spec: HyperNetworkSpec, n_members: int) -> None:
        super().__init__(action_dim, state_dim, 1, spec, n_members)

    def forward(self, states: th.Tensor, actions: th.Tensor, members: slice = ALL_MEMBERS) -> th.Tensor:
        """
        :param states: ``(batch, state_dim)``
        :param actions: ``(batch, action_dim)``
        :param members: Which members to evaluate.
        :return: ``(n_members, batch, 1)``
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
    """

    def __init__(self, state_dim: int, action_dim: int, spec: HyperNetworkSpec, n_members: int) -> None:
        super().__init__(EMBEDDING_DIM, state_dim + action_dim, 1, spec, n_members)
        self.embedding = nn.Parameter(th.rand(EMBEDDING_DIM))  # U[0, 1)

    def forward(self, states: th.Tensor, actions: th.Tensor, members: slice = ALL_MEMBERS) -> th.Tensor:
        """
        :param states: ``(batch, state_dim)``
        :param actions: ``(batch, action_dim)``
        :param members: Which members to evaluate.
        :return: ``(n_members, batch, 1)``
        """
        weights = self.generate(self.embedding.unsqueeze(0), members)
        rows = th.cat([states, actions], dim=-1)
        return self.evaluate(weights, rows.unsqueeze(0)).squeeze(1)
