"""How much chance is in an update: ``sb3-hyper update-noise MODEL.zip --env ENV``."""

import argparse
import csv
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from stable_baselines3.common.env_util import make_vec_env

from sb3_hyper.common.files import replacing, write_csv
from sb3_hyper.meta.maml.maml import MAML
from sb3_hyper.meta.maml.update_noise import noise_table, update_noise

HEADER = ("label", "update", "task", "before", "after")


def write_populations(path: Path, populations: Mapping[str, np.ndarray]) -> None:
    """
    :param path: The CSV file. It is written whole or not at all.
    :param populations: Label -> returns before and after adaptation, ``(n_updates, n_tasks, 2)``
    """
    rows = [
        [label, update, task, f"{returns[update, task, 0]:.3f}", f"{returns[update, task, -1]:.3f}"]
        for label, returns in populations.items()
        for update, task in np.ndindex(returns.shape[:2])
    ]
    write_csv(path, HEADER, rows)


def read_populations(path: Path) -> dict[str, np.ndarray]:
    """
    :param path: A CSV file that :func:`write_populations` wrote.
    :return: The populations.
    """
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    populations = {}
    for label in dict.fromkeys(row["label"] for row in rows):
        own = [row for row in rows if row["label"] == label]
        shape = max(int(row["update"]) for row in own) + 1, max(int(row["task"]) for row in own) + 1, 2
        populations[label] = np.array([[float(row["before"]), float(row["after"])] for row in own]).reshape(shape)
    return populations


def plot_populations(populations: Mapping[str, np.ndarray]) -> Any:
    """
    Fig. 5: the scores of independent updates from the same parameters, before and after adaptation.

    :param populations: Label -> returns, ``(n_updates, n_tasks, 2)``
    :return: The figure.
    """
    from matplotlib.figure import Figure

    from sb3_hyper.common.figures import PALETTE, finish

    figure = Figure(figsize=(6.4, 1.2 + 0.7 * len(populations)), layout="constrained")
    axes = figure.subplots()
    rng = np.random.default_rng(0)
    for row, returns in enumerate(populations.values()):
        for column, marker, (colour, _) in ((0, "o", PALETTE[0]), (-1, "^", PALETTE[1])):
            scores = returns[..., column].mean(axis=1)
            height = row + 0.15 * (1 if column else -1) + rng.uniform(-0.06, 0.06, len(scores))
            label = ("before adaptation", "after")[column] if row == 0 else None
            axes.plot(scores, height, marker, color=colour, markersize=4, alpha=0.6, label=label)
    axes.set_yticks(range(len(populations)), list(populations))
    axes.invert_yaxis()
    finish(axes, "Mean return in the test tasks, one point per update")
    figure.legend(frameon=False, loc="outside upper center", ncols=2, fontsize="small")
    return figure


def run(args: argparse.Namespace, console: Console) -> int:
    """
    :param args: The command line.
    :param console: Where to print.
    :return: Exit status.
    """
    if args.output.suffix == ".png" or args.envs < 1 or args.updates < 2:
        console.print("--envs must be positive, --updates 2 at least, and --output is a CSV file: a .png is drawn beside it")
        return 2
    if len({path.resolve() for path in args.models}) < len(args.models):
        console.print(f"A model is given twice: {', '.join(map(str, args.models))}", markup=False)
        return 2
    models = {}
    for path in args.models:
        try:
            env = make_vec_env(args.env, args.envs)
            model = MAML.load(path, env=env, device=args.device)
        except (gym.error.Error, AttributeError, KeyError, TypeError, ValueError, AssertionError, OSError) as error:
            console.print(f"{path} is no MAML model for {args.env}: {error}", markup=False)
            return 2
        label = path.stem if len({path.stem for path in args.models}) == len(args.models) else str(path)
        models[label] = model
    populations: dict[str, np.ndarray] = {}
    output: Path = args.output
    for label, model in models.items():
        count = functools.partial(track, description=label, console=console)
        populations[label] = update_noise(model, args.updates, seed=args.seed, progress=count)  # type: ignore[arg-type]
        write_populations(output, populations)  # each model takes long: none is lost with those after it
    figure = plot_populations(populations)
    with replacing(output.with_suffix(".png")) as temporary:
        figure.savefig(temporary, dpi=150)
    table = Table("model", "adaptation", "mean return", "variance", "coefficient of variation")
    for label, when, statistics in noise_table(populations):
        numbers = f"{statistics.mean:.1f}", f"{statistics.variance:.2f}", f"{statistics.coefficient:.3f}"
        table.add_row(label, when, *numbers)
    console.print(table)
    console.print(f"{output} and {output.with_suffix('.png')} are written", markup=False)
    return 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """
    :param parser: The parser of the command.
    """
    parser.add_argument("models", type=Path, nargs="+", help="MAML models that were saved (.zip)")
    parser.add_argument("--env", required=True, help="id of their environment")
    parser.add_argument("--envs", type=int, default=20, help="environments side by side (default: %(default)s)")
    parser.add_argument("--updates", type=int, default=50, help="updates of each model, 2 at least (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of what is drawn (default: %(default)s)")
    parser.add_argument("--device", default="auto", help="torch device (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("update_noise.csv"), help="(default: %(default)s)")
    parser.set_defaults(function=run)
