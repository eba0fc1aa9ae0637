"""Carry a study out on a Ray cluster: one task per run, the rows come back to the one who asked."""

from typing import Any

from rich.console import Console

from sb3_hyper.experiments.results import merge_rows
from sb3_hyper.experiments.studies import Run
from sb3_hyper.experiments.workspace import Workspace, carry_out

RETRIES = 3  # of a run whose worker was lost


class RayEngine:
    """
    Runs what is left of a study on Ray. A run whose worker is lost is tried again, on a shared file system from its
    last checkpoint.

    :param workspace: The study's files. Runs lie below the same path on every machine; it need not be shared.
    :param workers: How many runs at a time; None for as many as the cluster has processors for.
    :param console: Where to show progress.
    :raises ImportError: If Ray is not installed.
    """

    def __init__(self, workspace: Workspace, workers: int | None = None, console: Console | None = None) -> None:
        try:
            import ray
        except ImportError as error:
            raise ImportError('--engine ray needs Ray: pip install "sb3-hyper[ray]"') from error
        self.ray = ray
        self.workspace = workspace
        self.workers = workers
        self.console = console or Console()

    def run(self) -> bool:
        """
        Carry out what is left.

        :return: Whether all runs are done.
        """
        self.workspace.collect()
        states = self.workspace.states()
        waiting = [run for run, state in states.items() if state in ("pending", "interrupted")]
        if not self.ray.is_initialized():
            self.ray.init(num_cpus=None, log_to_driver=False, configure_logging=False)
        task = self.ray.remote(max_retries=RETRIES, num_cpus=self.workspace.study.threads)(carry_out)
        active: dict[Any, Run] = {}
        while waiting or active:
            while waiting and (self.workers is None or len(active) < self.workers):
                run = waiting.pop(0)
                active[task.remote(self.workspace, run)] = run
            (finished, *_), _ = self.ray.wait(list(active))
            run = active.pop(finished)
            try:
                merge_rows(self.workspace.results, self.ray.get(finished))
                self.console.print(f"done   {run.label}", highlight=False, markup=False)
            except self.ray.exceptions.RayError as error:
                self.console.print(f"failed {run.label}: {str(error).splitlines()[-1]}", highlight=False, markup=False)
        finished_runs = self.workspace.finished()
        return all(run.key in finished_runs for run in self.workspace.study.runs())
