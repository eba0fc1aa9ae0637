"""The command ``sb3-hyper``."""

import argparse
import sys

import numpy as np
import pytest
import yaml

import sb3_hyper
from sb3_hyper import __main__, cli
from sb3_hyper.experiments.results import RunResult, merge_rows, read_rows
from sb3_hyper.experiments.study_files import load_study

STUDY = {
    "title": "A study",
    "environments": ["Pendulum-v1"],
    "seeds": 2,
    "steps": 200,
    "eval_freq": 100,
    "eval_episodes": 2,
    "baseline": "mlp",
    "variants": {"mlp": {"file": "td3", "hyperparams": {"policy_kwargs": {"critic": "mlp"}}}},
}


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "toy.yml"
    path.write_text(yaml.safe_dump(STUDY))
    return path


def call(*arguments, folder):
    return cli.main(["study", *map(str, arguments), "--folder", str(folder / "runs"), "--results", str(folder / "results")])


def rows_of(path, definition=None):
    steps = np.array([100, 200])
    for run in load_study(str(path)).runs():
        result = RunResult(*run.key[:2], run.algo, run.environment, run.seed, steps, np.ones((2, 2)), steps, steps)
        yield from [row | {"definition": definition or run.definition} for row in result.rows()]


def workspace_of(path, folder):
    return cli.workspace_of(argparse.Namespace(name=str(path), folder=folder / "runs", results=folder / "results"))


def fail(workspace, runs):
    for run in runs:
        workspace.prepare(run)
        workspace.log_path(run).write_text("a\nValueError: it broke")
        workspace.note_failure(run, 1)


def test_without_its_libraries_the_command_says_what_to_install(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "sb3_hyper.cli", raising=False)
    monkeypatch.delattr(sb3_hyper, "cli", raising=False)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert __main__.main() == 2
    assert capsys.readouterr().err == ('sb3-hyper needs rich.console, which is not installed: pip install "sb3_hyper[zoo]"\n')


def test_results_lie_beside_the_runs_unless_told_otherwise(tmp_path):
    args = cli.make_parser().parse_args(["study", "status", "smoke", "--folder", str(tmp_path)])
    workspace = cli.workspace_of(args)
    assert (workspace.folder, workspace.results) == (tmp_path / "smoke", tmp_path / "smoke.csv")
    args = cli.make_parser().parse_args(["study", "status", "smoke", "--results", str(tmp_path / "results")])
    assert cli.workspace_of(args).results == tmp_path / "results" / "smoke.csv"


def test_the_studies_of_the_package_are_listed(capsys):
    assert cli.main(["study", "list"]) == 0
    assert "critics-100k" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["show", "status"])
def test_a_study_without_runs(study, tmp_path, capsys, command):
    assert call(command, study, folder=tmp_path) == 0
    expected = {"show": "seeds 0 to 1; 200 steps", "status": "2 pending"}[command]
    assert expected in capsys.readouterr().out.replace("\n", "")


def test_merging_twice_is_merging_once(study, tmp_path, capsys):
    other = tmp_path / "other.csv"
    merge_rows(other, rows_of(study))
    for new in (4, 0):
        assert call("merge", study, other, folder=tmp_path) == 0
        assert f"{new} new rows of 4" in capsys.readouterr().out.replace("\n", "")
    assert read_rows(tmp_path / "results" / "toy.csv") == read_rows(other)
    assert call("run", study, folder=tmp_path) == 0  # nothing is left to do
    assert call("report", study, "--format", "markdown", folder=tmp_path) == 0
    assert "| mlp | 2 of 2 |" in capsys.readouterr().out


def test_rows_of_another_definition_are_not_merged(study, tmp_path, capsys):
    other = tmp_path / "other.csv"
    merge_rows(other, rows_of(study, definition="0" * 8))
    assert call("merge", study, other, folder=tmp_path) == 2
    said = capsys.readouterr().err
    assert "of another definition of the study" in said
    assert "nothing was merged" in said
    assert not (tmp_path / "results" / "toy.csv").exists()


def test_nothing_is_merged_into_rows_of_another_definition(study, tmp_path, capsys):
    target = tmp_path / "results" / "toy.csv"
    merge_rows(target, [row for row in rows_of(study, definition="0" * 8) if row["step"] == "100"])
    before = target.read_text()
    merge_rows(tmp_path / "other.csv", rows_of(study))
    assert call("merge", study, tmp_path / "other.csv", folder=tmp_path) == 2
    assert f"{target} holds toy, mlp, Pendulum-v1, 0 of another definition" in capsys.readouterr().err.replace("\n", "")
    assert target.read_text() == before


def test_runs_that_the_study_does_not_have_are_not_merged(study, tmp_path, capsys):
    rows = list(rows_of(study))
    merge_rows(tmp_path / "other.csv", [*rows, rows[0] | {"variant": "slim"}])
    assert call("merge", study, tmp_path / "other.csv", folder=tmp_path) == 2
    assert "slim, Pendulum-v1, 0, which is no run of the study: nothing was merged" in capsys.readouterr().err
    assert not (tmp_path / "results" / "toy.csv").exists()


def test_rows_of_other_studies_are_not_merged_and_named(study, tmp_path, capsys):
    merge_rows(tmp_path / "other.csv", [row | {"study": "other"} for row in rows_of(study)])
    assert call("merge", study, tmp_path / "other.csv", folder=tmp_path) == 2
    assert "other.csv holds results of other, none of toy: nothing was merged" in capsys.readouterr().err


def test_where_there_is_nothing_to_report_it_is_said(study, tmp_path, capsys):
    assert call("report", study, folder=tmp_path) == 2
    assert f"no run of toy has results in {tmp_path / 'results' / 'toy.csv'}" in capsys.readouterr().err
    assert not (tmp_path / "runs" / "toy" / "report.html").exists()


def test_a_report_names_the_runs_that_failed(study, tmp_path, capsys):
    merge_rows(tmp_path / "results" / "toy.csv", [row for row in rows_of(study) if row["seed"] == "0"])
    workspace = workspace_of(study, tmp_path)
    failed = [run for run in workspace.study.runs() if run.seed == 1]
    fail(workspace, failed)
    for output in ("markdown", "html"):
        assert call("report", study, "--format", output, folder=tmp_path) == 0
        assert capsys.readouterr().err == "Failed, and in no table of scores: mlp/Pendulum-v1/seed-1\n"
    page = (tmp_path / "runs" / "toy" / "report.html").read_text()
    assert "Failed, and in no table of scores: mlp/Pendulum-v1/seed-1." in page
    workspace.forgive(failed[0])
    assert call("report", study, folder=tmp_path) == 0
    assert capsys.readouterr().err == ""
    assert "Failed" not in (tmp_path / "runs" / "toy" / "report.html").read_text()


def test_of_files_that_do_not_all_fit_none_is_merged(study, tmp_path, capsys):
    whole, part = tmp_path / "whole.csv", tmp_path / "part.csv"
    rows = list(rows_of(study))
    merge_rows(whole, rows[:2])
    merge_rows(part, rows[2:3])
    assert call("merge", study, whole, part, folder=tmp_path) == 2
    assert "mlp, Pendulum-v1, 1 without its last evaluations: nothing was merged" in capsys.readouterr().err
    assert not (tmp_path / "results" / "toy.csv").exists()


def test_a_study_shows_every_setting_whole(study, tmp_path, capsys):
    changes = {"policy_kwargs": {"network_kwargs": {"dynamic_layer_norm": True, "dynamic_widths": [64, 64, 64, 64, 64, 64]}}}
    variants = STUDY["variants"] | {"other": {"file": "td3", "priority": 2, "hyperparams": changes}}
    study.write_text(yaml.safe_dump(STUDY | {"variants": variants}))
    assert call("show", study, folder=tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "mlp (baseline, priority 1): mlp" in lines
    assert "other (priority 2): other" in lines
    assert "  policy_kwargs.network_kwargs.dynamic_widths: [64, 64, 64, 64, 64, 64]" in lines


def test_wrong_use_ends_with_2_and_says_why(study, tmp_path, capsys):
    assert call("status", "nothing", folder=tmp_path) == 2
    assert "There is no study 'nothing'. Known: " in capsys.readouterr().err
    assert call("merge", study, tmp_path / "none.csv", folder=tmp_path) == 2
    assert "There is no file" in capsys.readouterr().err
    assert cli.main(["study", "run", str(study), "--folder", str(study)]) == 2
    assert str(study) in capsys.readouterr().err
    study.write_text(yaml.safe_dump(STUDY | {"environments": ["Nowhere-v0"]}))
    assert call("run", study, folder=tmp_path) == 2
    assert "'Nowhere-v0' is not registered with gymnasium" in capsys.readouterr().err
    for arguments in (["--workers", "0"], ["--time-limit", "soon"], ["--engine", "cloud"]):
        with pytest.raises(SystemExit, match="2"):
            call("run", study, *arguments, folder=tmp_path)


def test_a_part_of_a_study_is_run(study, tmp_path, capsys, monkeypatch):
    asked = []
    monkeypatch.setattr(cli.LocalEngine, "run", lambda self: asked.extend(self.workspace.study.runs()))
    call("run", study, "--variants", "mlp", "--environments", "Pendulum-v1", "--seeds", "1", folder=tmp_path)
    assert [run.label for run in asked] == ["mlp/Pendulum-v1/seed-0"]
    assert call("run", study, "--variants", "slim", folder=tmp_path) == 2
    assert "variants: slim is not one of mlp" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "number"), [("45s", 45), ("90m", 5400), ("1.5h", 5400)])
def test_durations(text, number):
    assert cli.seconds(text) == number
    with pytest.raises(argparse.ArgumentTypeError, match="a duration such as 45s"):
        cli.seconds("45")


def test_a_failed_run_is_shown_and_can_be_retried(study, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cli.LocalEngine, "run", lambda self: False)
    workspace = workspace_of(study, tmp_path)
    fail(workspace, workspace.study.runs())
    assert call("run", study, folder=tmp_path) == 1
    assert "ValueError: it broke" in capsys.readouterr().out
    assert call("run", study, "--retry-failed", folder=tmp_path) == cli.UNFINISHED
    assert set(workspace.states().values()) == {"pending"}


def test_an_interruption_ends_with_130(study, tmp_path, monkeypatch, capsys):
    def interrupted(engine):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.LocalEngine, "run", interrupted)
    assert call("run", study, folder=tmp_path) == 130
    assert "the same command goes on" in capsys.readouterr().out
