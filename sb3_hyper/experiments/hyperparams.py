"""The rl-zoo3 hyperparameters that this package ships."""

from importlib import resources
from pathlib import Path

HYPERPARAMS = Path(str(resources.files("sb3_hyper.hyperparams")))


def hyperparams_file(algo: str, preset: str = "slim") -> Path | None:
    """
    Find the hyperparameters of an algorithm.

    :param algo: rl-zoo3's name of the algorithm.
    :param preset: The hypernetwork they are for.
    :return: The YAML file; None if there is none.
    """
    path = HYPERPARAMS / (f"{algo}.yml" if preset == "slim" else f"{algo}_{preset}.yml")
    return path if path.is_file() else None
