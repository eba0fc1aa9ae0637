"""A critic's own step size, and fused steps, under unmodified SB3 algorithms."""

from typing import Any

import torch as th
from stable_baselines3.common.type_aliases import Schedule
from torch.optim.optimizer import Optimizer

FUSABLE = (th.optim.Adam, th.optim.AdamW)
IMPLEMENTATIONS = ("fused", "foreach", "capturable", "differentiable")


def fused_where_possible(optimizer_class: type[Optimizer], optimizer_kwargs: dict[str, Any]) -> dict[str, Any]:
    """
    Ask for the one-kernel implementation of Adam, unless the user has chosen an implementation.

    :param optimizer_class: The optimizer.
    :param optimizer_kwargs: What the user asked for.
    :return: The arguments to build the optimizer with.
    """
    if optimizer_class not in FUSABLE or any(name in optimizer_kwargs for name in IMPLEMENTATIONS):
        return optimizer_kwargs
    return {**optimizer_kwargs, "fused": True}


def changes(schedule: Schedule) -> bool:
    """
    :param schedule: A learning rate schedule.
    :return: Whether the rate changes in the course of training.
    """
    return len({schedule(progress) for progress in (1.0, 0.75, 0.5, 0.25, 0.0)}) > 1


def fix_learning_rate(optimizer: Optimizer, learning_rate: float) -> None:
    """
    Make every step of the optimizer use this learning rate.

    SB3's algorithms write one schedule into all their optimizers before training on a batch (SB3 #338). A hook writes
    the optimizer's own rate back right before each step, so ``param_groups`` tell the rate that was used.

    :param optimizer: The optimizer.
    :param learning_rate: Its learning rate from now on.
    """

    def write_own_rate(optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate

    write_own_rate(optimizer, (), {})
    optimizer.register_step_pre_hook(write_own_rate)
