import pytest
import torch as th
from torch import nn

from sb3_hyper.networks.layers import EnsembleLayerNorm, EnsembleLinear


@pytest.mark.parametrize("shared_input", [True, False])
def test_each_member_is_a_linear_layer_of_its_own(shared_input):
    layer = EnsembleLinear(4, 3, n_members=2)
    x = th.randn(5, 4) if shared_input else th.randn(2, 5, 4)
    out = layer(x)
    assert out.shape == (2, 5, 3)
    for member in range(2):
        rows = x if shared_input else x[member]
        expected = nn.functional.linear(rows, layer.weight[member].T, layer.bias[member])
        th.testing.assert_close(out[member], expected)


def test_members_can_be_chosen():
    layer = EnsembleLinear(4, 3, n_members=3)
    x = th.randn(5, 4)
    th.testing.assert_close(layer(x, slice(1, 2)), layer(x)[1:2])


def test_without_members_there_is_no_axis():
    layer = EnsembleLinear(4, 3)
    assert layer.weight.shape == (4, 3)
    x = th.randn(5, 4)
    th.testing.assert_close(layer(x), nn.functional.linear(x, layer.weight.T, layer.bias))


def test_linear_starts_as_torch_does():
    th.manual_seed(0)
    layer = EnsembleLinear(100, 1000, n_members=2)
    for tensor in (layer.weight, layer.bias):
        assert tensor.abs().max() <= 0.1
        assert tensor.std().item() == pytest.approx(0.1 / 3**0.5, rel=0.05)


@pytest.mark.parametrize("n_members", [None, 2])
def test_layer_norm_is_torchs(n_members):
    layer = EnsembleLayerNorm(6, n_members)
    with th.no_grad():
        layer.weight.normal_()
        layer.bias.normal_()
    members = () if n_members is None else (n_members,)
    x = th.randn(*members, 5, 6)
    out = layer(x).reshape(-1, 5, 6)
    for member in range(n_members or 1):
        reference = nn.LayerNorm(6)
        reference.weight.data = layer.weight.reshape(-1, 6)[member].data
        reference.bias.data = layer.bias.reshape(-1, 6)[member].data
        th.testing.assert_close(out[member], reference(x.reshape(-1, 5, 6)[member]))
