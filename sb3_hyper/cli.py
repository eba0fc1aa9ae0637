"""The command ``sb3-hyper``."""

import argparse
import dataclasses
import importlib
import re
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sb3_hyper.experiments import diagnose, update_noise
from sb3_hyper.experiments.cluster import RayEngine
from sb3_hyper.experiments.local import LocalEngine
from sb3_hyper.experiments.preflight import check_study, untrained
from sb3_hyper.experiments.report import make_report, variant_settings
from sb3_hyper.experiments.results import RunResult, merge_rows, read_results, results_of, same_runs
from sb3_hyper.experiments.studies import Run, Study, StudyError
from sb3_hyper.experiments.study_files import load_study, study_names
from sb3_hyper.experiments.study_runs import StudyRuns
from sb3_hyper.experiments.study_tables import study_tables
from sb3_hyper.experiments.workspace import State, Workspace

UNFINISHED = 3  # exit status when runs are left that the same command would go on with
UNITS = {"s": 1, "m": 60, "h": 3600}


def seconds(text: str) -> float:
    """
    :param text: A duration such as ``90m``, ``2h`` or ``45s``.
    :return: Seconds.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"a duration such as 45s, 90m or 2h is expected, got {text!r}")
    return float(match[1]) * UNITS[match[2]]


def positive(text: str) -> int:
    """
    :param text: A positive integer.
    :return: The integer.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a positive integer is expected, got {text!r}")
    return int(text)


def workspace_of(args: argparse.Namespace) -> Workspace:
    """
    :param args: The command line.
    :return: The files of the study it names.
    """
    study = load_study(args.name)
    # absolute: the workers of a cluster start elsewhere
    return Workspace(study, args.folder.resolve() / study.name, results_file(args, study))


def results_file(args: argparse.Namespace, study: Study) -> Path:
    """
    :param args: The command line.
    :param study: A study.
    :return: The CSV file of its results.
    """
    return (args.results or args.folder).resolve() / f"{study.name}.csv"


def list_studies(args: argparse.Namespace, console: Console) -> int:
    """Show the studies of this package."""
    table = Table("study", "runs", "steps", "title")
    for name in study_names():
        study = load_study(name)
        table.add_row(name, str(len(list(study.runs()))), f"{study.steps:,}", escape(study.title))
    console.print(table)
    return 0


def show_study(args: argparse.Namespace, console: Console) -> int:
    """Show what a study consists of."""
    study = load_study(args.name)
    console.print(f"[bold]{escape(study.title)}[/]\n{escape(study.description)}")
    console.print(f"{', '.join(study.environments)}; seeds 0 to {study.seeds - 1}; {study.steps:,} steps")
    console.print("Settings: all of the baseline's; of the others what differs from them. Runs of priority 1 come first.")
    names = {variant.label: name for name, variant in study.variants.items()}
    for label, environments, settings in variant_settings(study):
        name = names[label]
        notes = ["baseline"] * (name == study.baseline) + [f"priority {study.variants[name].priority}"]
        notes += [f"on {environments}"] * bool(environments)
        console.print(f"\n[bold]{name}[/] ({', '.join(notes)}): {escape(label)}", soft_wrap=True)
        for key, value in settings:
            console.print(escape(f"  {key}: {value}"), soft_wrap=True)
    return 0


def run_study(args: argparse.Namespace, console: Console) -> int:
    """Carry out what is left of a study."""
    workspace = workspace_of(args)
    workspace = dataclasses.replace(workspace, study=workspace.study.only(args.variants, args.environments, args.seeds))
    if args.retry_failed:
        for run in workspace.study.runs():
            workspace.forgive(run)

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    check_study(workspace.study)
    if idle := untrained(workspace.study):
        console.print(
            f"Nothing is trained in these runs, whose learning_starts is not before the last step: {', '.join(idle)}"
        )
    engine: LocalEngine | RayEngine
    if args.engine == "ray":
        engine = RayEngine(workspace, args.workers, args.time_limit, args.gpus, console)
    else:
        engine = LocalEngine(workspace, args.workers or 1, args.time_limit, console)
    signal.signal(signal.SIGTERM, stop)  # after Ray has set its own
    try:
        done = engine.run()
    except KeyboardInterrupt:
        console.print("Interrupted: the same command goes on")
        return 130
    states = status_of(workspace, console)
    if done:
        return 0
    left = {"pending", "interrupted", "running"} & set(states.values())
    if left:
        console.print("Not all runs are done: the same command goes on")
    if any(state == "failed" and not workspace.is_complete(run) for run, state in states.items()):
        console.print("When the cause of a failure is mended, --retry-failed tries the run again")
    return UNFINISHED if left else 1


def show_status(args: argparse.Namespace, console: Console) -> int:
    """Show how far a study is."""
    workspace = workspace_of(args)
    workspace.collect()
    status_of(workspace, console)
    return 0


def status_of(workspace: Workspace, console: Console) -> dict[Run, State]:
    """
    Print how far a study is.

    :param workspace: Its files.
    :param console: Where to.
    :return: The state of each run.
    """
    states = workspace.states()
    done = Counter((run.variant, run.environment) for run, state in states.items() if state == "done")
    table = Table("variant", *workspace.study.environments, title=f"{escape(workspace.study.title)}: seeds done")
    for variant in workspace.study.variants:
        table.add_row(variant, *(str(done[variant, environment]) for environment in workspace.study.environments))
    console.print(table)
    console.print(", ".join(f"{number} {state}" for state, number in Counter(states.values()).items()))
    for run, state in states.items():
        if state == "failed":
            reason = escape(f"{workspace.failure(run)} (log: {workspace.log_path(run)})")
            console.print(f"[red]failed[/] {run.label}: {reason}")
    console.print(f"Results: {workspace.results}")
    return states


def report_study(args: argparse.Namespace, console: Console) -> int:
    """Turn what is there into a page."""
    workspace = workspace_of(args)
    workspace.collect()
    results = workspace.results_so_far()
    if not results:
        raise StudyError(
            f"There is nothing to report: no run of {workspace.study.name} has results in {workspace.results}. Those that "
            "come with this repository: --results benchmarks/results"
        )
    finished = workspace.finished()
    failed = [run.label for run in workspace.study.runs() if run.key not in finished and workspace.failure(run) is not None]
    if failed:
        print(f"Failed, and in no table of scores: {', '.join(failed)}", file=sys.stderr)
    if args.format != "html":
        print("\n".join(getattr(table, args.format)() for table in study_tables(StudyRuns(workspace.study, results))))
        return 0
    output = args.output or workspace.folder / "report.html"
    make_report(workspace.study, results, output, failed=failed)
    console.print(f"Report: {output}")
    return 0


def merge_results(args: argparse.Namespace, console: Console) -> int:
    """Bring rows from other machines in."""
    study: Study = load_study(args.name)
    target = results_file(args, study)
    results_of(study, target)  # what is there must fit, too
    results = {}
    for path in args.files:
        try:
            results[path] = whole_runs(study, path)
        except (OSError, ValueError) as error:
            raise StudyError(f"{error}: nothing was merged") from error
    for path, runs in results.items():
        rows = [row for run in runs for row in run.rows()]
        console.print(f"{path}: {merge_rows(target, rows)} new rows of {len(rows)}")
    return 0


def whole_runs(study: Study, path: Path) -> list[RunResult]:
    """
    :param study: A study.
    :param path: A CSV file of results.
    :return: The study's runs in it, and those of this package's other studies that are the same ones.
    :raises StudyError: If it holds none, or runs that the study does not have, of another definition or without their end.
    """
    if not path.is_file():
        raise StudyError(f"There is no file {path}")
    runs = results_of(study, path)
    known, there = {run.key for run in study.runs()}, read_results(path)
    for run in there:
        if run.study == study.name and run.key not in known:
            raise StudyError(f"{path} holds {', '.join(run.key)}, which is no run of the study")
    runs += same_runs(study, there)
    if not runs:
        names = ", ".join(sorted({run.study for run in there})) or "no study"
        raise StudyError(f"{path} holds results of {names}, none of {study.name}")
    for run in runs:
        if not study.is_whole(run.algorithm, run.steps):
            raise StudyError(f"{path} holds {', '.join(run.key)} without its last evaluations")
    return runs


def make_parser() -> argparse.ArgumentParser:
    """
    :return: The parser of the command line.
    """
    parser = argparse.ArgumentParser(prog="sb3-hyper", description="Hypernetworks for Stable-Baselines3")
    topics = parser.add_subparsers(required=True, metavar="study|diagnose|update-noise")
    for name, module, meaning in (
        ("diagnose", diagnose, "is a saved model's action gradient right?"),
        ("update-noise", update_noise, "how much chance is in an update of MAML?"),
    ):
        own = topics.add_parser(name, help=meaning)
        module.add_arguments(own)
        own.add_argument("--gym-packages", nargs="+", default=[], help="modules that register environments or critics")
    study = topics.add_parser("study", help="studies: many runs, one table")
    commands = study.add_subparsers(required=True, metavar="list|show|run|status|report|merge")

    commands.add_parser("list", help="the studies of this package").set_defaults(function=list_studies)
    show = commands.add_parser("show", help="what a study consists of")
    run = commands.add_parser("run", help="carry out what is left of a study")
    status = commands.add_parser("status", help="how far a study is")
    report = commands.add_parser("report", help="tables and figures of what is there")
    merge = commands.add_parser("merge", help="bring in results from another machine, or study")
    functions = {show: show_study, run: run_study, status: show_status, report: report_study, merge: merge_results}
    for command, function in functions.items():
        command.set_defaults(function=function)
        command.add_argument("name", help="a study of this package, or a YAML file")
        command.add_argument("--folder", type=Path, default=Path("logs/studies"), help="runs lie below (default: %(default)s)")
        command.add_argument(
            "--results", type=Path, help="folder of the CSV files that keep the results (default: that of --folder)"
        )
    run.add_argument("--workers", type=positive, help="runs at a time (default: 1; with Ray as many as there are processors)")
    run.add_argument("--time-limit", type=seconds, help="stop after 45s, 90m, 2h ...; what was interrupted can go on")
    run.add_argument("--variants", nargs="+", help="only these variants")
    run.add_argument("--environments", nargs="+", help="only these environments")
    run.add_argument("--seeds", type=positive, help="only the first so many seeds")
    run.add_argument(
        "--engine", choices=["local", "ray"], default="local", help="processes here, or a Ray cluster (default: %(default)s)"
    )
    run.add_argument("--gpus", type=float, default=0, help="GPUs per run, e.g. 0.25 (Ray only; default: %(default)s)")
    run.add_argument("--retry-failed", action="store_true", help="try runs again that failed before")
    report.add_argument("--output", type=Path, help="the HTML file (default: report.html in the study's folder)")
    report.add_argument(
        "--format",
        choices=["html", "markdown", "latex"],
        default="html",
        help="a file, or printed tables (default: %(default)s)",
    )
    merge.add_argument("files", type=Path, nargs="+", help="CSV files of results")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.

    :param arguments: The command line; that of the process by default.
    :return: Exit status.
    """
    args = make_parser().parse_args(arguments)
    try:
        for package in getattr(args, "gym_packages", ()):
            importlib.import_module(package)
        return args.function(args, Console())
    except (ValueError, ImportError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
