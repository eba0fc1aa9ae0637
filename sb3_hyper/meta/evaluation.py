"""How good a meta-learner is in tasks that it has not seen, measured while it learns."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.vec_env import VecEnv

from sb3_hyper.common.arguments import refuse_less
from sb3_hyper.common.files import replacing, write_csv
from sb3_hyper.common.random_states import untouched_random_states
from sb3_hyper.meta.curves import AdaptationCurve, adaptation_curve, do_nothing_returns, mean_of_known
from sb3_hyper.tasks.interface import SPLITS, Task, TaskSet, check_split


class MetaEvalCallback(EvalCallback):
    """
    Evaluates a meta-learner's adaptation on training, test and out-of-distribution tasks.

    Where ``EvalCallback`` has the return of an episode, there is here the return of the last episode in each test task: in
    ``evaluations.npz``, in ``eval/mean_reward``, and in the choice of the best model. Beside it, in ``log_path``:

    - ``adaptation.npz``: ``timesteps (n,)``, and for each split ``returns_test``, ``lengths_test``
      ``(n, n_tasks, n_episodes)``, ``nothing_test (n_tasks,)``; with ``stochastic=True`` ``returns_test_stochastic`` too;
      where environments say ``info["is_success"]``, ``successes_test`` (NaN for an episode of which they do not).
    - ``adaptation.csv``: its returns, one row per episode.

    The logger gets ``eval/test_0``, ``eval/test_1``, ...: the mean return of each episode; ``eval/test_nothing``: that of
    doing nothing; ``eval/adaptation_steps``: the environment steps of an adaptation, last episode excepted;
    ``eval/success_rate``: the share of last episodes that succeeded, where that is known. Training with the callback is
    bit-identical to training without it.

    :param eval_env: A task environment, vectorized or not: as many tasks are evaluated at a time as it has environments.
    :param tasks: The tasks; None: the model's.
    :param splits: Which of them, ``"test"`` first. One with the same tasks as another before it is left out.
    :param n_train_tasks: Evaluate at most so many of the training tasks.
    :param n_episodes: Points of the curve, the last of which counts: episodes for PEARL (3 by default), for MAML inner steps
        and one (``n_inner_steps`` and one by default).
    :param eval_freq: Evaluate every so many environment steps of training (not calls, as ``EvalCallback`` does), between two
        iterations, and at the end: the step that is noted is that up to which the parameters have learned. (Within
        ``EveryNTimesteps``, which does not tell when an iteration begins, at the step that it is called.)
    :param deterministic: The actor's mode instead of samples. None: as the authors evaluate, PEARL's mode and MAML's samples.
    :param stochastic: Whether samples are evaluated beside the mode.
    :param seed: Seed of evaluations: all of them start from the same states.
    :param kwargs: Further arguments of ``EvalCallback``.
    """

    def __init__(
        self,
        eval_env: gym.Env | VecEnv,
        tasks: TaskSet | None = None,
        splits: Sequence[str] = ("test", "train", "ood"),
        n_train_tasks: int = 30,
        n_episodes: int | None = None,
        eval_freq: int = 10_000,
        deterministic: bool | None = None,
        stochastic: bool = False,
        seed: int = 10_000,
        **kwargs: Any,
    ) -> None:
        if "n_eval_episodes" in kwargs:
            raise ValueError("MetaEvalCallback has n_episodes, the points of the curve, in place of n_eval_episodes")
        super().__init__(eval_env, eval_freq=eval_freq, **kwargs)
        refuse_less(1, n_episodes=1 if n_episodes is None else n_episodes)
        self.tasks, self.n_train_tasks = tasks, n_train_tasks
        self.splits = (splits,) if isinstance(splits, str) else tuple(splits)
        for split in self.splits:
            check_split(split, SPLITS)
        self.n_episodes, self.stochastic = n_episodes, stochastic
        self._deterministic = deterministic
        self._last_step, self._last_update, self._going_on = 0, -1, True
        self._begun: tuple[int, int] | None = None  # steps and updates when the iteration began, if we were told
        self._n_before = 0  # evaluations of trainings before this one
        self.seed = seed
        self.evaluated: dict[str, Sequence[Task]] = {}
        self.nothing: dict[str, np.ndarray] = {}
        self.curves: dict[str, list[np.ndarray]] = {}
        self.n_curves = 0

    def _init_callback(self) -> None:
        if not hasattr(self.model, "adaptation_curve"):
            raise ValueError(f"MetaEvalCallback is for models that can adapt to a task, {type(self.model).__name__} cannot")
        super()._init_callback()
        self.model._check_env(self.eval_env)  # type: ignore[attr-defined]
        own: bool = self.model.evaluated_deterministically  # type: ignore[attr-defined]
        self.deterministic = own if self._deterministic is None else self._deterministic
        self.n_points: int = self.n_episodes or self.model.n_curve_points  # type: ignore[attr-defined]
        task_set: TaskSet = self.model.tasks if self.tasks is None else self.tasks  # type: ignore[attr-defined]
        there = {split: tasks for split, tasks in task_set if split in self.splits and tasks}
        there["train"] = there.get("train", ())[: self.n_train_tasks]
        evaluated: dict[str, Sequence[Task]] = {}
        for split in self.splits:
            if there.get(split) and there[split] not in evaluated.values():  # of two directions, training has the same
                evaluated[split] = there[split]
        if not evaluated:
            raise ValueError(f"There are no tasks in {', '.join(self.splits)} to evaluate")
        if evaluated != self.evaluated:
            if self.curves:
                raise ValueError(
                    f"MetaEvalCallback has evaluations of other tasks in {self.log_path}: make one for each task set"
                )
            self.evaluated, self.nothing = evaluated, {}
        if self.n_points <= self.model.n_unadapted_points < self.model.n_curve_points:  # type: ignore[attr-defined]
            warnings.warn(
                f"All {self.n_points} points of the curve come before the model knows anything of the task: more than "
                f"{self.model.n_unadapted_points} are needed to see it adapt (n_episodes, --eval-episodes)"  # type: ignore[attr-defined]
            )

    def _on_training_start(self) -> None:
        super()._on_training_start()
        self._begun = None
        if self.model.num_timesteps < self._last_step:  # another training
            self._last_step, self._last_update, self._n_before = 0, -1, len(self.evaluations_timesteps)

    def _on_rollout_start(self) -> None:
        self._begun = self.model.num_timesteps, self.model._n_updates
        self._going_on = self._evaluate_if_due()

    def _on_step(self) -> bool:
        return self._going_on if self._begun is not None else self._evaluate_if_due()

    def _on_training_end(self) -> None:
        if self._is_new() and self._learned_steps() not in self.evaluations_timesteps[self._n_before :][-1:]:
            self.evaluate()

    def _is_new(self) -> bool:
        """Whether there has been an update since the last evaluation; of the same parameters there is nothing new to say."""
        return self.eval_freq > 0 and self.model._n_updates != self._last_update

    def _evaluate_if_due(self) -> bool:
        if self.n_curves < len(self.evaluations_timesteps):  # an interrupted run goes on
            self._last_step = self.evaluations_timesteps[-1]
        due = self._is_new() and self.model.num_timesteps // self.eval_freq > self._last_step // self.eval_freq
        return self.evaluate() if due else True

    def _learned_steps(self) -> int:
        """Up to which step the parameters have learned: those of an iteration that was broken off count for nothing."""
        if self._begun is not None and self._begun[1] == self.model._n_updates:
            return self._begun[0]
        return self.model.num_timesteps

    def evaluate(self) -> bool:
        """
        Evaluate now.

        :return: Whether to go on training.
        """
        self._last_step, self._last_update = self._learned_steps(), self.model._n_updates
        policy = getattr(self.model.policy, "_orig_mod", self.model.policy)  # of one that was compiled
        kept = policy.get_extra_state()
        with untouched_random_states():
            try:
                curves = self._measure()
            finally:
                policy.set_extra_state(kept)
        main = next(iter(self.evaluated))
        self.last_mean_reward = float(curves[f"returns_{main}"][:, -1].mean())
        if self.log_path is not None:
            self._keep(curves, main)
        self._log(curves, main)
        if not self.last_mean_reward > self.best_mean_reward:  # nor is NaN better than anything
            return self._on_event() if self.callback is not None else True
        if self.verbose >= 1:
            print("New best mean return after adaptation")
        self.best_mean_reward = self.last_mean_reward
        if self.best_model_save_path is not None:
            self.model.save(Path(self.best_model_save_path) / "best_model")
        going_on = self.callback_on_new_best is None or self.callback_on_new_best.on_step()
        return going_on and (self.callback is None or self._on_event())

    def _measure(self) -> dict[str, np.ndarray]:
        curves: dict[str, np.ndarray] = {}
        for split, tasks in self.evaluated.items():
            if split not in self.nothing:
                self.nothing[split] = do_nothing_returns(self.eval_env, tasks, self.seed)
            kinds = {"": self.deterministic, **({"_stochastic": False} if self.stochastic and self.deterministic else {})}
            for suffix, deterministic in kinds.items():
                th.manual_seed(self.seed)
                np.random.seed(self.seed)

                def adapt(env: VecEnv, deterministic: bool = deterministic) -> AdaptationCurve:
                    return self.model.adaptation_curve(env, self.n_points, deterministic)  # type: ignore[attr-defined]

                curve = adaptation_curve(adapt, self.eval_env, tasks, self.seed)
                curves |= {f"{kind}_{split}{suffix}": values for kind, values in curve._asdict().items()}
        return curves

    def _keep(self, curves: dict[str, np.ndarray], main: str) -> None:
        assert self.log_path is not None
        path = Path(self.log_path).with_name("adaptation.npz")
        if self.n_curves < len(self.evaluations_timesteps) and path.is_file():  # the run was interrupted and goes on
            with np.load(path) as data:
                before = np.isin(data["timesteps"], self.evaluations_timesteps)
                unknown = {name: np.full((len(before), *curve.shape), np.nan) for name, curve in curves.items()}
                self.curves = {name: list((data[name] if name in data else unknown[name])[before]) for name in curves}
        for name, curve in curves.items():
            self.curves.setdefault(name, []).append(curve)
        self.evaluations_timesteps.append(self._last_step)
        self.evaluations_results.append(curves[f"returns_{main}"][:, -1].tolist())
        self.evaluations_length.append(curves[f"lengths_{main}"][:, -1].tolist())
        self.evaluations_successes = [curve[:, -1].tolist() for curve in self.curves[f"successes_{main}"]]
        self.n_curves = len(self.evaluations_timesteps)
        nothing = {f"nothing_{split}": returns for split, returns in self.nothing.items()}
        steps = np.array(self.evaluations_timesteps)
        kept = {name: np.array(all_) for name, all_ in self.curves.items()}
        kept = {name: all_ for name, all_ in kept.items() if not (name.startswith("successes") and np.isnan(all_).all())}
        with replacing(path) as temporary:
            np.savez(temporary, timesteps=steps, **kept, **nothing)  # type: ignore[arg-type]
        with replacing(Path(self.log_path).with_suffix(".npz")) as temporary:
            results, lengths = np.array(self.evaluations_results), np.array(self.evaluations_length)
            is_known = f"successes_{main}" in kept
            successes = {"successes": np.array(self.evaluations_successes)} if is_known else {}
            np.savez(temporary, timesteps=steps, results=results, ep_lengths=lengths, **successes)  # type: ignore[arg-type]
        write_adaptation_csv(path.with_suffix(".csv"), steps, kept, self.deterministic)

    def _log(self, curves: dict[str, np.ndarray], main: str) -> None:
        for name, returns in curves.items():
            kind, _, split = name.partition("_")
            if kind == "returns":
                means = returns.mean(axis=0)
                for episode, mean in enumerate(means):
                    self.logger.record(f"eval/{split}_{episode}", float(mean))
                if self.verbose >= 1:
                    values = " -> ".join(f"{mean:.1f}" for mean in means)
                    print(f"Eval num_timesteps={self._last_step}, {len(returns)} {split} tasks, by episode: {values}")
        for split, nothing in self.nothing.items():
            self.logger.record(f"eval/{split}_nothing", float(nothing.mean()))
        self.logger.record("eval/mean_reward", self.last_mean_reward)
        lengths = curves[f"lengths_{main}"]
        self.logger.record("eval/mean_ep_length", float(lengths[:, -1].mean()))
        rate = float(mean_of_known(curves[f"successes_{main}"][:, -1]))
        if not np.isnan(rate):
            self.logger.record("eval/success_rate", rate)
            if self.verbose >= 1:
                print(f"Success rate: {100 * rate:.2f}%")
        n_played: int = self.model.n_episodes_per_point  # type: ignore[attr-defined]
        self.logger.record("eval/adaptation_steps", float(n_played * lengths[:, :-1].sum(axis=1).mean()))
        self.logger.record("time/total_timesteps", self._last_step, exclude="tensorboard")
        self.logger.dump(self._last_step)


def write_adaptation_csv(path: str | Path, steps: np.ndarray, curves: Mapping[str, np.ndarray], deterministic: bool) -> None:
    """
    Write adaptation curves, one row per episode.

    :param path: Where to. The file is written whole or not at all.
    :param steps: Environment steps of training at each evaluation, ``(n,)``
    :param curves: ``returns_<split>``, perhaps with ``_stochastic``: ``(n, n_tasks, n_episodes)``
    :param deterministic: What those without ``_stochastic`` are.
    """
    rows = []
    for name, returns in curves.items():
        if not name.startswith("returns_"):
            continue
        split, _, stochastic = name.removeprefix("returns_").partition("_")
        for (evaluation, task, episode), value in np.ndenumerate(returns):
            rows.append([int(steps[evaluation]), split, deterministic and not stochastic, task, episode, f"{value:.3f}"])
    write_csv(path, ["step", "split", "deterministic", "task", "episode", "return"], rows)
