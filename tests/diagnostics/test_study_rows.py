"""Rows of the study gradient-accuracy."""

import numpy as np
import pytest

from benchmarks import gradient_accuracy
from sb3_hyper.diagnostics.records import Records


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(gradient_accuracy, "RESULTS", tmp_path / "rows.csv")
    return tmp_path / "study"


def write(folder, seed, steps):
    records = Records(folder / "mlp" / "Hopper-v5" / f"seed-{seed}" / "gradient_accuracy.npz")
    for step in steps:
        values = {name: np.full(2, float(step)) for name in gradient_accuracy.PER_STATE}
        records.add(step, **values, env_steps=1, seconds=1.0)


def test_the_rows_of_a_rerun_replace_all_older_ones_of_that_run(folder):
    write(folder, 0, [0, 10, 20])
    write(folder, 1, [0, 10])
    assert gradient_accuracy.collect(folder) == 10
    write(folder, 0, [0, 15])
    assert gradient_accuracy.collect(folder) == 8
    steps = [(row["seed"], row["step"]) for row in gradient_accuracy.read() if row["state"] == "0"]
    assert steps == [("0", "0"), ("0", "15"), ("1", "0"), ("1", "10")]


def test_rows_of_runs_that_are_not_in_the_folder_stay(folder, tmp_path):
    write(folder, 0, [0])
    gradient_accuracy.collect(folder)
    write(tmp_path / "elsewhere", 1, [0])
    assert gradient_accuracy.collect(tmp_path / "elsewhere") == 4
