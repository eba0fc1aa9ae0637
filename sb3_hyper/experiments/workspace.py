"""Where the runs of a study live, and what state each is in."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from filelock import FileLock, Timeout

from sb3_hyper.common.files import read_json, replacing, write_json
from sb3_hyper.experiments.algorithms import META_ALGORITHMS
from sb3_hyper.experiments.checkpoints import COMPLETE
from sb3_hyper.experiments.results import ANOTHER_DEFINITION, Row, RunResult, merge_rows, results_of
from sb3_hyper.experiments.studies import Run, Study, StudyError

State = Literal["done", "failed", "running", "interrupted", "pending"]
LOG_LINES = 30  # of a failed run's log, kept with the failure


@dataclass(frozen=True)
class Workspace:
    """
    The files of a study: a folder for each run, and one CSV with the results of all.

    :param study: The study.
    :param folder: Its runs' folders lie below this one.
    :param results: The CSV file.
    """

    study: Study
    folder: Path
    results: Path

    def run_folder(self, run: Run) -> Path:
        """
        :param run: A run.
        :return: Its folder.
        """
        return self.folder / run.label

    def training_folder(self, run: Run) -> Path:
        """
        :param run: A run.
        :return: The folder that rl-zoo3 makes for it.
        """
        return self.run_folder(run) / run.algo / f"{run.environment.replace('/', '-')}_1"

    def prepare(self, run: Run) -> None:
        """
        Write the run's settings, and the command by which it can be repeated by hand. What another definition left there
        that failed before it began is no more.

        :param run: A run.
        :raises StudyError: If the folder holds a run of another definition.
        """
        self._check_definition(run)
        if self._is_redefined(run):
            self.forgive(run)
        folder = self.run_folder(run)
        write_json(folder / "definition.json", run.definition)
        with replacing(folder / "settings.yml") as temporary:
            temporary.write_text(yaml.safe_dump(run.settings(), sort_keys=False), encoding="utf-8")
        with replacing(folder / "command.txt") as temporary:
            temporary.write_text(f"python -m sb3_hyper.zoo {' '.join(run.arguments())}\n", encoding="utf-8")

    def _is_redefined(self, run: Run) -> bool:
        return (read_json(self.run_folder(run) / "definition.json") or run.definition) != run.definition

    def _check_definition(self, run: Run) -> None:
        if self._is_redefined(run) and (self.progress(run) is not None or self.is_taken(run)):
            raise StudyError(f"{self.run_folder(run)} holds a run of another definition of the study: {ANOTHER_DEFINITION}")

    def log_path(self, run: Run) -> Path:
        """
        :param run: A run.
        :return: The file its output goes to.
        """
        return self.run_folder(run) / "log.txt"

    def note_failure(self, run: Run, status: int, reason: str | None = None) -> None:
        """
        Remember that a run failed, and why.

        :param run: The run.
        :param status: Its exit status.
        :param reason: Why, where its log lies on another machine; None for the end of its log.
        """
        log = reason or self.log_path(run).read_text(encoding="utf-8", errors="replace")
        lines = log.splitlines()[-LOG_LINES:]
        with replacing(self.run_folder(run) / "failed.txt") as temporary:
            temporary.write_text("\n".join([f"exit status {status}", *lines]) + "\n", encoding="utf-8")

    def failure(self, run: Run) -> str | None:
        """
        :param run: A run.
        :return: The last line of its log if it failed, and has not been defined anew since; or that it came to its end, but
            not to its last evaluation, as callbacks can bring about.
        """
        if self._is_redefined(run):
            return None
        if self.is_complete(run):
            if self._is_whole(run):
                return None
            step = (self.progress(run) or {}).get("step")
            return (
                f"it ended at step {step} of {self.study.steps}, before its last evaluation, as callbacks can have it. To run "
                f"it again, change its definition and delete {self.run_folder(run)}"
            )
        path = self.run_folder(run) / "failed.txt"
        if not path.is_file():
            return None
        return path.read_text(encoding="utf-8").splitlines()[-1]

    def _is_whole(self, run: Run) -> bool:
        return self.study.is_whole(run.algo, self.result(run).steps)

    def forgive(self, run: Run) -> None:
        """
        Let a failed run be tried again.

        :param run: The run.
        """
        (self.run_folder(run) / "failed.txt").unlink(missing_ok=True)

    def progress(self, run: Run) -> dict[str, Any] | None:
        """
        :param run: A run.
        :return: What its process last reported.
        """
        return read_json(self.training_folder(run) / "progress.json")

    def is_complete(self, run: Run) -> bool:
        """
        :param run: A run.
        :return: Whether its training has come to its end.
        """
        return (self.training_folder(run) / COMPLETE).is_file()

    def is_taken(self, run: Run) -> bool:
        """
        :param run: A run.
        :return: Whether a process works on it now.
        """
        path = self.training_folder(run) / "lock"
        if not path.is_file():
            return False
        lock = FileLock(path, blocking=False)
        try:
            lock.acquire()
        except Timeout:
            return True
        lock.release()
        return False

    def rows(self, run: Run) -> list[Row]:
        """
        :param run: A run that has started.
        :return: Its rows so far.
        """
        return self.result(run).rows()

    def result(self, run: Run) -> RunResult:
        """
        :param run: A run that has started.
        :return: What its evaluations gave so far.
        :raises StudyError: If its folder holds a run of another definition.
        """
        progress = self.progress(run)
        assert progress is not None
        self._check_definition(run)
        evaluations = progress["evaluations"]
        steps = np.array(evaluations["timesteps"], dtype=int)
        # on-policy runs go beyond; so do meta-learners, whose last evaluation is the one that counts
        kept = (steps <= self.study.steps) | (run.algo in META_ALGORITHMS)
        kept[:-1] &= steps[1:] != steps[:-1]  # of two evaluations at one step, the last is that of the later update
        return RunResult(
            study=self.study.name,
            variant=run.variant,
            algorithm=run.algo,
            environment=run.environment,
            seed=run.seed,
            steps=steps[kept],
            returns=np.array(evaluations["results"])[kept],
            seconds=np.array(evaluations["seconds"])[kept],
            cpu_seconds=np.array(evaluations["cpu_seconds"])[kept],
            definition=run.definition,
            versions=progress["versions"],
            commit=progress["commit"],
            processor=progress["processor"],
        )

    def results_so_far(self) -> list[RunResult]:
        """
        :return: The runs that are in the results, and what those that are not finished have so far.
        """
        there = results_of(self.study, self.results)
        keys = {result.key for result in there}
        started = [run for run in self.study.runs() if run.key not in keys and self.progress(run) is not None]
        return there + [result for run in started if len((result := self.result(run)).steps)]

    def finished(self) -> set[tuple[str, ...]]:
        """
        :return: Keys of the runs whose rows are in the results.
        :raises StudyError: If the results hold rows of another definition.
        """
        there = results_of(self.study, self.results)
        return {result.key for result in there if self.study.is_whole(result.algorithm, result.steps)}

    def collect(self) -> int:
        """
        Bring the rows of finished runs into the results. What is there already stays as it is.

        :return: How many rows were new.
        """
        finished = self.finished()
        complete = (run for run in self.study.runs() if run.key not in finished and self.is_complete(run))
        runs = [run for run in complete if self._is_whole(run)]
        return merge_rows(self.results, [row for run in runs for row in self.rows(run)]) if runs else 0

    def states(self) -> dict[Run, State]:
        """
        :return: The state of every run, in the order of the study.
        """
        finished = self.finished()
        return {run: "done" if run.key in finished else self._state(run) for run in self.study.runs()}

    def _state(self, run: Run) -> State:
        if self.is_taken(run):
            return "running"
        if self.failure(run) is not None:
            return "failed"
        return "interrupted" if self.progress(run) is not None else "pending"
