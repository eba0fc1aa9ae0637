"""A run of a study as a process of its own: how it is started, and what its end means."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import IO

from sb3_hyper.experiments.checkpoints import BUSY, INTERRUPTED
from sb3_hyper.experiments.results import Row
from sb3_hyper.experiments.studies import Run
from sb3_hyper.experiments.workspace import Workspace

CRASHES = {-getattr(signal, name, 0) for name in ("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV")}


def command(run: Run) -> list[str]:
    """
    :param run: A run.
    :return: The command that carries it out, or goes on with it, within its folder.
    """
    return [sys.executable, "-m", "sb3_hyper.zoo", *run.arguments()]


def start(workspace: Workspace, run: Run, log: IO[bytes]) -> subprocess.Popen[bytes]:
    """
    Start a run's process.

    :param workspace: The study's files.
    :param run: A run that is prepared.
    :param log: Where its output goes.
    :return: The process.
    """
    threads = str(workspace.study.threads)
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "PYTHONPATH": _python_path()}
    return subprocess.Popen(
        command(run),
        cwd=workspace.run_folder(run),
        stdout=log,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        env=environment,
    )


def _python_path() -> str:
    """Where Python looks for modules besides those installed: the same folders for a process that starts in another one."""
    paths = [os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    return os.pathsep.join(paths + [os.getcwd()] * bool({"", os.getcwd()} & set(sys.path)))


def is_failure(status: int) -> bool:
    """
    :param status: Exit status of a run's process.
    :return: Whether the run failed; one that was killed from outside did not, and can go on.
    """
    return (status > 0 and status not in (BUSY, INTERRUPTED)) or status in CRASHES


class RunFailed(RuntimeError):
    """A run failed, or was killed."""

    def __init__(self, label: str, status: int, failure: str | None) -> None:
        super().__init__(label, status, failure)
        self.status = status
        self.failure = failure  # None if it can go on

    def __str__(self) -> str:
        return f"{self.args[0]}: exit status {self.status}" + (f": {self.failure}" if self.failure else "")


def carry_out(workspace: Workspace, run: Run) -> Sequence[Row]:
    """
    Carry a run out, or go on with it, and wait for its end.

    :param workspace: The study's files.
    :param run: The run.
    :return: Its rows; none if another process works on it.
    :raises RunFailed: If it did, or was killed.
    """
    workspace.prepare(run)
    workspace.forgive(run)  # an earlier try, which may be remembered on this machine's disk only
    with workspace.log_path(run).open("ab") as log:
        process = start(workspace, run, log)
        try:
            status = process.wait()
        finally:
            process.terminate()
            process.wait()
    if status == BUSY:
        return []
    if is_failure(status):
        workspace.note_failure(run, status)
    if status != 0 or workspace.failure(run) is not None:
        raise RunFailed(run.label, status, workspace.failure(run))
    return workspace.rows(run)
