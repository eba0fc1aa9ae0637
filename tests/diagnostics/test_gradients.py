import numpy as np
import pytest

from sb3_hyper.diagnostics.gradients import (
    ceiling,
    cosine_similarity,
    fit_gradients,
    halves_are_too_small,
    learnable_share,
    noise_floor,
    value_correlation,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def pair_differences(actions, returns):
    """App. B to the letter: normal equations over all pairs, one state."""
    rows = [b - a for a in actions for b in actions]
    differences = [q - p for p in returns for q in returns]
    x, delta = np.array(rows), np.array(differences)
    return np.linalg.inv(x.T @ x) @ x.T @ delta


def test_it_is_the_papers_estimator(rng):
    actions, returns = rng.normal(size=(7, 15, 6)), rng.normal(1000, 5, size=(7, 15))
    expected = [pair_differences(*state) for state in zip(actions, returns, strict=True)]
    np.testing.assert_allclose(fit_gradients(actions, returns).gradients, expected, atol=1e-8)


def test_it_is_least_squares_with_an_intercept(rng):
    actions, returns = rng.normal(size=(1, 15, 3)), rng.normal(size=(1, 15))
    design = np.concatenate([actions[0], np.ones((15, 1))], axis=1)
    solution, *_ = np.linalg.lstsq(design, returns[0], rcond=None)
    np.testing.assert_allclose(fit_gradients(actions, returns).gradients[0], solution[:3], atol=1e-12)


def test_a_linear_landscape_is_found_exactly(rng):
    gradients = rng.normal(size=(5, 4))
    actions = rng.normal(size=(5, 15, 4))
    returns = 3000 + np.einsum("sna,sa->sn", actions, gradients)
    fit = fit_gradients(actions, returns)
    np.testing.assert_allclose(fit.gradients, gradients, rtol=1e-9)
    assert (fit.ranks == 4).all()
    np.testing.assert_allclose(cosine_similarity(fit.gradients, gradients), 1)
    np.testing.assert_allclose(noise_floor(actions, returns), 1)


def test_a_quadratic_landscape_is_found_where_the_samples_lie_evenly(rng):
    """Pairs a + d, a - d: the quadratic part is even and drops out."""
    deviations = rng.normal(size=(3, 7, 4))
    centre, gradients = rng.normal(size=(3, 1, 4)), rng.normal(size=(3, 4))
    actions = np.concatenate([centre + deviations, centre - deviations], axis=1)
    offset = actions - centre
    returns = np.einsum("sna,sa->sn", offset, gradients) - 5 * np.square(offset).sum(-1)
    np.testing.assert_allclose(fit_gradients(actions, returns).gradients, gradients, rtol=1e-9)


def test_a_direction_without_variation_gets_no_gradient(rng):
    actions = rng.normal(size=(2, 15, 3))
    actions[0, :, 1] = 1.0  # clipped in all samples
    returns = actions @ np.array([1.0, 2.0, 3.0])
    fit = fit_gradients(actions, returns)
    np.testing.assert_allclose(fit.gradients, [[1, 0, 3], [1, 2, 3]], atol=1e-9)
    assert fit.ranks.tolist() == [2, 3]


def test_rounding_is_no_variation():
    actions = np.full((1, 15, 2), 1.0)
    actions[0, ::2, 0] += 1e-14
    fit = fit_gradients(actions + 1e-15, np.arange(15.0)[None])
    assert fit.ranks.tolist() == [0]
    assert not fit.gradients.any()


def test_the_rounding_of_actions_is_no_variation(rng):
    """The policy's action is the float32 that comes before one, the others are clipped to one."""
    actions = np.ones((1, 15, 2), np.float32)
    actions[0, 0, 1] = np.tanh(np.float32(8.5))
    assert 0 < 1 - actions[0, 0, 1] < 2e-7
    actions[0, 1:, 0] = rng.normal(0, 0.3, 14)
    returns = actions[..., 0] + rng.normal(0, 0.05, (1, 15))
    fit = fit_gradients(actions, returns)
    assert fit.ranks.tolist() == [1]
    np.testing.assert_allclose(fit.gradients, [[1, 0]], atol=0.2)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_has_no_gradient_and_leaves_other_states_theirs(rng, value):
    actions, returns = rng.normal(size=(4, 15, 3)), rng.normal(size=(4, 15))
    expected = fit_gradients(actions, returns)
    floor = noise_floor(actions, returns)
    actions[1, 3, 0] = returns[2, 4] = value
    fit = fit_gradients(actions, returns)
    assert fit.ranks.tolist() == [3, 0, 0, 3]
    assert np.isnan(fit.gradients[1:3]).all()
    np.testing.assert_array_equal(fit.gradients[[0, 3]], expected.gradients[[0, 3]])
    for cosines in (cosine_similarity(fit.gradients, expected.gradients), noise_floor(actions, returns)):
        assert np.isnan(cosines).tolist() == [False, True, True, False]
    np.testing.assert_array_equal(noise_floor(actions, returns)[[0, 3]], floor[[0, 3]])
    assert np.isnan(value_correlation(returns, returns)).tolist() == [False, False, True, False]


def test_fewer_samples_than_directions_give_the_smallest_gradient(rng):
    actions = rng.normal(size=(1, 3, 6))
    returns = rng.normal(size=(1, 3))
    fit = fit_gradients(actions, returns)
    assert fit.ranks.tolist() == [2]
    centred = actions[0] - actions[0].mean(0)
    np.testing.assert_allclose(fit.gradients[0], np.linalg.pinv(centred) @ (returns[0] - returns[0].mean()), atol=1e-12)


def test_large_returns_lose_no_digits(rng):
    gradients = rng.normal(size=(5, 3))
    actions = 0.3 * rng.normal(size=(5, 15, 3))
    returns = 1e6 + np.einsum("sna,sa->sn", actions, gradients)
    np.testing.assert_allclose(fit_gradients(actions, returns).gradients, gradients, rtol=1e-6)


def test_no_direction_no_cosine():
    cosines = cosine_similarity([[0, 0], [1, 0], [1e-200, 0], [1, 1]], [[1, 0], [-2, 0], [1e-200, 1e-200], [0, 0]])
    np.testing.assert_allclose(cosines, [np.nan, -1, 2**-0.5, np.nan])


def test_states_without_a_direction_are_not_learnable():
    cosines = np.array([np.nan, 0.2, 0.5, 0.9])
    assert learnable_share(cosines, 0.25) == 0.5
    assert learnable_share(cosines, np.array([[-1.0, 0.25], [0.5, 0.95]])).tolist() == [[0.75, 0.5], [0.25, 0.0]]


def test_pure_noise_has_a_floor_around_zero(rng):
    floor = noise_floor(rng.normal(size=(500, 14, 3)), rng.normal(size=(500, 14)))
    assert abs(floor.mean()) < 0.1


@pytest.mark.parametrize(("actions", "returns"), [((5, 3), (5,)), ((2, 5, 3), (2, 4)), ((2, 5, 3), (2, 5, 1))])
def test_shapes_that_do_not_fit_are_named(actions, returns):
    with pytest.raises(ValueError, match="n_states, n_actions, action_dim"):
        fit_gradients(np.zeros(actions), np.zeros(returns))


@pytest.mark.parametrize("value", [0.1, 1 / 3, -63.39676587, -99.0, -(1 - 0.99**50) / 0.01, 1e6 + 0.1, 0.0])
def test_equal_returns_have_no_direction(rng, value):
    actions, returns = rng.normal(size=(20, 15, 3)), np.full((20, 15), value)
    assert not fit_gradients(actions, returns).gradients.any()
    assert np.isnan(noise_floor(actions, returns)).all()


def test_returns_that_differ_by_the_rounding_of_a_bootstrap_have_no_direction(rng):
    actions = rng.normal(size=(20, 15, 3))
    returns = np.full((20, 15), 1000 / 3) + rng.uniform(-1, 1, (20, 15)) * 1e-5
    assert fit_gradients(actions, returns).gradients.all()
    error = np.finfo(np.float32).eps * returns
    assert not fit_gradients(actions, returns, error).gradients.any()
    assert np.isnan(noise_floor(actions, returns, error)).all()
    returns[:, 0] += 1  # one action matters
    assert fit_gradients(actions, returns, error).gradients.all()


def test_the_ceiling_by_hand():
    np.testing.assert_allclose(ceiling(np.array([1, 0.5, 0, -0.3, np.nan])), [1, (2 / 3) ** 0.5, 0, 0, np.nan])


@pytest.mark.parametrize(("dim", "n_actions", "noise"), [(8, 60, 0.5), (8, 60, 1.5), (20, 200, 1.0), (20, 200, 3.0)])
def test_a_perfect_critic_reaches_the_ceiling_and_not_the_floor(rng, dim, n_actions, noise):
    actions, gradients = 0.3 * rng.normal(size=(400, n_actions, dim)), rng.normal(size=(400, dim))
    returns = np.einsum("sna,sa->sn", actions, gradients) + noise * rng.normal(size=(400, n_actions))
    cosine = cosine_similarity(gradients, fit_gradients(actions, returns).gradients).mean()
    floor = noise_floor(actions, returns).mean()
    assert cosine > floor + 0.02  # so the floor is none for a critic
    assert cosine == pytest.approx(ceiling(floor), abs=0.03)


@pytest.mark.parametrize(
    ("n_actions", "dim", "small"), [(15, 6, True), (16, 6, False), (17, 7, True), (18, 7, False), (4, 1, True)]
)
def test_halves_need_more_samples_than_directions(rng, n_actions, dim, small):
    assert halves_are_too_small(n_actions, dim) == small
    actions, returns = rng.normal(size=(1, n_actions // 2, dim)), rng.normal(size=(1, n_actions // 2))
    centred = actions - actions.mean(axis=1, keepdims=True)
    residual = returns - returns.mean() - centred @ fit_gradients(actions, returns).gradients[0]
    assert (np.abs(residual).max() < 1e-6) == small  # a line through noise


def test_the_ceiling_is_too_high_where_states_differ_and_right_where_they_do_not(rng):
    actions, gradients = 0.3 * rng.normal(size=(4000, 40, 3)), rng.normal(size=(4000, 3))
    gradients /= np.linalg.norm(gradients, axis=1, keepdims=True)
    linear, noise = np.einsum("sna,sa->sn", actions, gradients), rng.normal(size=(4000, 40))
    over = {}
    for name, scales in (("alike", (0.5, 0.5)), ("different", (0.003, 3.0))):
        returns = linear + np.repeat(scales, 2000)[:, None] * noise
        cosine = cosine_similarity(gradients, fit_gradients(actions, returns).gradients).mean()
        over[name] = ceiling(noise_floor(actions, returns).mean()) - cosine
    assert abs(over["alike"]) < 0.03
    assert over["different"] > 0.1


def test_a_perfect_critic_falls_short_of_nothing_but_the_ceiling_where_halves_are_too_small(rng):
    actions, gradients = rng.normal(size=(500, 15, 8)), rng.normal(size=(500, 8))
    returns = np.einsum("sna,sa->sn", actions, gradients)  # exactly linear, without noise
    np.testing.assert_allclose(cosine_similarity(gradients, fit_gradients(actions, returns).gradients), 1)
    assert ceiling(noise_floor(actions, returns).mean()) < 0.98


def test_the_correlation_of_values_is_pearsons():
    rng = np.random.default_rng(0)
    returns = rng.normal(1e4, 1, (5, 12))
    values = 0.3 * returns + rng.normal(size=(5, 12))
    expected = [np.corrcoef(*pair)[0, 1] for pair in zip(values, returns, strict=True)]
    np.testing.assert_allclose(value_correlation(values, returns), expected, atol=1e-9)
    assert np.isnan(value_correlation(values, np.full((5, 12), 0.1))).all()
    assert np.isnan(value_correlation(values, returns, rounding=5.0)).all()
