"""See before a study's first run whether all of its runs can start: a misspelt name is found now, not in the night."""

import importlib
import warnings
from typing import Any

import gymnasium as gym
from stable_baselines3.common.utils import ConstantSchedule

from sb3_hyper.experiments.algorithms import ALGORITHMS
from sb3_hyper.experiments.studies import Study, StudyError, Variant
from sb3_hyper.policies.hyper_policy import HyperCriticMixin


def check_study(study: Study) -> None:
    """
    See whether the environments can be made here, and the hyper policies of all variants in them.

    :param study: The study, or the part of it that is to run.
    :raises StudyError: If one cannot; the message says which and why.
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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the runs themselves warn
            env = gym.make(environment)
            for name, variant in study.variants.items():
                try:
                    _check_policy(variant, environment, env)
                except (ValueError, TypeError, ImportError, AttributeError) as error:
                    raise StudyError(f"study {study.name}: variant {name} on {environment}: {error}") from error
            env.close()


def _check_policy(variant: Variant, environment: str, env: gym.Env) -> None:
    """What policies of other kinds take is not known here; neither is what a wrapper makes of observations."""
    settings = variant.settings(environment)
    policy = policy_class(variant.algo, settings["policy"])
    kwargs = settings.get("policy_kwargs") or {}
    if not issubclass(policy, HyperCriticMixin) or not isinstance(kwargs, dict) or settings.get("env_wrapper"):
        return
    aliases = ALGORITHMS[variant.algo].policy_aliases
    if not issubclass(policy, tuple(aliases.values())):
        raise ValueError(f'{policy.__name__} is no policy of {variant.algo}; "HyperPolicy" names the one that fits')
    spaces: Any = env.observation_space, env.action_space
    policy(*spaces, ConstantSchedule(3e-4), **kwargs)


def policy_class(algo: str, name: str) -> type[Any]:
    """
    :param algo: rl-zoo3's name of an algorithm.
    :param name: A policy as rl-zoo3's files name it: an alias of the algorithm, or a class with its module.
    :return: The class.
    :raises ValueError: If there is none.
    """
    aliases = ALGORITHMS[algo].policy_aliases
    module, _, attribute = name.rpartition(".")
    if not module and name not in aliases:
        raise ValueError(f"policy {name!r} is none of {algo}: {', '.join(aliases)}, or a class with its module")
    return getattr(importlib.import_module(module), attribute) if module else aliases[name]
