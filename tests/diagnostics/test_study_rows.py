"""Rows of the studies gradient-accuracy and dynamic-weights."""

from threading import Thread

import numpy as np
import pytest
from stable_baselines3 import TD3

from benchmarks import (
    adaptation,
    dynamic_weights,
    final_gradients,
    gradient_accuracy,
    initial_weights,
    random_returns,
    rows,
    task_returns,
)
from sb3_hyper.diagnostics.records import Records
from sb3_hyper.diagnostics.weights import common_bins, total_variation, total_variation_of_histograms


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(gradient_accuracy, "RESULTS", tmp_path / "rows.csv")
    return tmp_path / "study"


def write(folder, seed, steps):
    records = Records(folder / "mlp" / "Hopper-v5" / f"seed-{seed}" / "gradient_accuracy.npz")
    for step in steps:
        values = {name: np.full(2, float(step)) for name in gradient_accuracy.PER_STATE}
        records.add(step, **values, env_steps=1, seconds=1.0)
    complete(folder / "mlp" / "Hopper-v5" / f"seed-{seed}")


def complete(folder):
    (folder / "td3" / "Hopper-v5_1").mkdir(parents=True, exist_ok=True)
    (folder / "td3" / "Hopper-v5_1" / "complete").touch()


def test_the_rows_of_a_rerun_replace_all_older_ones_of_that_run(folder):
    write(folder, 0, [0, 10, 20])
    write(folder, 1, [0, 10])
    assert gradient_accuracy.collect(folder) == 10
    with pytest.warns(UserWarning, match="was there before"):
        write(folder, 0, [0, 15])
    assert gradient_accuracy.collect(folder) == 8
    steps = [(row["seed"], row["step"]) for row in rows.read(gradient_accuracy.RESULTS) if row["state"] == "0"]
    assert steps == [("0", "0"), ("0", "15"), ("1", "0"), ("1", "10")]


def test_rows_of_runs_that_are_not_in_the_folder_stay(folder, tmp_path):
    write(folder, 0, [0])
    gradient_accuracy.collect(folder)
    write(tmp_path / "elsewhere", 1, [0])
    assert gradient_accuracy.collect(tmp_path / "elsewhere") == 4


def test_runs_that_have_not_finished_are_not_collected(folder):
    write(folder, 0, [0])
    write(folder, 1, [0])
    (folder / "mlp" / "Hopper-v5" / "seed-1" / "td3" / "Hopper-v5_1" / "complete").unlink()
    assert gradient_accuracy.collect(folder) == 2
    assert {row["seed"] for row in rows.read(gradient_accuracy.RESULTS)} == {"0"}


def test_rows_that_others_write_meanwhile_stay(tmp_path):
    path = tmp_path / "rows.csv"

    def work(name):
        for number in range(50):
            rows.replace(path, [{"name": name, "number": str(number)}], ("name", "number"))

    threads = [Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(rows.read(path)) == 100


def test_rows_are_replaced_by_name_and_put_in_order(tmp_path):
    path = tmp_path / "rows.csv"
    rows.replace(path, [{"name": "a", "value": "2"}, {"name": "b", "value": "1"}], ["name"])
    assert rows.replace(path, [{"name": "a", "value": "0"}], ["name"], lambda row: row["value"]) == 2
    assert [row["name"] + row["value"] for row in rows.read(path)] == ["a0", "b1"]


@pytest.mark.parametrize("module", [random_returns, initial_weights, task_returns])
def test_what_is_measured_again_replaces_nothing_else(module, tmp_path, monkeypatch):
    environment = {random_returns: "Pendulum-v1", initial_weights: "Hopper-v5", task_returns: "PointGoal-v0"}[module]
    (there,) = [row for row in rows.read(module.OUTPUT) if row["environment"] != environment][:1]
    path = tmp_path / "rows.csv"
    rows.write(path, [there, there | {"environment": environment}])
    options = {random_returns: ["--episodes", "2"], initial_weights: ["--seeds", "1"], task_returns: ["--tasks", "2"]}[module]
    monkeypatch.setattr("sys.argv", ["measure", "--environments", environment, *options, "--output", str(path)])
    module.main()
    new = rows.read(path)
    assert new[0] == there
    assert {row["environment"] for row in new[1:]} == {environment}
    assert there | {"environment": environment} not in new


def test_episodes_of_finished_runs_are_collected(tmp_path, monkeypatch):
    monkeypatch.setattr(adaptation, "RESULTS", tmp_path)
    for seed in (0, 1):
        folder = tmp_path / "study" / "mlp" / "PointGoal-v0" / f"seed-{seed}" / "pearl" / "PointGoal-v0_1"
        folder.mkdir(parents=True)
        returns = np.arange(4.0).reshape(1, 2, 2)
        np.savez(folder / "adaptation.npz", timesteps=np.array([9]), returns_test=returns, nothing_test=np.zeros(2))
    (tmp_path / "study" / "mlp" / "PointGoal-v0" / "seed-1" / "pearl" / "PointGoal-v0_1" / "complete").touch()
    for _ in range(2):  # the same again replaces it
        assert adaptation.collect("study", tmp_path / "study") == 6
    found = adaptation.read("study")
    assert {key[2] for key in found} == {"1"}
    assert found["mlp", "PointGoal-v0", "1", "test", "9", "1", "0"] == "2.000"


def test_distances_of_generated_weights_to_those_of_mlp_small(tmp_path, monkeypatch):
    monkeypatch.setattr(dynamic_weights, "RESULTS", tmp_path / "rows.csv")
    rng = np.random.default_rng(0)
    samples = {
        (variant, step): rng.normal(0, width * (1 + step), 50_000)
        for variant, width in (("mlp_small", 1), ("sa_hyper_paper", 3))
        for step in (1, 2)
    }
    for variant in ("mlp_small", "sa_hyper_paper"):
        records = Records(tmp_path / variant / "Hopper-v5" / "seed-0" / "dynamic_weights.npz")
        for step in (1, 2):
            counts, bins = np.histogram(samples[variant, step], bins=200)
            stored = {f"{dynamic_weights.NETWORK}.0.{name}": 1.0 for name in dynamic_weights.SUMMARY}
            records.add(
                step, **stored, **{f"{dynamic_weights.NETWORK}.0.{n}": v for n, v in (("counts", counts), ("bins", bins))}
            )
        complete(tmp_path / variant / "Hopper-v5" / "seed-0")
    assert dynamic_weights.collect(tmp_path) == 4
    found = dynamic_weights.distances(dynamic_weights.histograms())
    for step in (1, 2):
        both = samples["mlp_small", step], samples["sa_hyper_paper", step]
        expected = total_variation(*both, common_bins(both, dynamic_weights.N_BINS))
        assert found["Hopper-v5", "sa_hyper_paper", 1, step] == [pytest.approx(expected, abs=0.01)]
    assert f"| SA-Hyper of the paper | 1 | {50 * expected:.0f}" in dynamic_weights.table()
    assert len(dynamic_weights.figures()) == 2


@pytest.mark.slow
def test_models_of_complete_runs_are_measured_once(tmp_path, monkeypatch):
    folder = tmp_path / "mlp" / "Hopper-v5" / "seed-1" / "td3" / "Hopper-v5_1"
    folder.mkdir(parents=True)
    TD3("MlpPolicy", "Hopper-v5", learning_starts=1000).learn(20).save(folder / "Hopper-v5.zip")
    monkeypatch.setattr(final_gradients, "RESULTS", tmp_path / "rows.csv")
    monkeypatch.setattr(final_gradients, "N_STATES", 3)
    monkeypatch.setattr(final_gradients, "N_ACTIONS", 10)
    monkeypatch.setattr("sys.argv", ["final_gradients", str(tmp_path)])
    final_gradients.main()
    assert not rows.read(tmp_path / "rows.csv")
    (folder / "complete").touch()
    final_gradients.main()
    found = rows.read(tmp_path / "rows.csv")
    assert [(row["variant"], row["seed"], row["step"], row["samples"]) for row in found] == [
        ("mlp", "1", "20", samples) for samples in ("paper", "near") for _ in range(3)
    ]
    assert final_gradients.table().count("| Hopper-v5 | MLP 256-256 | 1 |") == 2
    monkeypatch.setattr(final_gradients, "measure", lambda *arguments: pytest.fail("measured again"))
    final_gradients.main()


def test_rows_that_come_while_a_model_is_measured_are_kept(tmp_path, monkeypatch):
    folder = tmp_path / "mlp" / "Hopper-v5" / "seed-1" / "td3" / "Hopper-v5_1"
    folder.mkdir(parents=True)
    (folder / "complete").touch()
    (folder / "Hopper-v5.zip").touch()
    other = dict(zip(rows.RUN, ("mlp", "Hopper-v5", "0"), strict=True)) | {"model": "0"}

    def measure(model, environment, samples):
        rows.write(tmp_path / "rows.csv", [*rows.read(tmp_path / "rows.csv"), other | {"samples": samples}])
        return [{"samples": samples}]

    monkeypatch.setattr(final_gradients, "RESULTS", tmp_path / "rows.csv")
    monkeypatch.setattr(final_gradients, "measure", measure)
    monkeypatch.setattr("sys.argv", ["final_gradients", str(tmp_path)])
    final_gradients.main()
    found = [(row["seed"], row["samples"]) for row in rows.read(tmp_path / "rows.csv")]
    assert sorted(found) == [(seed, samples) for seed in "01" for samples in ("near", "paper")]


def test_rows_of_other_columns_are_refused(tmp_path):
    rows.write(tmp_path / "rows.csv", [{"a": "1", "b": "2"}, {"b": "3", "a": "4"}])
    assert rows.read(tmp_path / "rows.csv") == [{"a": "1", "b": "2"}, {"a": "4", "b": "3"}]
    with pytest.raises(ValueError, match="rows have other columns: b, c"):
        rows.write(tmp_path / "rows.csv", [{"a": "1", "b": "2"}, {"a": "3", "c": "4"}])
    assert len(rows.read(tmp_path / "rows.csv")) == 2


def test_numbers_with_and_without_an_error():
    assert rows.with_error(np.array([1.0, np.nan, 3.0])) == "2.00 (1.00)"
    assert rows.with_error(np.array([1.0, np.nan])) == "1.00"
    assert rows.with_error(np.array([np.nan])) == "-"


def test_numbers_of_groups_are_as_uncertain_as_the_means_of_the_groups():
    groups = [np.array([0.0, 2.0]), np.array([np.nan, 4.0]), np.array([np.nan, np.nan])]
    assert rows.of_groups(groups) == "2.00 (1.50)"  # means 1 and 4
    assert rows.of_groups(groups[:1]) == "1.00"
    assert rows.of_groups(groups[2:]) == "-"


@pytest.mark.parametrize(("n_weights", "n_generated", "apart"), [(23 * 256, 100 * 6 * 128, 1), (256, 100 * 256, 5)])
def test_what_two_samples_of_one_distribution_are_apart_by_chance(n_weights, n_generated, apart):
    # the numbers in docs/results/dynamic-weights.md, for HalfCheetah's layers
    rng = np.random.default_rng(0)
    distances = []
    for _ in range(50):
        pair = rng.uniform(-1, 1, n_weights), rng.uniform(-1, 1, n_generated)
        histograms = [np.histogram(values, common_bins([values], 200)) for values in pair]
        distances.append(50 * total_variation_of_histograms(*histograms, dynamic_weights.N_BINS))
    assert round(float(np.mean(distances))) == apart
