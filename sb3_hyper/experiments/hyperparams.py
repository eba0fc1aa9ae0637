"""The rl-zoo3 hyperparameters that this package ships."""

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
