"""The rl-zoo3 hyperparameters that this package ships."""

import importlib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

HYPERPARAMS = Path(str(resources.files("sb3_hyper.hyperparams")))

SHARED = {"ddpg": "td3"}  # DDPG has TD3's policies; what td3.yml sets, it has too


def hyperparams_file(algo: str, preset: str | None = None) -> Path | None:
    """
    Find the hyperparameters of an algorithm.

    :param algo: rl-zoo3's name of the algorithm.
    :param preset: The hypernetwork they are for; None: the recommended one.
    :return: The YAML file; None if there is none.
    """
    for path in (HYPERPARAMS / f"{SHARED.get(algo, algo)}.yml", HYPERPARAMS / f"{algo}_paper.yml"):
        if path.is_file():
            policy_kwargs = yaml.safe_load(path.read_text(encoding="utf-8"))["default"]["policy_kwargs"]
            if preset in (None, policy_kwargs["preset"]):
                return path
    return None


def refuse_numbers_as_text(settings: Mapping[str, Any]) -> None:
    """
    See that no number has become text.

    :param settings: What a YAML file holds.
    :raises ValueError: If one has; the message names it.
    """
    for key, value in settings.items():
        if isinstance(value, Mapping):
            refuse_numbers_as_text(value)
        elif isinstance(value, list):
            refuse_numbers_as_text({f"{key}[{index}]": item for index, item in enumerate(value)})
        elif isinstance(value, str) and is_number(value):
            raise ValueError(
                f"{key} must be a number, got the text {value!r}. (YAML reads 1e-3 as text: write 0.001 or !!float 1e-3.)"
            )


def class_by_name(name: Any) -> Any:
    """
    :param name: A class with its module.
    :return: The class.
    :raises ImportError: If there is no such module.
    :raises AttributeError: If it has no such class.
    """
    module, _, attribute = str(name).rpartition(".")
    if not module or module.startswith("."):
        raise ImportError("no module is named")
    return getattr(importlib.import_module(module), attribute)


def named_classes(role: str, entries: Any) -> list[tuple[Any, dict[str, Any]]]:
    """
    :param role: What they are in rl-zoo3's files: ``"callback"``, ``"env_wrapper"``, ...
    :param entries: Classes as they are named there: a class with its module, ``{class: arguments}``, or a list of these.
    :return: The classes and their arguments.
    :raises ValueError: If there is no such class, or an entry is none of these.
    """
    classes = []
    for entry in entries if isinstance(entries, list) else [] if entries is None else [entries]:
        name, kwargs = next(iter(entry.items())) if isinstance(entry, dict) and len(entry) == 1 else (entry, None)
        if not isinstance(name, str) or not isinstance(kwargs, dict | None):
            raise ValueError(f"{role}: {entry!r} is neither a class with its module nor {{class: arguments}}")
        try:
            named = class_by_name(name)
        except Exception as error:  # whatever a module does when it is imported
            raise ValueError(f"there is no {role} {name!r}: a class with its module ({error})") from error
        if not callable(named):
            raise ValueError(f"{role} {name!r} is a {type(named).__name__}, not a class")
        classes.append((named, kwargs or {}))
    return classes


def is_number(text: str) -> bool:
    """
    :param text: Any text.
    :return: Whether Python reads it as a number.
    """
    try:
        float(text)
    except ValueError:
        return False
    return True
