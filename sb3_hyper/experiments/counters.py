"""What SB3's callbacks count: calls, episodes, evaluations without a new best model, ..."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from stable_baselines3.common.callbacks import BaseCallback, CallbackList, EvalCallback, EventCallback

COUNTED = {"n_calls", "n_episodes", "no_improvement_evals", "last_time_trigger"}
COUNTED |= {"best_mean_reward", "last_mean_reward", "last_best_mean_reward"}


def get_counters(callbacks: Sequence[BaseCallback]) -> dict[str, dict[str, float]]:
    """
    :param callbacks: Callbacks.
    :return: What each of them, and of those that they call, has counted.
    """
    return {
        key: {
            name: float(value) if name.endswith("reward") else int(value)
            for name, value in vars(callback).items()
            if name in COUNTED and value is not None
        }
        for key, callback in _families(callbacks)
    }


def set_counters(callbacks: Sequence[BaseCallback], counters: Mapping[str, Mapping[str, float]]) -> None:
    """
    :param callbacks: Callbacks; those that were not there when they were counted start from the beginning.
    :param counters: What :func:`get_counters` returned.
    """
    for key, callback in _families(callbacks):
        vars(callback).update(counters.get(key, {}))


def _families(callbacks: Sequence[BaseCallback]) -> list[tuple[str, BaseCallback]]:
    """Callbacks and those that they call, each with the name of its class and a number."""
    seen: Counter[str] = Counter()
    found = []
    for callback in _walk(callbacks):
        name = type(callback).__name__
        found.append((f"{name}-{seen[name]}", callback))
        seen[name] += 1
    return found


def _walk(callbacks: Sequence[BaseCallback | None]) -> Iterator[BaseCallback]:
    for callback in callbacks:
        if callback is None:
            continue
        yield callback
        if isinstance(callback, CallbackList):
            yield from _walk(callback.callbacks)
        if isinstance(callback, EventCallback):
            yield from _walk([callback.callback])
        if isinstance(callback, EvalCallback):
            yield from _walk([callback.callback_on_new_best])
