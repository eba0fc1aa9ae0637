"""Where a context (a goal, a task) stands in a vector of features."""

from collections.abc import Sequence

import torch as th
from torch import nn


class ContextColumns(nn.Module):
    """
    Splits features into a context and the rest.

    :param n_features: Size of the features.
    :param context: Indices of the context's columns, in its order.
    :raises ValueError: If an index is out of range or given twice, or nothing is left on one side.
    """

    context: th.Tensor
    rest: th.Tensor

    def __init__(self, n_features: int, context: Sequence[int]) -> None:
        super().__init__()
        rest = [column for column in range(n_features) if column not in set(context)]
        if not context or not rest or len(set(context)) < len(context) or len(rest) + len(context) != n_features:
            raise ValueError(f"A context is some of the {n_features} features, each once, got columns {list(context)}")
        self.register_buffer("context", th.tensor(context), persistent=False)
        self.register_buffer("rest", th.tensor(rest), persistent=False)

    def forward(self, features: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        """
        :param features: ``(batch, n_features)``
        :return: The context ``(batch, context_dim)`` and the rest ``(batch, n_features - context_dim)``
        """
        return features.index_select(-1, self.context), features.index_select(-1, self.rest)
