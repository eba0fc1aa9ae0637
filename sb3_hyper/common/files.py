"""Files that are written whole or not at all."""

import contextlib
import csv
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """
    Write a file beside its place, then move it there.

    :param path: The file to write or replace.
    :return: A context with the path to write to; nothing happens to ``path`` if the block fails.
    :raises ValueError: If ``path`` is there and no file, a device or a folder.
    """
    path = Path(path).resolve()
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is no file that could be replaced")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    try:
        yield Path(name)
        os.chmod(name, 0o644)  # a temporary file is private, a result is not
        _sync(name)  # or a power cut may leave a file without content in its place
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)  # an interruption may come after it was moved
        raise


def write_csv(path: str | os.PathLike[str], header: Iterable[Any], rows: Iterable[Iterable[Any]]) -> None:
    """
    :param path: The file to write or replace.
    :param header: Names of the columns.
    :param rows: Their values.
    """
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """
    :param path: The file to write or replace.
    :param value: Plain data.
    """
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value), encoding="utf-8")


def read_json(path: str | os.PathLike[str]) -> Any:
    """
    :param path: The file.
    :return: What it holds; None if there is no such file.
    :raises ValueError: If it is damaged.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:  # no text, or no JSON
        raise ValueError(f"{path} is damaged: {error}") from error


def digest(path: str | os.PathLike[str]) -> str:
    """
    :param path: A file.
    :return: The SHA-256 of its content.
    """
    sha = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            sha.update(chunk)
    return sha.hexdigest()


def sync(folder: str | os.PathLike[str]) -> None:
    """
    Wait until all that a folder holds is on the disk.

    :param folder: A folder.
    """
    for path in (*Path(folder).rglob("*"), Path(folder)):
        _sync(path)


def _sync(path: str | os.PathLike[str]) -> None:
    on_windows = sys.platform == "win32"  # which syncs files that may be written, and no folders
    if on_windows and os.path.isdir(path):
        return
    handle = os.open(path, os.O_RDWR if on_windows else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
