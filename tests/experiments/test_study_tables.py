from dataclasses import replace

import numpy as np
import pytest

from sb3_hyper.experiments.study_runs import StudyRuns
from sb3_hyper.experiments.study_tables import study_tables
from sb3_hyper.experiments.table import MINUS, TIMES, Table
from tests.experiments.fake_runs import RANDOM, both_everywhere, half_finished, make_run, make_study


def tables_of(results, random_returns=RANDOM, **changes):
    return {table.key: table for table in study_tables(StudyRuns(make_study(**changes), results, random_returns))}


def rows_of(table):
    """First cells that are names -> the others."""
    return {row[: table.n_names]: row[table.n_names :] for row in table.rows}


def test_seeds_are_counted_by_cell():
    assert rows_of(tables_of(half_finished())["runs"]) == {
        ("Base",): ("2 of 3", "1 of 3"),
        ("New",): ("1 of 3", "0 of 3 (+1)"),
    }


def test_scores_by_hand():
    rows = rows_of(tables_of(half_finished())["scores"])
    # final: means of 10 to 50 and of 20 to 60; highest: 50 and 60; area: 25 and 35
    assert rows["A-v0", "Base"] == ("2", "35.0 [30.0, 40.0]", "55.0 ± 7.1", "30.0 [25.0, 35.0]", "0.00")
    assert rows["A-v0", "New"] == ("1", "54.0", "60.0", "48.0", "0.00")
    assert rows["B-v0", "Base"] == ("1", "100", "100", "90.0", "0.00")
    assert ("B-v0", "New") not in rows


def test_unsteady_runs_have_a_shortfall():
    results = [make_run("base", "A-v0", seed, curve) for seed, curve in enumerate(([0, 60, 0, 60, 0, 60], [0] * 6))]
    # 60 below the best twice in six evaluations, and never
    assert rows_of(tables_of(results)["scores"])["A-v0", "Base"][-1] == "10.0"


def test_pace_by_hand():
    rows = rows_of(tables_of(half_finished())["pace"])
    # 35 is reached half-way between 4000 and 5000, and between 3000 and 4000
    assert rows["A-v0", "Base"] == ("2", "4.0k (2 of 2)", f"8.00 (1.00 {TIMES})")
    # from 30 at 2000 to 60 at 3000
    assert rows["A-v0", "New"] == ("1", "2.2k (1 of 1)", f"20.0 (2.50 {TIMES})")


def test_ratios_of_times_are_those_of_medians():
    results = [make_run("base", "A-v0", seed, range(6), seconds) for seed, seconds in enumerate((10.0, 10.0, 40.0))]
    results += [make_run("new", "A-v0", seed, range(6), seconds) for seed, seconds in enumerate((25.0, 5.0, 90.0))]
    rows = rows_of(tables_of(results)["pace"])
    assert rows["A-v0", "Base"][2] == f"8.00 (1.00 {TIMES})"
    assert rows["A-v0", "New"][2] == f"20.0 (2.50 {TIMES})"


def test_times_of_other_processors_do_not_count():
    slow = [make_run("base", "A-v0", 2, range(6), seconds=100.0, processor="slow")]
    slow += [make_run("new", "B-v0", 0, [0] * 6, seconds=100.0, processor="slow")]
    table = tables_of([*half_finished()[:4], *slow])["pace"]
    assert rows_of(table)["A-v0", "Base"][2] == f"8.00 (1.00 {TIMES})"
    assert rows_of(table)["B-v0", "New"][2] == "-"
    assert "those of runs on a processor; 2 other runs, of other processors or without times, have none here" in table.caption
    assert "other processors" not in tables_of(half_finished())["pace"].caption


def test_equal_time_by_hand():
    """
    The baseline takes 8 s for 1000 steps, 48 in all, its last five evaluations are from 16 to 48. The variant takes 10: it
    has returns of 0 after 10 s, 40 after 20, 30 and 40, 80 after 50.
    """
    results = [
        make_run("base", "A-v0", 0, [0, 10, 20, 30, 40, 50]),
        make_run("new", "A-v0", 0, [0, 40, 40, 40, 80, 80], seconds=12.5),
    ]
    # 24 to 40 in 4 s, 40 in 20 s, 40 to 72 in 8 s
    score = (4 * 32 + 20 * 40 + 8 * 56) / 32
    assert score == 43
    cells = rows_of(tables_of(results)["equal_time"])["A-v0", "New"]
    assert cells == ("1", "4.8k", "43.0", "6.0k", "30.0", "1 of 1", "1 of 1")
    slower = make_run("base", "A-v0", 1, [50, 50, 50, 50, 50, 72]), make_run("new", "A-v0", 1, [0, 40, 40, 40, 80, 80], 12.5)
    cells = rows_of(tables_of([*results, *slower])["equal_time"])["A-v0", "New"]
    assert cells == ("2", "4.8k", "43.0 [43.0, 43.0]", "6.0k", "41.4 [30.0, 52.8]", "1 of 2", "1 of 2")  # 72 is not above 72


def test_runs_with_the_same_curve_in_time_are_level():
    """However few of its evaluations the slower one has had by then."""
    slow = make_run("new", "A-v0", 0, [10, 30, 50, 70, 90, 110], seconds=20.0)
    results = [make_run("base", "A-v0", 0, [0, 10, 20, 30, 40, 50]), slow]
    cells = rows_of(tables_of(results)["equal_time"])["A-v0", "New"]
    assert cells == ("1", "3.0k", "30.0", "6.0k", "30.0", "0 of 1", "0 of 1")


def test_a_slow_variant_is_compared_from_its_first_evaluation_on():
    """It is at 24 s, and the baseline's last five are from 16 to 48 s."""
    results = [
        make_run("base", "A-v0", 0, [0, 10, 20, 30, 40, 50]),
        make_run("new", "A-v0", 0, [10, 30, 50, 70, 90, 110], seconds=30.0),
    ]
    cells = rows_of(tables_of(results)["equal_time"])["A-v0", "New"]
    assert cells == ("1", "2.0k", "20.0", "6.0k", "35.0", "0 of 1", "0 of 1")


def test_a_variant_that_has_not_been_evaluated_by_then_is_shown_without_a_comparison():
    slow = make_run("new", "A-v0", 0, range(6), seconds=61.0)  # first after 48.8 s
    cells = rows_of(tables_of([make_run("base", "A-v0", 0, range(6)), slow])["equal_time"])["A-v0", "New"]
    assert cells == ("0 of 1", *["-"] * 6)
    others = [make_run("base", "A-v0", 1, range(6)), make_run("new", "A-v0", 1, range(6))]
    cells = rows_of(tables_of([make_run("base", "A-v0", 0, range(6)), slow, *others])["equal_time"])["A-v0", "New"]
    assert cells == ("1 of 2", "6.0k", "3.00", "6.0k", "3.00", "0 of 1", "0 of 1")


def test_times_that_rounding_made_equal_are_no_obstacle():
    quick = {"base": [0.1, 0.1, 0.2, 0.3, 0.3, 0.6], "new": [0.1, 0.1, 0.2, 0.3, 0.3, 0.5]}
    runs = [replace(make_run(name, "A-v0", 0, range(6)), cpu_seconds=np.array(times)) for name, times in quick.items()]
    assert rows_of(tables_of(runs)["equal_time"])["A-v0", "New"][0] == "1"


def test_the_caption_of_final_scores_names_the_evaluations_there_are():
    runs = [make_run("base", "A-v0", seed, range(6)) for seed in (0, 1)]
    runs = [replace(run, steps=run.steps + 600) for run in runs]  # of 600 environments at once
    caption = tables_of(runs)["scores"].caption
    assert f"mean of the last 5 evaluations ({runs[0].steps[1]:,} to {runs[0].steps[5]:,} steps)" in caption
    assert "2,600 to 6,600" in caption


def test_the_captions_say_what_few_seeds_and_evaluations_are_worth():
    tables = tables_of(both_everywhere())
    assert "mean of the last 5 evaluations (2,000 to 6,000 steps)" in tables["scores"].caption
    assert "the two are not to be compared" in tables["aggregates"].caption
    single = [run for run in both_everywhere() if run.seed == 0]
    assert "the two are not to be compared" not in tables_of(single)["aggregates"].caption


def test_a_faster_variant_is_compared_when_it_ends():
    results = [make_run("base", "A-v0", 0, range(6)), make_run("new", "A-v0", 0, [9, 9, 9, 9, 9, 4], seconds=5.0)]
    cells = rows_of(tables_of(results)["equal_time"])["A-v0", "New"]
    # from 8 to 24 s of processor time; the baseline begins with its first evaluation, at 8 s
    assert cells == ("1", "6.0k", "8.38", "3.0k", "1.00", "1 of 1", "1 of 1")


NOT_KNOWN = np.full(6, np.nan)
NEW = {"variant": "new", "environment": "A-v0", "seed": 0, "curve": range(6)}


@pytest.mark.parametrize(
    "changes",
    [
        {"processor": "slow"},
        {"processor": ""},
        {"cpu_seconds": NOT_KNOWN},
        {"cpu_seconds": np.array([1, 2, 3, 4, 5, np.nan])},
        {"seed": 1},
    ],
)
def test_runs_that_are_not_comparable_make_no_pair(changes):
    base, new = make_run("base", "A-v0", 0, range(6)), make_run(**NEW | changes)
    assert "equal_time" not in tables_of([base, new])
    assert "equal_time" in tables_of([base, make_run("new", "A-v0", 0, range(6), seconds=20.0)])


@pytest.mark.parametrize("times", [[1, 2, 3, 4, 5, float("nan")], [float("nan")] * 6])
def test_a_baseline_whose_time_is_not_known_makes_no_pair(times):
    base = make_run("base", "A-v0", 0, range(6), cpu_seconds=np.array(times))
    assert "equal_time" not in tables_of([base, make_run("new", "A-v0", 0, range(6))])


@pytest.mark.parametrize("processor", ["", "one + another"])
def test_times_of_unknown_processors_are_not_compared(processor):
    runs = [make_run(variant, "A-v0", 0, range(6), processor=processor) for variant in ("base", "new")]
    assert "equal_time" not in tables_of(runs)


def test_unfinished_runs_make_no_pair():
    whole, part = make_run("base", "A-v0", 0, range(6)), make_run("base", "A-v0", 0, range(3))
    assert "equal_time" not in tables_of([part, make_run("new", "A-v0", 0, range(6))])
    assert "equal_time" not in tables_of([whole, make_run("new", "A-v0", 0, range(3))])


def test_studies_whose_times_do_not_count_have_no_equal_time():
    results = [make_run("base", "A-v0", 0, range(6)), make_run("new", "A-v0", 0, range(6))]
    assert "equal_time" in tables_of(results)
    assert "equal_time" not in tables_of(results, times=False)


def test_a_study_whose_times_are_not_those_of_training_has_none():
    table = tables_of(half_finished(), times=False)["pace"]
    assert table.header[-1] == "Steps to baseline"
    assert rows_of(table)["A-v0", "New"] == ("1", "2.2k (1 of 1)")
    assert "econds" not in table.caption


def test_a_seed_that_never_gets_there_counts_as_late():
    low, high = (make_run("new", "A-v0", seed, [value] * 6) for seed, value in ((1, 0), (2, 100)))
    base = half_finished()
    assert rows_of(tables_of([*base, low])["pace"])["A-v0", "New"][1] == "- (1 of 2)"
    assert rows_of(tables_of([*base, low, high])["pace"])["A-v0", "New"][1] == "2.2k (2 of 3)"


def test_without_the_baseline_there_is_nothing_to_compare_with():
    tables = tables_of(half_finished()[3:])
    assert rows_of(tables["pace"])["A-v0", "New"] == ("1", "-", "20.0 (-)")
    assert rows_of(tables["normalisation"])["A-v0",] == ("0", "0.00", "-")
    assert "aggregates" not in tables
    assert "no run of Base has finished" in tables["normalisation"].caption


def test_aggregates_by_hand():
    rows = rows_of(tables_of(both_everywhere())["aggregates"])
    # 30 / 35 and 40 / 35 weigh a quarter each, and are cut off by the interquartile mean; 1 weighs one half
    assert rows["Base",][:3] == ("3", "1.00 [0.93, 1.07]", "1.00 [0.93, 1.07]")
    assert rows["Base",][-1] == "-"
    # 54 / 35 and 400 / 200; areas 48 / 35 and (270 + 100) / 200
    assert rows["New",][:-1] == ("2", "1.77", "1.77", "1.61", "1.61")


def test_the_mean_counts_what_the_interquartile_mean_cuts_off():
    best = [make_run("base", "A-v0", seed, [final] * 6) for seed, final in enumerate((20, 20))]
    best += [make_run("base", "B-v0", seed, [final] * 6) for seed, final in enumerate((0, 0))]
    new = [make_run("new", "A-v0", seed, [final] * 6) for seed, final in enumerate((10, 90))]
    new += [make_run("new", "B-v0", seed, [final] * 6) for seed, final in enumerate((-100, 0))]
    rows = rows_of(tables_of([*best, *new])["aggregates"])
    # 0.5, 4.5 and 0, 1: the middle half are 0.5 and 1
    assert rows["New",][:3] == ("4", "1.50 [0.25, 2.75]", "0.75 [0.25, 2.75]")
    assert rows["New",][-1].startswith("0.38 ")  # one of two, and the other half of two halves


def test_the_probability_of_improvement_needs_several_seeds():
    assert {row[-1] for row in tables_of(both_everywhere())["aggregates"].rows} == {"-"}


def test_an_interval_without_width_is_said_to_be_none():
    apart = [make_run("base", name, seed, [seed] * 6) for name in ("A-v0", "B-v0") for seed in range(2)]
    new = [make_run("new", "A-v0", seed, [10 + seed] * 6) for seed in range(2)]
    worse = [make_run("new", "B-v0", seed, [-10 - seed] * 6) for seed in range(2)]
    table = tables_of([*apart, *new, *worse])["aggregates"]
    assert rows_of(table)["New",][-1] == "0.50 [0.50, 0.50]"
    assert "without width is none" in table.caption
    mixed = [make_run("new", "B-v0", seed, [2 * seed - 0.5] * 6) for seed in range(2)]
    table = tables_of([*apart, *new, *mixed])["aggregates"]
    assert rows_of(table)["New",][-1] == "0.75 [0.50, 1.00]"
    assert "without width" not in table.caption


def test_one_environment_needs_no_aggregates():
    one = [run for run in both_everywhere() if run.environment == "A-v0"]
    assert {"aggregates", "normalisation"}.isdisjoint(tables_of(one, environments=["A-v0"]))


def test_another_variant_can_be_the_scale():
    tables = tables_of(both_everywhere(), scale="new")
    rows = rows_of(tables["aggregates"])
    # New has 54 and 300: the scale is from 0 to 54, and from -100 to 300
    assert rows["New",][:3] == ("2", "1.00", "1.00")
    # 30 / 54 and 40 / 54 weigh a quarter each, 200 / 400 one half: the middle half are 0.5, and 30 / 54
    assert rows["Base",][1].startswith("0.57 ")
    assert rows["Base",][2].startswith("0.53 ")
    assert tables["normalisation"].header[1:] == ("Seeds of New", "Random", "Final score of New")
    assert "(final score of New - random)" in tables["normalisation"].caption


def test_a_scale_without_the_baseline_compares_with_nothing():
    runs = [run for run in both_everywhere() if run.variant == "new"]
    # areas: 48 / 54 and 370 / 400
    assert rows_of(tables_of(runs, scale="new")["aggregates"]) == {("New",): ("2", "1.00", "1.00", "0.91", "0.91", "-")}


def test_aggregates_say_what_they_leave_out():
    tables = tables_of(half_finished(), {"A-v0": 0.0})
    assert "Left out: B-v0 (the return of random actions is not known)" in tables["normalisation"].caption
    assert rows_of(tables["normalisation"])["B-v0",] == ("1", "-", "-")
    assert "aggregates" not in tables
    assert "New is not there yet: no finished run on B-v0" in tables_of(half_finished())["aggregates"].caption


@pytest.mark.parametrize("key", ["scores", "pace", "aggregates"])
def test_captions_say_how_many_seeds_there_are(key):
    assert "1 to 2 seeds" in tables_of(both_everywhere())[key].caption


def test_the_caption_knows_how_many_evaluations_there_are():
    assert "last 5 evaluations" in tables_of(half_finished())["scores"].caption
    results = [make_run("base", "A-v0", 0, [1, 2])]
    assert "last 2 evaluations" in tables_of(results, steps=2000)["scores"].caption


def test_an_empty_study_has_a_table_of_what_is_to_come():
    assert list(tables_of([])) == ["runs"]


def test_a_diverged_run_is_shown():
    results = [*half_finished()[:3], make_run("new", "A-v0", 0, [0, 1, float("nan"), 1, 1, 1])]
    assert rows_of(tables_of(results)["scores"])["A-v0", "New"] == ("1", "nan", "nan", "nan", "nan")


def test_negative_numbers_have_a_minus_sign():
    results = [make_run("base", "A-v0", 0, [-1234.4] * 6)]
    assert rows_of(tables_of(results)["scores"])["A-v0", "Base"][1] == f"{MINUS}1234"


NASTY = Table("key", "50 % & more", "A\ncaption_1", ("a|b", "x_y"), [("<i>", "1 ± 2 \\ $x^2$"), ("~", f"[{MINUS}1, #]")])


def test_markdown_has_one_line_per_row():
    lines = NASTY.markdown().splitlines()
    assert lines == [
        "**50 % & more.** A caption\\_1",
        "",
        r"| a\|b | x\_y |",
        "|---|---:|",
        r"| \<i> | 1 ± 2 \\ $x^2$ |",
        f"| ~ | [{MINUS}1, #] |",
    ]


def test_latex_is_escaped():
    latex = NASTY.latex()
    assert r"\caption{50 \% \& more. A caption\_1}" in latex
    assert r"\textless{}i\textgreater{} & 1 $\pm$ 2 \textbackslash{} \$x\textasciicircum{}2\$ \\" in latex
    assert r"\textasciitilde{} & {[}$-$1, \#{]} \\" in latex
    assert latex.isascii()


def test_latex_rules_off_each_environment():
    latex = tables_of(both_everywhere())["scores"].latex()
    assert latex.count(r"\midrule") == 2
    assert r"\begin{tabular}{llrrrrr}" in latex
    assert all(line.count(" & ") == 6 for line in latex.splitlines() if line.endswith(r"\\"))
