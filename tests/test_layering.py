"""Imports go down the floors of the house only, and some floors know nothing of some libraries."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "sb3_hyper"
FLOORS = {
    "common": 0,
    "networks": 0,
    "tasks": 1,
    "policies": 1,
    "meta": 2,
    "diagnostics": 2,
    "experiments": 3,
    "__init__": 3,
    "zoo": 4,
    "cli": 4,
    "__main__": 5,
}
FORBIDDEN = {
    "common": ("stable_baselines3", "sb3_contrib", "gymnasium", "rl_zoo3"),
    "networks": ("stable_baselines3", "sb3_contrib", "gymnasium", "rl_zoo3"),
    "tasks": ("torch", "rl_zoo3"),
    "policies": ("rl_zoo3",),
    "diagnostics": ("rl_zoo3",),
    "meta": ("rl_zoo3",),
    "experiments": ("rl_zoo3",),
    "__init__": ("rl_zoo3", "matplotlib"),
}
FILES = sorted(PACKAGE.rglob("*.py"))


def room(name: str) -> str:
    """``sb3_hyper.networks.spec`` -> ``networks``; the package itself is ``__init__``."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imported_names(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names.append(node.module)
    return names


def room_of(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def test_the_package_was_found():
    assert len(FILES) > 15


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_only(path):
    here = room_of(path)
    assert here in FLOORS, f"{here} stands on no floor"
    for name in imported_names(path):
        if name.split(".")[0] == "sb3_hyper":
            other = room(name)
            assert other == here or FLOORS[other] < FLOORS[here], f"{path} imports {name}"
        else:
            assert name.split(".")[0] not in FORBIDDEN.get(here, ()), f"{path} imports {name}"


@pytest.mark.parametrize(
    ("line", "name"),
    [("import sb3_hyper.zoo", "sb3_hyper.zoo"), ("def f():\n    from sb3_hyper.policies import td3", "sb3_hyper.policies")],
)
def test_imports_are_seen_wherever_they_stand(tmp_path, line, name):
    path = tmp_path / "module.py"
    path.write_text(line)
    assert imported_names(path) == [name]
