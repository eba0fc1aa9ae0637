import pytest
import torch as th
from torch import nn

from sb3_hyper.networks import SAHyperQ, resolve_spec
from sb3_hyper.networks.baselines import (
    D2RLQ,
    LayerNormMlpQ,
    MlpQ,
    ResNetFeaturesQ,
    ResNetQ,
    layernorm_mlp_like,
    layernorm_mlp_width,
    xavier_,
)


def n_parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def member_of(layer, member):
    return lambda x: x @ layer.weight[member] + layer.bias[member]


def test_a_perceptron_by_hand():
    network = MlpQ(4, 2, (8, 7), n_members=2, n_outputs=3)
    states, actions = th.randn(5, 4), th.randn(5, 2)
    for member in range(2):
        x = th.cat([states, actions], 1)
        for layer in network.hidden:
            x = member_of(layer, member)(x).relu()
        th.testing.assert_close(network(states, actions)[member], member_of(network.output, member)(x))


def test_resnet_by_hand():
    network = ResNetQ(4, 2, 3, 8, n_members=2, n_outputs=3)
    states, actions = th.randn(5, 4), th.randn(5, 2)
    for member in range(2):
        x = member_of(network.input, member)(th.cat([states, actions], 1))
        for block in network.blocks:
            assert block.norm is None
            hidden = member_of(block.linear1, member)(x.relu())
            x = x + member_of(block.linear2, member)(hidden.relu())
        th.testing.assert_close(network(states, actions)[member], member_of(network.output, member)(x.relu()))


def test_resnet_features_reads_the_state_through_ten_numbers():
    network = ResNetFeaturesQ(4, 2, resolve_spec("slim"), n_members=2)
    states, actions = th.randn(5, 4), th.randn(5, 2)
    for member in range(2):
        z = network.primary(states)[member]
        features = member_of(network.features, member)(z)
        assert features.shape == (5, 10)
        hidden = member_of(network.hidden, member)(th.cat([features, actions], 1)).relu()
        th.testing.assert_close(network(states, actions)[member], member_of(network.output, member)(hidden))


@pytest.mark.parametrize("initialization", ["paper", "sac_code", "kaiming"])
def test_resnet_features_starts_as_pytorch_does(initialization):
    network = ResNetFeaturesQ(4, 2, resolve_spec("paper", {"initialization": initialization}), n_members=2)
    block = network.primary.layers[1]
    assert 0.99 / 16 < block.linear1.weight.abs().max() <= 1 / 16


def test_xavier_does_without_biases():
    xavier_(nn.Linear(3, 5, bias=False))


def test_xavier_is_torchs():
    layer = nn.Linear(30, 50)
    xavier_(layer)
    assert layer.weight.requires_grad
    th.manual_seed(0)
    expected = nn.init.xavier_uniform_(th.empty(50, 30))
    assert not layer.bias.any()
    assert layer.weight.abs().max().item() == pytest.approx(expected.abs().max().item(), rel=0.01)


@pytest.mark.parametrize("changes", [{}, {"shared_primary": True}, {"heads": "low_rank"}, {"n_blocks": 1}])
@pytest.mark.parametrize("preset", ["slim", "paper"])
@pytest.mark.parametrize("sizes", [(11, 3), (17, 6), (105, 8)])
def test_the_control_is_as_large_as_the_hypernetwork(preset, sizes, changes):
    spec = resolve_spec(preset, changes)
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


def test_the_control_has_as_many_blocks_as_the_primary_network():
    with th.device("meta"):
        for preset, n_blocks in (("paper", 6), ("slim", 2), ("bounded", 2)):
            assert len(layernorm_mlp_like(17, 6, resolve_spec(preset), 2).blocks) == n_blocks


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
