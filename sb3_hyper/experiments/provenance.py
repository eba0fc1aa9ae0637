"""What a number was made with."""

import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch as th

PACKAGES = ("sb3_hyper", "stable_baselines3", "sb3_contrib", "torch", "gymnasium", "mujoco", "numpy")
PACKAGE = Path(__file__).resolve().parents[1]


@cache
def versions() -> str:
    """
    :return: Versions of Python and of the libraries that results depend on.
    """
    return " ".join([f"python-{platform.python_version()}", *(f"{name}-{version(name)}" for name in PACKAGES)])


@cache
def commit() -> str:
    """
    :return: The git commit of this package's checkout, marked if the code has changed since; empty if the package is
        installed and no checkout, also where the installation lies in somebody else's repository.
    """
    try:
        _git("ls-files", "--error-unmatch", "__init__.py")
        changes = _git("status", "--porcelain", "--", ".", "../hyperparams")
        return _git("rev-parse", "--short", "HEAD") + ("-dirty" if changes else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(PACKAGE), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@cache
def processor(device: str = "cpu") -> str:
    """
    :param device: torch device.
    :return: The name of the processor that does the work, and before it that of the GPU. Times mean nothing without.
    """
    if device.startswith("cuda"):
        return f"{th.cuda.get_device_name(device)}, {processor()}"
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    return name


def joined(names: list[str]) -> str:
    """
    :param names: What the parts of an interrupted run were made with, in their order.
    :return: One text, each name once.
    """
    return " + ".join(dict.fromkeys(name for name in names if name))
