import dataclasses
import math

import pytest
import torch as th
from torch import nn

from benchmarks.plain import PlainHyperQ
from sb3_hyper.networks import HyperNetwork, HyperNetworkSpec, dynamic_layer, resolve_spec
from sb3_hyper.networks.layers import EnsembleLinear
from sb3_hyper.networks.primary import ResidualBlock

SMALL = HyperNetworkSpec(widths=(16, 32), n_blocks=1, dynamic_widths=(8,))


def port(plain: list[PlainHyperQ], net: HyperNetwork) -> None:
    """Copy the weights of separate plain networks into the members of an ensemble."""
    linears = [module for module in net.primary.modules() if isinstance(module, EnsembleLinear)]
    for member, network in enumerate(plain):
        sources = [module for module in network.primary.modules() if isinstance(module, nn.Linear)]
        for target, source in zip(linears, sources, strict=True):
            target.weight.data[member] = source.weight.data.T
            target.bias.data[member] = source.bias.data
        rows, biases = [], []
        for head in (network.head1, network.head2):
            # generated weights lie (out, in) there, (in, out) here
            rows.append(head.weight.weight.data.unflatten(0, (head.n_out, head.n_in)).transpose(0, 1).flatten(0, 1))
            biases.append(head.weight.bias.data.unflatten(0, (head.n_out, head.n_in)).T.flatten())
            for linear in (head.bias, head.gain):
                rows.append(linear.weight.data)
                biases.append(linear.bias.data)
        net.heads.linear.weight.data[member] = th.cat(rows).T
        net.heads.linear.bias.data[member] = th.cat(biases)


def test_the_ensemble_equals_separate_plain_networks_in_value_and_gradient():
    th.manual_seed(0)
    plain = [PlainHyperQ(11, 3).double() for _ in range(2)]
    net = HyperNetwork(11, 3, 1, n_members=2).double()
    port(plain, net)
    states, actions = th.randn(7, 11).double(), th.rand(7, 3).double().requires_grad_()
    expected = th.stack([network(states, actions) for network in plain])
    out = net(states, actions)
    th.testing.assert_close(out, expected)

    weights = th.randn_like(out)
    (expected_gradient,) = th.autograd.grad((expected * weights).sum(), actions, retain_graph=True)
    (gradient,) = th.autograd.grad((out * weights).sum(), actions, retain_graph=True)
    th.testing.assert_close(gradient, expected_gradient)
    (expected * weights).sum().backward()
    (out * weights).sum().backward()
    for member, network in enumerate(plain):
        th.testing.assert_close(net.primary.layers[0].weight.grad[member], network.primary[0].weight.grad.T)
        th.testing.assert_close(net.heads.linear.bias.grad[member, -1], network.head2.gain.bias.grad[0])
        th.testing.assert_close(net.primary.layers[8].linear2.weight.grad[member], network.primary[8].linear2.weight.grad.T)


def test_residual_block_is_pre_activation():
    block = ResidualBlock(8, layer_norm=False, n_members=2)
    x = th.randn(2, 5, 8)
    linear1, linear2 = block.linear1, block.linear2
    for member in range(2):
        hidden = th.relu(x[member]) @ linear1.weight[member] + linear1.bias[member]
        expected = x[member] + th.relu(hidden) @ linear2.weight[member] + linear2.bias[member]
        th.testing.assert_close(block(x)[member], expected)


@pytest.mark.parametrize("members", [None, 2])
def test_many_base_values_per_row_equal_one_at_a_time(members):
    net = HyperNetwork(4, 3, 2, SMALL, n_members=members)
    meta, base = th.randn(5, 4), th.randn(5, 6, 3)
    out = net(meta, base)
    assert out.shape == (5, 6, 2) if members is None else (2, 5, 6, 2)
    for n in range(6):
        th.testing.assert_close(out[..., n, :], net(meta, base[:, n]))


def test_one_member_can_be_evaluated_alone():
    net = HyperNetwork(4, 3, 1, SMALL, n_members=3)
    meta, base = th.randn(5, 4), th.randn(5, 3)
    th.testing.assert_close(net(meta, base, slice(2, 3)), net(meta, base)[2:3])


def test_several_outputs_share_the_hidden_layer_and_start_from_bounds_of_their_own():
    th.manual_seed(0)
    net = HyperNetwork(4, 3, (2, 5), SMALL, output_bounds=(0.01, 0.5))
    mean, log_std = net(th.randn(6, 4), th.randn(6, 3)).split(net.output_dims, dim=-1)
    assert mean.shape == (6, 2)
    assert log_std.shape == (6, 5)
    # rows of the head that generate the output layer's weight (8, 7), bias (7) and gain (7)
    rows = net.heads.linear.weight[:, -(8 * 7 + 7 + 7) :].unflatten(1, (10, 7))
    for columns, bound in ((rows[..., :2], 0.01), (rows[..., 2:], 0.5)):
        assert bound * 0.95 < columns.abs().max() <= bound


def test_without_gains_and_biases_a_layer_is_the_plain_product():
    net = HyperNetwork(4, 3, 1, HyperNetworkSpec(widths=(16,), n_blocks=1, dynamic_widths=()))
    with th.no_grad():
        net.heads.linear.weight[:, 3:] = 0
    meta, base = th.randn(5, 4), th.randn(5, 3)
    (layer,) = net.generate(meta)
    assert layer.weight.abs().min() > 0
    th.testing.assert_close(net(meta, base), th.bmm(base.unsqueeze(1), layer.weight).squeeze(1))


def test_without_weights_the_output_is_the_generated_bias():
    net = HyperNetwork(4, 3, 1, SMALL)
    with th.no_grad():
        net.heads.linear.weight[:, : 3 * 8] = 0
        net.heads.linear.weight[:, 3 * 8 + 16 : -2] = 0
    meta, base = th.randn(5, 4), th.randn(5, 3, requires_grad=True)
    out = net(meta, base)
    th.testing.assert_close(out, net.generate(meta)[-1].bias)
    (gradient,) = th.autograd.grad(out.sum(), base)
    assert not gradient.any()


def test_paper_initialisation_keeps_its_bounds():
    net = HyperNetwork(17, 6, 1, n_members=2)
    for module in net.primary.modules():
        if isinstance(module, EnsembleLinear):
            fan_in = module.weight.shape[1]
            assert 0.99 < module.weight.abs().max() * 2 * math.sqrt(fan_in) <= 1 + 1e-6
            assert 0.8 < module.bias.abs().max() * math.sqrt(fan_in) <= 1 + 1e-6
    hidden, output = net.heads.linear.weight.split([6 * 256 + 512, 256 + 2], dim=-1)
    assert 0.0499 < hidden.abs().max() <= 0.05
    assert 0.0079 < output.abs().max() <= 0.008
    assert not net.heads.linear.bias.any()


def test_paper_initialisation_gives_the_papers_spread():
    th.manual_seed(0)
    net = HyperNetwork(17, 6, 1, n_members=10)
    states, actions = th.randn(200, 17), th.rand(200, 6) * 2 - 1
    with th.no_grad():
        z = net.primary(states)
        first, last = net.generate(states)
        q = net(states, actions)
    measured = {
        "z": (z.std(), 0.048),
        "W1": (first.weight.std(), 0.045),
        "W1, its part that depends on the state": (first.weight.std(dim=1).mean(), 0.022),
        "b1": (first.bias.std(), 0.044),
        "g1": (first.gain.std(), 0.044),
        "W2": (last.weight.std(), 0.007),
        # a single number per network: its spread over the states
        "b2": (last.bias.std(dim=1).mean(), 0.003),
        "g2": (last.gain.std(dim=1).mean(), 0.003),
        "Q": (q.std(dim=1).mean(), 0.005),
    }
    for name, (value, expected) in measured.items():
        # expected values have one or two significant digits
        assert value == pytest.approx(expected, rel=0.3 if name in ("b2", "g2", "Q") else 0.12), name


def test_slim_starts_with_the_papers_spread_of_weights():
    th.manual_seed(0)
    net = HyperNetwork(17, 6, 1, resolve_spec("slim"), n_members=10)
    first, last = net.generate(th.randn(200, 17))
    assert first.weight.std().item() == pytest.approx(0.045, rel=0.1)
    assert last.weight.std().item() == pytest.approx(0.007, rel=0.1)
    linear = net.primary.layers[1].linear1.weight  # PyTorch's default: U(+-1 / sqrt(fan_in))
    assert 0.99 < linear.abs().max() * math.sqrt(256) <= 1 + 1e-6
    hidden, output = net.heads.linear.weight.split([6 * 128 + 256, 128 + 2], dim=-1)
    assert 0.00499 < hidden.abs().max() <= 0.005
    assert 0.00079 < output.abs().max() <= 0.0008


@pytest.mark.parametrize("preset", ["paper", "slim"])
def test_the_ensemble_axis_changes_nothing_but_the_shape(preset):
    ensemble = HyperNetwork(4, 3, 1, resolve_spec(preset), n_members=1)
    single = HyperNetwork(4, 3, 1, resolve_spec(preset))
    single.load_state_dict({name: tensor[0] for name, tensor in ensemble.state_dict().items()})
    meta, base = th.randn(5, 4), th.randn(5, 3)
    th.testing.assert_close(single(meta, base), ensemble(meta, base)[0])


def test_one_primary_can_serve_all_members():
    spec = dataclasses.replace(SMALL, shared_primary=True)
    net = HyperNetwork(4, 3, 1, spec, n_members=2)
    meta, base = th.randn(5, 4), th.randn(5, 3)
    out = net(meta, base)
    assert out.shape == (2, 5, 1)
    assert not th.equal(out[0], out[1])
    separate = HyperNetwork(4, 3, 1, SMALL, n_members=2)
    for (name, target), source in zip(separate.named_parameters(), net.parameters(), strict=True):
        target.data.copy_(source.data)  # the same primary for both
        assert source.shape == (target.shape if name.startswith("heads") else target.shape[1:])
    th.testing.assert_close(separate(meta, base), out)
    th.testing.assert_close(net(meta, base, slice(1, 2)), out[1:])


def test_without_gain_the_layers_do_not_scale():
    with_gain = HyperNetwork(4, 3, 1, SMALL)
    without = HyperNetwork(4, 3, 1, dataclasses.replace(SMALL, gain=False))
    assert with_gain.heads.layout.size - without.heads.layout.size == 8 + 1
    assert all(layer.gain is None for layer in without.generate(th.randn(5, 4)))
    # the same numbers, with gains that are zero
    with th.no_grad():
        with_gain.primary.load_state_dict(without.primary.state_dict())
        gains = [3 * 8 + 8 + index for index in range(8)] + [-1]
        others = [index for index in range(with_gain.heads.layout.size) if index not in gains][:-1]
        with_gain.heads.linear.weight.zero_()
        with_gain.heads.linear.weight[:, others] = without.heads.linear.weight
    meta, base = th.randn(5, 4), th.randn(5, 3)
    th.testing.assert_close(with_gain(meta, base), without(meta, base))


def test_hidden_dynamic_layers_can_be_normalised():
    net = HyperNetwork(4, 3, 1, dataclasses.replace(SMALL, dynamic_layer_norm=True))
    meta, base = th.randn(5, 4), th.randn(5, 3)
    first, last = net.generate(meta)
    hidden = nn.functional.layer_norm(dynamic_layer(first, base.unsqueeze(1)), (8,)).relu()
    th.testing.assert_close(net(meta, base), dynamic_layer(last, hidden).squeeze(1))


@pytest.mark.parametrize("heads", ["dense", "low_rank", "residual"])
@pytest.mark.parametrize("gain", [False, True])
def test_weights_of_hidden_units_can_have_length_one(gain, heads):
    spec = dataclasses.replace(SMALL, gain=gain, heads=heads, dynamic_weight_norm=True)
    net = HyperNetwork(4, 3, 1, spec, n_members=2)
    with th.no_grad():
        net.heads.linear.weight.normal_()
        net.heads.linear.bias.normal_()
    meta, base = th.randn(5, 4), th.randn(5, 7, 3)
    first, last = net.generate(meta)
    affine = th.cat([first.weight, first.bias.unsqueeze(-2)], dim=-2)  # (members, batch, in + 1, out)
    if gain:
        affine[..., :-1, :] *= 1 + first.gain.unsqueeze(-2)
    units = nn.functional.normalize(affine, dim=-2)
    hidden = (nn.functional.pad(base, (0, 1), value=1.0) @ units).relu()
    th.testing.assert_close(net(meta, base), dynamic_layer(last, hidden))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((0, 3, 1), "meta_dim must be positive, got 0"),
        ((3, 0, 1), "base_dim"),
        ((3, 3, ()), "output_dims"),
        ((3, 3, (1, 0)), "output_dims"),
    ],
)
def test_sizes_must_be_positive(sizes, message):
    with pytest.raises(ValueError, match=message):
        HyperNetwork(*sizes)


def test_bounds_must_match_the_outputs():
    with pytest.raises(ValueError, match="got 1 for 2 outputs"):
        HyperNetwork(3, 3, (1, 1), SMALL, output_bounds=(0.1,))


def test_an_empty_batch_is_fine():
    net = HyperNetwork(4, 3, 1, SMALL, n_members=2)
    assert net(th.zeros(0, 4), th.zeros(0, 3)).shape == (2, 0, 1)
