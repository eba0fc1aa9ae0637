"""Studies as YAML files: those of this package by name, others by path, with errors that say where and what to write."""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from sb3_hyper.experiments.hyperparams import is_number
from sb3_hyper.experiments.studies import Study, StudyError, Variant

DEFINITIONS = Path(str(resources.files("sb3_hyper.experiments") / "definitions"))


class UniqueKeys(yaml.SafeLoader):
    """YAML's safe loader, which refuses a key that is there twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As in the parent; what ``<<`` brings in may be replaced."""
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            raise yaml.constructor.ConstructorError(None, None, f"{', '.join(twice)} is there twice", node.start_mark)
        return super().construct_mapping(node, deep)


def load_study(name: str) -> Study:
    """
    Load a definition.

    :param name: Name of a study in this package, or path of a YAML file.
    :return: The study.
    :raises StudyError: If there is none, or it is not a valid definition; the message names file and key.
    """
    path = Path(name) if name.endswith((".yml", ".yaml")) else DEFINITIONS / f"{name}.yml"
    if not path.is_file():
        raise StudyError(f"There is no study {name!r}. Known: {', '.join(study_names())}, or the path of a YAML file.")
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), UniqueKeys)  # a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise StudyError(f"{path} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise StudyError(f"{path} holds no study: a mapping of keys is expected, got {type(content).__name__}")
    try:
        return Study.model_validate({"name": path.stem, **content})
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, fault['loc'])) or 'study'}: {_explained(fault)}" for fault in error.errors()]
        raise StudyError("\n".join([f"{path}:", *lines])) from error


def _explained(fault: Mapping[str, Any]) -> str:
    """What pydantic found, in words that tell what to write."""
    if fault["type"] == "extra_forbidden":
        kind: type[BaseModel] = Variant if "variants" in fault["loc"] else Study
        return f"there is no such key. Accepted: {', '.join(kind.model_fields)}"
    if isinstance(fault["input"], str) and is_number(fault["input"]):
        return f"{fault['msg']} (YAML reads {fault['input']} as text: write {float(fault['input']):g} as plain digits)"
    return str(fault["msg"])


def study_names() -> list[str]:
    """
    :return: Names of the studies in this package.
    """
    return sorted(path.stem for path in DEFINITIONS.glob("*.yml"))
