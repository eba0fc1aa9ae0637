"""Rows of what callbacks stored in the folders of a study's runs: one CSV file, in which each run is there once."""

import argparse
import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from matplotlib.figure import Figure

from benchmarks.images import IMAGES, save_all
from sb3_hyper.common.files import write_csv
from sb3_hyper.experiments.studies import Run

RUN = ("variant", "environment", "seed")
Row = dict[str, str]


def read(path: Path) -> list[Row]:
    """
    :param path: A CSV file.
    :return: Its rows; none if there is no such file.
    """
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def names_of(run: Run) -> Row:
    """
    :param run: A run of a study.
    :return: The columns of ``RUN``.
    """
    return dict(zip(RUN, (run.variant, run.environment, str(run.seed)), strict=True))


def collect(path: Path, folder: Path, file: str, rows_of: Callable[[Path], Iterable[Row]], order: Sequence[str]) -> int:
    """
    Add the finished runs below a folder to a CSV file. The rows of a run replace all its older ones; runs that are not there
    stay.

    :param path: The CSV file.
    :param folder: The study's folder, ``variant/environment/seed-N`` below it.
    :param file: Name of the file that a run's callback wrote.
    :param rows_of: Makes a run's rows of that file, without the columns of ``RUN``.
    :param order: Columns of whole numbers, by which the rows of a run are ordered.
    :return: How many rows there are now.
    :raises ValueError: If runs have other columns than the file.
    """
    new = []
    for stored in sorted(folder.glob(f"*/*/seed-*/{file}")):
        if not any(stored.parent.glob("*/*/complete")):
            continue
        variant, environment, seed = stored.parts[-4:-1]
        run = dict(zip(RUN, (variant, environment, seed.removeprefix("seed-")), strict=True))
        new += [run | row for row in rows_of(stored)]
    return replace(path, new, RUN, lambda row: (*(row[key] for key in RUN[:2]), *(int(row[key]) for key in ("seed", *order))))


def replace(path: Path, new: Sequence[Row], names: Sequence[str], order: Callable[[Row], Any] | None = None) -> int:
    """
    Put rows in the place of those that are named alike. All others stay, also those that someone else has written meanwhile.

    :param path: The CSV file.
    :param new: The rows.
    :param names: Columns that name what a row is about.
    :param order: Key to sort all rows by; None for the new ones at the end.
    :return: How many rows there are now.
    :raises ValueError: If the new rows have other columns than the file.
    """
    with FileLock(path.with_name(f".{path.name}.lock")):
        there = read(path)
        check_columns(path, [*there, *new])
        named = {tuple(row[name] for name in names) for row in new}
        rows = [row for row in there if tuple(row[name] for name in names) not in named] + list(new)
        if order:
            rows.sort(key=order)
        write(path, rows)
    return len(rows)


def write(path: Path, rows: Sequence[Row]) -> None:
    """
    :param path: The CSV file to write or replace; without rows it stays as it is.
    :param rows: Its rows.
    :raises ValueError: If they do not all have the same columns.
    """
    if not rows:
        return
    check_columns(path, rows)
    names = list(rows[0])
    write_csv(path, names, ([row[name] for name in names] for row in rows))


def check_columns(path: Path, rows: Sequence[Row]) -> None:
    """
    :param path: The CSV file that the rows are for.
    :param rows: Rows.
    :raises ValueError: If they do not all have the same columns.
    """
    for row in rows:
        if row.keys() != rows[0].keys():
            raise ValueError(f"{path}: rows have other columns: {', '.join(sorted(row.keys() ^ rows[0].keys()))}")


def whole(value: float) -> str:
    """
    :param value: Any number, also one that is not finite.
    :return: It without decimals.
    """
    text = f"{value:.0f}"
    return "0" if text == "-0" else text


def of_groups(values: Sequence[np.ndarray]) -> str:
    """
    :param values: Groups of numbers that have something in common, such as the states of one measurement; what is not a
        number is left out.
    :return: The mean of all, and in brackets its standard error from the means of the groups, if there are two or more.
    """
    known = [group[np.isfinite(group)] for group in values]
    means = np.array([group.mean() for group in known if len(group)])
    if not len(means):
        return "-"
    mean = f"{np.concatenate(known).mean():.2f}"
    return mean if len(means) < 2 else f"{mean} ({means.std(ddof=1) / np.sqrt(len(means)):.2f})"


def with_error(values: np.ndarray) -> str:
    """
    :param values: Numbers; what is not a number is left out.
    :return: Their mean, and in brackets its standard error, if there are two or more.
    """
    known = values[np.isfinite(values)]
    if len(known) < 2:
        return f"{known[0]:.2f}" if len(known) else "-"
    return f"{known.mean():.2f} ({known.std(ddof=1) / np.sqrt(len(known)):.2f})"


def main(
    description: str,
    path: Path,
    collect: Callable[[Path], int],
    table: Callable[[], str],
    figures: Callable[[], Mapping[str, Figure]],
) -> None:
    """
    The command line of a study's rows: ``collect FOLDER``, or ``draw``.

    :param description: What the program is.
    :param path: The CSV file.
    :param collect: Adds the runs below a folder to the rows, and returns how many there are.
    :param table: Makes a table of the rows.
    :param figures: Makes figures of the rows.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    commands.add_parser("collect").add_argument("folder", type=Path, help="the study's folder")
    commands.add_parser("draw")
    args = parser.parse_args()
    if args.command == "collect":
        print(f"{collect(args.folder)} rows")
    else:
        print(table())
        print("\n".join(map(str, save_all(figures(), IMAGES, [path]))) or "There are no rows to draw from")
