import pytest
import torch as th

from sb3_hyper.networks import ASHyperQ, HyperNetworkSpec, SAHyperQ
from sb3_hyper.networks.context import ContextColumns
from sb3_hyper.networks.q_networks import ContextBesideAction

SMALL = HyperNetworkSpec(widths=(16,), n_blocks=1, dynamic_widths=(8,), hidden_head_bound=0.5, output_head_bound=0.5)


def test_the_context_and_the_rest():
    features = th.arange(12.0).reshape(2, 6)
    context, rest = ContextColumns(6, [4, 1])(features)
    assert context.tolist() == [[4, 1], [10, 7]]
    assert rest.tolist() == [[0, 2, 3, 5], [6, 8, 9, 11]]


@pytest.mark.parametrize("context", [[], [0, 1, 2], [0, 0], [3], [-1]])
def test_what_is_no_part_of_the_features(context):
    with pytest.raises(ValueError, match="A context is some of the 3 features, each once"):
        ContextColumns(3, context)


@pytest.mark.parametrize("network_class", [SAHyperQ, ASHyperQ])
def test_the_context_stands_beside_the_action(network_class):
    inner = network_class(4, 3 + 2, SMALL, n_members=2)
    network = ContextBesideAction(inner, 6, [1, 2])
    states, actions = th.randn(5, 6), th.randn(5, 3)
    expected = inner(states[:, [0, 3, 4, 5]], th.cat([actions, states[:, [1, 2]]], 1))
    th.testing.assert_close(network(states, actions), expected)
    assert network.takes_many_actions is (network_class is SAHyperQ)


def test_many_actions_in_one_context():
    network = ContextBesideAction(SAHyperQ(4, 3 + 2, SMALL, n_members=2), 6, [1, 2])
    states, actions = th.randn(5, 6), th.randn(5, 7, 3)
    values = network(states, actions)
    for index in range(7):
        th.testing.assert_close(values[:, :, index], network(states, actions[:, index]))
