"""Carry a study out on a Ray cluster: one task per run, the rows come back to the one who asked."""

import time
from typing import Any

from rich.console import Console

from sb3_hyper.experiments.results import merge_rows
from sb3_hyper.experiments.run_process import RunFailed, carry_out
from sb3_hyper.experiments.studies import Run, StudyError
from sb3_hyper.experiments.workspace import Workspace

POLL_SECONDS = 1.0
PATIENCE = 30.0  # seconds for interrupted runs to end
RETRIES = 3  # of a run whose worker was lost


class RayEngine:
    """
    Runs what is left of a study on Ray. A run whose worker is lost is tried again, on a shared file system from its
    last checkpoint.

    :param workspace: The study's files. Runs lie below the same path on every machine; it need not be shared.
    :param workers: How many runs at a time; None for as many as the cluster has processors for.
    :param time_limit: Seconds after which runs are interrupted; None for no limit.
    :param gpus: GPUs that a run asks for; several runs share one if it is a fraction.
    :param console: Where to show progress.
    :raises ImportError: If Ray is not installed.
    """

    def __init__(
        self,
        workspace: Workspace,
        workers: int | None = None,
        time_limit: float | None = None,
        gpus: float = 0,
        console: Console | None = None,
    ) -> None:
        try:
            import ray
        except ImportError as error:
            raise ImportError('--engine ray needs Ray: pip install -e ".[ray]" in a clone') from error
        self.ray = ray
        self.workspace = workspace
        self.workers = workers
        self.deadline = None if time_limit is None else time.monotonic() + time_limit
        self.console = console or Console()
        if not ray.is_initialized():
            ray.init(log_to_driver=False, configure_logging=False)
        threads = workspace.study.threads
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        sizes = [(machine.get("CPU", 0), machine.get("GPU", 0)) for machine in machines]
        if not any(cpus >= threads and there >= gpus for cpus, there in sizes):
            there = "; ".join(f"{cpus:g} CPUs and {there:g} GPUs" for cpus, there in sizes)
            self._say(
                f"Each run asks for {threads} CPUs and {gpus:g} GPUs of one machine, which none has ({there}): they wait for "
                "one"
            )
        self._task = ray.remote(max_retries=RETRIES, num_cpus=threads, num_gpus=gpus)(carry_out)
        self._active: dict[Any, Run] = {}

    def run(self) -> bool:
        """
        Carry out what is left, until all is done or the time is over.

        :return: Whether all runs are done.
        """
        self.workspace.collect()
        waiting = [run for run, state in self.workspace.states().items() if state in ("pending", "interrupted")]
        try:
            while (waiting or self._active) and not self._time_is_over():
                while waiting and (self.workers is None or len(self._active) < self.workers):
                    run = waiting.pop(0)
                    self._active[self._task.remote(self.workspace, run)] = run
                finished, _ = self.ray.wait(list(self._active), timeout=POLL_SECONDS)
                for task in finished:
                    self._take(task)
        finally:
            for task, run in self._active.items():
                self.ray.cancel(task)
                self._say(f"stopped {run.label}")
            self._wait_for_the_end_of(list(self._active.values()))
            self._active.clear()
        finished_runs = self.workspace.finished()
        return all(run.key in finished_runs for run in self.workspace.study.runs())

    def _wait_for_the_end_of(self, runs: list[Run]) -> None:
        """A cancelled task is over at once, its process a little later; on another machine's disk nobody can tell."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and any(self.workspace.is_taken(run) for run in runs):
            time.sleep(0.1)

    def _time_is_over(self) -> bool:
        return self.deadline is not None and time.monotonic() >= self.deadline

    def _take(self, task: Any) -> None:
        run = self._active.pop(task)
        try:
            rows = self.ray.get(task)
            merge_rows(self.workspace.results, rows)
            self._say(f"done   {run.label}" if rows else f"left   {run.label}: another process works on it")
        except self.ray.exceptions.RayError as error:
            self._say(f"failed {run.label}: {str(error).splitlines()[-1]}")
            cause = getattr(error, "cause", None)
            if isinstance(cause, RunFailed) and cause.failure and self.workspace.failure(run) is None:
                self._remember(run, cause.status, cause.failure)

    def _remember(self, run: Run, status: int, failure: str) -> None:
        """Of a failure on another disk."""
        try:
            self.workspace.prepare(run)
            self.workspace.note_failure(run, status, failure)
        except StudyError as error:  # a run of another definition lies here
            self._say(str(error))

    def _say(self, line: str) -> None:
        self.console.print(f"{time.strftime('%H:%M:%S')} {line}", highlight=False, soft_wrap=True, markup=False)
