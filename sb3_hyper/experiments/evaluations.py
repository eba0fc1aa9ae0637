"""What an evaluation callback wrote, as a table."""

import os

import numpy as np

from sb3_hyper.common.files import write_csv


def load_evaluations(path: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray]:
    """
    Read the ``evaluations.npz`` of SB3's ``EvalCallback``.

    :param path: The file.
    :return: Steps ``(n_evaluations,)`` and returns of the episodes ``(n_evaluations, n_episodes)``.
    """
    with np.load(path) as data:
        return data["timesteps"], data["results"]


def write_evaluations(path: str | os.PathLike[str], steps: np.ndarray, returns: np.ndarray) -> None:
    """
    Write evaluations as CSV, one row each: step, mean and standard deviation (over episodes), and every return.

    :param path: Where to. The file is written whole or not at all.
    :param steps: ``(n_evaluations,)``
    :param returns: Undiscounted returns, ``(n_evaluations, n_episodes)``
    """
    header = ["step", "mean_return", "std_return", *(f"return_{episode}" for episode in range(returns.shape[1]))]
    rows = (
        [int(step), *(f"{value:.3f}" for value in (row.mean(), row.std(), *row))]
        for step, row in zip(steps, returns, strict=True)
    )
    write_csv(path, header, rows)
