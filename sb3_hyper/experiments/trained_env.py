"""The environment that rl-zoo3 trained a model in, as its files beside the model tell."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import yaml

from sb3_hyper.diagnostics.environments import KNOWN_AROUND
from sb3_hyper.experiments.hyperparams import named_classes

OF_ENVIRONMENTS = ("env_kwargs", "env_wrapper", "vec_env_wrapper", "frame_stack")
PYTHON = "tag:yaml.org,2002:python/"


class PythonObject(NamedTuple):
    """Stands where a file has a Python object, which is not made."""

    tag: str


class PlainValues(yaml.SafeLoader):
    """Reads YAML with Python objects in it, and makes none: ordered mappings are mappings."""


def _construct_python(loader: PlainValues, tag: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode) and tag == "object/apply:collections.OrderedDict":
        return dict(*loader.construct_sequence(node, deep=True))
    if isinstance(node, yaml.SequenceNode) and tag == "tuple":
        return tuple(loader.construct_sequence(node, deep=True))
    return PythonObject(tag)


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
    :raises ValueError: If a file cannot be read, or the run had something that cannot be repeated here.
    """
    folder = zoo_folder(model, env_id)
    parts = {name: part for name, part in _read(folder / "config.yml").items() if name in OF_ENVIRONMENTS and part}
    kwargs = parts.get("env_kwargs") or _read(folder / "args.yml").get("env_kwargs") or {}
    try:
        if not isinstance(kwargs, dict) or _has_objects([kwargs, parts]):
            raise ValueError("other values than plain ones")
        if parts.get("frame_stack", 1) != 1:
            raise ValueError("frame_stack")
        for wrapper, _ in named_classes("vec_env_wrapper", parts.get("vec_env_wrapper")):
            if not issubclass(wrapper, KNOWN_AROUND):
                raise ValueError(f"vec_env_wrapper {wrapper.__name__}")
        wrappers = named_classes("env_wrapper", parts.get("env_wrapper"))
        for wrapper, _ in wrappers:
            if not (isinstance(wrapper, type) and issubclass(wrapper, gym.Wrapper)):
                raise ValueError(f"env_wrapper {wrapper.__name__}, which is no gymnasium.Wrapper")
    except (ValueError, TypeError) as error:
        raise ValueError(f"{model} was trained in an environment that cannot be repeated here ({folder}): {error}") from error

    def make_env() -> gym.Env:
        env = gym.make(env_id, **kwargs)
        for wrapper, its_kwargs in wrappers:
            env = wrapper(env, **its_kwargs)
        return env

    told = {"env_kwargs": kwargs, "env_wrapper": parts.get("env_wrapper")}
    return make_env, ", ".join(f"{name} {part}" for name, part in told.items() if part)


def _has_objects(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_objects, (*value.keys(), *value.values())))
    return isinstance(value, PythonObject) or (isinstance(value, list | tuple) and any(map(_has_objects, value)))


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), PlainValues)  # a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} cannot be read: {' '.join(str(error).split())}") from error
    return content if isinstance(content, dict) else {}
