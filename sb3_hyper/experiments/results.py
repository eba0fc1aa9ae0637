"""The rows of a study: one CSV, one row per evaluation."""

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from filelock import FileLock

from sb3_hyper.common.files import write_csv
from sb3_hyper.experiments.studies import Study, StudyError
from sb3_hyper.experiments.study_files import load_study, study_names

KEYS = ("study", "variant", "environment", "seed", "step")
NUMBERS = ("study", "variant", "algorithm", "environment", "seed", "step", "seconds", "cpu_seconds")  # the returns follow
ORIGIN = ("definition", "versions", "commit", "processor")
FIXED = (*NUMBERS, *ORIGIN)
ANOTHER_DEFINITION = "move it away, or give the changed study another name"

Row = dict[str, str]


@dataclass(frozen=True)
class RunResult:
    """
    What the evaluations of one run gave.

    :param study: Name of the study.
    :param variant: Name of the variant.
    :param algorithm: rl-zoo3's name of the algorithm.
    :param environment: Id of the environment.
    :param seed: Seed of the run.
    :param steps: Environment steps at each evaluation, ``(n_evaluations,)``
    :param returns: Undiscounted returns of the evaluation episodes, ``(n_evaluations, n_episodes)``
    :param seconds: Seconds of training and evaluating until each evaluation, ``(n_evaluations,)``
    :param cpu_seconds: The same, counting only what the process spent on a processor: with one thread, what the clock
        would have shown had nothing else run on the machine, ``(n_evaluations,)``. Not a number where it is not known.
    :param definition: Fingerprint of the run's definition.
    :param versions: Versions of what ran, as text.
    :param commit: The package's git commit, if known.
    :param processor: What the times were measured on.
    """

    study: str
    variant: str
    algorithm: str
    environment: str
    seed: int
    steps: np.ndarray
    returns: np.ndarray
    seconds: np.ndarray
    cpu_seconds: np.ndarray
    definition: str = ""
    versions: str = ""
    commit: str = ""
    processor: str = ""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What names the run."""
        return self.study, self.variant, self.environment, str(self.seed)

    @property
    def curve(self) -> np.ndarray:
        """Mean return of each evaluation, ``(n_evaluations,)``."""
        return self.returns.mean(axis=1)

    def rows(self) -> list[Row]:
        """
        :return: One row per evaluation.
        """
        shared = {name: str(getattr(self, name)) for name in FIXED if name not in ("step", "seconds", "cpu_seconds")}
        return [
            shared
            | {"step": str(int(step)), "seconds": _text(round(seconds, 3)), "cpu_seconds": _text(round(cpu_seconds, 3))}
            | {f"return_{episode}": _text(value) for episode, value in enumerate(returns)}
            for step, seconds, cpu_seconds, returns in zip(
                self.steps, self.seconds, self.cpu_seconds, self.returns, strict=True
            )
        ]


def read_rows(path: str | Path) -> list[Row]:
    """
    :param path: The CSV file.
    :return: Its rows; none if there is no such file.
    :raises ValueError: If it is not a file of results.
    """
    if not Path(path).is_file():
        return []
    with open(path, newline="", encoding="utf-8-sig") as file:  # Excel puts a mark before the first name
        reader = csv.DictReader(file)
        missing = set(FIXED) - set(reader.fieldnames or ())
        if missing:
            raise ValueError(f"{path} holds no results of studies: columns {', '.join(sorted(missing))} are missing")
        rows = list(reader)
    lines: dict[tuple[str, ...], int] = {}
    for line, row in enumerate(rows, start=2):
        _check(row, f"{path}, line {line}")
        key = tuple(row[name] for name in KEYS)
        if lines.setdefault(key, line) != line:
            raise ValueError(f"{path}, line {line}: {', '.join(key)} is there already, in line {lines[key]}")
    return rows


def _check(row: Row, where: str) -> None:
    if None in row or None in row.values():
        raise ValueError(f"{where}: as many values as columns are expected")
    for name, value in row.items():
        if name in ("seed", "step", "seconds", "cpu_seconds") or (name.startswith("return_") and value):
            kind, what = (int, "whole number") if name in ("seed", "step") else (float, "number")
            try:
                kind(value)
            except ValueError:
                raise ValueError(f"{where}: {name} is no {what}, got {value!r}") from None


def read_results(path: str | Path) -> list[RunResult]:
    """
    :param path: The CSV file.
    :return: Its runs, in the order of the file.
    :raises ValueError: If the file holds something else.
    """
    runs: dict[tuple[str, ...], list[Row]] = {}
    for row in read_rows(path):
        runs.setdefault(tuple(row[key] for key in KEYS[:-1]), []).append(row)
    return [_run(rows, path) for rows in runs.values()]


def results_of(study: Study, path: str | Path) -> list[RunResult]:
    """
    :param study: A study.
    :param path: The CSV file.
    :return: Its runs that are named as runs of the study.
    :raises StudyError: If one is of another definition of the study.
    """
    definitions = {run.key: run.definition for run in study.runs()}
    results = [result for result in read_results(path) if result.key in definitions]
    for result in results:
        if result.definition != definitions[result.key]:
            raise StudyError(f"{path} holds {', '.join(result.key)} of another definition of the study: {ANOTHER_DEFINITION}")
    return results


def same_runs(study: Study, results: Iterable[RunResult]) -> list[RunResult]:
    """
    :param study: A study.
    :param results: Runs of any studies.
    :return: Those of this package's other studies that are runs of this one but for callbacks that only watch, as runs of it.
        Their times, which are those of the callbacks too, are not numbers.
    """
    own = {(run.training, run.seed): run for run in study.runs()}
    found = []
    for result in results:
        if result.study == study.name or result.study not in study_names():
            continue
        runs = {run.key: run for run in load_study(result.study).runs()}
        there = runs.get(result.key)
        if there is None or there.definition != result.definition or (there.training, there.seed) not in own:
            continue
        run, unknown = own[there.training, there.seed], np.full(len(result.steps), np.nan)
        same = replace(result, study=study.name, variant=run.variant, definition=run.definition)
        found.append(replace(same, seconds=unknown, cpu_seconds=unknown))
    return found


def _run(rows: Sequence[Row], path: str | Path) -> RunResult:
    rows = sorted(rows, key=lambda row: int(row["step"]))
    first = rows[0]
    columns = [name for name in first if name.startswith("return_") and first[name]]
    for row in rows:
        where = f"{path}: {', '.join(row[key] for key in KEYS)}"
        if len(_returns(row)) != len(columns):
            raise ValueError(f"{where}: {len(_returns(row))} episodes, where the run's first evaluation has {len(columns)}")
        if row["definition"] != first["definition"]:
            raise ValueError(f"{where}: of another definition than the run's first evaluation")
    return RunResult(
        study=first["study"],
        variant=first["variant"],
        algorithm=first["algorithm"],
        environment=first["environment"],
        seed=int(first["seed"]),
        steps=np.array([int(row["step"]) for row in rows]),
        returns=np.array([[float(row[name]) for name in columns] for row in rows]),
        seconds=np.array([float(row["seconds"]) for row in rows]),
        cpu_seconds=np.array([float(row["cpu_seconds"]) for row in rows]),
        definition=first["definition"],
        versions=first["versions"],
        commit=first["commit"],
        processor=first["processor"],
    )


def merge_rows(path: str | Path, rows: Iterable[Row]) -> int:
    """
    Add rows to a CSV file. Rows that are there already stay as they are, so merging twice is merging once.

    :param path: The file; it is made if need be, and replaced whole.
    :param rows: The rows.
    :return: How many rows were new.
    :raises ValueError: If a row is there with other returns: one of the two is not what it says. If a run would have rows of
        several definitions.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        merged = {tuple(row[key] for key in KEYS): row for row in read_rows(path)}
        before = len(merged)
        for row in rows:
            key = tuple(row[name] for name in KEYS)
            there = merged.setdefault(key, row)
            if len(_returns(there)) != len(_returns(row)) or not all(map(_same, _returns(there), _returns(row))):
                raise ValueError(f"{path} holds other returns for {', '.join(key)}")
        runs: dict[tuple[str, ...], str] = {}
        for key, row in merged.items():
            if runs.setdefault(key[:-1], row["definition"]) != row["definition"]:
                raise ValueError(f"{path}: {', '.join(key)} would be of another definition than the rest of its run")
        if len(merged) > before:
            _write(path, list(merged.values()))
        return len(merged) - before


def _returns(row: Row) -> list[str]:
    return [row[name] for name in sorted(row) if name.startswith("return_") and row[name]]


def _text(value: float) -> str:
    """A number that stays what it is when it is read and written again; what was rounded to two decimals, too."""
    return f"{value:.8g}"


def _same(one: str, other: str) -> bool:
    """Whether they are the same number. Some rows have two decimals only."""
    is_rounded = any(len(text.partition(".")[2]) <= 2 for text in (one, other))
    return one == other or math.isclose(float(one), float(other), rel_tol=1e-7, abs_tol=0.005 + 1e-9 if is_rounded else 0)


def _write(path: Path, rows: list[Row]) -> None:
    def order(row: Row) -> tuple[str, str, str, int, int]:
        return row["study"], row["variant"], row["environment"], int(row["seed"]), int(row["step"])

    ordered: list[Row] = sorted(rows, key=order)
    returns = {name for row in rows for name, value in row.items() if name.startswith("return_") and value}
    n_episodes = 1 + max(int(name.removeprefix("return_")) for name in returns)
    names = [*NUMBERS, *(f"return_{episode}" for episode in range(n_episodes)), *ORIGIN]
    write_csv(path, names, ([row.get(name, "") for name in names] for row in ordered))
