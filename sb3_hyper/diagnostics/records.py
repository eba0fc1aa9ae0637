"""What callbacks store: one file per run, arrays by name with a leading axis of evaluations, that figures are drawn from."""

import warnings
import zipfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from sb3_hyper.common.files import replacing


class Records:
    """
    Rows of arrays in an ``.npz`` file, each row made at a number of steps. The file is written whole after each row.

    Nobody's rows are written over. What lies under the name when the first row is stored is moved to a free one,
    ``NAME-1.npz`` and so on; and if another run or callback takes the name later, these rows go to a free one.

    :param path: The file; None to keep the rows in memory only.
    """

    def __init__(self, path: str | Path | None) -> None:
        self.path = None if path is None else Path(path).with_suffix(".npz")
        self.rows: list[dict[str, Any]] = []
        self._made_with = ""
        self._written: tuple[int, ...] | None = None  # what tells the file as these rows left it

    def go_on_from(self, step: int, made_with: str = "") -> None:
        """
        Begin, or go on: then the rows up to a step, of the file that has the run's mark, are taken over.

        :param step: Number of steps; 0 to begin.
        :param made_with: What tells this run's measurements from others', its settings and seeds.
        """
        self.rows = [row for row in self.rows if 0 < step >= row["timesteps"] and row["made_with"] == made_with]
        self._made_with = made_with
        self._written = None
        for path, columns in self._files() if step > 0 else ():
            if str(columns["made_with"][-1]) == made_with:
                self.path, self._written = path, _signature(path)
                taken = np.flatnonzero(columns["timesteps"] <= step)
                self.rows = [{name: column[index] for name, column in columns.items()} for index in taken]
                return

    def _files(self) -> Iterator[tuple[Path, dict[str, np.ndarray]]]:
        """The files of this name and their columns, those that were numbered last first."""
        if self.path is None:
            return
        numbered = {path.stem.rpartition("-")[2]: path for path in self.path.parent.glob(f"{self.path.stem}-*.npz")}
        latest_first = sorted((number for number in numbered if number.isdecimal()), key=int, reverse=True)
        for path in (self.path, *(numbered[number] for number in latest_first)):
            try:
                columns = load_records(path)
            except (OSError, ValueError, zipfile.BadZipFile):  # none, or none of ours
                continue
            if "made_with" in columns:
                yield path, columns

    def add(self, step: int, **values: Any) -> None:
        """
        :param step: Number of steps.
        :param values: Arrays or numbers, of the same names and shapes in every row.
        """
        self.rows.append({"timesteps": step, "made_with": self._made_with, **values})
        if self.path is None:
            return
        there = _signature(self.path)
        if there not in (None, self._written):
            free = next(path for n in count(1) if not (path := self.path.with_stem(f"{self.path.stem}-{n}")).exists())
            if self._written is None:
                self.path.rename(free)
                warnings.warn(f"{self.path} was there before: it is {free.name} now")
            else:
                warnings.warn(
                    f"Another run or callback writes {self.path}: the measurements of this one lie in {free.name} now"
                )
                self.path = free
        with replacing(self.path) as temporary:
            np.savez_compressed(temporary, **self.columns())  # type: ignore[arg-type]
        self._written = _signature(self.path)

    def columns(self) -> dict[str, np.ndarray]:
        """
        :return: Name -> array with a leading axis of rows.
        """
        return {name: np.stack([np.asarray(row[name]) for row in self.rows]) for name in self.rows[0]} if self.rows else {}


def _signature(path: Path) -> tuple[int, ...] | None:
    """What changes when a file is written anew; None if there is none."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def load_records(path: str | Path) -> dict[str, np.ndarray]:
    """
    :param path: A file of records.
    :return: Name -> array with a leading axis of rows; ``timesteps`` is one of them.
    """
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}
