"""What callbacks store: one file per run, arrays by name with a leading axis of evaluations, that figures are drawn from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sb3_hyper.common.files import replacing


class Records:
    """
    Rows of arrays in an ``.npz`` file, each row made at a number of steps. The file is written whole after each row.

    :param path: The file; None to keep the rows in memory only.
    """

    def __init__(self, path: str | Path | None) -> None:
        self.path = None if path is None else Path(path).with_suffix(".npz")
        self.rows: list[dict[str, Any]] = []

    def go_on_from(self, step: int, shapes: Mapping[str, tuple[int, ...]] | None = None) -> None:
        """
        Take over the rows of the file up to a step: those of the run that goes on there.

        :param step: Number of steps.
        :param shapes: Shapes of what will be added, by name, as far as they are known.
        :raises ValueError: If the file's are others.
        """
        self.rows = []
        if self.path is None or not self.path.is_file() or step == 0:
            return
        columns = load_records(self.path)
        for name, shape in (shapes or {}).items():
            if name not in columns or columns[name].shape[1:] != shape:
                there = f"of shape {columns[name].shape[1:]}" if name in columns else "missing"
                raise ValueError(
                    f"{self.path} holds other measurements: {name!r} is {there} there and of shape {shape} now. Go on with "
                    "the settings it was made with, or give another log_path"
                )
        for index in np.flatnonzero(columns["timesteps"] <= step):
            self.rows.append({name: column[index] for name, column in columns.items()})

    def add(self, step: int, **values: Any) -> None:
        """
        :param step: Number of steps.
        :param values: Arrays or numbers, of the same names and shapes in every row.
        """
        self.rows.append({"timesteps": step, **values})
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
