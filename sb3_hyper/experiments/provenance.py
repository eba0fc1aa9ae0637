"""What a number was made with."""

import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("sb3_hyper", "stable_baselines3", "sb3_contrib", "torch", "gymnasium", "mujoco", "numpy")


@cache
def versions() -> str:
    """
    :return: Versions of Python and of the libraries that results depend on.
    """
    return " ".join([f"python-{platform.python_version()}", *(f"{name}-{version(name)}" for name in PACKAGES)])


@cache
def commit() -> str:
    """
    :return: The git commit of this package's checkout, marked if it has changes; empty if it is none.
    """
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
