"""
The two levels of MAML, as pure functions: the inner step, which adapts parameters to each task, and the objectives of the
outer one. ``evaluate`` stands for one of :data:`~sb3_hyper.meta.maml.networks.BACKENDS` with its network bound.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch as th

from sb3_hyper.meta.maml.episodes import Batch
from sb3_hyper.meta.maml.networks import Gaussian, Parameters
from sb3_hyper.meta.maml.trust_region import Metric

Evaluate = Callable[[Parameters, th.Tensor], Gaussian]
ORDERS = ("second", "first")


class Old(NamedTuple):
    """
    What gathered a batch.

    :param distribution: The distributions of actions.
    :param log_prob: Log-densities of the actions that were drawn, ``(n_tasks, n)``
    """

    distribution: Gaussian
    log_prob: th.Tensor


class MetaBatch(NamedTuple):
    """
    What an outer step learns from.

    :param context: Contexts of the tasks, ``(n_tasks, context_dim)``, or None
    :param before: Steps that were made before each inner step.
    :param olds: What gathered them.
    :param after: Steps that were made after the last.
    :param old: What gathered those.
    """

    context: th.Tensor | None
    before: Sequence[Batch]
    olds: Sequence[Old]
    after: Batch
    old: Old

    def groups(self, n_tasks: int) -> "list[MetaBatch]":
        """
        :param n_tasks: Number of tasks.
        :return: The batch in groups of so many tasks, the last of which may be smaller.
        """
        starts = range(0, len(self.after.weights), n_tasks)
        return [_of_tasks(self, slice(start, start + n_tasks)) for start in starts]


def _of_tasks(value: Any, tasks: slice) -> Any:
    if value is None or isinstance(value, th.Tensor):
        return None if value is None else value[tasks]
    parts = [_of_tasks(part, tasks) for part in value]
    return type(value)(*parts) if hasattr(value, "_fields") else parts


class MetaLoss(NamedTuple):
    """
    The outer objective, means over tasks.

    :param loss: The surrogate loss after the inner steps.
    :param divergence: KL from the policy that gathered the data, after the inner steps.
    :param divergence_before: The mean of those before the inner steps, if it is asked for.
    :param policy: The adapted policies at the states after the inner steps.
    """

    loss: th.Tensor
    divergence: th.Tensor
    divergence_before: th.Tensor
    policy: Gaussian


@th.no_grad()
def remember(evaluate: Evaluate, parameters: Parameters, batch: Batch) -> Old:
    """
    :param evaluate: The policy.
    :param parameters: Those that gathered the batch.
    :param batch: The batch.
    :return: What must be known of them later.
    """
    distribution = evaluate(parameters, batch.observations)
    return Old(distribution, distribution.log_prob(batch.actions))


def reinforce(policy: Gaussian, batch: Batch) -> th.Tensor:
    """
    ``-mean log pi(a|s) A``

    :param policy: Distributions at the batch's states.
    :param batch: Steps.
    :return: The loss of each task, ``(n_tasks,)``
    """
    return -(policy.log_prob(batch.actions) * batch.advantages * batch.weights).sum(dim=1)


def likelihood_ratio(policy: Gaussian, batch: Batch, old_log_prob: th.Tensor, clip_range: float | None = None) -> th.Tensor:
    """
    ``-mean r A`` with ``r = pi / pi_old``; with a range, ``-mean min(r A, clip(r, 1 - range, 1 + range) A)``.

    :param policy: Distributions at the batch's states.
    :param batch: Steps.
    :param old_log_prob: Log-densities under the policy that gathered them, ``(n_tasks, n)``
    :param clip_range: How far the ratio counts.
    :return: The loss of each task, ``(n_tasks,)``
    """
    ratio = (policy.log_prob(batch.actions) - old_log_prob).exp()
    gain = ratio * batch.advantages
    if clip_range is not None:
        gain = th.minimum(gain, ratio.clamp(1 - clip_range, 1 + clip_range) * batch.advantages)
    return -(gain * batch.weights).sum(dim=1)


def divergence(policy: Gaussian, old: Gaussian, batch: Batch) -> th.Tensor:
    """
    ``KL(new || old)``, the mean over a task's steps.

    :param policy: Distributions at the batch's states.
    :param old: Those that gathered the batch.
    :param batch: Steps.
    :return: ``(n_tasks,)``
    """
    return (policy.divergence_from(old) * batch.weights).sum(dim=1)


def fisher(policy: Gaussian, batch: Batch, scale: float = 1.0) -> Metric:
    """
    The Hessian of the mean :func:`divergence` over tasks with respect to mean and log-std, where it is zero.

    :param policy: Distributions at the batch's states.
    :param batch: Steps.
    :param scale: Factor of the result.
    :return: Its product with changes of mean and log-std.
    """
    weights = batch.weights.unsqueeze(-1) * (scale / len(batch.weights))  # (n_tasks, n, 1)
    precision = (-2 * policy.log_std.detach()).exp()

    def times(tangents: Sequence[th.Tensor]) -> list[th.Tensor]:
        mean, log_std = tangents
        return [weights * precision * mean, 2 * weights.sum(dim=1, keepdim=True) * log_std]

    return times


class InnerStep(NamedTuple):
    """
    Steps of gradient descent from parameters to those of each task.

    :param learning_rates: Step size of each parameter, by name.
    :param order: ``"second"``: the steps are differentiated. ``"first"``: they are taken for constants.
    :param uses_ratio: Whether the loss is the likelihood ratio's, whose curvature has less variance (ProMP, Rothfuss et al.,
        ICLR 2019), or REINFORCE's. Their values at the parameters that gathered the data have the same gradient.
    """

    learning_rates: Mapping[str, float]
    order: str = "second"
    uses_ratio: bool = False

    def losses(self, evaluate: Evaluate, parameters: Parameters, batch: Batch, old: Old) -> th.Tensor:
        """
        :param evaluate: The policy.
        :param parameters: Stacked parameters.
        :param batch: Steps of each task.
        :param old: What gathered them.
        :return: ``(n_tasks,)``
        """
        policy = evaluate(parameters, batch.observations)
        return likelihood_ratio(policy, batch, old.log_prob) if self.uses_ratio else reinforce(policy, batch)

    def __call__(
        self, evaluate: Evaluate, parameters: Parameters, batch: Batch, old: Old, differentiable: bool = True
    ) -> Parameters:
        """
        Adapt each task's parameters by one step.

        :param evaluate: The policy.
        :param parameters: Stacked parameters.
        :param batch: Steps of each task.
        :param old: What gathered them.
        :param differentiable: Whether the result needs a graph at all.
        :return: Stacked parameters.
        """
        second = differentiable and self.order == "second"
        if not differentiable:
            parameters = {name: value.detach().requires_grad_() for name, value in parameters.items()}
        losses = self.losses(evaluate, parameters, batch, old)
        # tasks do not share stacked parameters: the gradient of the sum is each task's own
        gradients = th.autograd.grad(losses.sum(), list(parameters.values()), create_graph=second)
        adapted = {
            name: value - self.learning_rates[name] * gradient
            for (name, value), gradient in zip(parameters.items(), gradients, strict=True)
        }
        return adapted if differentiable else {name: value.detach() for name, value in adapted.items()}

    def chain(
        self,
        evaluate: Evaluate,
        parameters: Parameters,
        batches: Sequence[Batch],
        olds: Sequence[Old],
        differentiable: bool = True,
    ) -> tuple[Parameters, list[Parameters]]:
        """
        Several steps, each with its own data.

        :param evaluate: The policy.
        :param parameters: Stacked parameters.
        :param batches: Steps of each task, for each step of descent.
        :param olds: What gathered them.
        :param differentiable: Whether the result needs a graph.
        :return: The adapted parameters, and those before each step.
        """
        before = []
        for batch, old in zip(batches, olds, strict=True):
            before.append(parameters)
            parameters = self(evaluate, parameters, batch, old, differentiable)
        return parameters, before
