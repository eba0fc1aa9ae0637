"""What callbacks count: calls, episodes, evaluations without a new best model, ..."""

from collections.abc import Iterator, Sequence

from stable_baselines3.common.callbacks import BaseCallback


def get_counters(callbacks: Sequence[BaseCallback]) -> list[dict[str, float]]:
    """
    :param callbacks: Callbacks.
    :return: The public numbers of each, and of those that it calls, by name.
    """
    return [
        {name: value for name, value in vars(callback).items() if name[0] != "_" and isinstance(value, (int, float))}
        for callback in _families(callbacks)
    ]


def set_counters(callbacks: Sequence[BaseCallback], counters: list[dict[str, float]]) -> None:
    """
    :param callbacks: Callbacks like those of :func:`get_counters`.
    :param counters: What it returned.
    :raises ValueError: If there are more of them, or fewer.
    """
    for callback, numbers in zip(_families(callbacks), counters, strict=True):
        vars(callback).update(numbers)


def _families(callbacks: Sequence[BaseCallback]) -> Iterator[BaseCallback]:
    """Callbacks, and those that they call."""
    for callback in callbacks:
        yield callback
        for name, value in vars(callback).items():
            if name != "parent":
                children = value if isinstance(value, list) else [value]
                yield from _families([child for child in children if isinstance(child, BaseCallback)])
