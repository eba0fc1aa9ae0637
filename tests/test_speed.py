"""What a step costs is measured for the variants that a study names."""

import argparse

import pytest

from benchmarks import speed
from sb3_hyper.experiments.study_files import load_study


def test_the_variants_of_a_study_are_measured_beside_stock_sb3():
    args = argparse.Namespace(study="sac-100k", algos=None, batch_sizes=[8], rounds=1, device="cpu")
    rows = {row["variant"]: row for row in speed.study_rows(args)}
    assert list(rows) == ["stock MLP", "mlp", "sa_hyper", "bounded", "layernorm_mlp"]
    assert rows["stock MLP"]["times_stock_mlp"] == "1.00"
    assert rows["mlp"]["parameters"] == rows["stock MLP"]["parameters"] == 2 * (24 * 256 + 256 * 257 + 257)
    assert rows["sa_hyper"]["parameters"] > rows["bounded"]["parameters"] > rows["mlp"]["parameters"]
    assert all(float(row["ms_per_step"]) > 0 for row in rows.values())


def test_a_study_without_the_algorithm_is_refused():
    with pytest.raises(ValueError, match="slim-search has no variants for sac"):
        speed.variants_of(load_study("slim-search"), "sac")
