import pytest
import torch as th

from sb3_hyper.networks.dynamic import DynamicLayer, DynamicLayout, dynamic_layer, dynamic_network


def test_the_gain_scales_before_the_bias_is_added():
    layer = DynamicLayer(th.tensor([[[2.0], [3.0]]]), th.tensor([[10.0]]), th.tensor([[0.5]]))
    x = th.tensor([[[1.0, 1.0]]])
    assert dynamic_layer(layer, x).item() == 1.5 * 5 + 10


def test_every_row_has_weights_of_its_own():
    layout = DynamicLayout([3, 4, 2])
    weights = layout.split(th.randn(5, layout.size))
    x = th.randn(5, 7, 3)
    out = dynamic_network(weights, x)
    assert out.shape == (5, 7, 2)
    first, last = weights
    for row in range(5):
        for n in range(7):
            hidden = th.relu((1 + first.gain[row]) * (first.weight[row].T @ x[row, n]) + first.bias[row])
            expected = (1 + last.gain[row]) * (last.weight[row].T @ hidden) + last.bias[row]
            th.testing.assert_close(out[row, n], expected)


def test_the_layout_covers_each_generated_number_once():
    layout = DynamicLayout([3, 4, 2])
    assert layout.size == (3 * 4 + 4 + 4) + (4 * 2 + 2 + 2)
    flat = th.arange(float(layout.size)).expand(2, 1, -1)  # two members, one row
    parts = [part for layer in layout.split(flat) for part in layer]
    assert [part.shape for part in parts[:3]] == [(2, 1, 3, 4), (2, 1, 4), (2, 1, 4)]
    assert th.equal(th.cat([part.flatten(2) for part in parts], -1), flat)


@pytest.mark.parametrize(("rows", "base_rows"), [(1, 6), (6, 1)])
def test_one_row_serves_many(rows, base_rows):
    layout = DynamicLayout([3, 2])
    flat, x = th.randn(rows, layout.size), th.randn(base_rows, 4, 3)
    expected = dynamic_network(layout.split(flat.expand(6, -1)), x.expand(6, -1, -1))
    th.testing.assert_close(dynamic_network(layout.split(flat), x), expected)
