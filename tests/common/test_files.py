import os

import pytest

from sb3_hyper.common import files
from sb3_hyper.common.files import read_json, replacing, sync, write_json


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    for text in ("one", "two"):
        with replacing(path) as temporary:
            temporary.write_text(text)
            assert temporary.suffix == ".txt"
            assert not path.exists() or path.read_text() == "one"
        assert path.read_text() == text
    assert os.listdir(path.parent) == ["file.txt"]


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail():
        with replacing(path) as temporary:
            temporary.write_text("new")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_an_interruption_after_the_last_moment_stays_one(tmp_path, monkeypatch):
    def interrupted(old, new, replace=os.replace):
        replace(old, new)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_json(tmp_path / "file.json", 1)
    assert os.listdir(tmp_path) == ["file.json"]


def test_all_that_a_folder_holds_is_synced(tmp_path, monkeypatch):
    (tmp_path / "deep").mkdir()
    for name in ("model.zip", "deep/vecnormalize.pkl"):
        (tmp_path / name).touch()
    synced = []
    monkeypatch.setattr(files, "_sync", synced.append)
    files.sync(tmp_path)
    assert set(synced) == {tmp_path, *tmp_path.rglob("*")}


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "target.json").write_text("1")
    (tmp_path / "link.json").symlink_to(tmp_path / "target.json")
    write_json(tmp_path / "link.json", [2])
    assert (tmp_path / "link.json").is_symlink()
    assert read_json(tmp_path / "target.json") == [2]


@pytest.mark.parametrize("path", [os.devnull, "."])
def test_devices_and_folders_are_refused(path):
    with pytest.raises(ValueError, match="no file that could be replaced"), replacing(path):
        pass


def test_what_is_not_there_reads_as_nothing(tmp_path):
    assert read_json(tmp_path / "none.json") is None


def test_windows_syncs_no_folders_and_only_what_may_be_written(tmp_path, monkeypatch):
    opened = []

    def record(path, flags, open_=os.open):
        opened.append((os.fspath(path), flags))
        return open_(path, flags)

    monkeypatch.setattr(files.sys, "platform", "win32")
    write_json(tmp_path / "deep" / "file.json", 1)
    monkeypatch.setattr(files.os, "open", record)
    sync(tmp_path)
    assert opened == [(str(tmp_path / "deep" / "file.json"), os.O_RDWR)]
