"""The belief about a task, against densities on a grid and plain sums."""

import numpy as np
import pytest
import torch as th
import torch.nn.functional as F

from sb3_hyper.meta.pearl.encoder import Belief, ContextEncoder, prior, product_of_gaussians


def test_the_product_of_gaussians_is_the_normalised_product_of_their_densities():
    mean, variance = np.array([0.3, -1.0, 2.0]), np.array([0.5, 2.0, 0.7])
    x = np.linspace(-12, 12, 200_001)
    log_density = sum(-((x - m) ** 2) / (2 * v) for m, v in zip(mean, variance, strict=True))
    density = np.exp(log_density - log_density.max())
    density /= density.sum()
    expected_mean = (x * density).sum()
    expected_variance = ((x - expected_mean) ** 2 * density).sum()
    belief = product_of_gaussians(th.tensor(mean).reshape(1, 3, 1), th.tensor(variance).reshape(1, 3, 1))
    assert belief.mean.item() == pytest.approx(expected_mean, abs=1e-7)
    assert belief.variance.item() == pytest.approx(expected_variance, abs=1e-7)


def test_a_vanishing_variance_is_kept_above_the_floor():
    belief = product_of_gaussians(th.tensor([[[1.0], [3.0]]]), th.tensor([[[0.0], [1.0]]]))
    assert belief.mean.item() == pytest.approx(1.0, abs=1e-5)
    assert belief.variance.item() == pytest.approx(1e-7, rel=1e-3)


def test_factors_that_are_masked_do_not_count():
    mean, variance = th.randn(2, 5, 3), th.rand(2, 5, 3)
    mask = th.tensor([[1, 1, 0, 0, 0], [1, 1, 1, 1, 1]], dtype=th.bool)
    masked = product_of_gaussians(mean, variance, mask)
    for task, n in ((0, 2), (1, 5)):
        alone = product_of_gaussians(mean[task : task + 1, :n], variance[task : task + 1, :n])
        th.testing.assert_close(masked.mean[task], alone.mean[0])
        th.testing.assert_close(masked.variance[task], alone.variance[0])


def test_the_divergence_from_the_prior_is_the_textbooks():
    belief = Belief(th.randn(4, 3), th.rand(4, 3) + 0.1)
    ours = belief.divergence_from_prior()
    for task in range(4):
        posterior = th.distributions.Normal(belief.mean[task], belief.variance[task].sqrt())
        unit = th.distributions.Normal(th.zeros(3), th.ones(3))
        assert ours[task].item() == pytest.approx(th.distributions.kl_divergence(posterior, unit).sum().item(), rel=1e-5)
    assert prior(2, 3).divergence_from_prior().abs().max() == 0


def test_samples_have_the_beliefs_moments_and_carry_its_gradient():
    mean = th.tensor([[1.0, -2.0]], requires_grad=True)
    variance = th.tensor([[0.25, 4.0]], requires_grad=True)
    samples = th.cat([Belief(mean, variance).sample() for _ in range(20_000)])
    assert samples.mean(0).tolist() == pytest.approx([1, -2], abs=0.06)
    assert samples.var(0).tolist() == pytest.approx([0.25, 4], rel=0.05)
    grad_mean, grad_variance = th.autograd.grad(samples.sum(), [mean, variance])
    th.testing.assert_close(grad_mean, th.full((1, 2), 20_000.0))
    assert grad_variance.abs().min() > 0


def test_the_encoder_reads_each_transition_by_itself_and_in_any_order():
    encoder = ContextEncoder(transition_dim=6, latent_dim=4, widths=(16,))
    context = th.randn(3, 7, 6)
    belief = encoder(context)
    for task in range(3):
        outputs = [encoder.network(context[task, i].reshape(1, 1, 6)).flatten() for i in range(7)]
        precisions = [1 / F.softplus(output[4:]) for output in outputs]
        variance = 1 / sum(precisions)
        mean = variance * sum(output[:4] * precision for output, precision in zip(outputs, precisions, strict=True))
        th.testing.assert_close(belief.mean[task], mean)
        th.testing.assert_close(belief.variance[task], variance)
    shuffled = encoder(context[:, th.randperm(7)])
    th.testing.assert_close(belief.mean, shuffled.mean)


def test_the_encoder_starts_as_in_the_authors_code():
    encoder = ContextEncoder(transition_dim=6, latent_dim=4, widths=(200, 100))
    first, second = encoder.network.hidden
    for layer, n_out in ((first, 200), (second, 100)):
        assert layer.weight.abs().max() <= 1 / n_out**0.5  # the fan-out: their fan-in is read from a transposed weight
        assert layer.weight.abs().max() > 0.98 / n_out**0.5
        assert (layer.bias == 0.1).all()
    assert 0.002 < encoder.network.output.weight.abs().max() <= 3e-3
    assert 0 < encoder.network.output.bias.abs().max() <= 3e-3
