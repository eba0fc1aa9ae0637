"""What callbacks store: one file per run, arrays by name with a leading axis of evaluations, that figures are drawn from."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from sb3_hyper.common.files import replacing


class Records:
    """
    Rows of arrays in an ``.npz`` file, each row made at a number of steps. The file is written whole after each row, and is
    one run's: what another one measured is neither written over nor gone on with.

    :param path: The file; None to keep the rows in memory only.
    """

    def __init__(self, path: str | Path | None) -> None:
        self.path = None if path is None else Path(path).with_suffix(".npz")
        self.rows: list[dict[str, Any]] = []
        self._made_with = ""

    def go_on_from(self, step: int, made_with: str = "") -> None:
        """
        Take over the rows of the file up to a step: those of the run that goes on there. The file of a run that starts anew
        is replaced.

        :param step: Number of steps.
        :param made_with: What tells this run's measurements from others', its settings and seeds.
        :raises ValueError: If the file's are others.
        """
        self.rows = []
        self._made_with = made_with
        if self.path is None or not self.path.is_file():
            return
        columns = load_records(self.path)
        there = str(columns["made_with"][-1]) if "made_with" in columns else "unknown"
        if there != made_with:
            raise ValueError(
                f"{self.path} holds the measurements of another run: {there}, not {made_with}. Give each run a log_path of "
                "its own, go on with the settings the file was made with, or move it away"
            )
        if step == 0:
            n = len(columns["timesteps"])
            warnings.warn(f"{self.path}: {n} measurements of a run with the same settings that began before are replaced")
            return
        for index in np.flatnonzero(columns["timesteps"] <= step):
            self.rows.append({name: column[index] for name, column in columns.items()})

    def add(self, step: int, **values: Any) -> None:
        """
        :param step: Number of steps.
        :param values: Arrays or numbers, of the same names and shapes in every row.
        """
        self.rows.append({"timesteps": step, "made_with": self._made_with, **values})
        if self.path is None:
            return
        with replacing(self.path) as temporary:
            np.savez_compressed(temporary, **self.columns())  # type: ignore[arg-type]

    def columns(self) -> dict[str, np.ndarray]:
        """
        :return: Name -> array with a leading axis of rows.
        """
        return {name: np.stack([np.asarray(row[name]) for row in self.rows]) for name in self.rows[0]} if self.rows else {}


def load_records(path: str | Path) -> dict[str, np.ndarray]:
    """
    :param path: A file of records.
    :return: Name -> array with a leading axis of rows; ``timesteps`` is one of them.
    """
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}
