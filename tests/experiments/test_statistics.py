import math

import numpy as np
import pytest
import scipy.stats

from sb3_hyper.experiments import statistics
from sb3_hyper.experiments.statistics import (
    COVERAGE,
    area_under_curve,
    common_curves,
    final_score,
    highest_score,
    improvement_interval,
    interquartile_mean,
    normalise,
    performance_profile,
    probability_of_improvement,
    shortfall,
    steps_to_reach,
    stratified_bootstrap,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def mean(tasks):
    return np.concatenate(tasks).mean(axis=0)


@pytest.mark.parametrize(("n_tasks", "n_runs"), [(1, 4), (1, 12), (2, 2), (2, 6), (4, 1), (4, 5)])
def test_interquartile_mean_is_scipys_trimmed_mean(rng, n_tasks, n_runs):
    scores = rng.standard_cauchy(size=(n_tasks, n_runs, 3, 2))
    expected = scipy.stats.trim_mean(scores.reshape(n_tasks * n_runs, 3, 2), 0.25, axis=0)
    np.testing.assert_allclose(interquartile_mean(list(scores)), expected)


@pytest.mark.parametrize("n_runs", [[1], [3], [2, 1], [5, 1, 3], [2, 2, 1, 1], [1, 4]])
def test_interquartile_mean_weighs_tasks_equally_whatever_their_numbers_of_runs(rng, n_runs):
    """As if each task's runs were copied until all tasks have equally many, and all of them a multiple of four."""
    scores = [rng.standard_cauchy(size=n) for n in n_runs]
    copies = np.concatenate([np.repeat(task, 4 * math.lcm(*n_runs) // len(task)) for task in scores])
    assert interquartile_mean(scores) == pytest.approx(scipy.stats.trim_mean(copies, 0.25))


def test_interquartile_mean_ignores_one_run_of_four_at_either_end():
    assert interquartile_mean([[1e9, 1, 3, -1e9]]) == 2


def test_a_diverged_run_is_not_cut_off_as_if_it_were_the_best():
    assert math.isnan(interquartile_mean([[1, 2, 3, math.nan]]))
    np.testing.assert_array_equal(interquartile_mean([[[1, 2], [1, math.nan]]]), [1, math.nan])


def test_area_under_the_curve_weighs_by_the_time_between_evaluations():
    # trapezoids of 10 * 5 and of 20 * 10 over a span of 30
    assert area_under_curve([0, 10, 30], [0, 10, 10]) == pytest.approx(250 / 30)


def test_area_of_a_single_evaluation_is_that_evaluation():
    assert area_under_curve([1000], [7]) == 7


def test_final_score_is_the_mean_of_the_last_evaluations():
    curve = np.array([100, 1, 2, 3, 4, 5])
    assert final_score(curve) == 3
    assert final_score(curve, n=2) == 4.5
    assert final_score(curve[:2]) == 50.5


def test_highest_score_is_the_best_evaluation():
    assert highest_score([1, 5, 2]) == 5


def test_probability_of_improvement_by_hand():
    # 1 < 2, 2 = 2, 3 > 2: one half; 5 > 1, 5 < 6: one half; 7 > 6: one
    x, y = [[1, 2, 3], [5], [7]], [[2], [1, 6], [6]]
    assert probability_of_improvement(x, y) == pytest.approx(2 / 3)
    assert probability_of_improvement(y, x) == pytest.approx(1 / 3)


def test_probability_of_improvement_is_the_mann_whitney_statistic(rng):
    x, y = rng.integers(0, 5, size=7), rng.integers(0, 5, size=11)
    expected = scipy.stats.mannwhitneyu(x, y).statistic / (7 * 11)
    assert probability_of_improvement([x], [y]) == pytest.approx(expected)


def test_performance_profile_counts_runs_above_each_threshold():
    scores = [np.array([1, 2, 3, 4]), np.array([4])]
    # of the first task 1, 3/4, 2/4 and 0; of the second one all, until 4
    np.testing.assert_array_equal(performance_profile(scores, np.array([0, 1, 2.5, 4])), [1, 0.875, 0.75, 0])


@pytest.mark.parametrize(
    ("target", "steps"),
    [(15, 250), (10, 200), (-1, 100), (20, 300), (21, math.nan)],
)
def test_steps_to_reach_reads_between_evaluations(target, steps):
    assert steps_to_reach([100, 200, 300, 400], [0, 10, 20, 5], target) == pytest.approx(steps, nan_ok=True)


def test_the_first_time_counts():
    assert steps_to_reach([1, 2, 3, 4], [0, 10, 0, 10], 10) == 2


def test_a_normalised_score_is_0_at_the_low_end_and_1_at_the_high_one():
    np.testing.assert_allclose(normalise([-300, 700, 200], -300, 700), [0, 1, 0.5])


@pytest.mark.parametrize("high", [1, 0, math.nan])
def test_a_scale_without_length_is_refused(high):
    with pytest.raises(ValueError, match="high must be above low"):
        normalise([1], 1, high)


def test_curves_are_compared_only_where_all_of_them_are():
    grid, curves = common_curves([np.array([1, 2, 4]), np.array([2, 3, 9])], [np.array([0, 1, 3]), np.array([5, 7, 9])])
    np.testing.assert_array_equal(grid, [2, 3, 4])
    np.testing.assert_allclose(curves, [[1, 2, 3], [5, 7, 7 + 2 / 6]])


def test_a_regular_grid_ends_with_the_shortest_curve():
    grid, curves = common_curves([np.array([0, 10]), np.array([2, 6])], [np.array([0, 10]), np.array([0, 1])], n_points=5)
    np.testing.assert_allclose(grid, [2, 3, 4, 5, 6])
    np.testing.assert_allclose(curves[0], grid)


def test_curves_that_do_not_overlap_have_nothing_in_common():
    grid, curves = common_curves([np.array([0, 1]), np.array([2, 3])], [np.array([0, 1])] * 2)
    assert grid.shape == (0,)
    assert curves.shape == (2, 0)


def test_bootstrap_of_two_runs_by_hand(rng):
    # the mean of two draws from {0, 1} is 0, 1/2, 1 with probabilities 1/4, 1/2, 1/4
    assert stratified_bootstrap([np.array([0, 1])], mean, rng=rng) == (0, 1)
    assert stratified_bootstrap([np.array([0, 1])], mean, confidence=0.4, rng=rng) == (0.5, 0.5)


def test_runs_are_drawn_within_their_task(rng):
    # drawn from the pool, the mean would vary
    assert stratified_bootstrap([np.zeros(3), np.full(2, 100)], mean, rng=rng) == (40, 40)


def test_tasks_of_one_run_give_a_point(rng):
    assert stratified_bootstrap([np.array([1]), np.array([3])], mean, rng=rng) == (2, 2)


def test_runs_are_drawn_whole(rng):
    curve = rng.normal(size=6)
    low, high = stratified_bootstrap([np.stack([curve, 2 * curve + 1], axis=1)], mean, rng=rng)
    assert low.shape == (2,)
    np.testing.assert_allclose([low[1], high[1]], [2 * low[0] + 1, 2 * high[0] + 1])


def test_bootstrap_agrees_with_scipys(rng):
    scores = rng.gamma(2, size=20)
    ours = stratified_bootstrap([scores], mean, n_resamples=20_000, rng=rng)
    theirs = scipy.stats.bootstrap([scores], np.mean, n_resamples=20_000, method="percentile", rng=rng).confidence_interval
    # ends of an interval of 20 000 resamples vary by about 0.005
    np.testing.assert_allclose(ours, theirs, atol=0.03)


def test_the_same_generator_gives_the_same_interval():
    scores = [np.arange(5.0), np.arange(3.0)]
    first, second = (stratified_bootstrap(scores, interquartile_mean, rng=np.random.default_rng(3)) for _ in range(2))
    assert first == second


def test_resamples_that_do_not_fit_into_memory_come_in_parts(rng, monkeypatch):
    monkeypatch.setattr(statistics, "N_NUMBERS_AT_ONCE", 100)
    sizes = []

    def statistic(tasks):
        sizes.append(tasks[0].shape[1])
        return mean(tasks)

    stratified_bootstrap([np.arange(10.0)], statistic, n_resamples=25, rng=rng)
    assert sizes == [10, 10, 5]


def test_improvement_interval_by_hand(rng):
    # both runs of X below Y, one, or none, with probabilities 1/4, 1/2, 1/4
    x, y = [np.array([0, 1])], [np.array([0.5])]
    assert improvement_interval(x, y, rng=rng) == (0, 1)
    assert improvement_interval(x, y, confidence=0.4, rng=rng) == (0.5, 0.5)


def test_improvement_interval_keeps_the_tasks_apart(rng):
    x, y = [np.array([1.0, 1.0]), np.array([200.0, 200.0])], [np.array([0.0] * 5), np.array([300.0] * 3)]
    assert improvement_interval(x, y, rng=rng) == (0.5, 0.5)


N_DATA_SETS = 1000


def coverage(rng, statistic, truth, centres, confidence):
    hits = 0
    for _ in range(N_DATA_SETS):
        scores = [rng.normal(centre, 1, size=10) for centre in centres]
        low, high = stratified_bootstrap(scores, statistic, n_resamples=1000, confidence=confidence, rng=rng)
        hits += low <= truth <= high
    return hits / N_DATA_SETS


@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_intervals_of_the_mean_cover_at_the_stated_rate(rng, confidence):
    """
    The bootstrap takes sqrt(9/10) of the estimated standard error and a normal quantile, where Student's interval with
    27 degrees of freedom would be exact. This shortfall can be computed: 0.926 for 0.95, 0.761 for 0.8.
    """
    quantile = scipy.stats.norm.ppf((1 + confidence) / 2) * math.sqrt(9 / 10)
    expected = 2 * scipy.stats.t.cdf(quantile, df=27) - 1
    assert confidence - 0.04 < expected < confidence
    error = math.sqrt(expected * (1 - expected) / N_DATA_SETS)
    found = coverage(rng, mean, truth=5 / 3, centres=[0, 10, -5], confidence=confidence)
    assert abs(found - expected) < 3 * error


@pytest.mark.parametrize(("n_runs", "rate"), COVERAGE.items())
def test_the_coverage_of_few_runs_is_as_stated(rng, n_runs, rate):
    low, high = stratified_bootstrap([rng.standard_normal((n_runs, 3000))], mean, rng=rng)
    assert np.mean((low <= 0) & (high >= 0)) == pytest.approx(rate, abs=0.03)


def test_intervals_of_the_interquartile_mean_cover_at_the_stated_rate(rng):
    """All distributions are symmetric about 2, which is thus the true value. The rate is the mean's, within noise."""
    found = coverage(rng, interquartile_mean, truth=2, centres=[2, 2, 2], confidence=0.95)
    error = math.sqrt(0.93 * 0.07 / N_DATA_SETS)
    assert 0.93 - 3 * error < found < 0.95 + 3 * error


@pytest.mark.parametrize(
    "call",
    [
        lambda: interquartile_mean([]),
        lambda: final_score([]),
        lambda: highest_score([]),
        lambda: area_under_curve([], []),
        lambda: steps_to_reach([], [], 1),
        lambda: stratified_bootstrap([], mean, rng=np.random.default_rng(0)),
        lambda: stratified_bootstrap([np.zeros(0)], mean, rng=np.random.default_rng(0)),
        lambda: probability_of_improvement([], []),
        lambda: probability_of_improvement([[]], [[1]]),
        lambda: performance_profile([], np.zeros(1)),
        lambda: performance_profile([np.zeros(0)], np.zeros(1)),
        lambda: common_curves([], []),
    ],
)
def test_nothing_is_no_result(call):
    with pytest.raises(ValueError, match=r"empty|at least one"):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: area_under_curve([1, 2], [1]), "same length"),
        (lambda: area_under_curve([2, 1], [1, 2]), "increase"),
        (lambda: probability_of_improvement([[1]], [[1], [2]]), "same tasks"),
        (lambda: stratified_bootstrap([np.ones(2)], mean, confidence=95, rng=np.random.default_rng(0)), "between 0 and 1"),
        (lambda: final_score([1], n=0), "at least 1"),
    ],
)
def test_errors_say_what_was_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_diverged_run_shows_in_every_statistic(rng):
    scores = [np.array([1, math.nan, 2])]
    assert math.isnan(probability_of_improvement(scores, [np.array([0])]))
    assert np.isnan(performance_profile(scores, np.array([0, 1]))).all()
    assert np.isnan(stratified_bootstrap(scores, mean, rng=rng)).all()
    assert math.isnan(steps_to_reach([1, 2], [math.nan, math.nan], 0))


@pytest.mark.parametrize(
    ("curve", "expected"), [([1, 2, 3], 0), ([5], 0), ([1000, 97, 1009, 131], (903 + 878) / 4), ([3, 2, 1], 1), ([-5, -7], 1)]
)
def test_shortfall_is_the_mean_distance_to_the_best_so_far(curve, expected):
    assert shortfall(np.array(curve)) == expected
