"""Carry a study out on this machine: one process per run, a few at a time."""

import subprocess
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import IO

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from sb3_hyper.experiments.checkpoints import INTERRUPTED
from sb3_hyper.experiments.run_process import is_failure, start
from sb3_hyper.experiments.studies import Run
from sb3_hyper.experiments.workspace import State, Workspace

POLL_SECONDS = 0.5


@dataclass
class _Worker:
    run: Run
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    started: float = field(default_factory=time.monotonic)


class LocalEngine:
    """
    Runs what is left of a study. Runs that are done are not repeated, interrupted ones go on, failed ones are noted
    and do not stop the others, and runs that another process works on are left to it.

    :param workspace: The study's files.
    :param workers: How many runs at a time.
    :param time_limit: Seconds after which runs are interrupted; None for no limit.
    :param console: Where to show progress.
    """

    def __init__(
        self, workspace: Workspace, workers: int = 1, time_limit: float | None = None, console: Console | None = None
    ) -> None:
        self.workspace = workspace
        self.workers = workers
        self.deadline = None if time_limit is None else time.monotonic() + time_limit
        self.console = console or Console()
        self._active: list[_Worker] = []
        self._speeds: list[float] = []  # seconds per step of what ran here
        self._states: dict[Run, State] = {}

    def run(self) -> bool:
        """
        Carry out what is left, until all is done or the time is over.

        :return: Whether all runs are done.
        """
        self.workspace.collect()
        self._states = self.workspace.states()
        live: AbstractContextManager[Live | None] = (
            Live(console=self.console, auto_refresh=False) if self.console.is_terminal else nullcontext()
        )
        with live as display:
            try:
                while self._fill() and not self._time_is_over():
                    self._reap()
                    if display is not None:
                        display.update(self.table(), refresh=True)
                    time.sleep(POLL_SECONDS)
            finally:
                self._interrupt()
        self.workspace.collect()
        return all(state == "done" for state in self.workspace.states().values())

    def _time_is_over(self) -> bool:
        return self.deadline is not None and time.monotonic() >= self.deadline

    def _fill(self) -> bool:
        """Start runs while there are free workers. False when nothing runs and nothing is left to start."""
        waiting = (run for run, state in self._states.items() if state in ("pending", "interrupted"))
        while len(self._active) < self.workers and (run := next(waiting, None)) is not None:
            self._start(run)
        return bool(self._active)

    def _start(self, run: Run) -> None:
        if self.workspace.is_taken(run):
            self._states[run] = "running"
            return
        self.workspace.prepare(run)
        log = self.workspace.log_path(run).open("ab")
        worker = _Worker(run, start(self.workspace, run, log), log)
        self._active.append(worker)
        self._states[run] = "running"
        self._say(f"start  {run.label}")

    def _reap(self) -> None:
        for worker in list(self._active):
            status = worker.process.poll()
            if status is None:
                continue
            self._active.remove(worker)
            worker.log.close()
            run = worker.run
            if status == 0:
                self.workspace.collect()
                self._speeds.append((time.monotonic() - worker.started) / self.workspace.study.steps)
            elif is_failure(status):
                self.workspace.note_failure(run, status)
            if failure := self.workspace.failure(run):
                self._states[run] = "failed"
                self._say(f"failed {run.label}: {failure}")
            elif status == 0:
                self._states[run] = "done"
                self._say(f"done   {run.label}")
            elif status == INTERRUPTED:
                self._say(f"interrupted {run.label}")
            elif status < 0:
                # killed from outside: the next call goes on with it, this one does not insist
                self._say(f"killed {run.label} by signal {-status}")

    def _interrupt(self) -> None:
        for worker in self._active:
            worker.process.terminate()
        for worker in self._active:
            worker.process.wait()
            worker.log.close()
            obstacle = (self.workspace.progress(worker.run) or {}).get("obstacle")
            why = f" (it will start from the beginning: {obstacle})" if obstacle else ""
            self.console.print(f"interrupted {worker.run.label}{why}", highlight=False, soft_wrap=True, markup=False)
        self._active.clear()

    def _say(self, line: str) -> None:
        if not self.console.is_terminal:
            self.console.print(f"{time.strftime('%H:%M:%S')} {line}", highlight=False, soft_wrap=True, markup=False)

    def table(self) -> Group:
        """
        :return: What runs, how far it is, and how long the rest may take.
        """
        table = Table(title=escape(self.workspace.study.title), expand=False)
        for heading in ("run", "step", "", "return"):
            table.add_column(heading)
        for worker in self._active:
            progress = self.workspace.progress(worker.run) or {"step": 0, "evaluations": {"results": []}}
            returns = progress["evaluations"]["results"]
            table.add_row(
                worker.run.label,
                f"{progress['step']:,}",
                ProgressBar(self.workspace.study.steps, progress["step"], width=30),
                f"{sum(returns[-1]) / len(returns[-1]):.0f}" if returns else "-",
            )
        failed = [
            f"[red]failed[/] {run.label}: {escape(str(self.workspace.failure(run)))}" for run in self._with_state("failed")
        ]
        return Group(table, self._summary(), *failed)

    def _summary(self) -> str:
        done, total = len(list(self._with_state("done"))), len(self._states)
        left = len(list(self._with_state("pending"))) + len(list(self._with_state("interrupted")))
        estimate = ""
        speeds = self._speeds + [speed for worker in self._active if (speed := self._speed(worker)) is not None]
        if speeds:
            steps = (left + 0.5 * len(self._active)) * self.workspace.study.steps
            estimate = f", about {steps * sum(speeds) / len(speeds) / self.workers / 3600:.1f} h left"
        return f"{done} of {total} runs done, {left} to start{estimate}"

    def _speed(self, worker: _Worker) -> float | None:
        progress = self.workspace.progress(worker.run)
        return progress["elapsed"] / progress["step"] if progress and progress["step"] else None

    def _with_state(self, state: State) -> Iterable[Run]:
        return (run for run, its_state in self._states.items() if its_state == state)
