"""What holds where Meta-World is not installed."""

import subprocess
import sys
from types import ModuleType

import gymnasium as gym
import mujoco
import pytest

import sb3_hyper  # noqa: F401 (registers the environments)

IDS = ["MetaWorldML1-v0", "MetaWorldML10-v0", "MetaWorldML45-v0"]


def test_importing_the_package_does_not_import_metaworld():
    code = "import sys, sb3_hyper; print('metaworld' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"


@pytest.mark.parametrize("name", IDS)
def test_without_metaworld_the_error_says_what_to_install(monkeypatch, name):
    monkeypatch.setitem(sys.modules, "metaworld", None)
    with pytest.raises(ImportError, match=r"environment of its own, pip install -e '\.\[metaworld\]' in a clone"):
        gym.make(name, **({"env_name": "reach-v3"} if name == IDS[0] else {}))


def test_with_another_mujoco_the_error_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "metaworld", ModuleType("metaworld"))
    monkeypatch.setattr(mujoco, "__version__", "4.0.0")
    with pytest.raises(ImportError, match=r"MuJoCo 4\.0\.0.*MuJoCo 3\.3\.0"):
        gym.make("MetaWorldML10-v0")
