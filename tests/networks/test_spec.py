import dataclasses
import math

import numpy as np
import pytest

from sb3_hyper.networks.spec import PRESETS, HyperNetworkSpec, positive_number, resolve_spec


def test_the_default_spec_is_the_paper():
    spec = HyperNetworkSpec()
    assert spec == PRESETS["paper"]
    assert spec.widths == (256, 512, 1024)
    assert spec.n_blocks == 2
    assert spec.primary == "residual"
    assert spec.primary_gain == pytest.approx(1 / math.sqrt(12))
    assert spec.dynamic_widths == (256,)
    assert (spec.hidden_head_bound, spec.output_head_bound) == (0.05, 0.008)
    assert spec.critic_learning_rate == 5e-5


def test_lists_from_yaml_make_an_equal_spec():
    assert HyperNetworkSpec(widths=[256, np.int64(512), 1024], dynamic_widths=[256]) == HyperNetworkSpec()


def test_bounded_is_slim_with_a_smaller_primary_network_and_nothing_that_grows():
    changes = {"widths": [128], "gain": False, "dynamic_layer_norm": True}
    assert resolve_spec("bounded") == resolve_spec("slim", changes)  # the arm bounded_128 of slim-search


def test_changes_replace_fields_of_the_preset():
    spec = resolve_spec("slim", {"dynamic_widths": [64], "n_blocks": 1})
    assert spec == dataclasses.replace(PRESETS["slim"], dynamic_widths=(64,), n_blocks=1)
    assert resolve_spec(spec) is spec


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"widths": []}, r"widths must be a list of positive whole numbers, got \[\]"),
        ({"widths": [256, 0]}, r"widths .* got \[256, 0\]"),
        ({"widths": 256}, "widths .* got 256"),
        ({"dynamic_widths": [-1]}, r"dynamic_widths .* got \[-1\]"),
        ({"dynamic_widths": [2.5]}, r"dynamic_widths .* got \[2.5\]"),
        ({"dynamic_widths": "64"}, "dynamic_widths .* got '64'"),
        ({"n_blocks": -1}, "n_blocks must be a whole number of at least 0, got -1"),
        ({"n_blocks": True}, "n_blocks"),
        ({"gain": "yes"}, "gain must be true or false, got 'yes'"),
        ({"primary": "dense"}, "primary must be one of 'residual', 'normed', got 'dense'"),
        ({"heads": "chunked"}, "heads must be one of 'dense', 'low_rank', 'residual', got 'chunked'"),
        ({"initialization": "xavier"}, "initialization must be one of 'paper', .*, got 'xavier'"),
        ({"heads": "low_rank", "initialization": "kaiming"}, "initialization='kaiming' is for heads='dense'"),
        ({"rank": 0}, "rank must be a positive whole number, got 0"),
        ({"primary_gain": 0}, "primary_gain must be a positive number, got 0"),
        ({"hidden_head_bound": math.nan}, "hidden_head_bound must be a positive number, got nan"),
        ({"critic_learning_rate": "1e-3"}, "critic_learning_rate .* got the text '1e-3'.*write 0.001"),
        ({"width": 5}, "Given: width. Accepted: 'widths', "),
        ({1: 2}, "Given: 1. Accepted: 'widths', "),
    ],
)
def test_what_does_not_fit_is_named(fields, message):
    with pytest.raises(ValueError, match=message):
        resolve_spec("paper", fields)


@pytest.mark.parametrize("preset", ["tiny", None, 3, {"widths": [4]}])
def test_unknown_presets_are_named_with_the_known_ones(preset):
    with pytest.raises(ValueError, match=r"Unknown preset .*Accepted: 'paper', 'slim', 'bounded' or a HyperNetworkSpec"):
        resolve_spec(preset)


def test_numpy_numbers_become_plain_floats():
    assert type(positive_number("x", np.float32(0.5))) is float


@pytest.mark.parametrize("value", [True, -1.0, math.inf, None, [1.0]])
def test_other_things_are_no_positive_numbers(value):
    with pytest.raises(ValueError, match="x must be a positive number"):
        positive_number("x", value)


def test_a_rank_that_nobody_reads_is_told():
    with pytest.warns(UserWarning, match='rank is for heads="low_rank"'):
        resolve_spec("bounded", {"rank": 16})
    assert resolve_spec("bounded", {"rank": 16, "heads": "low_rank"}).rank == 16
