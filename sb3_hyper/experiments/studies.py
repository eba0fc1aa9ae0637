"""What a study is: a named list of training runs."""

import copy
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from sb3_hyper.experiments.algorithms import ALGORITHMS, META_ALGORITHMS
from sb3_hyper.experiments.hyperparams import HYPERPARAMS, refuse_numbers_as_text

WATCHING = "sb3_hyper.diagnostics.callbacks."  # callbacks that leave no trace in what they watch
PROTOCOL = 2  # of how a run is carried out: another one, other numbers


class StudyError(ValueError):
    """A study's definition, or its use, is wrong; the message says how."""


class Variant(BaseModel):
    """
    One arm of a study: an algorithm with its hyperparameters.

    ``hyperparams`` replace entries of the file's (``policy_kwargs`` entry by entry), as rl-zoo3's ``-params`` do.
    """

    model_config = ConfigDict(extra="forbid")

    algo: str = Field("", description="rl-zoo3's name of the algorithm; that of the file if none, and td3 without one")
    file: str | None = Field(None, description="one of this package's hyperparameter files, e.g. td3; none: start empty")
    hyperparams: dict[str, Any] = Field(default_factory=dict)
    label: str = ""
    priority: int = Field(1, description="runs of a lower number come first")

    def settings(self, environment: str) -> dict[str, Any]:
        """
        :param environment: Id of the environment.
        :return: The complete rl-zoo3 hyperparameters.
        """
        settings: dict[str, Any] = {}
        if self.file is not None:
            entries = yaml.safe_load((HYPERPARAMS / f"{self.file}.yml").read_text(encoding="utf-8"))
            settings = copy.deepcopy(entries.get(environment, entries["default"]))
        for key, value in self.hyperparams.items():
            if isinstance(value, dict) and isinstance(settings.get(key), dict):
                settings[key] = settings[key] | value
            else:
                settings[key] = value
        return settings

    @model_validator(mode="after")
    def _check(self) -> "Variant":
        self.algo = self.algo or (self.file or "td3").split("_")[0]
        if self.file is not None and not (HYPERPARAMS / f"{self.file}.yml").is_file():
            files = ", ".join(sorted(path.stem for path in HYPERPARAMS.glob("*.yml")))
            raise ValueError(f"file {self.file!r} is not one of {files}")
        if "policy" not in self.settings("default"):
            raise ValueError("neither the file nor hyperparams names a policy")
        if self.algo not in ALGORITHMS:
            raise ValueError(f"algo {self.algo!r} is not one of {', '.join(sorted(ALGORITHMS))}")
        refuse_numbers_as_text(self.hyperparams)
        try:
            json.dumps(self.hyperparams, sort_keys=True)
        except TypeError as error:
            raise ValueError(f"hyperparams: numbers, text, lists and mappings by text only ({error})") from error
        if "n_timesteps" in self.hyperparams:
            raise ValueError("hyperparams: n_timesteps is the study's steps")
        buffer_size = self.hyperparams.get("buffer_size", 1)
        if not isinstance(buffer_size, int) or buffer_size < 1:
            raise ValueError(f"hyperparams: buffer_size must be a positive whole number, got {buffer_size!r}")
        return self


class Study(BaseModel):
    """A study. Every variant runs on every environment with seeds 0 to ``seeds - 1``."""

    model_config = ConfigDict(extra="forbid")

    name: str
    title: str
    description: str = ""
    environments: list[str] = Field(min_length=1)
    gym_packages: list[str] = Field(default_factory=list, description="packages that register the environments")
    seeds: PositiveInt
    steps: PositiveInt
    eval_freq: PositiveInt = 5000
    eval_episodes: PositiveInt = 10
    threads: PositiveInt = 1
    random_returns: dict[str, float] = Field(
        default_factory=dict, description="returns of random actions in environments that this package does not know"
    )
    times: bool = Field(default=True, description="whether times tell of training; not so where callbacks measure at length")
    baseline: str = Field(description="variant that the others are compared with")
    scale: str = Field(
        "", description="variant whose mean final score is 1 on the scale of normalised scores; the baseline if none"
    )
    variants: dict[str, Variant] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> "Study":
        for name, variant in self.variants.items():
            if re.fullmatch(r"\w[\w-]*", name) is None:
                raise ValueError(f"variant {name!r}: letters, digits, - and _ only, and no - in front")
            variant.label = variant.label or name
        if re.fullmatch(r"[A-Za-z0-9][\w.-]*", self.name) is None:
            raise ValueError(f"name {self.name!r}: letters, digits, -, _ and . only, it names files")
        if len(set(self.environments)) < len(self.environments):
            raise ValueError(f"environments are not all different: {', '.join(self.environments)}")
        labels = [variant.label for variant in self.variants.values()]
        if len(set(labels)) < len(labels):
            raise ValueError(f"variants: labels are not all different: {', '.join(labels)}")
        self.scale = self.scale or self.baseline
        for role, name in (("baseline", self.baseline), ("scale", self.scale)):
            if name not in self.variants:
                raise ValueError(f"{role} {name!r} is not one of the variants {', '.join(self.variants)}")
        if self.steps < self.eval_freq:
            raise ValueError(f"steps ({self.steps}) end before the first evaluation (eval_freq {self.eval_freq})")
        return self

    @model_validator(mode="after")
    def _check_eval_freq(self) -> "Study":
        for name, variant in self.variants.items():
            for environment in self.environments:
                n_envs = variant.settings(environment).get("n_envs", 1)
                if isinstance(n_envs, int) and n_envs > self.eval_freq:
                    raise ValueError(
                        f"eval_freq ({self.eval_freq}) is less than one step of all environments of variant {name} ({n_envs})"
                    )
        return self

    def is_whole(self, algo: str, steps: Sequence[int] | np.ndarray) -> bool:
        """
        :param algo: rl-zoo3's name of a run's algorithm.
        :param steps: Environment steps at its evaluations.
        :return: Whether these are all evaluations of a run. (With many environments, steps are not multiples of eval_freq.)
        """
        if algo in META_ALGORITHMS:  # an iteration may pass several steps at which it would be evaluated; the last one is
            return len(steps) > 0 and max(steps) >= self.steps
        return len(steps) >= self.steps // self.eval_freq and max(steps) > self.steps - self.eval_freq

    def only(
        self, variants: Sequence[str] | None = None, environments: Sequence[str] | None = None, seeds: int | None = None
    ) -> "Study":
        """
        A part of the study, to carry it out first, or on one of several machines.

        :param variants: Names of variants; None for all.
        :param environments: Ids of environments; None for all.
        :param seeds: How many seeds, from 0 on; None for all.
        :return: A study of the same name that has these runs alone. They are the same runs: their definitions do not change.
        :raises StudyError: If one is none of the study's.
        """
        for what, asked, known in (("variants", variants, self.variants), ("environments", environments, self.environments)):
            if unknown := [name for name in asked or () if name not in known]:
                raise StudyError(f"study {self.name}: {what}: {', '.join(unknown)} is not one of {', '.join(known)}")
        if not 1 <= (self.seeds if seeds is None else seeds) <= self.seeds:
            raise StudyError(f"study {self.name}: seeds: {seeds} is not a number from 1 to {self.seeds}")
        part = {
            "variants": {name: self.variants[name] for name in self.variants if variants is None or name in variants},
            "environments": [name for name in self.environments if environments is None or name in environments],
            "seeds": self.seeds if seeds is None else seeds,
        }
        return self.model_copy(update=part)

    def runs(self) -> "Iterator[Run]":
        """
        All runs in their order: by priority, then seed by seed, so that the table is balanced at any time.

        :return: The runs.
        """
        for priority in sorted({variant.priority for variant in self.variants.values()}):
            for seed in range(self.seeds):
                for environment in self.environments:
                    for name, variant in self.variants.items():
                        if variant.priority == priority:
                            yield Run(self, name, environment, seed)


@dataclass(frozen=True)
class Run:
    """
    One training run of a study.

    :param study: The study.
    :param variant: Name of the variant.
    :param environment: Id of the environment.
    :param seed: Its seed.
    """

    study: Study = field(hash=False, repr=False)
    variant: str
    environment: str
    seed: int

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What names the run in the results."""
        return self.study.name, self.variant, self.environment, str(self.seed)

    @property
    def label(self) -> str:
        """The run's name, which is also its folder below the study's."""
        return f"{self.variant}/{self.environment.replace('/', '-')}/seed-{self.seed}"

    @property
    def algo(self) -> str:
        """The algorithm."""
        return self.study.variants[self.variant].algo

    def settings(self) -> dict[str, Any]:
        """
        :return: Contents of the run's hyperparameter file.
        """
        settings = self.study.variants[self.variant].settings(self.environment)
        settings["n_timesteps"] = self.study.steps
        # a buffer longer than the run would only make checkpoints larger (meta-learners' grow as they are filled)
        if issubclass(ALGORITHMS[self.algo], OffPolicyAlgorithm) and self.algo not in META_ALGORITHMS:
            settings["buffer_size"] = min(settings.get("buffer_size", self.study.steps), self.study.steps)
        return {self.environment: settings}

    @property
    def definition(self) -> str:
        """A fingerprint of all that the study's definition says about the run: other definition, other fingerprint."""
        return self._fingerprint(self.settings())

    @property
    def training(self) -> str:
        """The same without callbacks that only watch: runs of other studies that have it, and the seed, are the same runs."""
        settings = self.settings()
        callbacks = settings[self.environment].get("callback") or []
        callbacks = callbacks if isinstance(callbacks, list) else [callbacks]
        others = [one for one in callbacks if not (one if isinstance(one, str) else next(iter(one))).startswith(WATCHING)]
        settings[self.environment]["callback"] = others
        return self._fingerprint(settings)

    def _fingerprint(self, settings: dict[str, Any]) -> str:
        study = self.study
        content = [PROTOCOL, self.algo, study.steps, study.eval_freq, study.eval_episodes, study.threads, settings]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]

    def arguments(self) -> list[str]:
        """
        :return: Arguments of ``python -m sb3_hyper.zoo`` that start the run or go on with it, from within its folder.
        """
        study = self.study
        options = {
            "--algo": self.algo,
            "--env": self.environment,
            "-n": study.steps,
            "--seed": self.seed,
            "--eval-freq": study.eval_freq,
            "--eval-episodes": study.eval_episodes,
            "--num-threads": study.threads,
            "--conf-file": "settings.yml",
            "-f": ".",
            "--verbose": 0,
            "--tensorboard-log": "tensorboard",
        }
        packages = ["--gym-packages", *study.gym_packages] if study.gym_packages else []
        return ["train", "--resume", *(str(word) for option in options.items() for word in option), *packages]
