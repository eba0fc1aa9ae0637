import io
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from PIL import Image

from sb3_hyper.experiments import study_plots
from sb3_hyper.experiments.study_runs import StudyRuns
from tests.experiments.fake_runs import RANDOM, both_everywhere, half_finished, make_run, make_study

MANY = {name: {"label": name, "hyperparams": {"policy": "MlpPolicy"}} for name in ["base", *"abcdefghij"]}


def runs_of(results, **changes):
    return StudyRuns(make_study(**changes), results, RANDOM)


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def panels(figure):
    return [axes for axes in figure.axes if axes.get_visible()]


def band(axes, index):
    return axes.collections[index].get_paths()


def draw(figure):
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return np.asarray(Image.open(file).convert("RGBA"))


def test_one_panel_per_environment_with_the_mean_over_seeds():
    figure = study_plots.learning_curves(runs_of(half_finished()), ["base", "new"])
    a, b = panels(figure)
    assert [axes.get_title(loc="left") for axes in (a, b)] == ["A-v0", "B-v0"]
    np.testing.assert_array_equal(a.lines[0].get_xdata(), np.arange(1, 7) * 1000)
    np.testing.assert_array_equal(a.lines[0].get_ydata(), [5, 15, 25, 35, 45, 55])
    np.testing.assert_array_equal(a.lines[1].get_ydata(), [0, 30, 60, 60, 60, 60])


def test_a_curve_ends_with_its_run():
    _, b = panels(study_plots.learning_curves(runs_of(half_finished()), ["base", "new"]))
    np.testing.assert_array_equal(b.lines[1].get_xdata(), [1000, 2000])


def test_bands_need_two_seeds():
    a, b = panels(study_plots.learning_curves(runs_of(half_finished()), ["base", "new"]))
    corners = np.concatenate([path.vertices for path in band(a, 0)])
    assert corners[:, 1].min() == 0  # two seeds, 10 apart: the interval goes from one to the other
    assert corners[:, 1].max() == 60
    assert sum(len(path.vertices) for path in band(a, 1)) == 0
    assert sum(len(path.vertices) for path in band(b, 0)) == 0


def test_the_legend_tells_seeds_and_what_is_unfinished():
    runs = runs_of(half_finished())
    assert legend(study_plots.learning_curves(runs, ["base", "new"])) == ["Base (1 to 2 seeds)", "New (1 seed, unfinished)"]


def test_time_ends_where_the_fastest_run_ends():
    results = [make_run("base", "A-v0", 0, range(6), seconds=60), make_run("base", "A-v0", 1, range(6), seconds=120)]
    figure = study_plots.learning_curves(runs_of(results), ["base"], against="time")
    (axes,) = panels(figure)
    x, y = axes.lines[0].get_data()
    assert figure.get_supxlabel() == "Processor time (minutes)"
    assert (x[0], x[-1]) == pytest.approx((1.6, 4.8))  # the slow run's first evaluation, the fast run's last one
    assert y[-1] == pytest.approx((5 + 2) / 2)


def test_times_of_other_processors_are_not_drawn():
    results = [make_run("base", "A-v0", 0, range(6)), make_run("base", "A-v0", 1, range(6), seconds=99, processor="slow")]
    results += [make_run("new", "B-v0", 0, range(6), processor="slow")]
    figure = study_plots.learning_curves(runs_of([*results, make_run("base", "A-v0", 2, range(6))]), ["base", "new"], "time")
    assert [axes.get_title(loc="left") for axes in panels(figure)] == ["A-v0"]
    assert legend(figure) == ["Base (2 seeds)"]


@pytest.mark.parametrize(("seconds", "unit"), [(1, "seconds"), (60, "minutes"), (3600, "hours")])
def test_time_has_a_unit_that_suits_it(seconds, unit):
    runs = runs_of([make_run("base", "A-v0", 0, range(6), seconds=seconds)])
    assert unit in study_plots.learning_curves(runs, ["base"], against="time").get_supxlabel()


def test_runs_that_never_meet_in_time_draw_nothing():
    results = [make_run("base", "A-v0", 0, [1], seconds=1.0), make_run("base", "A-v0", 1, [1], seconds=9.0)]
    (axes,) = panels(study_plots.learning_curves(runs_of(results), ["base"], against="time"))
    assert len(axes.lines) == 0


def test_sample_efficiency_is_the_interquartile_mean_of_all_runs():
    axes = study_plots.sample_efficiency(runs_of(both_everywhere()), ["base", "new"]).axes[0]
    # at the end: 50 / 35 and 60 / 35, a quarter each, and 1, one half; 60 / 35 and 2
    base, new = (line.get_ydata()[-1] for line in axes.lines[1:])
    assert base == pytest.approx((50 / 35 + 1) / 2)
    assert new == pytest.approx((60 / 35 + 2) / 2)


def test_a_profile_falls_from_all_runs_to_none():
    axes = study_plots.profile(runs_of(both_everywhere()), ["base", "new"]).axes[0]
    thresholds, shares = axes.lines[0].get_data()
    assert thresholds[0] == 0
    assert shares[0] == 1
    assert shares[-1] == 0
    # 30 / 35 < 0.95 < 40 / 35 in the one environment, 0.95 < 1 in the other
    assert np.interp(0.95, thresholds, shares) == pytest.approx(3 / 4)


def test_improvement_has_one_row_per_variant():
    axes = study_plots.improvement(runs_of(both_everywhere()), ["new"]).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["New (1 seed)"]
    assert axes.lines[-1].get_xdata() == 1


def test_a_variants_look_does_not_depend_on_what_has_been_run():
    figures = [
        study_plots.learning_curves(runs_of(results), variants)
        for results, variants in ((both_everywhere(), ["base", "new"]), (half_finished()[3:], ["new"]))
    ]
    first, second = (figure.axes[0].lines[-1].get_color() for figure in figures)
    assert first == second


def test_variants_in_one_figure_differ():
    runs = runs_of([], variants=MANY)
    looks = study_plots.styles(runs)
    figures = study_plots.groups(runs, list(MANY))
    assert [len(figure) for figure in figures] == [6, 6]
    for figure in figures:
        assert figure[0] == "base"
        assert len({looks[variant]["color"] for variant in figure}) == 6


@pytest.mark.parametrize(
    ("present", "figures"),
    [([], [[]]), (["base"], [["base"]]), (["j", "base"], [["base", "j"]]), (["a", "j"], [["a"], ["j"]])],
)
def test_figures_hold_only_what_is_there(present, figures):
    assert study_plots.groups(runs_of([], variants=MANY), present) == figures


def test_colours_stand_out_from_white_and_from_black():
    """WCAG's contrast ratio for graphics, 3 : 1."""
    for colour, _ in study_plots.PALETTE:
        channels = np.array(matplotlib.colors.to_rgb(colour))
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        luminance = linear @ [0.2126, 0.7152, 0.0722]
        assert 1.05 / (luminance + 0.05) > 3
        assert (luminance + 0.05) / 0.05 > 3


def test_any_label_can_be_drawn():
    labels = {"base": r"$\frac{", "new": "costs $5 and $6\nor <less> & more"}
    variants = {name: {"label": label, "hyperparams": {"policy": "MlpPolicy"}} for name, label in labels.items()}
    runs = runs_of(both_everywhere(), variants=variants)
    for figure in (study_plots.learning_curves(runs, ["base", "new"]), study_plots.improvement(runs, ["new"])):
        assert (draw(figure)[..., 3] > 0).mean() > 0.01


def test_many_environments_get_rows_of_three():
    names = [f"E{index}-v0" for index in range(5)]
    runs = runs_of([make_run("base", name, 0, range(6)) for name in names], environments=names)
    figure = study_plots.learning_curves(runs, ["base"])
    assert len(panels(figure)) == 5
    assert len(figure.axes) == 6


def test_nothing_global_is_touched(tmp_path):
    code = (
        "import sys, matplotlib\n"
        # looking at the backend would import pyplot
        "def settings(): return {key: matplotlib.rcParams[key] for key in matplotlib.rcParams if key != 'backend'}\n"
        "before = settings()\n"
        "from sb3_hyper.experiments import report\n"
        "from tests.experiments.fake_runs import both_everywhere, make_study, RANDOM\n"
        "report.make_report(make_study(), both_everywhere(), sys.argv[1], RANDOM)\n"
        "assert settings() == before\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "report.html"], check=True)
