"""What a number was made with."""

import subprocess

from sb3_hyper.experiments import provenance


def git(folder, *arguments):
    author = ["-c", "user.name=A", "-c", "user.email=a@b.c"]
    return subprocess.run(
        ["git", "-C", folder, *author, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def commit_of(folder, monkeypatch):
    monkeypatch.setattr(provenance, "PACKAGE", folder)
    provenance.commit.cache_clear()
    try:
        return provenance.commit()
    finally:
        provenance.commit.cache_clear()


def test_the_commit_is_the_packages_own(tmp_path, monkeypatch):
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    assert commit_of(package, monkeypatch) == ""
    git(tmp_path, "init", "-q")
    (tmp_path / "other.txt").write_text("")
    git(tmp_path, "add", "other.txt")
    git(tmp_path, "commit", "-qm", "other")
    assert commit_of(package, monkeypatch) == ""  # installed within somebody else's repository
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "package")
    head = git(tmp_path, "rev-parse", "--short", "HEAD")
    assert commit_of(package, monkeypatch) == head
    (tmp_path / "results.csv").write_text("")
    assert commit_of(package, monkeypatch) == head  # results are no code
    (package / "__init__.py").write_text("changed")
    assert commit_of(package, monkeypatch) == f"{head}-dirty"


def test_versions_and_processor():
    assert "torch-" in provenance.versions()
    assert provenance.processor()


def test_beside_a_gpu_stands_the_processor_that_times_are_of(monkeypatch):
    monkeypatch.setattr(provenance.th.cuda, "get_device_name", lambda device: f"GPU of {device}")
    provenance.processor.cache_clear()
    assert provenance.processor("cuda:1") == f"GPU of cuda:1, {provenance.processor()}"
    provenance.processor.cache_clear()


def test_names_are_joined_once_each():
    assert provenance.joined(["a", "", "b", "a"]) == "a + b"
