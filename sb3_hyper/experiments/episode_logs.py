"""SB3's logs of training episodes (``N.monitor.csv``, one per environment) of a run that goes back in time."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from stable_baselines3.common.vec_env import VecEnv

LOGS = "*.monitor.csv"


def sizes(folder: Path) -> dict[str, int]:
    """
    :param folder: A run's folder.
    :return: Name of each log -> its size in bytes.
    """
    return {path.name: path.stat().st_size for path in folder.glob(LOGS)}


def go_back(folder: Path, to: Mapping[str, int], env: VecEnv) -> None:
    """
    Forget the episodes that will come again, and have later ones count time on from where the log began. What somebody has
    removed or shortened stays as it is.

    :param folder: A run's folder.
    :param to: The sizes that the logs had.
    :param env: The environment that writes them.
    """
    for name, size in to.items():
        path, index = folder / name, name.split(".")[0]
        if not path.is_file() or path.stat().st_size < size:
            continue
        os.truncate(path, size)
        start = _start(path)
        if start is not None and index.isdecimal() and int(index) < env.num_envs:
            env.env_method("set_wrapper_attr", "t_start", start, indices=int(index))


def empty(folder: Path) -> None:
    """
    Forget all episodes.

    :param folder: A run's folder.
    """
    for path in folder.glob(LOGS):
        with path.open("rb") as file:  # a comment, and the names of the columns
            size = len(file.readline()) + len(file.readline())
        os.truncate(path, size)


def _start(path: Path) -> float | None:
    """The time that a log counts from, if it says so."""
    with path.open("rb") as file:
        line = file.readline()
    try:
        return float(json.loads(line.removeprefix(b"#"))["t_start"])
    except (ValueError, KeyError, TypeError):  # somebody has changed it
        return None
