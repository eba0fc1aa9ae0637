"""Every example runs, and every command in the README is one that exists."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
SHORT = {"compare_critics.py": ("--eval-episodes", "1")}  # beside few steps


def run_python(*arguments, cwd):
    done = subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_runs(path, tmp_path):
    assert run_python(path, "--steps", "300", *SHORT.get(path.name, ()), cwd=tmp_path).strip()


@pytest.mark.slow
def test_the_readmes_python_runs(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert blocks
    for block in blocks:
        short = re.sub(r"(total_timesteps=|learn\()[\d_]+", r"\g<1>150", block)
        run_python("-c", short, cwd=tmp_path)


def test_the_readmes_make_targets_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    used = set(re.findall(r"^make ([a-z-]+)", README, re.MULTILINE))
    assert {"train", "test"} <= used <= targets


def test_the_readmes_files_exist():
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert link.startswith("http") or (ROOT / link).exists(), link
    for path in re.findall(r"\b(?:hyperparams|examples|benchmarks|docs)/[\w./-]*\w", README):
        assert (ROOT / path).exists(), path


def test_the_project_names_no_machine():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    pattern = re.compile(r"(?<![\w.-])/(?:home|root|Users|mnt|opt)/\w")
    for name in listed.stdout.split():
        path = ROOT / name
        if path.suffix in (".py", ".md", ".yml", ".toml", ".cfg", ".txt", ".csv") and path.name != "test_examples.py":
            assert not pattern.search(path.read_text(encoding="utf-8")), name
