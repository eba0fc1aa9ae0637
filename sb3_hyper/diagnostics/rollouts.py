"""
Monte-Carlo returns of many actions from many states.

A branch is an environment that is put into a state, given an action, and left to a policy. All branches go on together: one
call of the policy per step for all of them, their environments spread over processes if asked for.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from sb3_hyper.diagnostics.branches import Branches, Observations, stack, take
from sb3_hyper.diagnostics.snapshots import Snapshot

Policy = Callable[[Observations], np.ndarray]
"""Observations -> actions as the environment takes them, ``(n, *action_shape)``"""
Values = Callable[[Observations], np.ndarray]
"""Observations -> values, ``(n,)``"""


def sample_states(
    branches: Branches, policy: Policy, n_states: int, max_steps: int, rng: np.random.Generator
) -> tuple[list[Snapshot], int]:
    """
    Draw states from the policy's own rollouts, as the authors' code does: each after a number of steps drawn uniformly from
    0 to ``max_steps - 1``, episodes following each other; a reset counts as a step.

    :param branches: At least ``n_states`` of them.
    :param policy: The policy.
    :param n_states: Number of states.
    :param max_steps: Length of an episode.
    :param rng: Random generator, of lengths and of the environments' seeds.
    :return: The states, and how many environment steps they cost.
    """
    wanted = np.zeros(branches.n, dtype=int)
    wanted[:n_states] = rng.integers(max_steps, size=n_states)
    seeds = [int(seed) for seed in rng.integers(2**31, size=branches.n)]
    used = np.arange(branches.n) < n_states
    observations = branches.reset(seeds, used)
    over, cost = np.zeros(branches.n, dtype=bool), 0
    for index in range(int(wanted.max(initial=0))):
        walking = (index < wanted) & used
        if (ended := walking & over).any():
            observations = branches.reset([None] * branches.n, ended)
        stepping = walking & ~over
        over = over & ~walking
        if stepping.any():
            step = branches.step(_actions(policy, observations, stepping), stepping)
            observations = step.observations
            over |= stepping & (step.terminated | step.truncated)
            cost += int(stepping.sum())
    if over.any():  # the end of an episode is no state to act in
        branches.reset([None] * branches.n, over)
    return branches.snapshots(n_states), cost


class Returns(NamedTuple):
    """
    What branches gave.

    :param returns: Discounted returns, ``(n,)``
    :param n_steps: Steps of each, ``(n,)``
    :param terminated: Whether the episode ended for good, ``(n,)``
    :param rounding: Size of the rounding error that a bootstrap in float32 brought in, ``(n,)``
    """

    returns: np.ndarray
    n_steps: np.ndarray
    terminated: np.ndarray
    rounding: np.ndarray


def monte_carlo_returns(
    branches: Branches,
    snapshots: Sequence[Snapshot],
    which: np.ndarray,
    actions: np.ndarray,
    policy: Policy,
    gamma: float,
    action_repeat: int | np.ndarray = 1,
    horizon: int | None = None,
    bootstrap: Values | None = None,
    reward_scale: float = 1.0,
    rng: np.random.Generator | None = None,
    handle_timeout_termination: bool = True,
) -> Returns:
    """
    Take an action in a state, follow the policy, and sum the discounted rewards to the end of the episode, or to the horizon.

    :param branches: ``n`` branches.
    :param snapshots: States.
    :param which: The state of each branch, ``(n,)``
    :param actions: The action of each branch, as the environment takes them, ``(n, *action_shape)``
    :param policy: What is followed afterwards.
    :param gamma: Discount factor.
    :param action_repeat: For how many steps the action is taken, a number or one per branch, ``(n,)``
    :param horizon: Steps after which a branch ends; None: when its episode does.
    :param bootstrap: Values of the states in which time ran out, of the episode or the horizon; never of terminal ones.
    :param reward_scale: What rewards are multiplied with, to be in the units of ``bootstrap``.
    :param rng: Gives every branch random numbers of its own, which matters in stochastic environments. None: branches of one
        state meet the same random numbers, those that the state was left with.
    :param handle_timeout_termination: As in SB3's replay buffers. False: nothing follows where the episode's time ran out, as
        little as in terminal states.
    :return: The returns.
    """
    seeds = None if rng is None else [int(seed) for seed in rng.integers(2**63, size=branches.n)]
    observations = branches.restore(snapshots, which, seeds)
    active = np.ones(branches.n, dtype=bool)
    returns, rounding, n_steps = np.zeros(branches.n), np.zeros(branches.n), np.zeros(branches.n, dtype=int)
    terminated = np.zeros(branches.n, dtype=bool)
    index = 0
    while active.any() and (horizon is None or index < horizon):
        repeating = np.broadcast_to(index < np.asarray(action_repeat), active.shape)
        chosen = actions
        if (following := active & ~repeating).any():
            chosen = np.where(
                repeating.reshape(-1, *[1] * (actions.ndim - 1)), actions, _actions(policy, observations, following)
            )
        step = branches.step(chosen, active)
        observations = step.observations
        returns[active] += gamma**index * reward_scale * step.rewards[active]
        n_steps[active] += 1
        terminated |= active & step.terminated
        active &= ~(step.terminated | step.truncated)
        index += 1
    alive = ~terminated if handle_timeout_termination else active  # what the horizon cut off is active still
    if bootstrap is not None and alive.any():
        values = bootstrap(take(stack(observations), alive))
        rest = gamma ** n_steps[alive] * values
        returns[alive] += rest
        rounding[alive] = np.finfo(np.float32).eps * np.abs(rest)
    return Returns(returns, n_steps, terminated, rounding)


def _actions(policy: Policy, observations: Sequence[Any], chosen: np.ndarray) -> np.ndarray:
    """Actions for all branches, of which only the chosen ones are computed."""
    own = policy(stack([observations[int(index)] for index in np.flatnonzero(chosen)]))
    actions = np.zeros((len(chosen), *own.shape[1:]), dtype=own.dtype)
    actions[chosen] = own
    return actions
