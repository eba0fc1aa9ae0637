"""The environment that rl-zoo3 trained a model in, as its files beside the model tell."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import yaml

from sb3_hyper.experiments.hyperparams import named_classes

NOT_REPEATED = ("vec_env_wrapper", "frame_stack")  # they wrap several environments at once

PYTHON = "tag:yaml.org,2002:python/"


class PlainValues(yaml.SafeLoader):
    """Reads YAML with Python objects in it, and makes none: ordered mappings are mappings, others are nothing."""


def _construct_python(loader: PlainValues, tag: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode) and tag == "object/apply:collections.OrderedDict":
        return dict(*loader.construct_sequence(node, deep=True))
    if isinstance(node, yaml.SequenceNode) and tag == "tuple":
        return tuple(loader.construct_sequence(node, deep=True))
    return None


PlainValues.add_multi_constructor(PYTHON, _construct_python)


def zoo_folder(model: Path, env_id: str) -> Path:
    """
    :param model: A model's file.
    :param env_id: Id of its environment, be it with the module that registers it (``module:Id``).
    :return: The folder in which rl-zoo3 keeps what else it knows about the run.
    """
    return model.parent / env_id.rpartition(":")[2].replace("/", "-")


def trained_env(model: Path, env_id: str) -> tuple[Callable[[], gym.Env], str]:
    """
    :param model: A model's file.
    :param env_id: Id of its environment.
    :return: What makes that environment, and what it does so with: ``env_kwargs`` and ``env_wrapper`` of the run, if
        rl-zoo3's files are there and have them.
    :raises ValueError: If a file cannot be read, or the run had wrappers that cannot be repeated here.
    """
    folder = zoo_folder(model, env_id)
    hyperparams = _read(folder / "config.yml")
    if unknown := [name for name in NOT_REPEATED if hyperparams.get(name)]:
        raise ValueError(
            f"{model} was trained with {' and '.join(unknown)} ({folder / 'config.yml'}), which cannot be repeated here"
        )
    kwargs = {**(hyperparams.get("env_kwargs") or {}), **(_read(folder / "args.yml").get("env_kwargs") or {})}
    wrappers = named_classes("env_wrapper", hyperparams.get("env_wrapper"))

    def make_env() -> gym.Env:
        env = gym.make(env_id, **kwargs)
        for wrapper, its_kwargs in wrappers:
            env = wrapper(env, **its_kwargs)
        return env

    parts = {"env_kwargs": kwargs, "env_wrapper": hyperparams.get("env_wrapper")}
    return make_env, ", ".join(f"{name} {part}" for name, part in parts.items() if part)


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), PlainValues)  # a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} cannot be read: {' '.join(str(error).split())}") from error
    return content if isinstance(content, dict) else {}
