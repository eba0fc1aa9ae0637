"""See before a study runs whether its names are known: a misspelt one is found now, not in the night."""

import importlib
import warnings
from typing import Any

import gymnasium as gym

from sb3_hyper.common.arguments import refuse_unknown
from sb3_hyper.experiments.algorithms import ALGORITHMS
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


def check_study(study: Study) -> None:
    """
    See whether there are the environments, policies, hyperparameters and callbacks of a study, and in policies and callbacks
    of this package the critics, the networks and the arguments. Nothing is made: what fits an environment is seen by its runs.

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
                hint = f" And rl-zoo3 takes {', '.join(OF_THE_ZOO)}."
                refuse_unknown(ALGORITHMS[variant.algo], settings.keys() - set(OF_THE_ZOO), hint)
                check_callbacks(settings.get("callback"))
            except ValueError as error:
                raise StudyError(f"study {study.name}: variant {name} on {environment}: {error}") from error


def untrained(study: Study) -> list[str]:
    """
    :param study: A study.
    :return: The variants that end before they learn.
    """
    starts = {
        name: max(variant.settings(environment).get("learning_starts", 0) for environment in study.environments)
        for name, variant in study.variants.items()
    }
    return [name for name, start in starts.items() if start >= study.steps]


def check_policy(algo: str, name: Any, kwargs: Any) -> None:
    """
    :param algo: rl-zoo3's name of an algorithm.
    :param name: A policy as rl-zoo3's files name it: an alias of the algorithm, or a class with its module.
    :param kwargs: Its arguments; text, which rl-zoo3 evaluates, is not looked at.
    :raises ValueError: If there is no such policy, it is none of the algorithm's, or what it is given is not known.
    """
    aliases = ALGORITHMS[algo].policy_aliases
    try:
        policy: Any = _named(name) if "." in str(name) else aliases[str(name)]
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


def check_callbacks(entries: Any) -> None:
    """
    :param entries: Callbacks as rl-zoo3's files name them: a class with its module, or ``{class: arguments}``, or a list.
    :raises ValueError: If there is no such class, or one of this package does not take what it is given.
    """
    for entry in entries if isinstance(entries, list) else [] if entries is None else [entries]:
        name, kwargs = next(iter(entry.items())) if isinstance(entry, dict) else (entry, {})
        try:
            callback = _named(name)
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError(f"there is no callback {name!r}, a class with its module ({error})") from error
        if _is_ours(callback):
            refuse_unknown(callback, kwargs or {})


def _named(name: Any) -> Any:
    module, _, attribute = str(name).rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def _is_ours(cls: Any) -> bool:
    return getattr(cls, "__module__", "").startswith("sb3_hyper.")
