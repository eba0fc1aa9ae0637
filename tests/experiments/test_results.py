from pathlib import Path

import numpy as np
import pytest
import yaml

from sb3_hyper.experiments.results import RunResult, _same, merge_rows, read_results, read_rows, results_of, same_runs
from sb3_hyper.experiments.study_files import load_study

BENCHMARKS = Path(__file__).parents[2] / "benchmarks" / "results"


def result(seed=0, value=1.0, **changes):
    fields = {
        "study": "s",
        "variant": "v",
        "algorithm": "td3",
        "environment": "E-v1",
        "seed": seed,
        "steps": np.array([10, 20]),
        "returns": np.array([[value, 2.0], [3.0, 4.0]]),
        "seconds": np.array([0.5, 1.5]),
        "cpu_seconds": np.array([0.4, 1.4]),
        "definition": "d1",
        "versions": "torch-1",
        "commit": "abc",
    }
    return RunResult(**fields | changes)


def test_a_result_comes_back(tmp_path):
    assert merge_rows(tmp_path / "r.csv", result().rows()) == 2
    (loaded,) = read_results(tmp_path / "r.csv")
    np.testing.assert_array_equal(loaded.returns, [[1, 2], [3, 4]])
    np.testing.assert_array_equal(loaded.curve, [1.5, 3.5])
    np.testing.assert_array_equal(loaded.steps, [10, 20])
    np.testing.assert_array_equal(loaded.seconds, [0.5, 1.5])
    np.testing.assert_array_equal(loaded.cpu_seconds, [0.4, 1.4])
    assert (loaded.study, loaded.variant, loaded.algorithm, loaded.environment) == ("s", "v", "td3", "E-v1")
    assert loaded.definition == "d1"
    assert (loaded.seed, loaded.versions, loaded.commit) == (0, "torch-1", "abc")


def test_small_numbers_stay_numbers(tmp_path):
    small = result(returns=np.array([[0.001234, 0.96125], [-1234.567, 12345.678]]), cpu_seconds=np.array([0.004, 0.006]))
    merge_rows(tmp_path / "r.csv", small.rows())
    (loaded,) = read_results(tmp_path / "r.csv")
    np.testing.assert_array_equal(loaded.returns, [[0.001234, 0.96125], [-1234.567, 12345.678]])
    np.testing.assert_array_equal(loaded.cpu_seconds, [0.004, 0.006])


def test_numbers_are_the_same_however_many_of_their_digits_were_written(tmp_path):
    exact = result(returns=np.array([[0.001234, 0.96125], [-1234.567, 12345.678]])).rows()
    rounded = [row | {name: f"{float(row[name]):.2f}" for name in ("return_0", "return_1")} for row in exact]
    merge_rows(tmp_path / "r.csv", rounded)
    assert merge_rows(tmp_path / "r.csv", exact) == 0
    assert read_rows(tmp_path / "r.csv") == rounded
    with pytest.raises(ValueError, match="holds other returns"):
        merge_rows(tmp_path / "r.csv", [exact[0] | {"return_0": "0.00601"}])
    merge_rows(tmp_path / "exact.csv", exact)
    with pytest.raises(ValueError, match="holds other returns"):
        merge_rows(tmp_path / "exact.csv", [exact[0] | {"return_0": "0.00123401"}])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("0.00", "0.00499", True),
        ("0.00", "0.00601", False),
        ("0.5", "0.52", False),
        ("0.96", "0.96125", True),
        ("0.9612", "0.96125", False),
        ("12345.62", "12345.619", True),
        ("155.3", "155.30", True),
        ("155.30", "155.31", False),
        ("1000", "1000.00", True),
        ("0.00123400", "0.00123401", False),
        ("nan", "nan", True),
        ("nan", "1.00", False),
        ("inf", "1.00", False),
    ],
)
def test_what_the_same_number_is(one, other, same):
    assert _same(one, other) is same
    assert _same(other, one) is same


def test_what_is_merged_from_a_file_stays_as_it_was_written(tmp_path):
    """Digits that nobody has measured would be another run's."""
    rows = [row | {"return_0": "-553.53", "return_1": "12345.60", "seconds": "191.8"} for row in result().rows()]
    merge_rows(tmp_path / "r.csv", rows)
    (loaded,) = read_results(tmp_path / "r.csv")
    assert [row["return_0"] for row in loaded.rows()] == ["-553.53", "-553.53"]
    assert [row["return_1"] for row in loaded.rows()] == ["12345.6", "12345.6"]
    assert [row["seconds"] for row in loaded.rows()] == ["191.8", "191.8"]


def test_evaluations_are_in_the_order_of_their_steps_and_means_over_episodes(tmp_path):
    steps, returns = np.array([5000, 10000, 100000]), np.array([[0.0, 0, 3], [1, 1, 7], [2, 2, 11]])
    times = np.array([1.0, 2.0, 3.0])
    merge_rows(tmp_path / "r.csv", result(steps=steps, returns=returns, seconds=times, cpu_seconds=times).rows())
    (loaded,) = read_results(tmp_path / "r.csv")
    np.testing.assert_array_equal(loaded.steps, steps)
    np.testing.assert_array_equal(loaded.curve, [1, 3, 5])


def test_merging_twice_is_merging_once(tmp_path):
    path = tmp_path / "deep" / "r.csv"
    assert merge_rows(path, result(1).rows()) == 2
    assert merge_rows(path, result(0).rows()) == 2
    text = path.read_text()
    assert merge_rows(path, result(1).rows() + result(0).rows()) == 0
    assert path.read_text() == text
    assert [run.seed for run in read_results(path)] == [0, 1]


def test_wall_clock_is_no_contradiction_but_returns_are(tmp_path):
    path = tmp_path / "r.csv"
    merge_rows(path, result().rows())
    assert merge_rows(path, result(seconds=np.array([9.0, 9.5])).rows()) == 0
    with pytest.raises(ValueError, match="holds other returns for s, v, E-v1, 0, 10"):
        merge_rows(path, result(value=5.0).rows())


def test_runs_with_fewer_episodes_fit_beside_others(tmp_path):
    merge_rows(tmp_path / "r.csv", result(0).rows())
    merge_rows(tmp_path / "r.csv", result(1, returns=np.array([[7.0], [8.0]])).rows())
    assert [run.returns.shape for run in read_results(tmp_path / "r.csv")] == [(2, 2), (2, 1)]


def test_evaluations_of_one_run_have_equally_many_episodes(tmp_path):
    first, second = result().rows()
    merge_rows(tmp_path / "r.csv", [first, second | {"return_1": ""}])
    with pytest.raises(ValueError, match="s, v, E-v1, 0, 20: 1 episodes, where the run's first evaluation has 2"):
        read_results(tmp_path / "r.csv")


def test_files_that_excel_wrote_are_read(tmp_path):
    path = tmp_path / "r.csv"
    merge_rows(path, result().rows())
    path.write_text("\ufeff" + path.read_text(), encoding="utf-8")
    assert len(read_results(path)) == 1


def test_evaluations_of_one_run_are_of_one_definition(tmp_path):
    path = tmp_path / "r.csv"
    first, second = result(definition="1" * 8).rows()
    merge_rows(path, [first])
    with pytest.raises(ValueError, match="s, v, E-v1, 0, 20 would be of another definition than the rest of its run"):
        merge_rows(path, [second | {"definition": "0" * 8}])
    merge_rows(path, [second])
    path.write_text(path.read_text().replace("1" * 8, "0" * 8, 1))
    with pytest.raises(ValueError, match=r"r.csv: s, v, E-v1, 0, 20: of another definition than the run's first evaluation"):
        read_results(path)


def test_an_evaluation_that_is_there_twice_is_refused(tmp_path):
    path = tmp_path / "r.csv"
    merge_rows(path, result().rows())
    path.write_text(path.read_text() + path.read_text().splitlines()[1] + "\n")
    with pytest.raises(ValueError, match="line 4: s, v, E-v1, 0, 10 is there already, in line 2"):
        read_rows(path)


def test_a_missing_file_holds_no_rows(tmp_path):
    assert read_rows(tmp_path / "none.csv") == []


def test_other_files_are_refused(tmp_path):
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"columns .*algorithm.* are missing"):
        read_rows(tmp_path / "other.csv")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",1.25,", ",abc,", "line 2: return_0 is no number, got 'abc'"),
        ("E-v0,0,", "E-v0,0.0,", "line 2: seed is no whole number, got '0.0'"),
        (",1.25,", ",", "line 2: as many values as columns are expected"),
        (",1.25,", ",1.25,1.25,", "line 2: as many values as columns are expected"),
    ],
)
def test_a_broken_row_is_named(tmp_path, old, new, message):
    path = tmp_path / "rows.csv"
    one = np.ones(1)
    merge_rows(path, RunResult("s", "v", "td3", "E-v0", 0, one, np.full((1, 2), 1.25), one, one, "d", "v", "c", "p").rows())
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        read_rows(path)


def test_a_run_that_another_study_has_made_is_the_same_run_but_for_what_watches():
    search = load_study("slim-search")
    theirs = results_of(load_study("gradient-accuracy"), BENCHMARKS / "gradient-accuracy.csv")
    found = same_runs(search, theirs)
    assert {(run.variant, run.environment, run.seed) for run in found} >= {
        ("slim", environment, seed) for environment in ("HalfCheetah-v5", "Hopper-v5") for seed in (0, 1)
    }
    # the preset is another name for bounded_128, and another definition
    assert {run.variant for run in found} == {"slim", "mlp", "layernorm_mlp"}
    assert all(np.isnan(run.cpu_seconds).all() for run in found)
    key = search.name, "slim", "HalfCheetah-v5", "0"  # which both studies have run
    own, other = (
        next(run for run in runs if run.key == key) for runs in (results_of(search, BENCHMARKS / "slim-search.csv"), found)
    )
    np.testing.assert_array_equal(own.returns, other.returns)


def test_callbacks_that_do_more_than_watch_make_another_run(tmp_path):
    def training(*callbacks):
        variant = {"hyperparams": {"policy": "MlpPolicy", "callback": list(callbacks) or None}}
        content = {"title": "x", "environments": ["Pendulum-v1"], "seeds": 1, "steps": 100, "eval_freq": 100, "baseline": "a"}
        (tmp_path / "x.yml").write_text(yaml.safe_dump({**content, "variants": {"a": variant}}))
        return next(load_study(str(tmp_path / "x.yml")).runs()).training

    watching = "sb3_hyper.diagnostics.callbacks.CriticBiasCallback"
    assert training() == training(watching) == training({watching: {"eval_freq": 5}})
    assert training() != training("stable_baselines3.common.callbacks.StopTrainingOnMaxEpisodes")
