"""
Interrupt a run and go on with it, to the same end.

A checkpoint is taken between two episodes. There, a gymnasium environment is nothing but the random state its next
reset draws from, whatever simulator it holds: resetting it again from that state restores it exactly. With the model,
its replay buffer and all random states, a resumed run repeats an uninterrupted one bit for bit (on one thread). Runs of
which that is not true start again when they are interrupted: :mod:`sb3_hyper.experiments.obstacles` names them.
"""

import shutil
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.type_aliases import TrainFrequencyUnit
from stable_baselines3.common.vec_env import VecEnv

from sb3_hyper.common.files import digest, read_json, sync, write_json
from sb3_hyper.common.random_states import get_random_states, set_random_states
from sb3_hyper.experiments import episode_logs, provenance
from sb3_hyper.experiments.counters import get_counters, set_counters
from sb3_hyper.experiments.obstacles import begins_afresh, obstacle

BUSY = 75  # exit status of a process that finds another at work on its run (EX_TEMPFAIL)
INTERRUPTED = 130  # of one that Ctrl-C has interrupted, and that can go on
COMPLETE = "complete"  # the file that marks a run whose end was reached and saved
SAVE_SECONDS = 600.0
STATE = {"random", "action_space", "before_last_reset", "eval_env", "evaluations", "counters"}
STATE |= {"seconds", "cpu_seconds", "made_with", "elapsed", "cpu_elapsed", "monitor_sizes", "digests"}


class Unusable(Exception):
    """A checkpoint that no run can ever go on from."""


def remove_checkpoints(folder: Path) -> None:
    """
    :param folder: The folder of a run that needs none any more.
    """
    for checkpoint in folder.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)


class ResumableRun(BaseCallback):
    """
    Takes checkpoints of a training run, and goes on from the last of them.

    ``progress.json`` in the run's folder tells at any time how far the run is and what its evaluations gave.

    :param folder: The run's folder.
    :param total_timesteps: Length of the whole run.
    :param eval_callback: The evaluation whose results belong to the run. It must come before this callback, and have a
        ``log_path``: without one it keeps no results.
    :param save_freq: A checkpoint is taken at the first end of an episode after so many steps,
    :param save_seconds: or so many seconds, whichever comes first.
    :param callbacks: The other callbacks of the run, and the evaluation again: a checkpoint holds the numbers that they count.
    """

    def __init__(
        self,
        folder: str | Path,
        total_timesteps: int,
        eval_callback: EvalCallback,
        save_freq: int,
        save_seconds: float = SAVE_SECONDS,
        callbacks: Sequence[BaseCallback] = (),
    ) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.total_timesteps = total_timesteps
        self.eval_callback = eval_callback
        self.save_freq = save_freq
        self.save_seconds = save_seconds
        self.callbacks = list(callbacks) or [eval_callback]
        # of training and evaluating, until each evaluation: on the clock, and of this process on a processor
        self.seconds: list[float] = []
        self.cpu_seconds: list[float] = []
        self.made_with: dict[str, list[str]] = {"versions": [], "commit": [], "processor": []}
        self._seconds_before = 0.0
        self._cpu_seconds_before = 0.0
        self._obstacle: str | None = None
        self._episode_ended = False
        self._last_checkpoint = 0
        self._last_save = 0.0
        self._last_report = 0.0
        self._to_restore: dict[str, Any] | None = None

    def has_checkpoint(self) -> bool:
        """
        :return: Whether there is anything to go on from.
        """
        return bool(self._checkpoints())

    def load(
        self, algorithm_class: type[BaseAlgorithm], env: VecEnv, device: str, seed: int | None = None
    ) -> BaseAlgorithm | None:
        """
        Load the last checkpoint, if there is one. If its files are damaged, or the environment does not repeat its resets,
        it is removed, and all is as if it had not been tried: an older one takes its place, if a kill has left one. Whatever
        else fails (memory, a package, a disk) may succeed another time: then nothing is touched.

        :param algorithm_class: The algorithm.
        :param env: The run's environment, newly made.
        :param device: torch device.
        :param seed: The run's seed.
        :return: The model, ready for ``learn(..., reset_num_timesteps=False)``; None to start from the beginning.
        :raises RuntimeError: If the checkpoint cannot be loaded now, for another reason than damage.
        """
        for rest in self.folder.glob("checkpoint-*.tmp"):
            shutil.rmtree(rest)
        checkpoints = self._checkpoints()
        random_states = get_random_states()
        while checkpoints:
            checkpoint = checkpoints.pop()
            try:
                return self._load(checkpoint, algorithm_class, env, device)
            except Unusable as error:
                start = "an older one" if checkpoints else "the beginning"
                warnings.warn(f"{checkpoint} cannot be used ({error!r}): the run starts from {start}")
                shutil.rmtree(checkpoint)
                set_random_states(random_states)
                env.seed(seed)
            except Exception as error:
                raise RuntimeError(
                    f"{checkpoint.resolve()} cannot be loaded now ({error!r}). It was left as it is: the same command tries "
                    "again, and for a run of a study --retry-failed. To start from the beginning, remove it"
                ) from error
            if not checkpoints:
                episode_logs.empty(self.folder)
        return None

    def _load(self, folder: Path, algorithm_class: type[BaseAlgorithm], env: VecEnv, device: str) -> BaseAlgorithm:
        state = _read_state(folder)
        env.reset()  # uses up the seed the environment was made with
        if state["before_last_reset"] is None:
            model = algorithm_class.load(folder / "model.zip", env=env, device=device)
        else:
            observation = env.env_method("repeat_reset", state["before_last_reset"])[0]
            model = algorithm_class.load(folder / "model.zip", env=env, device=device, force_reset=False)
            if not _equal(observation, model._last_obs):
                raise Unusable("the environment does not repeat its resets")
        if isinstance(model, OffPolicyAlgorithm):
            model.load_replay_buffer(folder / "replay_buffer.pkl", truncate_last_traj=False)
        episode_logs.go_back(self.folder, state["monitor_sizes"], env)
        self._to_restore = state
        self._last_checkpoint = model.num_timesteps
        return model

    def _on_training_start(self) -> None:
        self._obstacle = obstacle(self.model)
        if self._obstacle is not None:
            warnings.warn(f"If this run is interrupted, it starts from the beginning: {self._obstacle}")
        elif (steps := _steps_of_a_rollout(self.model)) > 1:
            warnings.warn(
                f"The model is trained every {steps} steps: checkpoints are taken where an episode ends with the last of "
                "them, which can be seldom. With train_freq: [1, episode] every end of an episode will do."
            )
        self._start = self._last_save = time.perf_counter()
        self._cpu_start = time.process_time()
        if self._to_restore is not None:
            self._restore(self._to_restore)
            self._to_restore = None
        now = (provenance.versions(), provenance.commit(), provenance.processor(str(self.model.device)))
        for names, name in zip(self.made_with.values(), now, strict=True):
            names.append(name)
        self._report()

    def _on_step(self) -> bool:
        self._episode_ended = self._obstacle is None and (begins_afresh(self.model) or bool(self.locals["dones"][0]))
        if self._has_new_evaluation() or time.perf_counter() - self._last_report > 5:
            self._report()
        return True

    def _on_rollout_start(self) -> None:
        # The transition of the last step is stored by now, and the model trained on it, and perhaps evaluated
        if self._has_new_evaluation():
            self._report()
        if self._obstacle is None and self._episode_ended and self._is_due():
            self._save()
        self._episode_ended = False

    def _is_due(self) -> bool:
        steps, seconds = self.num_timesteps - self._last_checkpoint, time.perf_counter() - self._last_save
        return steps >= self.save_freq or seconds >= self.save_seconds

    def _has_new_evaluation(self) -> bool:
        new = len(self.eval_callback.evaluations_timesteps) > len(self.seconds)
        if new:
            self.seconds.append(self._elapsed())
            self.cpu_seconds.append(self._cpu_elapsed())
        return new

    def _on_training_end(self) -> None:
        self._has_new_evaluation()  # of the end
        self._report()

    def finish(self) -> None:
        """Mark the run as complete, once what it saved is on the disk, and remove its checkpoints."""
        sync(self.folder)
        (self.folder / COMPLETE).touch()
        remove_checkpoints(self.folder)

    def _checkpoints(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("checkpoint-*") if path.suffix != ".tmp")

    def _elapsed(self) -> float:
        return self._seconds_before + time.perf_counter() - self._start

    def _cpu_elapsed(self) -> float:
        return self._cpu_seconds_before + time.process_time() - self._cpu_start

    def _report(self) -> None:
        self._last_report = time.perf_counter()
        progress = {
            "step": self.model.num_timesteps,
            "total_timesteps": self.total_timesteps,
            "elapsed": self._elapsed(),
            "obstacle": self._obstacle,
            "evaluations": {
                **_evaluations(self.eval_callback),
                "seconds": self.seconds,
                "cpu_seconds": self.cpu_seconds,
            },
            **{key: provenance.joined(names) for key, names in self.made_with.items()},
        }
        write_json(self.folder / "progress.json", progress)

    def _save(self) -> None:
        model = self.model
        older = self._checkpoints()
        folder = self.folder / f"checkpoint-{self.num_timesteps:012d}"
        temporary = folder.with_suffix(".tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        model.save(temporary / "model.zip")
        if isinstance(model, OffPolicyAlgorithm):
            model.save_replay_buffer(temporary / "replay_buffer.pkl")
        state = {
            "random": get_random_states(),
            "action_space": model.action_space.np_random.bit_generator.state,
            "before_last_reset": None if begins_afresh(model) else self.training_env.env_method("before_last_reset")[0],
            "eval_env": self.eval_callback.eval_env.env_method("get_random_state"),
            "evaluations": _evaluations(self.eval_callback),
            "counters": get_counters(self.callbacks),
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "made_with": self.made_with,
            "elapsed": self._elapsed(),
            "cpu_elapsed": self._cpu_elapsed(),
            "monitor_sizes": episode_logs.sizes(self.folder),
            "digests": {path.name: digest(path) for path in temporary.iterdir()},
        }
        write_json(temporary / "state.json", state)
        sync(temporary)  # before the older one goes
        temporary.rename(folder)
        for path in older:
            shutil.rmtree(path)
        self._last_checkpoint = self.num_timesteps
        self._last_save = time.perf_counter()

    def _restore(self, state: dict[str, Any]) -> None:
        callback, evaluations = self.eval_callback, state["evaluations"]
        callback.evaluations_timesteps = evaluations["timesteps"]
        callback.evaluations_results = evaluations["results"]
        callback.evaluations_length = evaluations["ep_lengths"]
        callback.evaluations_successes = evaluations.get("successes", [])
        set_counters(self.callbacks, state["counters"])
        callback.eval_env.reset()  # uses up the seed the environment was made with
        for index, random_state in enumerate(state["eval_env"]):
            callback.eval_env.env_method("set_random_state", random_state, indices=index)
        self.seconds, self.cpu_seconds = state["seconds"], state["cpu_seconds"]
        self.made_with = state["made_with"]
        self._seconds_before, self._cpu_seconds_before = state["elapsed"], state["cpu_elapsed"]
        self.model.action_space.np_random.bit_generator.state = state["action_space"]
        set_random_states(state["random"])


def _read_state(folder: Path) -> dict[str, Any]:
    """The state of a checkpoint whose files are all there and undamaged."""
    try:
        state = read_json(folder / "state.json")
    except ValueError as error:
        raise Unusable(str(error)) from error
    if state is None:
        raise Unusable("state.json is missing")
    if missing := STATE - set(state):
        raise ValueError(f"made by another version of this package: {', '.join(sorted(missing))} are missing")
    for name, expected in state["digests"].items():
        if not (folder / name).is_file() or digest(folder / name) != expected:
            raise Unusable(f"{name} is damaged")
    return state


def _evaluations(callback: EvalCallback) -> dict[str, Any]:
    return {
        "timesteps": [int(step) for step in callback.evaluations_timesteps],
        "results": [[float(value) for value in row] for row in callback.evaluations_results],
        "ep_lengths": [np.asarray(row).tolist() for row in callback.evaluations_length],  # means, of meta-learners,
        "successes": [np.asarray(row).tolist() for row in callback.evaluations_successes],
    }


def _steps_of_a_rollout(model: BaseAlgorithm) -> int:
    """Steps between two trainings; 1 where rollouts end with episodes."""
    if not isinstance(model, OffPolicyAlgorithm) or begins_afresh(model):
        return 1
    frequency: Any = model.train_freq
    return frequency.frequency if frequency.unit == TrainFrequencyUnit.STEP else 1


def _equal(observation: Any, last_obs: Any) -> bool:
    """Compare an environment's observation with the vectorized one, ``(1, ...)``; images may have been transposed."""
    if isinstance(observation, dict):
        return all(_equal(observation[key], last_obs[key]) for key in observation)
    observation, last_obs = np.sort(np.ravel(observation)), np.sort(np.ravel(last_obs))
    return observation.shape == last_obs.shape and np.array_equal(observation.astype(last_obs.dtype), last_obs)
