"""The study runner, on real processes."""

import dataclasses
import io
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml
from filelock import FileLock
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sb3_hyper.cli import UNFINISHED
from sb3_hyper.common.files import write_json
from sb3_hyper.experiments import run_process
from sb3_hyper.experiments.checkpoints import BUSY, INTERRUPTED
from sb3_hyper.experiments.cluster import RayEngine
from sb3_hyper.experiments.local import LocalEngine
from sb3_hyper.experiments.results import RunResult, merge_rows, read_rows
from sb3_hyper.experiments.run_process import RunFailed, carry_out, command, is_failure
from sb3_hyper.experiments.studies import StudyError
from sb3_hyper.experiments.study_files import load_study
from sb3_hyper.experiments.workspace import Workspace

TINY = {"widths": [16], "dynamic_widths": [8]}
HYPERPARAMS = {"learning_starts": 300, "batch_size": 16, "policy_kwargs": {"net_arch": [16], "network_kwargs": TINY}}
STUDY = {
    "title": "A study of seconds",
    "environments": ["Pendulum-v1"],
    "seeds": 1,
    "steps": 1600,
    "eval_freq": 200,
    "eval_episodes": 2,
    "baseline": "sa_hyper",
    "variants": {
        "sa_hyper": {"file": "td3", "hyperparams": HYPERPARAMS},
        "sac": {"algo": "sac", "file": "sac", "hyperparams": HYPERPARAMS},
    },
}
LONGER = {"title": "A study to interrupt", "steps": 3600}
BROKEN = {"file": "td3", "hyperparams": {"policy_kwargs": {"critic": "none"}}}
RUNNER = "import sys; from sb3_hyper.cli import main; sys.exit(main())"


def make_workspace(folder, **changes):
    folder.mkdir(exist_ok=True)
    path = folder / "tiny.yml"
    path.write_text(yaml.safe_dump(STUDY | changes))
    return Workspace(load_study(str(path)), folder / "runs" / "tiny", folder / "results" / "tiny.csv")


def run_local(workspace, **kwargs):
    return LocalEngine(workspace, console=Console(quiet=True), **kwargs).run()


def training_log(workspace, run, scalar):
    """Steps at which TensorBoard shows a scalar, logged by all the processes that worked on the run."""
    (folder,) = {path.parent for path in workspace.run_folder(run).rglob("events.out.tfevents.*")}
    return [event.step for event in EventAccumulator(str(folder), {"scalars": 0}).Reload().Scalars(scalar)]


def without_clock(rows):
    return [{key: value for key, value in row.items() if not key.endswith("seconds")} for row in rows]


def rows_to_compare_with(tmp_path_factory, name, **changes):
    """Rows of runs that nothing interrupts, made by the first of pytest's processes that needs them."""
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / name
    with FileLock(f"{folder}.lock"):
        workspace = make_workspace(folder, **changes)
        assert run_local(workspace, workers=2)
    return without_clock(read_rows(workspace.results))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return rows_to_compare_with(tmp_path_factory, "whole")


@pytest.mark.slow
def test_every_run_ends_in_rows(uninterrupted):
    keys = [(row["variant"], row["seed"], int(row["step"])) for row in uninterrupted]
    assert keys == [(variant, "0", step) for variant in ("sa_hyper", "sac") for step in range(200, 1601, 200)]
    assert all(row["return_0"] and row["return_1"] and row["versions"].startswith("python-3") for row in uninterrupted)


META = {
    "environments": ["PointGoal-v0"],
    "steps": 480,
    "eval_freq": 60,
    "baseline": "maml",
    "variants": {
        "maml": {
            "algo": "maml",
            "hyperparams": {"policy": "MlpPolicy", "n_envs": 2, "n_train_tasks": 3, "n_test_tasks": 2, "meta_batch_size": 2}
            | {"n_episodes": 2, "policy_kwargs": {"net_arch": [8]}},
        }
    },
}


@pytest.mark.slow
def test_a_meta_learner_ends_in_one_row_per_evaluation(tmp_path):
    workspace = make_workspace(tmp_path, **META)
    assert run_local(workspace)
    assert [int(row["step"]) for row in read_rows(workspace.results)] == [160, 320, 480]
    assert workspace.finished() == {run.key for run in workspace.study.runs()}  # though there is none at 60
    assert training_log(workspace, next(iter(workspace.study.runs())), "train/loss") == [160, 320, 480]
    workspace = make_workspace(tmp_path / "uneven", **META | {"steps": 450})
    assert run_local(workspace)
    assert [int(row["step"]) for row in read_rows(workspace.results)] == [160, 320, 480]


def test_of_evaluations_at_one_step_the_last_counts(tmp_path):
    workspace = make_workspace(tmp_path)
    run = next(iter(workspace.study.runs()))
    evaluations = {"timesteps": [200, 400, 400, 1800], "results": [[1, 1], [2, 2], [3, 3], [4, 4]]}
    clocks = {"seconds": [1, 2, 3, 4], "cpu_seconds": [1, 2, 3, 4]}
    workspace.prepare(run)
    write_json(
        workspace.training_folder(run) / "progress.json",
        {"step": 1800, "evaluations": evaluations | clocks, "versions": "", "commit": "", "processor": ""},
    )
    result = workspace.result(run)
    assert result.steps.tolist() == [200, 400]
    assert result.returns.tolist() == [[1, 1], [3, 3]]
    assert result.seconds.tolist() == [1, 3]


@pytest.fixture(scope="module")
def longer_uninterrupted(tmp_path_factory):
    return rows_to_compare_with(tmp_path_factory, "longer", **LONGER)


def runner_command(folder, *arguments):
    command = [sys.executable, "-c", RUNNER, "study", "run", str(folder / "tiny.yml"), *arguments]
    return [*command, "--folder", str(folder / "runs"), "--results", str(folder / "results")]


def start_runner(folder, *arguments):
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(runner_command(folder, *arguments), start_new_session=True, **quiet)


def steps_of(workspace):
    return [(workspace.progress(run) or {"step": -1})["step"] for run in workspace.study.runs()]


def wait_until_training(workspace, runner):
    """Wait until all runs that are left have come further than where they start in this process."""
    before = steps_of(workspace)
    deadline = time.monotonic() + 90
    left = [index for index, run in enumerate(workspace.study.runs()) if not workspace.is_complete(run)]
    started = set()
    while len(started) < len(left):
        assert runner.poll() is None
        assert time.monotonic() < deadline
        for index, run in enumerate(workspace.study.runs()):
            step = steps_of(workspace)[index]
            if step != before[index]:
                # the first report is where it starts, the second one is training; a finished run is no longer there to hit
                started |= {index} if step > max(before[index], 0) or workspace.is_complete(run) else set()
                before[index] = step
        time.sleep(0.02)


@pytest.mark.slow
def test_kills_of_ten_processes_cost_no_row_and_change_none(longer_uninterrupted, tmp_path):
    workspace = make_workspace(tmp_path, **LONGER)
    rng = random.Random(0)
    for kill in range(5):  # of two runs each
        runner = start_runner(tmp_path, "--workers", "2")
        wait_until_training(workspace, runner)
        time.sleep(rng.uniform(0, 0.5))
        assert runner.poll() is None
        if kill % 2:
            os.kill(runner.pid, signal.SIGKILL)  # its runs live on a little longer
            time.sleep(rng.uniform(0, 0.5))
        os.killpg(runner.pid, signal.SIGKILL)
        runner.wait()
        while any(workspace.is_taken(run) for run in workspace.study.runs()):  # the runs are nobody's to wait for
            time.sleep(0.01)
    assert run_local(workspace, workers=2)
    assert without_clock(read_rows(workspace.results)) == longer_uninterrupted
    assert not list((tmp_path / "runs").rglob("checkpoint-*"))
    for run in workspace.study.runs():
        assert workspace.log_path(run).read_text().count("Going on at step") >= 3
        steps = training_log(workspace, run, "train/actor_loss")
        distances = np.diff([0, *steps, LONGER["steps"]])  # a log every four episodes
        assert distances.max() <= 1000  # no gap where processes took over
        assert distances[:-1].min() > 0  # and nothing twice


@pytest.mark.slow
def test_a_runner_that_is_asked_to_stop_leaves_nothing_running(tmp_path):
    workspace = make_workspace(tmp_path, **LONGER)
    runner = start_runner(tmp_path)
    while not any(workspace.is_taken(run) for run in workspace.study.runs()):
        assert runner.poll() is None
        time.sleep(0.1)
    runner.terminate()
    assert runner.wait(timeout=60) == 130
    assert not any(workspace.is_taken(run) for run in workspace.study.runs())
    assert "failed" not in workspace.states().values()


def test_an_earlier_failure_is_not_the_reason_of_a_kill(tmp_path, monkeypatch):
    workspace = make_workspace(tmp_path)
    run = next(workspace.study.runs())
    workspace.prepare(run)
    workspace.note_failure(run, 1, "ImportError: of another time")
    monkeypatch.setattr(run_process, "command", lambda run: [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])
    with pytest.raises(RunFailed, match=r"exit status -9$") as error:
        carry_out(workspace, run)
    assert error.value.failure is None
    assert workspace.states()[run] == "pending"


@pytest.mark.slow
def test_a_run_that_another_process_works_on_is_left_to_it(tmp_path):
    workspace = make_workspace(tmp_path)
    run = next(workspace.study.runs())
    workspace.prepare(run)
    folder = workspace.training_folder(run)
    folder.mkdir(parents=True)
    with FileLock(folder / "lock"):
        assert subprocess.run(command(run), cwd=workspace.run_folder(run), capture_output=True).returncode == BUSY
        assert carry_out(workspace, run) == []
        assert workspace.failure(run) is None
        assert workspace.states()[run] == "running"


def test_a_run_finds_modules_where_its_runner_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_process.sys, "path", [path for path in sys.path if path not in ("", str(tmp_path))])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["mine", "/theirs"]))
    assert run_process._python_path() == os.pathsep.join([str(tmp_path / "mine"), "/theirs"])
    monkeypatch.setattr(run_process.sys, "path", ["", *sys.path])
    monkeypatch.delenv("PYTHONPATH")
    assert run_process._python_path() == str(tmp_path)


@pytest.mark.slow
def test_algorithms_without_a_replay_buffer_run_too(tmp_path):
    ppo = {"algo": "ppo", "hyperparams": {"policy": "MlpPolicy", "n_steps": 100, "batch_size": 50, "n_envs": 2}}
    workspace = make_workspace(tmp_path, variants={"sa_hyper": ppo}, steps=700)
    assert run_local(workspace)
    # it goes on to 800, the end of its rollout: steps that the others do not have
    assert [int(row["step"]) for row in read_rows(workspace.results)] == [200, 400, 600]


def test_a_crash_is_a_failure_and_a_kill_is_none():
    assert all(is_failure(status) for status in (1, 2, -signal.SIGSEGV, -signal.SIGABRT))
    assert not any(is_failure(status) for status in (0, BUSY, INTERRUPTED, -signal.SIGKILL, -signal.SIGTERM))


def test_a_run_of_which_rows_are_missing_is_not_done(tmp_path):
    workspace = make_workspace(tmp_path)
    run = next(workspace.study.runs())
    steps = np.arange(200, 1601, 200)
    result = RunResult("tiny", "sa_hyper", "td3", "Pendulum-v1", 0, steps, np.ones((8, 2)), steps, steps, run.definition)
    merge_rows(workspace.results, result.rows()[-1:])
    assert workspace.finished() == set()
    merge_rows(workspace.results, result.rows())
    assert workspace.finished() == {run.key}


@pytest.mark.slow
def test_two_runners_share_the_work(uninterrupted, tmp_path):
    workspace = make_workspace(tmp_path)
    command = runner_command(tmp_path)
    runners = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)]
    outputs = [runner.communicate(timeout=300)[0] for runner in runners]
    # the one that ends first leaves what the other still works on to it
    assert sorted(runner.returncode for runner in runners) in ([0, 0], [0, UNFINISHED]), outputs
    assert without_clock(read_rows(workspace.results)) == uninterrupted
    log_of_each_run = [workspace.log_path(run).read_text() for run in workspace.study.runs()]
    assert all(log.count("Saving to") == 1 for log in log_of_each_run)


@pytest.mark.slow
def test_a_failure_is_shown_and_stops_nothing(tmp_path, capsys):
    workspace = make_workspace(tmp_path, variants={"broken": BROKEN, **STUDY["variants"]}, steps=400)
    assert not run_local(workspace, workers=2)
    states = {run.variant: state for run, state in workspace.states().items()}
    assert states == {"broken": "failed", "sa_hyper": "done", "sac": "done"}
    broken = next(run for run in workspace.study.runs() if run.variant == "broken")
    assert "Unknown critic 'none'" in workspace.failure(broken)
    started = workspace.log_path(broken).stat().st_mtime
    assert not run_local(workspace)
    assert workspace.log_path(broken).stat().st_mtime == started  # it was not tried again
    workspace.forgive(broken)
    assert workspace.states()[broken] == "pending"


@pytest.mark.slow
def test_a_run_that_ends_before_its_last_evaluation_has_failed(tmp_path):
    stop = {"stable_baselines3.common.callbacks.StopTrainingOnMaxEpisodes": {"max_episodes": 2}}
    variant = {"file": "td3", "hyperparams": HYPERPARAMS | {"callback": [stop]}}
    workspace = make_workspace(tmp_path, variants={"sa_hyper": variant}, steps=600)
    (run,) = workspace.study.runs()
    for _ in range(2):  # it is not started again
        assert not run_local(workspace)
        assert workspace.states()[run] == "failed"
        assert workspace.failure(run).startswith("it ended at step 400 of 600, before its last")
        assert workspace.log_path(run).read_text().count("Ended at step 400 of 600") == 1
    assert not workspace.results.exists()
    with pytest.raises(RuntimeError, match="ended at step 400"):
        carry_out(workspace, run)


@pytest.mark.slow
def test_the_time_limit_interrupts_and_the_same_call_goes_on(longer_uninterrupted, tmp_path):
    workspace = make_workspace(tmp_path, **LONGER)
    limit = 4.0
    while max(steps_of(workspace)) < 600:  # until it falls into the training
        limit *= 1.5
        start = time.monotonic()
        assert not run_local(workspace, workers=2, time_limit=limit)
        assert time.monotonic() - start < limit + 20
        assert not any(workspace.is_taken(run) for run in workspace.study.runs())
    assert "interrupted" in workspace.states().values()
    assert run_local(workspace, workers=2)
    assert without_clock(read_rows(workspace.results)) == longer_uninterrupted


@pytest.mark.slow
def test_a_single_run_can_be_repeated_by_hand(uninterrupted, tmp_path):
    workspace = make_workspace(tmp_path)
    run = next(workspace.study.runs())
    workspace.prepare(run)
    folder = workspace.run_folder(run)
    program, *arguments = (folder / "command.txt").read_text().split()
    assert program == "python"
    subprocess.run([sys.executable, *arguments], cwd=folder, check=True, capture_output=True)
    assert without_clock(workspace.rows(run)) == [row for row in uninterrupted if row["variant"] == run.variant]
    assert workspace.collect() == 8
    assert workspace.collect() == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
def test_ray_gives_the_same_rows(uninterrupted, tmp_path):
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        said = io.StringIO()
        RayEngine(make_workspace(tmp_path, threads=3), gpus=0.5, console=Console(file=said))
        assert "3 CPUs and 0.5 GPUs of one machine, which none has (2 CPUs and 0 GPUs): they wait" in said.getvalue()
        workspace = make_workspace(tmp_path)
        assert not RayEngine(workspace, workers=2, time_limit=3, console=Console(quiet=True)).run()
        assert not any(workspace.is_taken(run) for run in workspace.study.runs())
        assert RayEngine(workspace, workers=2, console=Console(quiet=True)).run()
        assert without_clock(read_rows(workspace.results)) == uninterrupted
        _fail_on_another_disk(ray, tmp_path)
    finally:
        ray.shutdown()


def _fail_on_another_disk(ray, folder):
    workspace = make_workspace(folder / "broken", variants={"broken": BROKEN}, baseline="broken")
    engine = RayEngine(workspace, console=Console(quiet=True))
    elsewhere = dataclasses.replace(workspace, folder=folder / "elsewhere")
    engine._task = ray.remote(lambda _, run: carry_out(elsewhere, run))
    assert not engine.run()
    (run,) = workspace.study.runs()
    assert workspace.states() == {run: "failed"}
    assert "Unknown critic 'none'" in workspace.failure(run)
    workspace.forgive(run)
    assert workspace.states() == {run: "pending"}


def test_another_definition_is_not_mixed_in(tmp_path):
    workspace = make_workspace(tmp_path)
    run = next(workspace.study.runs())
    workspace.prepare(run)
    workspace.prepare(run)
    changed = {"sa_hyper": {"file": "td3", "hyperparams": HYPERPARAMS | {"batch_size": 17}}}
    write_json(workspace.training_folder(run) / "progress.json", {"step": 200})
    for other in (make_workspace(tmp_path, steps=1800), make_workspace(tmp_path, variants=changed)):
        with pytest.raises(StudyError, match="sa_hyper/Pendulum-v1/seed-0 holds a run of another definition"):
            other.prepare(next(other.study.runs()))
    one = np.ones(1)
    result = RunResult("tiny", "sa_hyper", "td3", "Pendulum-v1", 0, one, np.ones((1, 2)), one, one, run.definition)
    merge_rows(workspace.results, result.rows())
    assert workspace.finished() == set()
    with pytest.raises(StudyError, match=r"tiny.csv holds tiny, sa_hyper, Pendulum-v1, 0 of another definition"):
        other.finished()


def test_what_failed_before_it_began_can_be_corrected(tmp_path):
    workspace = make_workspace(tmp_path, variants={"sa_hyper": BROKEN})
    run = next(workspace.study.runs())
    workspace.prepare(run)
    workspace.log_path(run).write_text("Unknown critic 'none'\n")
    workspace.note_failure(run, 1)
    assert workspace.states()[run] == "failed"
    corrected = make_workspace(tmp_path)
    run = next(corrected.study.runs())
    assert corrected.states()[run] == "pending"
    corrected.prepare(run)
    assert corrected.states()[run] == "pending"


def test_the_rows_of_a_finished_run_keep_its_definition(tmp_path):
    workspace = make_workspace(tmp_path)
    run = next(workspace.study.runs())
    workspace.prepare(run)
    folder = workspace.training_folder(run)
    folder.mkdir(parents=True)
    n, steps = 8, list(range(200, 1601, 200))
    evaluations = {"timesteps": steps, "results": [[1.0]] * n, "seconds": [1.0] * n, "cpu_seconds": [1.0] * n}
    write_json(folder / "progress.json", {"evaluations": evaluations, "versions": "", "commit": "", "processor": ""})
    (folder / "complete").touch()
    other = make_workspace(tmp_path, variants={"sa_hyper": {"file": "td3", "hyperparams": {"gamma": 0.5}}})
    with pytest.raises(StudyError, match="another definition"):
        other.collect()
    assert make_workspace(tmp_path).collect() == n


def test_a_run_in_progress_is_seen(tmp_path):
    workspace = make_workspace(tmp_path)
    assert set(workspace.states().values()) == {"pending"}
    run = next(workspace.study.runs())
    folder = workspace.training_folder(run)
    folder.mkdir(parents=True)
    (folder / "progress.json").write_text('{"step": 5}')
    assert workspace.states()[run] == "interrupted"
