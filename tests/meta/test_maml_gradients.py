"""
MAML's gradient, and the step that is applied to the parameters, against finite differences of a two-level objective that is
written down plainly: task after task, step after step, in float64.
"""

import numpy as np
import pytest
import torch as th
from stable_baselines3.common.env_util import make_vec_env
from torch.distributions import Normal, kl_divergence
from torch.nn.utils import parameters_to_vector

import sb3_hyper  # noqa: F401 (registers environments)
from sb3_hyper.meta.maml.episodes import Batch
from sb3_hyper.meta.maml.maml import MAML
from sb3_hyper.meta.maml.networks import BACKENDS, Gaussian, stack
from sb3_hyper.meta.maml.objectives import MetaBatch, Old, divergence, likelihood_ratio, remember
from sb3_hyper.meta.maml.trust_region import Judgement, conjugate_gradient, trust_region_step

N_TASKS, N, INNER_RATE = 3, 6, 0.05
POLICIES = {
    "vanilla": ("MlpPolicy", {}, dict(net_arch=[4])),
    "context": ("MlpPolicy", {"use_context": True}, dict(net_arch=[4])),
    "hyper": ("HyperPolicy", {}, dict(preset="slim", network_kwargs=dict(widths=[2], n_blocks=1, dynamic_widths=[2]))),
}


@pytest.fixture(autouse=True)
def float64():
    th.set_default_dtype(th.float64)
    yield
    th.set_default_dtype(th.float32)


def make(kind="vanilla", n_inner_steps=1, **kwargs):
    policy, own, policy_kwargs = POLICIES[kind]
    model = MAML(
        policy,
        make_vec_env("PointGoal-v0", 1),
        n_train_tasks=4,
        n_test_tasks=1,
        inner_learning_rate=INNER_RATE,
        n_inner_steps=n_inner_steps,
        policy_kwargs=policy_kwargs,
        device="cpu",
        seed=0,
        **own,
        **kwargs,
    )
    model.policy.double()
    model._logger = type("Silent", (), {"record": lambda *args, **kwargs: None})()
    for parameter in model.policy.parameters():  # zeros and tiny heads would hide faults
        parameter.data += 0.3 * th.randn_like(parameter)
    return model


def noise(model, n_inner_steps):
    """Data from a policy that is near, but not, the one that is to be differentiated."""
    context = th.randn(N_TASKS, 2) if model.scaler is not None else None

    def batch():
        weights = th.rand(N_TASKS, N) + 0.1
        weights[0, -2:] = 0  # padding
        data = Batch(th.randn(N_TASKS, N, 2), th.randn(N_TASKS, N, 2), th.randn(N_TASKS, N), weights)
        data = data._replace(weights=weights / weights.sum(dim=1, keepdim=True))
        old = Gaussian(0.3 * th.randn(N_TASKS, N, 2), 0.2 * th.randn(N_TASKS, 1, 2))
        return data, Old(old, old.log_prob(data.actions))

    before = [batch() for _ in range(n_inner_steps)]
    after, old = batch()
    return MetaBatch(context, [data for data, _ in before], [own for _, own in before], after, old)


# ---------------------------------------------------------------- the plain version


def policy_of(model, vector, obs, context):
    """Mean and standard deviation for one observation, parameters given as a vector."""
    network, values, start = model.policy.network, {}, 0
    for name, parameter in network.named_parameters():
        values[name] = vector[start : start + parameter.numel()].view_as(parameter)
        start += parameter.numel()
    own_context = None if context is None else context.reshape(1, -1)
    result = th.func.functional_call(network, values, (obs.reshape(1, 1, -1), own_context))
    return Normal(result.mean[0, 0], result.log_std[0, 0].exp())


def plain_objective(model, vector, data, offsets=None, ratio_inside=False, clip_range=None):
    """
    Loss, KL after and mean KL before the inner steps, as in the papers' formulas, one step of one episode at a time. With
    offsets, what the inner steps add to the parameters is taken for constant: the objective of first order.
    """
    losses, divergences, earlier = [], [], []
    for task in range(N_TASKS):
        context = None if data.context is None else data.context[task]
        own = vector if offsets is None else vector + offsets[task]
        for batch, old in zip(data.before, data.olds, strict=True) if offsets is None else ():
            inner_loss, kl = 0, 0
            for i in range(N):
                density = policy_of(model, own, batch.observations[task, i], context)
                log_prob = density.log_prob(batch.actions[task, i]).sum()
                weight = batch.weights[task, i]
                gain = (log_prob - old.log_prob[task, i]).exp() if ratio_inside else log_prob
                inner_loss = inner_loss - weight * gain * batch.advantages[task, i]
                gathered = Normal(old.distribution.mean[task, i], old.distribution.log_std[task, 0].exp())
                kl = kl + weight * kl_divergence(density, gathered).sum()
            earlier.append(kl)
            (gradient,) = th.autograd.grad(inner_loss, own, create_graph=True)
            own = own - INNER_RATE * gradient
        loss, kl = 0, 0
        for i in range(N):
            density = policy_of(model, own, data.after.observations[task, i], context)
            ratio = (density.log_prob(data.after.actions[task, i]).sum() - data.old.log_prob[task, i]).exp()
            advantage, weight = data.after.advantages[task, i], data.after.weights[task, i]
            gain = ratio * advantage
            if clip_range is not None:
                gain = th.minimum(gain, ratio.clamp(1 - clip_range, 1 + clip_range) * advantage)
            loss = loss - weight * gain
            old = Normal(data.old.distribution.mean[task, i], data.old.distribution.log_std[task, 0].exp())
            kl = kl + weight * kl_divergence(density, old).sum()
        losses.append(loss)
        divergences.append(kl)
    return sum(losses) / N_TASKS, sum(divergences) / N_TASKS, sum(earlier) / max(1, len(earlier))


def flat(model):
    return parameters_to_vector(model.policy.network.parameters()).detach()


def differences(function, vector, size=1e-5):
    """Central differences, ``(..., n_parameters)``"""
    columns = []
    for i in range(len(vector)):
        step = th.zeros_like(vector)
        step[i] = size
        columns.append((function(vector + step) - function(vector - step)) / (2 * size))
    return th.stack(columns, dim=-1)


def values(model, data, **kwargs):
    """Loss, KL after and KL before, as a function of the parameters."""
    return lambda vector: th.stack(
        [th.as_tensor(value).detach() for value in plain_objective(model, vector.clone().requires_grad_(), data, **kwargs)]
    )


def relative(one, other):
    return ((one - other).norm() / other.norm()).item()


# ---------------------------------------------------------------- the gradient


@pytest.mark.parametrize("n_inner_steps", [1, 2])
@pytest.mark.parametrize("kind", POLICIES)
def test_the_meta_gradient_is_that_of_the_whole_two_level_objective(kind, n_inner_steps):
    model = make(kind, n_inner_steps)
    data = noise(model, n_inner_steps)
    loss, kl, *_ = model.meta_objective(data)
    plain_loss, plain_kl, _ = plain_objective(model, flat(model).requires_grad_(), data)
    assert loss.item() == pytest.approx(plain_loss.item(), rel=1e-9)
    assert kl.item() == pytest.approx(plain_kl.item(), rel=1e-9)
    expected, expected_kl, _ = differences(values(model, data), flat(model))
    parameters = list(model.policy.network.parameters())
    gradient = parameters_to_vector(th.autograd.grad(loss, parameters, retain_graph=True))
    assert relative(gradient, expected) < 1e-5
    kl_gradient = parameters_to_vector(th.autograd.grad(kl, parameters))
    assert relative(kl_gradient, expected_kl) < 1e-5


@pytest.mark.parametrize("n_inner_steps", [1, 2])
def test_promps_gradient_too(n_inner_steps):
    model = make(n_inner_steps=n_inner_steps, outer="promp")
    data = noise(model, n_inner_steps)
    expected = differences(values(model, data, ratio_inside=True, clip_range=0.3), flat(model))
    for index in (0, 2):
        result = model.meta_objective(data, clip_range=0.3)[index]
        gradient = parameters_to_vector(th.autograd.grad(result, list(model.policy.network.parameters()), allow_unused=True))
        assert relative(gradient, expected[index]) < 1e-5


@pytest.mark.parametrize("kind", POLICIES)
def test_all_backends_agree(kind):
    model = make(kind, 2)
    data = noise(model, 2)
    gradients = {}
    for backend in BACKENDS:
        model.backend = backend
        loss, kl, *_ = model.meta_objective(data)
        gradients[backend] = parameters_to_vector(th.autograd.grad(loss + kl, list(model.policy.network.parameters())))
    for gradient in gradients.values():
        assert relative(gradient, gradients["batched"]) < 1e-8


def test_first_order_is_the_gradient_at_the_adapted_point_and_not_the_second_order_one():
    model = make(n_inner_steps=2, order="first")
    data = noise(model, 2)
    parameters = list(model.policy.network.parameters())
    first = parameters_to_vector(th.autograd.grad(model.meta_objective(data)[0], parameters))
    evaluate = model.evaluator(data.context)
    adapted, _ = model.inner_step().chain(
        evaluate, stack(model.policy.network, N_TASKS), data.before, data.olds, differentiable=False
    )
    adapted = {name: tensor.requires_grad_() for name, tensor in adapted.items()}
    policy = evaluate(adapted, data.after.observations)
    at_the_point = likelihood_ratio(policy, data.after, data.old.log_prob).mean()
    gradients = th.autograd.grad(at_the_point, list(adapted.values()))
    assert relative(first, th.cat([gradient.sum(dim=0).flatten() for gradient in gradients])) < 1e-10
    model.order = "second"
    second = parameters_to_vector(th.autograd.grad(model.meta_objective(data)[0], parameters))
    assert relative(first, second) > 0.01


def test_without_inner_learning_rate_all_orders_agree():
    gradients = []
    for order in ("first", "second"):
        model = make(order=order)
        model.inner_learning_rate = 0.0
        th.manual_seed(3)
        data = noise(model, 1)
        loss = model.meta_objective(data)[0]
        gradients.append(parameters_to_vector(th.autograd.grad(loss, list(model.policy.network.parameters()))))
    assert relative(*gradients) < 1e-12


def test_values_without_a_graph_are_the_same():
    model = make("hyper", 2)
    data = noise(model, 2)
    results = model.meta_objective(data)[:3], model.meta_objective(data, differentiable=False)[:3]
    for with_graph, without in zip(*results, strict=True):
        assert with_graph.item() == pytest.approx(without.item(), rel=1e-12)
        assert not without.requires_grad


# ---------------------------------------------------------------- the step that is applied


@pytest.mark.parametrize("n_inner_steps", [1, 2])
@pytest.mark.parametrize("order", ["second", "first"])
def test_the_step_of_trpo_is_the_scaled_natural_gradient(order, n_inner_steps):
    damping, target_kl = 0.5, 1e-4
    model = make(n_inner_steps=n_inner_steps, order=order, cg_max_steps=200, cg_damping=damping, target_kl=target_kl)
    data = noise(model, n_inner_steps)
    data = data._replace(after=data.after._replace(advantages=1000 * data.after.advantages))  # far above CG's tolerance
    # as in a run, the policy that gathered the data is the one that is to be improved
    evaluate = model.evaluator(data.context)
    adapted, _ = model.inner_step().chain(
        evaluate, stack(model.policy.network, N_TASKS), data.before, data.olds, differentiable=False
    )
    data = data._replace(old=remember(evaluate, adapted, data.after))
    start = flat(model)

    offsets = None
    if order == "first":
        offsets = [th.cat([tensor[task].flatten() for tensor in adapted.values()]) - start for task in range(N_TASKS)]

    def slope(vector):
        vector = vector.clone().requires_grad_()
        return th.autograd.grad(plain_objective(model, vector, data, offsets)[1], vector)[0]

    gradient = differences(values(model, data, offsets=offsets), start)[0]
    hessian = differences(slope, start) + damping * th.eye(len(start))
    direction = th.linalg.solve(hessian, gradient)
    expected = -direction * (2 * target_kl / (direction @ hessian @ direction)) ** 0.5
    outcomes = []
    model.logger.record = lambda name, number, **kwargs: outcomes.append((name, number))
    model.train(data)
    applied = flat(model) - start
    assert dict(outcomes)["train/is_line_search_success"] == 1.0
    fraction = (applied.norm() / expected.norm()).item()
    tries = np.log(fraction) / np.log(0.8)
    assert abs(tries - round(tries)) < 1e-4  # a whole number of shrinkings
    assert relative(applied, fraction * expected) < 1e-5


@pytest.mark.parametrize("n_inner_steps", [1, 2])
def test_the_step_of_promp_is_along_the_gradient(n_inner_steps):
    # Were the gradient overwritten between its computation and the step, by an optimizer's closure say, this would fail
    model = make(n_inner_steps=n_inner_steps, outer="promp", n_epochs=1, kl_weight=0.2)
    model.policy.optimizer = th.optim.SGD(model.policy.network.parameters(), lr=0.01)
    model.lr_schedule = lambda progress: 0.01
    data, start = noise(model, n_inner_steps), flat(model)
    loss, _, kl_before = differences(values(model, data, ratio_inside=True, clip_range=0.3), start)
    model.train(data)
    assert relative(flat(model) - start, -0.01 * (loss + 0.2 * kl_before)) < 1e-5


def test_a_step_that_does_not_improve_is_taken_back():
    model = make(target_kl=1e-4, line_search_max_iter=3)
    data, start = noise(model, 1), flat(model)
    objective = model.meta_objective

    def never_better(batch, differentiable=True, clip_range=None):
        result = objective(batch, differentiable)
        return result if differentiable else result._replace(loss=th.tensor(1e9))

    model.meta_objective = never_better
    model.train(data)
    assert th.equal(flat(model), start)


def test_a_step_is_shortened_until_its_kl_is_within_bounds():
    parameter, slope = th.nn.Parameter(th.zeros(3)), th.tensor([1.0, 2.0, -1.0])

    def objective(differentiable):  # the KL is ten times what its metric says
        yield Judgement(slope @ parameter, 5 * parameter.square().sum(), [1 * parameter], lambda tangents: tangents)

    outcome = trust_region_step([parameter], objective, target_kl=0.01)
    assert outcome.accepted
    assert 0.005 < outcome.divergence < 0.01
    # 0.8 ** 6 is the first power whose square is below a tenth
    expected = -(0.8**6) * 0.02**0.5 * slope / slope.norm()
    th.testing.assert_close(parameter.detach(), expected, rtol=1e-3, atol=0)


@pytest.mark.parametrize("n_steps", [1, 3, 10])
def test_conjugate_gradient_knows_its_product(n_steps):
    rng = np.random.default_rng(0)
    root = th.as_tensor(rng.normal(size=(10, 10)))
    matrix, target = root @ root.T + 0.1 * th.eye(10), th.as_tensor(rng.normal(size=10))
    solution, product = conjugate_gradient(lambda vector: matrix @ vector, target, n_steps)
    th.testing.assert_close(product, matrix @ solution, rtol=1e-8, atol=1e-8)
    if n_steps == 10:
        th.testing.assert_close(solution, th.linalg.solve(matrix, target), rtol=1e-4, atol=1e-6)


def test_the_divergence_is_that_of_torch():
    one, two = (Gaussian(th.randn(2, 5, 3), th.randn(2, 1, 3)) for _ in range(2))
    ours = one.divergence_from(two)
    theirs = kl_divergence(*(Normal(part.mean, part.log_std.exp().expand_as(part.mean)) for part in (one, two)))
    th.testing.assert_close(ours, theirs.sum(dim=-1))
    weights = th.ones(2, 5) / 5
    batch = Batch(th.zeros(2, 5, 1), th.zeros(2, 5, 3), th.zeros(2, 5), weights)
    th.testing.assert_close(divergence(one, two, batch), theirs.sum(dim=-1).mean(dim=1))


@pytest.mark.parametrize("n_at_once", [1, 2])
@pytest.mark.parametrize("kind", ["vanilla", "hyper"])
def test_the_step_of_trpo_is_the_same_for_all_tasks_at_once_and_for_groups_of_them(kind, n_at_once, monkeypatch):
    steps = []
    for n_rows in (N_TASKS * N, n_at_once * N):
        monkeypatch.setattr("sb3_hyper.meta.maml.maml.GROUP_ROWS", n_rows)
        model = make(kind, cg_damping=0.1, cg_max_steps=3)  # more steps make more of rounding
        data, sizes = noise(model, 1), []
        evaluate, start, objective = model.evaluator(data.context), flat(model), model.meta_objective
        adapted, _ = model.inner_step().chain(
            evaluate, stack(model.policy.network, N_TASKS), data.before, data.olds, differentiable=False
        )
        data = data._replace(old=remember(evaluate, adapted, data.after))

        def counted(batch, differentiable=True, sizes=sizes, objective=objective):
            sizes.append(len(batch.after.weights))
            return objective(batch, differentiable)

        model.meta_objective = counted
        model.train(data)
        steps.append(flat(model) - start)
        assert sizes[0] == n_rows // N
        assert sum(sizes) % N_TASKS == 0
    assert steps[0].norm() > 0
    assert relative(steps[1], steps[0]) < 1e-8


@pytest.mark.parametrize("kind", ["vanilla", "hyper"])
def test_the_step_of_trpo_has_no_chance_in_it(kind):
    """With the damping of the defaults, where most directions of a hypernetwork have next to no curvature."""
    steps = []
    for seed in (1, 2):
        model = make(kind)
        data = noise(model, 1)
        evaluate, start = model.evaluator(data.context), flat(model)
        adapted, _ = model.inner_step().chain(
            evaluate, stack(model.policy.network, N_TASKS), data.before, data.olds, differentiable=False
        )
        data = data._replace(old=remember(evaluate, adapted, data.after))
        th.manual_seed(seed)
        model.train(data)
        steps.append(flat(model) - start)
    assert steps[0].norm() > 0
    assert th.equal(*steps)
