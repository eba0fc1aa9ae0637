"""The states of a process's random generators, as plain data."""

import base64
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch as th

RandomState = dict[str, Any]


def get_random_states() -> RandomState:
    """
    :return: The states of Python's, numpy's and torch's global generators, fit for JSON.
    """
    numpy_state = np.random.get_state(legacy=False)
    numpy_state["state"]["key"] = numpy_state["state"]["key"].tolist()
    cuda = th.cuda.get_rng_state_all() if th.cuda.is_available() else []
    return {
        "python": random.getstate(),
        "numpy": numpy_state,
        "torch": _to_text(th.get_rng_state()),
        "cuda": [_to_text(state) for state in cuda],
    }


def set_random_states(states: RandomState) -> None:
    """
    :param states: What :func:`get_random_states` gave, before or after a trip through JSON.
    """
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    key = np.array(states["numpy"]["state"]["key"], dtype=np.uint32)
    np.random.set_state({**states["numpy"], "state": {**states["numpy"]["state"], "key": key}})
    th.set_rng_state(_from_text(states["torch"]))
    for index, state in enumerate(states["cuda"]):
        th.cuda.set_rng_state(_from_text(state), index)


def _to_text(state: th.Tensor) -> str:
    return base64.b64encode(state.numpy().tobytes()).decode("ascii")


def _from_text(text: str) -> th.Tensor:
    return th.frombuffer(bytearray(base64.b64decode(text)), dtype=th.uint8)


@contextmanager
def untouched_random_states() -> Iterator[None]:
    """Whatever is drawn inside, the process's random generators are afterwards as they were."""
    states = get_random_states()
    try:
        yield
    finally:
        set_random_states(states)
