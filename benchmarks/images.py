"""Figures of the documentation, each with a fingerprint of the rows that it was drawn from."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from sb3_hyper.common.files import replacing

IMAGES = Path(__file__).parents[1] / "docs" / "images"
KEY = "Source"  # of PNG's keywords


def fingerprint(files: Iterable[Path]) -> str:
    """
    :param files: Files of rows; those that do not exist count as empty.
    :return: What changes with their content.
    """
    content = b"".join(path.read_bytes() for path in files if path.is_file())
    return hashlib.sha256(content).hexdigest()[:16]


def save_all(figures: Mapping[str, Figure], folder: Path, files: Iterable[Path]) -> list[Path]:
    """
    :param figures: Name -> figure.
    :param folder: Where the images go.
    :param files: The rows that they were drawn from.
    :return: The images.
    """
    paths, source = [], fingerprint(files)
    for name, figure in figures.items():
        figure.patch.set_visible(True)  # dark pages have no place for dark letters
        paths.append(folder / f"{name}.png")
        with replacing(paths[-1]) as temporary:
            figure.savefig(temporary, format="png", dpi=110, facecolor="white", metadata={KEY: source})
    return paths


def source_of(image: Path) -> str:
    """
    :param image: A figure.
    :return: The fingerprint of the rows that it was drawn from; empty if it has none.
    """
    with Image.open(image) as opened:
        return str(opened.info.get(KEY, ""))
