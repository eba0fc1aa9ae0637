import numpy as np
import pytest

from sb3_hyper.diagnostics.gradients import cosine_similarity, fit_gradients, learnable_share, noise_floor


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
    assert not fit.degenerate.any()
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
    assert fit.degenerate.tolist() == [True, False]


def test_rounding_is_no_variation():
    actions = np.full((1, 15, 2), 1.0, dtype=np.float32)
    actions[0, ::2, 0] += 1e-14
    fit = fit_gradients(actions + 1e-15, np.arange(15.0)[None])
    assert fit.ranks.tolist() == [0]
    assert not fit.gradients.any()


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
