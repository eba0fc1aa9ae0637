import csv
import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from sb3_hyper.experiments.normalisation import RANDOM_RETURNS
from sb3_hyper.experiments.statistics import interquartile_mean
from sb3_hyper.experiments.study_runs import StudyRuns, area, count, estimate, final, mean
from tests.experiments.fake_runs import RANDOM, both_everywhere, half_finished, make_run, make_study

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def runs_of(results, random_returns=RANDOM, **changes):
    return StudyRuns(make_study(**changes), results, random_returns)


def rows_of(name):
    with (RESULTS / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_random_returns_are_those_of_the_rows():
    tasks = [row for row in rows_of("task-returns.csv") if (row["split"], row["policy"]) == ("test", "random")]
    rows = rows_of("random-returns.csv")
    assert {row["environment"]: float(row["mean_return"]) for row in rows + tasks} == RANDOM_RETURNS
    assert min(int(row["episodes"]) for row in rows) >= 100
    assert min(int(row["n_tasks"]) for row in tasks) >= 50


def test_a_study_brings_returns_of_random_actions():
    without = runs_of(half_finished(), {"A-v0": 0.0})
    assert without.random_returns == {"A-v0": 0.0}
    assert "random actions is not known" in without.left_out()["B-v0"]
    runs = StudyRuns(make_study(random_returns={"A-v0": 1.0, "B-v0": -3.0}), half_finished(), {"A-v0": 0.0})
    assert runs.random_returns == {"A-v0": 1.0, "B-v0": -3.0}
    assert "random" not in runs.left_out().get("B-v0", "")


def test_a_run_is_finished_when_no_evaluation_is_to_come():
    runs = runs_of(half_finished())
    assert [(run.variant, run.environment, run.seed) for run in runs.finished()] == [
        ("base", "A-v0", 0),
        ("base", "A-v0", 1),
        ("base", "B-v0", 0),
        ("new", "A-v0", 0),
    ]
    assert len(runs.all()) == 5


def test_a_run_may_end_between_two_evaluations():
    assert len(runs_of([make_run("new", "A-v0", 0, [1] * 6)], steps=6500).finished()) == 1
    assert len(runs_of([make_run("new", "A-v0", 0, [1] * 6)], steps=7000).finished()) == 0


def test_a_run_that_lacks_evaluations_is_not_finished():
    run = make_run("new", "A-v0", 0, [1] * 6)
    kept = [0, 1, 4, 5]
    hole = dataclasses.replace(run, steps=run.steps[kept], returns=run.returns[kept])
    assert len(runs_of([run]).finished()) == 1
    assert len(runs_of([hole]).finished()) == 0


def test_only_times_of_one_processor_are_compared():
    fast = [make_run("base", "A-v0", seed, [1] * 6) for seed in (0, 1)]
    slow = make_run("new", "A-v0", 0, [1] * 6, processor="x")
    runs = runs_of([slow, *fast])
    assert runs.processor == "a processor"
    assert [run.variant for run in runs.timed(runs.finished())] == ["base", "base"]
    assert runs_of([]).processor == ""


def test_times_that_are_not_known_are_compared_with_none():
    unknown = make_run("new", "A-v0", 0, [1] * 6, cpu_seconds=np.full(6, np.nan))
    assert runs_of([unknown]).processor == ""
    runs = runs_of([make_run("base", "A-v0", 0, [1] * 6), unknown])
    assert [run.variant for run in runs.timed(runs.finished())] == ["base"]


@pytest.mark.parametrize(
    "other",
    [
        make_run("base", "A-v0", 0, [1] * 6, study="another"),
        make_run("unknown", "A-v0", 0, [1] * 6),
        make_run("base", "C-v0", 0, [1] * 6),
        make_run("base", "A-v0", 3, [1] * 6),
        make_run("base", "A-v0", 0, []),
    ],
)
def test_runs_of_something_else_are_ignored(other):
    assert runs_of([other]).all() == []


def test_curves_are_drawn_from_finished_runs_if_there_are_any():
    unfinished = make_run("new", "A-v0", 1, [5])
    runs = runs_of([*half_finished(), unfinished])
    assert [run.seed for run in runs.drawn("new", "A-v0")] == [0]
    assert [len(run.steps) for run in runs.drawn("new", "B-v0")] == [2]


def test_normalisation_maps_random_to_0_and_the_baseline_to_1():
    runs = runs_of(both_everywhere())
    assert runs.bounds() == {"A-v0": (0, 35), "B-v0": (-100, 100)}
    np.testing.assert_allclose(runs.normalised(final, "base")[0], [30 / 35, 40 / 35])
    np.testing.assert_allclose(runs.normalised(final, "new")[1], [2])
    # trapezoids: 15 + 45 + 60 + 60 + 60 over 5
    np.testing.assert_allclose(runs.normalised(area, "new")[0], [48 / 35])


def test_normalised_curves_keep_environments_apart():
    steps, (a, b) = runs_of(both_everywhere()).normalised_curves("base")
    np.testing.assert_array_equal(steps, np.arange(1, 7) * 1000)
    np.testing.assert_allclose(a[:, -1], [50 / 35, 60 / 35])
    np.testing.assert_allclose(b, [[0.5, 1, 1, 1, 1, 1]])


def test_what_cannot_be_normalised_is_left_out_with_a_reason():
    worse = [make_run("base", name, 0, [-200] * 6) for name in ("A-v0", "B-v0")]
    assert "random actions is not known" in runs_of(half_finished(), {"B-v0": 0}).left_out()["A-v0"]
    assert "no run of Base" in runs_of(half_finished()[:2]).left_out()["B-v0"]
    assert "no better than random" in runs_of(worse).left_out()["A-v0"]
    assert runs_of(half_finished()).left_out() == {}


def test_a_variant_is_comparable_once_it_has_run_everywhere():
    assert runs_of(half_finished()).comparable() == ["base"]
    assert runs_of(both_everywhere()).comparable() == ["base", "new"]
    assert runs_of(half_finished(), {"A-v0": 0}).comparable() == ["base", "new"]
    assert runs_of([]).comparable() == []


def test_probability_of_improvement_over_the_baseline():
    new = [make_run("new", "A-v0", 0, [35] * 6), make_run("new", "B-v0", 0, [300] * 6)]
    value, low, high = runs_of([*half_finished()[:3], *new]).improvement("new")
    assert value == 0.75  # one half on A, one on B
    assert math.isnan(low)
    assert math.isnan(high)  # New has one seed each


def test_improvement_has_an_interval_once_both_have_two_seeds_somewhere():
    more = [make_run("new", "A-v0", 1, [35] * 6)]
    value, low, high = runs_of([*both_everywhere(), *more]).improvement("new")
    assert 0.5 <= low < value <= high == 1


def test_an_estimate_from_single_seeds_has_no_interval():
    assert np.isnan(estimate([np.array([1.0]), np.array([2.0])], mean).low)
    value, low, high = estimate([np.array([1.0, 3.0]), np.array([2.0])], interquartile_mean)
    assert low < value < high


@pytest.mark.parametrize(
    ("numbers", "text"), [([1], "1 seed"), ([2, 2], "2 seeds"), ([3, 1, 2], "1 to 3 seeds"), ([], "0 seeds")]
)
def test_counts_are_words(numbers, text):
    assert count(numbers, "seed") == text


def test_numbers_of_seeds_are_those_of_the_cells_that_have_any():
    runs = runs_of(half_finished())
    assert runs.n_seeds() == "1 to 2 seeds"
    assert runs.n_seeds(["new"]) == "1 seed"
    assert runs.n_seeds(["base"], ["A-v0"]) == "2 seeds"
