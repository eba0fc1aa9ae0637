"""The outer step by TRPO (Schulman et al., ICML 2015): conjugate gradient, then a line search."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch as th

Metric = Callable[[Sequence[th.Tensor]], Sequence[th.Tensor]]


class Judgement(NamedTuple):
    """
    What there is to know of some parameters, on all data or on a part of it: the sum over parts is what counts.

    :param loss: The loss.
    :param divergence: KL from the policy that gathered the data.
    :param outputs: The policy's outputs, which the KL is a function of.
    :param metric: The Hessian of the KL with respect to the outputs where it is zero, times a tangent: the Fisher matrix.
    """

    loss: th.Tensor
    divergence: th.Tensor
    outputs: Sequence[th.Tensor]
    metric: Metric


Objective = Callable[[bool], Iterable[Judgement]]


class Outcome(NamedTuple):
    """
    What came of a step.

    :param accepted: Whether the line search found one.
    :param loss_before: Loss before it.
    :param loss: Loss after it.
    :param divergence: KL after it.
    """

    accepted: bool
    loss_before: float
    loss: float
    divergence: float


def flat(tensors: Sequence[th.Tensor]) -> th.Tensor:
    """
    :param tensors: Tensors.
    :return: All their numbers.
    """
    return th.cat([tensor.reshape(-1) for tensor in tensors])


@th.no_grad()
def assign(vector: th.Tensor, parameters: Sequence[th.nn.Parameter]) -> None:
    """
    :param vector: All numbers of the parameters.
    :param parameters: Where they go.
    """
    sizes = [parameter.numel() for parameter in parameters]
    for part, parameter in zip(vector.split(sizes), parameters, strict=True):
        parameter.copy_(part.view_as(parameter))


class Direction(NamedTuple):
    """
    :param loss: The loss where one stands.
    :param step: ``x = H^-1 g``
    :param curvature: ``x' H x``
    """

    loss: float
    step: th.Tensor
    curvature: float


def conjugate_gradient(
    times: Callable[[th.Tensor], th.Tensor], target: th.Tensor, max_steps: int, tolerance: float = 1e-10
) -> tuple[th.Tensor, th.Tensor]:
    """
    Solve ``A x = b``, beginning at zero. (sb3-contrib's solver begins at small random numbers. Where the curvature is next to
    nothing, as in most directions of a hypernetwork's parameters, a few iterations do not remove them, and the scaling to the
    trust region makes them most of the step.)

    :param times: Product with the symmetric, positive definite A.
    :param target: b
    :param max_steps: Iterations at most.
    :param tolerance: Of the squared residual.
    :return: x, and A x, which the iterations know already.
    """
    solution, residual = th.zeros_like(target), target.clone()
    direction, square = residual.clone(), residual @ residual
    for _ in range(max_steps):
        if square < tolerance:
            break
        product = times(direction)
        length = square / (direction @ product)
        solution += length * direction
        residual -= length * product
        square, before = residual @ residual, square
        direction = residual + square / before * direction
    return solution, target - residual


def natural_direction(
    parameters: Sequence[th.nn.Parameter], objective: Objective, cg_max_steps: int, cg_damping: float
) -> Direction:
    """
    The natural gradient by conjugate gradient. Where the KL is zero, its Hessian is ``J' F J`` with the Jacobian ``J`` of the
    policy's outputs and their Fisher matrix ``F``. Products take ``J`` and ``J'`` by themselves, which leaves out all that
    vanishes in the Hessian, and the graph of the adaptation is built once for all of them.

    :param parameters: What to change.
    :param objective: What is known of the parameters.
    :param cg_max_steps: Iterations.
    :param cg_damping: Is added to the Hessian's diagonal.
    :return: The direction, not scaled.
    """
    loss, gradient = 0.0, th.zeros_like(flat(parameters))
    products: list[Callable[[Sequence[th.Tensor]], th.Tensor]] = []
    for judgement in objective(True):
        loss += judgement.loss.item()
        gradient += flat(th.autograd.grad(judgement.loss, parameters, retain_graph=True))
        products.append(curvature_of(judgement, parameters))
    sizes = [parameter.numel() for parameter in parameters]

    def times_hessian(vector: th.Tensor) -> th.Tensor:
        parts = [part.view_as(parameter) for part, parameter in zip(vector.split(sizes), parameters, strict=True)]
        result = cg_damping * vector
        for product in products:
            result += product(parts)
        return result

    step, product = conjugate_gradient(times_hessian, gradient, cg_max_steps)
    return Direction(loss, step, (step @ product).item())


def curvature_of(judgement: Judgement, parameters: Sequence[th.nn.Parameter]) -> Callable[[Sequence[th.Tensor]], th.Tensor]:
    """
    :param judgement: What is known of the parameters.
    :param parameters: The parameters.
    :return: Maps a change of the parameters to its product with ``J' F J``.
    """
    outputs = list(judgement.outputs)
    # J'u as a function of u: its own gradient, times v, is Jv
    cotangents = [th.zeros_like(output).requires_grad_() for output in outputs]
    pulled_back = th.autograd.grad(outputs, parameters, cotangents, create_graph=True)

    def product(change: Sequence[th.Tensor]) -> th.Tensor:
        tangents = th.autograd.grad(pulled_back, cotangents, change, retain_graph=True)
        return flat(th.autograd.grad(outputs, parameters, list(judgement.metric(tangents)), retain_graph=True))

    return product


def trust_region_step(
    parameters: Sequence[th.nn.Parameter],
    objective: Objective,
    target_kl: float,
    cg_max_steps: int = 10,
    cg_damping: float = 1e-5,
    line_search_shrinking_factor: float = 0.8,
    line_search_max_iter: int = 20,
) -> Outcome:
    """
    Minimise a loss within a trust region: the natural gradient, scaled so that ``x'Hx / 2`` is the KL that is allowed, then
    shortened until the loss has fallen and the KL is within bounds. Where that fails, nothing changes.

    :param parameters: What to change.
    :param objective: Gives what is known of the parameters as they are; the argument says whether it needs a graph.
    :param target_kl: The largest KL.
    :param cg_max_steps: Iterations of conjugate gradient.
    :param cg_damping: Is added to the Hessian's diagonal.
    :param line_search_shrinking_factor: The step shrinks by it until it is good,
    :param line_search_max_iter: with so many trials at most, the whole step's among them.
    :return: What came of it.
    """
    parameters = list(parameters)
    loss_before, step, curvature = natural_direction(parameters, objective, cg_max_steps, cg_damping)
    failed = Outcome(False, loss_before, loss_before, 0.0)
    if not curvature > 0 or not bool(step.isfinite().all()):
        return failed
    start, full_step, fraction = flat(parameters).detach(), step * (2 * target_kl / curvature) ** 0.5, 1.0
    for _ in range(line_search_max_iter):
        assign(start - fraction * full_step, parameters)
        judgements = list(objective(False))
        loss = sum(judgement.loss.item() for judgement in judgements)
        divergence = sum(judgement.divergence.item() for judgement in judgements)
        if loss < loss_before and divergence < target_kl:
            return Outcome(True, loss_before, loss, divergence)
        fraction *= line_search_shrinking_factor
    assign(start, parameters)
    return failed
