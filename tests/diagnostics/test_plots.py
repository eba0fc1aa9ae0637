import numpy as np
import pytest

from sb3_hyper.diagnostics import plots


def record(cosines, steps=None):
    cosines = np.array(cosines, dtype=float)
    steps = np.arange(len(cosines)) * 10 if steps is None else np.array(steps)
    return {"timesteps": steps, "cosine": cosines, "self_cosine": -cosines, "noise_floor": cosines / 2}


def lines(figure):
    (axes,) = figure.axes
    return {line.get_label(): line.get_data() for line in axes.lines if not line.get_label().startswith("_")}


def test_learnable_states_pool_seeds_and_leave_the_untrained_network_out():
    runs = {"A": [record([[0.9, 0.9], [0.3, np.nan]]), record([[0.9, 0.9], [0.8, -0.5]])]}
    (label, (thresholds, shares)), *_ = lines(plots.learnable_states(runs)).items()
    assert label == "A (2 seeds)"
    assert shares[thresholds == 0] == 0.5
    assert shares[thresholds == 0.5] == 0.25
    assert shares[thresholds == 1] == 0


def test_learnable_states_over_time():
    runs = {"A": [record([[0.3, 0.1], [0.3, 0.8], [0.9, 0.9]])]}
    steps, shares = lines(plots.learnable_over_time(runs, 0.25, window=1))["A (1 seed)"]
    assert steps.tolist() == [0, 10, 20]
    assert shares.tolist() == [0.5, 1, 1]
    _, smoothed = lines(plots.learnable_over_time(runs, 0.25, window=2))["A (1 seed)"]
    assert smoothed.tolist() == [0.5, 0.75, 1]


@pytest.mark.parametrize(("which", "factor"), [("cosine", 1), ("self_cosine", -1), ("noise_floor", 0.5)])
def test_cosines_over_time_are_means_over_states_and_seeds(which, factor):
    runs = {"A": [record([[0.2, 0.4], [np.nan, 0.6]]), record([[0.0, 0.6], [0.2, 0.4], [1, 1]])]}
    steps, mean = lines(plots.cosine_over_time(runs, which, window=1))["A (2 seeds)"]
    assert steps.tolist() == [0, 10]  # where both were measured
    np.testing.assert_allclose(mean, factor * np.array([0.3, 0.4]))


def test_the_band_is_the_middle_half_of_the_states():
    figure = plots.cosine_over_time({"A": [record([[0.0, 0.1, 0.2, 0.3, 0.4]] * 2)]}, window=1)
    (band,) = figure.axes[0].collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((0.1, 0.3))


def test_value_bias_is_value_minus_return():
    steps = np.array([0, 10])
    first = {
        "timesteps": steps,
        "value": np.array([[1.0, 2.0], [9.0, 5.0]]),
        "policy_return": np.array([[1.0, 0.0], [2.0, 2.0]]),
    }
    second = {"timesteps": steps, "value": np.zeros((2, 2)), "policy_return": np.full((2, 2), 2.0)}
    _, bias = lines(plots.value_bias_over_time({"A": [first, second]}, window=1))["A (2 seeds)"]
    assert bias.tolist() == [-0.5, 1.5]


def test_trailing_mean_by_hand():
    np.testing.assert_allclose(plots.trailing_mean(np.array([1, np.nan, 3, 5.0]), 2), [1, 1, 3, 4])
    assert np.isnan(plots.trailing_mean(np.array([np.nan]), 3)).all()


def histograms(counts):
    bins = np.linspace(-1, 1, 5)
    return {
        "timesteps": np.array([0, 10]),
        **{f"critic.q_network.{layer}.bins": np.stack([bins, 2 * bins]) for layer in (0, 1)},
        **{f"critic.q_network.{layer}.counts": np.stack([np.ones(4), counts]) for layer in (0, 1)},
    }


def test_histograms_are_densities_of_each_layer():
    figure = plots.weight_histograms({"A": [histograms(np.array([0, 1, 3, 0]))]})
    assert len(figure.axes) == 2
    values, edges, _ = figure.axes[0].patches[0].get_data()
    assert values.tolist() == [0, 0.25, 0.75, 0]
    assert (edges[0], edges[-1]) == (-2, 2)
    first = plots.weight_histograms({"A": [histograms(np.zeros(4))]}, measurement=0)
    assert first.axes[0].patches[0].get_data()[0].tolist() == [0.5] * 4


def test_a_network_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"no histograms of 'actor', only of 'critic.q_network'"):
        plots.weight_histograms({"A": [histograms(np.ones(4))]}, network="actor")


def test_values_and_returns():
    one = {"value": np.array([[1.0, 2.0]]), "policy_return": np.array([[3.0, 4.0]])}
    (axes,) = plots.values_and_returns(one).axes
    x, y = axes.lines[1].get_data()
    assert (x.tolist(), y.tolist()) == ([3, 4], [1, 2])


def test_every_seed_has_a_curve_of_its_own():
    figure = plots.weight_histograms({"A": [histograms(np.ones(4)), histograms(np.arange(4))]})
    assert [len(axes.patches) for axes in figure.axes] == [2, 2]


def test_a_label_without_the_network_or_a_layer_is_named():
    whole = histograms(np.ones(4))
    with pytest.raises(ValueError, match=r"'MLP' has no histograms of 'critic\.q_network', only of nothing"):
        plots.weight_histograms({"A": [whole], "MLP": [{"timesteps": np.array([0])}]})
    short = {name: value for name, value in whole.items() if ".1." not in name}
    with pytest.raises(ValueError, match=r"different numbers of layers .*'A' has 2, 'B' has 1"):
        plots.weight_histograms({"A": [whole], "B": [short]})


@pytest.mark.parametrize("draw", [plots.cosine_over_time, plots.learnable_over_time])
def test_seeds_that_do_not_fit_together_are_named(draw):
    with pytest.raises(ValueError, match="runs of 'A' were measured at no step in common"):
        draw({"A": [record([[0.1], [0.2]]), record([[0.1], [0.2]], [1, 11])]})


def test_seeds_of_different_numbers_of_states_are_named():
    with pytest.raises(ValueError, match="runs of 'A' were measured in different numbers of states: 1, 2"):
        plots.cosine_over_time({"A": [record([[0.1], [0.2]]), record([[0.1, 0.2], [0.2, 0.3]])]})
