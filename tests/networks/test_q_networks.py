import pytest
import torch as th

from sb3_hyper.networks import ASHyperQ, EmbHyperQ, HyperNetworkSpec, SAHyperQ, resolve_spec
from sb3_hyper.networks.q_networks import EMBEDDING_DIM

SMALL = HyperNetworkSpec(widths=(16,), n_blocks=1, dynamic_widths=(8,), hidden_head_bound=0.5, output_head_bound=0.5)
HOPPER, WALKER, CHEETAH, ANT, ANT_27 = (11, 3), (17, 6), (17, 6), (111, 8), (27, 8)


@pytest.mark.parametrize(
    ("network", "sizes", "expected"),
    [
        (SAHyperQ, HOPPER, 7_748_610),
        (SAHyperQ, WALKER, 8_537_346),
        (SAHyperQ, CHEETAH, 8_537_346),
        (SAHyperQ, ANT, 9_086_210),
        (SAHyperQ, ANT_27, 9_064_706),
        (ASHyperQ, HOPPER, 9_845_762),
        (ASHyperQ, CHEETAH, 11_420_930),
        (ASHyperQ, ANT, 36_087_042),
        (ASHyperQ, ANT_27, 14_045_442),
        (EmbHyperQ, HOPPER, 10_633_474),
        (EmbHyperQ, CHEETAH, 12_995_074),
        (EmbHyperQ, ANT, 38_185_474),
        (EmbHyperQ, ANT_27, 16_143_874),
    ],
)
def test_parameter_counts_are_the_papers(network, sizes, expected):
    with th.device("meta"):
        q = network(*sizes, resolve_spec("paper"), n_members=2)
    shared = EMBEDDING_DIM if network is EmbHyperQ else 0
    assert (sum(parameter.numel() for parameter in q.parameters()) - shared) / 2 == expected


def test_slim_is_a_fifteenth_of_the_paper():
    with th.device("meta"):
        q = SAHyperQ(*CHEETAH, resolve_spec("slim"), n_members=2)
    assert sum(parameter.numel() for parameter in q.parameters()) == 2 * 565_890


@pytest.mark.parametrize(("sizes", "expected"), [(HOPPER, 1_538), (CHEETAH, 2_306), (ANT, 2_818)])
def test_number_of_dynamic_weights_is_the_papers(sizes, expected):
    with th.device("meta"):
        assert SAHyperQ(*sizes, resolve_spec("paper"), n_members=2).heads.layout.size == expected


def second_differences(network, t):
    """Second differences of Q along a line in action space, at fixed state; they vanish where Q is linear."""
    state = th.randn(1, 4).double().expand(len(t), -1)
    start, direction = th.randn(3).double(), th.randn(3).double()
    with th.no_grad():
        q = network(state, start + t.unsqueeze(1) * direction, slice(0, 1)).flatten()
    return q[2:] - 2 * q[1:-1] + q[:-2]


def test_sa_hyper_is_piecewise_linear_in_the_action():
    th.manual_seed(0)
    network = SAHyperQ(4, 3, SMALL, n_members=2).double()
    differences = second_differences(network, th.linspace(-4, 4, 2001, dtype=th.float64))
    kinks = differences.abs() > 1e-10
    # 8 hidden units: at most 8 kinks, each seen in at most two differences
    assert 0 < kinks.sum() <= 16


def test_as_hyper_is_curved_in_the_action():
    th.manual_seed(0)
    network = ASHyperQ(4, 3, SMALL, n_members=2).double()
    differences = second_differences(network, th.linspace(-4, 4, 2001, dtype=th.float64))
    assert (differences.abs() > 1e-10).double().mean() > 0.9


def test_as_hyper_swaps_the_roles():
    forward, reverse = SAHyperQ(4, 3, SMALL, 2), ASHyperQ(3, 4, SMALL, 2)
    reverse.load_state_dict(forward.state_dict())
    states, actions = th.randn(5, 4), th.randn(5, 3)
    th.testing.assert_close(reverse(actions, states), forward(states, actions))


def test_emb_hyper_has_one_set_of_weights_for_all_rows():
    network = EmbHyperQ(4, 3, SMALL, n_members=2)
    states, actions = th.randn(6, 4), th.randn(6, 3)
    # one change of the input gives the same function of it in every row
    permutation = th.randperm(6)
    th.testing.assert_close(network(states[permutation], actions[permutation]), network(states, actions)[:, permutation])
    repeated = network.embedding.expand(6, EMBEDDING_DIM)
    # as the authors' code has it: the embedding repeated over the batch
    expected = super(EmbHyperQ, network).forward(repeated, th.cat([states, actions], 1))
    th.testing.assert_close(network(states, actions), expected)


def test_the_embedding_starts_uniform_is_shared_and_learns():
    network = EmbHyperQ(4, 3, SMALL, n_members=2)
    assert network.embedding.shape == (EMBEDDING_DIM,)
    embeddings = th.cat([EmbHyperQ(1, 1, SMALL, 1).embedding for _ in range(40)])
    assert ((embeddings >= 0) & (embeddings < 1)).all()
    assert embeddings.min() < 0.1
    assert embeddings.max() > 0.9
    network(th.randn(6, 4), th.randn(6, 3)).sum().backward()
    assert network.embedding.grad.abs().min() > 0
