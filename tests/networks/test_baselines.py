import pytest
import torch as th
from torch import nn

from sb3_hyper.networks import SAHyperQ, resolve_spec
from sb3_hyper.networks.baselines import D2RLQ, LayerNormMlpQ, layernorm_mlp_like, layernorm_mlp_width


def n_parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("preset", ["slim", "paper"])
@pytest.mark.parametrize("sizes", [(11, 3), (17, 6), (105, 8)])
def test_the_control_is_as_large_as_the_hypernetwork(preset, sizes):
    spec = resolve_spec(preset)
    with th.device("meta"):
        control, hyper = (make(*sizes, spec, 2) for make in (layernorm_mlp_like, SAHyperQ))
    assert n_parameters(control) == pytest.approx(n_parameters(hyper), rel=0.003)


@pytest.mark.parametrize("n_blocks", [0, 1, 2])
@pytest.mark.parametrize("wanted", [5_000, 100_000, 123_456])
def test_no_other_width_comes_nearer(n_blocks, wanted):
    def distance(width):
        with th.device("meta"):
            return abs(n_parameters(LayerNormMlpQ(5, 2, width, n_blocks, 1)) - wanted)

    width = layernorm_mlp_width(7, n_blocks, wanted)
    assert distance(width) < min(distance(width - 1), distance(width + 1))


def test_making_the_control_draws_no_more_random_numbers_than_its_own():
    th.manual_seed(0)
    control = layernorm_mlp_like(4, 2, resolve_spec("slim"), 2)
    th.manual_seed(0)
    direct = LayerNormMlpQ(4, 2, len(control.output.weight[0]), 2, 2)
    assert all(th.equal(one, other) for one, other in zip(control.parameters(), direct.parameters(), strict=True))


def test_the_control_is_a_pre_norm_residual_network():
    network = LayerNormMlpQ(4, 2, 8, 1, n_members=2)
    states, actions = th.randn(5, 4), th.randn(5, 2)
    block = network.blocks[0]
    for member in range(2):

        def linear(layer, x, member=member):
            return x @ layer.weight[member] + layer.bias[member]

        x = linear(network.input, th.cat([states, actions], 1))
        hidden = nn.functional.layer_norm(x, (8,))  # scale one and shift zero at the start
        x = x + linear(block.linear2, linear(block.linear1, hidden.relu()).relu())
        expected = linear(network.output, nn.functional.layer_norm(x, (8,)))
        th.testing.assert_close(network(states, actions)[member], expected)


@pytest.mark.parametrize(
    ("sizes", "expected"), [((11, 3), 212_225), ((17, 6), 221_441), ((111, 8), 319_745), ((27, 8), 233_729)]
)
def test_d2rl_has_the_papers_number_of_parameters(sizes, expected):
    assert n_parameters(D2RLQ(*sizes, 256, 2)) == 2 * expected


def test_d2rl_sees_its_input_in_every_hidden_layer():
    network = D2RLQ(4, 2, 8, n_members=2)
    states, actions = th.randn(5, 4), th.randn(5, 2)
    inputs = th.cat([states, actions], 1)
    for member in range(2):
        x = inputs
        for index, layer in enumerate(network.hidden):
            x = x if index == 0 else th.cat([x, inputs], 1)
            x = (x @ layer.weight[member] + layer.bias[member]).relu()
        expected = x @ network.output.weight[member] + network.output.bias[member]
        th.testing.assert_close(network(states, actions)[member], expected)
    th.testing.assert_close(network(states, actions, slice(1, 2)), network(states, actions)[1:])
