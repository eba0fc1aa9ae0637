"""The tables that are slim-search's own."""

import numpy as np
import pytest
from scipy.stats import permutation_test

from benchmarks import final_values, pages, rows, slim_search
from sb3_hyper.experiments.report import variant_settings
from sb3_hyper.experiments.results import RunResult
from sb3_hyper.experiments.study_files import load_study
from sb3_hyper.experiments.study_runs import StudyRuns
from sb3_hyper.experiments.table import MINUS

STUDY = load_study("slim-search")
N_EVALUATIONS = STUDY.steps // STUDY.eval_freq


def make_run(variant, seed, curve, environment="Hopper-v5", spread=0.0):
    returns = np.array(curve, dtype=float)[:, None] + spread * np.linspace(-1, 1, 10)
    steps = STUDY.eval_freq * np.arange(1, N_EVALUATIONS + 1)
    return RunResult("slim-search", variant, "td3", environment, seed, steps, returns, steps / 1000, steps / 1000)


def table_of(runs, table):
    found = table(StudyRuns(STUDY, runs))
    return {row[: found.n_names]: row[found.n_names :] for row in found.rows}


def test_one_pair_is_scipys_permutation_test():
    rng = np.random.default_rng(0)
    x, y = rng.normal(1, 1, 4), rng.normal(0, 1, 3)
    found = slim_search.effect([(x, y)])
    expected = permutation_test((x, y), lambda a, b: abs(np.mean(a) - np.mean(b)), alternative="greater", n_resamples=np.inf)
    assert found.difference == pytest.approx(x.mean() - y.mean())
    assert found.p == pytest.approx(expected.pvalue)
    assert 0 < found.by_chance <= 0.1


def test_pairs_are_permuted_within_themselves():
    pairs = [(np.array([10.0, 12.0]), np.array([0.0, 1.0])), (np.array([110.0]), np.array([100.0, 101.0]))]
    found = slim_search.effect(pairs)
    assert found.difference == (10.5 + 9.5) / 2
    # of 6 * 3 ways only the one that is, and none the other way round: 10.5 and 9.5 are the largest differences
    assert found.p == pytest.approx(1 / 18)


def test_a_change_that_does_nothing_has_a_probability_of_one():
    same = np.array([1.0, 2.0])
    assert slim_search.effect([(same, same)]) == (0.0, 1.0, 0.0)
    assert slim_search.effect([(np.array([0.2, 0.4]), np.array([0.4, 0.3, 0.2]))]).p == 1  # rounding is no difference


def test_two_runs_against_three_can_not_be_below_a_tenth():
    found = slim_search.effect([(np.array([9.0, 8.0]), np.array([1.0, 2.0, 3.0]))])
    assert (found.p, found.by_chance) == (pytest.approx(0.1), 0)


def test_changes_are_pairs_that_differ_in_one_setting():
    settings = {label: dict(own) for label, _, own in variant_settings(STUDY)}  # what differs from slim
    for pairs in slim_search.CHANGES.values():
        for pair in pairs:
            one, other = (settings[STUDY.variants[name].label] if name != "slim" else {} for name in pair)
            assert len({key for key in one | other if one.get(key) != other.get(key)}) == 1, pair
    compared = {name for pairs in slim_search.CHANGES.values() for pair in pairs for name in pair}
    assert compared == set(STUDY.variants) - {"mlp", "layernorm_mlp"}


def test_effects_by_hand():
    runs = [make_run("slim", seed, [value] * N_EVALUATIONS) for seed, value in enumerate((100, 110, 120))]
    runs += [make_run("low_rank", seed, [value] * N_EVALUATIONS) for seed, value in enumerate((200, 210))]
    runs += [make_run("no_gain", 0, [105] * N_EVALUATIONS, "HalfCheetah-v5")]  # nothing to compare it with
    # of ten ways to choose two of five runs one has a difference of 95
    assert table_of(runs, slim_search.effects) == {
        ("heads of low rank",): ("0 / 0, 2 / 3", "-", "-", "95 (0.10)", "95 (0.10)")
    }


def test_effects_without_the_variant_that_was_chosen():
    runs = [make_run(name, 0, [100] * N_EVALUATIONS) for name in ("slim", "dynamic_layer_norm", "bounded")]
    runs += [make_run("no_gain", 0, [400] * N_EVALUATIONS)]
    found = table_of(runs, slim_search.effects)
    # 0 and -300, and 0 alone
    assert found["LayerNorm on the dynamic hidden layer",][-2] == f"{MINUS}150 (1.00)"
    assert found["LayerNorm on the dynamic hidden layer, fewer pairs",][-2] == "0 (1.00)"
    assert found["no gains, fewer pairs",][-2] == "0 (1.00)"
    # two changes have probabilities that count, in two columns each
    assert "Of the other 4 probabilities" in slim_search.effects(StudyRuns(STUDY, runs)).caption


def test_steadiness_by_hand(tmp_path, monkeypatch):
    monkeypatch.setattr(final_values, "RESULTS", tmp_path)
    numbers = dict.fromkeys(("step", "value_of_random_actions", "parameter_gradient", "return"), "1")
    key = {"environment": "Hopper-v5", "which": "last"}
    own = [("no_gain", "0", "300", "100"), ("no_gain", "1", "99", "90")]
    there = [dict(zip(("variant", "seed", "value", "policy_return"), one, strict=True)) | key | numbers for one in own]
    rows.write(final_values.file_of("slim-search"), there)
    runs = [
        make_run("no_gain", 0, [0, 0, 40, 300, 300, 300, 1000, 1000, 1000, 600]),  # the first two are before it counts
        make_run("no_gain", 1, [0, 0, 300, 40, 40, 300, 300, 300, 300, 300], spread=100),
        make_run("slim", 0, [0] * 2 + [1000] * 8, spread=50),  # alike is something else
        make_run("bounded", 0, [0] * 2 + [200] * 8),
    ]
    found = table_of([*runs, make_run("low_rank", 0, [0] * 2 + [200] * 8)], slim_search.steadiness)
    assert found["without LayerNorm", "all of them"][0] == "4"
    found = table_of(runs, slim_search.steadiness)
    label = STUDY.variants["no_gain"].label
    # falls: three evaluations of sixteen, two runs; final scores 780 and 300; moving 450 and 300
    assert found["without LayerNorm", label] == ("2", "2 (3 of 16)", "3 of 16", "600", "540", "375", "1 of 2")
    assert found["without LayerNorm", STUDY.variants["slim"].label][1:3] == ("0 (0 of 8)", "0 of 8")
    assert found["without LayerNorm", "all of them"][:2] == ("3", "2 (3 of 24)")
    assert found["with LayerNorm", STUDY.variants["bounded"].label][-1] == "0 of 0"
    assert found["without LayerNorm", "those with a counterpart"] == found["without LayerNorm", "all of them"]


def test_values_without_bounds_have_run_away_and_missing_ones_are_not_known(tmp_path, monkeypatch):
    monkeypatch.setattr(final_values, "RESULTS", tmp_path)
    runs = [make_run("bounded", 0, [1000] * N_EVALUATIONS)]
    label = STUDY.variants["bounded"].label
    assert table_of(runs, slim_search.steadiness)["with LayerNorm", label][3:] == ("-", "1000", "-", "0 of 0")
    numbers = dict.fromkeys(("step", "value_of_random_actions", "parameter_gradient", "return", "policy_return"), "1")
    key = {"variant": "bounded", "environment": "Hopper-v5", "seed": "0", "which": "last"}
    rows.write(final_values.file_of("slim-search"), [key | numbers | {"value": "inf"}])
    assert table_of(runs, slim_search.steadiness)["with LayerNorm", label][-1] == "1 of 1"


def test_the_measured_runs_of_the_other_study_are_the_same():
    own, other = (pages.runs_of(load_study(name)) for name in ("slim-search", "gradient-accuracy"))
    for variant, name in slim_search.MEASURED.items():
        curves = {run.seed: run.curve for run in own.finished(variant, "Hopper-v5")}
        for run in other.finished(name, "Hopper-v5"):
            assert np.array_equal(curves[run.seed], run.curve)
