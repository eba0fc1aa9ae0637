"""See before a study runs whether its names are known: a misspelt one is found now, not in the night."""

import importlib
import warnings
from collections.abc import Mapping
from typing import Any

import gymnasium as gym

from sb3_hyper.common.arguments import refuse_unknown
from sb3_hyper.experiments.algorithms import ALGORITHMS
from sb3_hyper.experiments.hyperparams import class_by_name, named_classes
from sb3_hyper.experiments.studies import Study, StudyError
from sb3_hyper.networks.spec import resolve_spec
from sb3_hyper.policies.critic_names import check_critic
from sb3_hyper.policies.hyper_policy import HyperCriticMixin

# what rl-zoo3 takes from the hyperparameters before the algorithm does
OF_THE_ZOO = (
    "n_timesteps",
    "n_envs",
    "normalize",
    "env_kwargs",
    "monitor_kwargs",
    "frame_stack",
    "env_wrapper",
    "vec_env_wrapper",
    "callback",
    "noise_type",
    "noise_std",
)
# and what it gives to algorithms itself
GIVEN_BY_THE_ZOO = {"env", "seed", "verbose", "device", "tensorboard_log"}


def check_study(study: Study) -> None:
    """
    See whether there are the environments, policies, hyperparameters, callbacks and wrappers of a study, and in those of this
    package the critics, the networks and the arguments. Nothing is made: what fits an environment is seen by its runs.

    :param study: The study, or the part of it that is to run.
    :raises StudyError: If one is not known; the message says which, and what is.
    """
    for package in study.gym_packages:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise StudyError(f"study {study.name}: gym_packages: {error}") from error
    for environment in study.environments:
        if environment not in gym.registry:
            raise StudyError(
                f"study {study.name}: environments: {environment!r} is not registered with gymnasium; "
                "gym_packages names packages that register more"
            )
        for name, variant in study.variants.items():
            settings = variant.settings(environment)
            try:
                check_policy(variant.algo, settings["policy"], settings.get("policy_kwargs"))
                check_hyperparams(variant.algo, settings)
            except ValueError as error:
                raise StudyError(f"study {study.name}: variant {name} on {environment}: {error}") from error


def untrained(study: Study) -> list[str]:
    """
    :param study: A study.
    :return: The variants that end before they learn, each with its environment.
    """
    return [
        f"{name} on {environment}"
        for name, variant in study.variants.items()
        for environment in study.environments
        if variant.settings(environment).get("learning_starts", 0) >= study.steps
    ]


def check_hyperparams(algo: str, settings: Mapping[str, Any]) -> None:
    """
    :param algo: rl-zoo3's name of an algorithm.
    :param settings: Its hyperparameters, as in rl-zoo3's files.
    :raises ValueError: If neither the algorithm nor rl-zoo3 takes one of them, or there is no callback or wrapper of a name.
    """
    if given := sorted(settings.keys() & GIVEN_BY_THE_ZOO):
        raise ValueError(f"{', '.join(given)}: not hyperparameters, rl-zoo3 gives them to the algorithm itself")
    hint = f" And rl-zoo3 takes {', '.join(OF_THE_ZOO)}."
    refuse_unknown(ALGORITHMS[algo], settings.keys() - set(OF_THE_ZOO), hint)
    for role in ("callback", "env_wrapper", "vec_env_wrapper"):
        for named, kwargs in named_classes(role, settings.get(role)):
            if isinstance(named, type) and _is_ours(named):
                refuse_unknown(named, kwargs)


def check_policy(algo: str, name: Any, kwargs: Any) -> None:
    """
    :param algo: rl-zoo3's name of an algorithm.
    :param name: A policy as rl-zoo3's files name it: an alias of the algorithm, or a class with its module.
    :param kwargs: Its arguments; text, which rl-zoo3 evaluates, is not looked at.
    :raises ValueError: If there is no such policy, it is none of the algorithm's, or what it is given is not known.
    """
    aliases = ALGORITHMS[algo].policy_aliases
    try:
        policy: Any = class_by_name(name) if "." in str(name) else aliases[str(name)]
    except (ImportError, AttributeError, KeyError) as error:
        raise ValueError(
            f"there is no policy {name!r}: {algo} has {', '.join(aliases)}, or a class with its module"
        ) from error
    if not _is_ours(policy):
        return
    if not issubclass(policy, tuple(aliases.values())):
        ours = [alias for alias in aliases if alias.startswith("Hyper")]
        raise ValueError(f"{policy.__name__} is no policy of {algo}" + (f", which has {', '.join(ours)}" if ours else ""))
    if isinstance(kwargs, dict):
        refuse_unknown(policy, kwargs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the runs themselves warn
            resolve_spec(kwargs.get("preset", "slim"), kwargs.get("network_kwargs"))
        if issubclass(policy, HyperCriticMixin) and "critic" in kwargs:
            check_critic(kwargs["critic"], None, None)


def _is_ours(cls: Any) -> bool:
    return getattr(cls, "__module__", "").startswith("sb3_hyper.")
