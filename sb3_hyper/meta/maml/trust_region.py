"""The outer step by TRPO (Schulman et al., ICML 2015): conjugate gradient, then a line search."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch as th
from sb3_contrib.common.utils import conjugate_gradient_solver

Objective = Callable[[bool], tuple[th.Tensor, th.Tensor]]


class Outcome(NamedTuple):
    """
    What came of a step.

    :param accepted: Whether the line search found one.
    :param loss_before: Loss before it.
    :param loss: Loss after it.
    :param divergence: KL after it.
    :param fraction: Of the full step.
    """

    accepted: bool
    loss_before: float
    loss: float
    divergence: float
    fraction: float


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


def natural_direction(
    parameters: Sequence[th.nn.Parameter], objective: Objective, cg_max_steps: int, cg_damping: float
) -> Direction:
    """
    The natural gradient by conjugate gradient. The graph of the adaptation, which loss and KL rest on, is built once and
    serves all products with the Hessian.

    :param parameters: What to change.
    :param objective: Loss and KL.
    :param cg_max_steps: Iterations.
    :param cg_damping: Is added to the Hessian's diagonal.
    :return: The direction, not scaled.
    """
    loss, divergence = objective(True)
    gradient = flat(th.autograd.grad(loss, parameters, retain_graph=True))
    slope = flat(th.autograd.grad(divergence, parameters, create_graph=True))

    def times_hessian(vector: th.Tensor) -> th.Tensor:
        return flat(th.autograd.grad(slope @ vector, parameters, retain_graph=True)) + cg_damping * vector

    step = conjugate_gradient_solver(times_hessian, gradient, max_iter=cg_max_steps)
    return Direction(loss.item(), step, (step @ times_hessian(step)).item())


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
    :param objective: Gives loss and KL from what gathered the data, as functions of the parameters; the argument says whether
        they need a graph.
    :param target_kl: The largest KL.
    :param cg_max_steps: Iterations of conjugate gradient.
    :param cg_damping: Is added to the Hessian's diagonal.
    :param line_search_shrinking_factor: The step shrinks by it,
    :param line_search_max_iter: so many times at most.
    :return: What came of it.
    """
    parameters = list(parameters)
    loss_before, step, curvature = natural_direction(parameters, objective, cg_max_steps, cg_damping)
    failed = Outcome(False, loss_before, loss_before, 0.0, 0.0)
    if not curvature > 0 or not bool(step.isfinite().all()):
        return failed
    start, full_step, fraction = flat(parameters).detach(), step * (2 * target_kl / curvature) ** 0.5, 1.0
    for _ in range(line_search_max_iter):
        assign(start - fraction * full_step, parameters)
        loss, divergence = (value.item() for value in objective(False))
        if loss < loss_before and divergence < target_kl:
            return Outcome(True, loss_before, loss, divergence, fraction)
        fraction *= line_search_shrinking_factor
    assign(start, parameters)
    return failed
