"""Initialisations, heads and primaries by name, against slow versions of their own."""

import math

import pytest
import torch as th

from sb3_hyper.networks import HyperNetwork, HyperNetworkSpec, resolve_spec
from sb3_hyper.networks.dynamic import FactoredLayer

SIZES = 5, 3, 2  # meta, base, output
SPEC = HyperNetworkSpec(widths=(32,), n_blocks=1, primary="normed", dynamic_widths=(16,), rank=6)


def make(n_members=None, seed=0, sizes=SIZES, **changes):
    th.manual_seed(seed)
    return HyperNetwork(*sizes, resolve_spec(SPEC, changes), n_members=n_members)


def slow_forward(net, meta, base, member):
    """One row at a time, one output at a time, from the written-out weights."""
    layers = net.generate(meta)
    rows = []
    for row in range(len(meta)):
        x = base[row]
        for index, layer in enumerate(layers):
            weight, bias, gain = (part if member is None else part[member] for part in (layer.weight, layer.bias, layer.gain))
            y = [(1 + gain[row, j]) * (x @ weight[row, :, j]) + bias[row, j] for j in range(weight.shape[-1])]
            x = th.stack(y) if index == len(layers) - 1 else th.stack(y).relu()
        rows.append(x)
    return th.stack(rows)


@pytest.mark.parametrize("n_members", [None, 2])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("heads", ["dense", "low_rank", "residual"])
def test_heads_agree_with_the_slow_version_in_value_and_gradient(heads, shared, n_members):
    net = make(n_members, heads=heads, shared_primary=shared, hidden_head_bound=0.5, output_head_bound=0.5).double()
    with th.no_grad():
        for parameter in net.heads.parameters():  # nothing is zero
            parameter.add_(0.3 * th.randn_like(parameter))
    meta, base = th.randn(4, 5).double(), th.randn(4, 3).double().requires_grad_()
    out = net(meta, base)
    for member in [None] if n_members is None else range(n_members):
        expected = slow_forward(net, meta, base, member)
        mine = out if member is None else out[member]
        th.testing.assert_close(mine, expected)
        inputs = [base, *net.parameters()]
        gradients = th.autograd.grad(mine.square().sum(), inputs, retain_graph=True)
        expected_gradients = th.autograd.grad(expected.square().sum(), inputs, retain_graph=True)
        for one, other in zip(gradients, expected_gradients, strict=True):
            th.testing.assert_close(one, other)
    many = th.randn(4, 7, 3).double()
    th.testing.assert_close(net(meta, many)[..., 2, :], net(meta, many[:, 2]))


@pytest.mark.parametrize("heads", ["low_rank", "residual"])
def test_one_member_can_be_evaluated_alone(heads):
    net = make(3, heads=heads)
    meta, base = th.randn(4, 5), th.randn(4, 3)
    th.testing.assert_close(net(meta, base, slice(1, 2)), net(meta, base)[1:2])


def test_a_low_rank_weight_is_the_sum_of_its_factors():
    net = make(heads="low_rank")
    meta = th.randn(4, 5)
    z = net.primary(meta)
    scale = net.heads.linear(z)[:, :6]  # V z of the first layer
    left, right = net.heads.left[0][0], net.heads.right[0][0]
    expected = sum(scale[:, k, None, None] * th.outer(left[:, k], right[k]) for k in range(6))
    first = net.generate(meta)[0]
    assert isinstance(first, FactoredLayer)
    th.testing.assert_close(first.weight, expected)


def test_low_rank_weights_start_as_wide_as_dense_ones():
    stds = []
    for heads in ({"heads": "dense"}, {"heads": "low_rank", "rank": 64}):
        nets = [make(seed=seed, sizes=(20, 8, 1), **heads) for seed in range(10)]
        layers = [net.generate(th.randn(50, 20))[0] for net in nets]
        stds.append(
            [
                th.stack([getattr(layer, part).std() for layer in layers]).mean().item()
                for part in layers[0]._fields
                if part in ("bias", "gain")
            ]
            + [th.stack([layer.weight.std() for layer in layers]).mean().item()]
        )
    assert stds[0] == pytest.approx(stds[1], rel=0.1)


def test_low_rank_heads_are_smaller():
    sizes = [sum(p.numel() for p in make(sizes=(17, 6, 1), heads=heads, dynamic_widths=[128]).heads.parameters())
             for heads in ("dense", "low_rank")]  # fmt: skip
    assert sizes[1] < sizes[0] / 2


def test_residual_heads_start_as_an_ordinary_network():
    net = make(heads="residual", rank=6)
    first, second = net.generate(th.randn(4, 5))
    for layer, n_in in ((first, 3), (second, 16)):
        assert th.equal(layer.weight[0], layer.weight[1])  # no matter the meta variable
        assert not layer.gain.any()
        for part in (layer.weight, layer.bias):
            assert 0.5 / math.sqrt(n_in) < part.abs().max() <= 1 / math.sqrt(n_in)
    out = net(th.randn(4, 5), th.randn(4, 3))
    out.sum().backward()
    assert net.heads.linear.weight.grad.any()  # and yet the meta variable is learned from


def heads_of(net):
    """(weight rows, bias rows, gain rows) of each layer: ``(d_z, in, out)``, ``(d_z, out)``, ``(d_z, out)``"""
    return net.heads.layout.split(net.heads.linear.weight)


@pytest.mark.parametrize(
    ("initialization", "gain"),
    [
        ("paper", 1 / math.sqrt(12)),
        ("sac_code", 1 / math.sqrt(6)),
        ("hyperfan_in", 1 / math.sqrt(12)),
        ("kaiming", math.sqrt(2)),
    ],
)
def test_gain_of_the_primary(initialization, gain):
    net = HyperNetwork(11, 3, 1, HyperNetworkSpec(widths=(128,), n_blocks=1, initialization=initialization))
    for layer, n_in in ((net.primary.layers[0], 11), (net.primary.layers[1].linear1, 128)):
        bound = gain * math.sqrt(3 / n_in)
        assert 0.97 * bound < layer.weight.abs().max() <= bound
        assert 0.9 / math.sqrt(n_in) < layer.bias.abs().max() <= 1 / math.sqrt(n_in)


def test_bias_hyperinit_starts_as_an_ordinary_network():
    net = make(initialization="bias_hyper")
    assert not net.heads.linear.weight.any()
    for layer, n_in in zip(net.generate(th.randn(4, 5)), (3, 16), strict=True):
        assert th.equal(layer.weight[0], layer.weight[1])
        assert not layer.gain.any()
        for part in (layer.weight, layer.bias):
            assert 0.5 / math.sqrt(n_in) < part.abs().max() <= 1 / math.sqrt(n_in)


def test_hyperfan_in_has_the_variances_of_chang_et_al():
    spec = HyperNetworkSpec(widths=(64,), n_blocks=0, dynamic_widths=(50,), initialization="hyperfan_in")
    net = HyperNetwork(4, 40, 10, spec)
    for (weight, bias, gain), n_in, g_squared in zip(heads_of(net), (40, 50), (2, 1), strict=True):
        assert weight.var().item() == pytest.approx(g_squared / (2 * n_in * 64), rel=0.1)
        assert bias.var().item() == pytest.approx(g_squared / (2 * 64), rel=0.25)
        assert not gain.any()
    assert not net.heads.linear.bias.any()


def test_hyperfan_in_keeps_the_size_of_the_signal():
    """With a latent of unit variance the generated layers neither blow a unit input up nor let it die."""
    spec = HyperNetworkSpec(
        widths=(256,), n_blocks=0, primary="normed", dynamic_widths=(200, 200), initialization="hyperfan_in"
    )
    net = HyperNetwork(4, 100, 100, spec)
    out = net(th.randn(60, 4), th.randn(60, 100))
    assert 0.5 < out.std() < 2
    naive = HyperNetwork(4, 100, 100, resolve_spec(spec, {"initialization": "kaiming"}))
    assert naive(th.randn(60, 4), th.randn(60, 100)).std() > 100


def test_kaiming_takes_heads_for_ordinary_layers():
    net = make(initialization="kaiming")
    bound = math.sqrt(6 / 32)
    assert 0.99 * bound < net.heads.linear.weight.abs().max() <= bound
    assert not net.heads.linear.bias.any()


@pytest.mark.parametrize("changes", [{}, {"gain": False}])
def test_what_leaves_a_normed_primary_network_is_normalised(changes):
    net = HyperNetwork(5, 3, 1, resolve_spec("slim", {"widths": [32], **changes}))
    z = net.primary(100 * th.randn(4, 5))
    th.testing.assert_close(z.mean(dim=1), th.zeros(4), atol=1e-5, rtol=0)
    th.testing.assert_close(z.var(dim=1, correction=0), th.ones(4), atol=1e-3, rtol=0)
