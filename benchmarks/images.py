"""Figures of the documentation."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from sb3_hyper.common.files import replacing

IMAGES = Path(__file__).parents[1] / "docs" / "images"


def save_all(figures: Mapping[str, Figure], folder: Path) -> list[Path]:
    """
    :param figures: Name -> figure.
    :param folder: Where the images go.
    :return: The images.
    """
    paths = []
    for name, figure in figures.items():
        paths.append(folder / f"{name}.png")
        with replacing(paths[-1]) as temporary:
            figure.savefig(temporary, dpi=110, facecolor="white")
    return paths
