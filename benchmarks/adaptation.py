"""
Rows and figures of meta-learners: what MetaEvalCallback stored in the folders of runs.

    python -m benchmarks.adaptation collect pearl-small logs/studies/pearl-small
    python -m benchmarks.adaptation draw pearl-small
    python -m benchmarks.adaptation divergence maml-small logs/studies/maml-small

The first command adds the runs below a folder, VARIANT/ENVIRONMENT/seed-N/..., to benchmarks/results/NAME-adaptation.csv, one
row per episode of each task; episode "nothing" is that of an agent that does nothing. The second prints a table and draws a
figure for each environment. The third measures, for the final models of MAML, how far an inner step moves the policy:
KL(before || after) on the training tasks, in NAME-divergence.csv.
"""

import argparse
from collections import defaultdict, deque
from itertools import chain, cycle
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from stable_baselines3.common.callbacks import CallbackList
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import Logger

from benchmarks import rows as tables
from benchmarks.images import IMAGES, save_all
from sb3_hyper import MAML
from sb3_hyper.common.figures import GREY, PALETTE, finish
from sb3_hyper.experiments.checkpoints import COMPLETE
from sb3_hyper.experiments.study_files import load_study

RESULTS = Path(__file__).parent / "results"
KEYS = ("variant", "environment", "seed", "split", "step", "task", "episode")
Rows = dict[tuple[str, ...], str]
# (variant, environment, split) -> seed -> (steps, returns (n, n_tasks, n_episodes), nothing (n_tasks,))
Curves = dict[tuple[str, str, str], dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]]


def rows_of(path: Path, variant: str, environment: str, seed: str) -> Rows:
    """
    :param path: ``adaptation.npz`` of a run.
    :param variant: Its variant.
    :param environment: Its environment.
    :param seed: Its seed.
    :return: Keys -> return.
    """
    rows: Rows = {}
    with np.load(path) as data:
        for name in data.files:
            kind, _, split = name.partition("_")
            if kind == "nothing":
                for task, value in enumerate(data[name]):
                    rows[variant, environment, seed, split, "0", str(task), "nothing"] = f"{value:.3f}"
            elif kind == "returns":
                for (index, task, episode), value in np.ndenumerate(data[name]):
                    step = str(data["timesteps"][index])
                    rows[variant, environment, seed, split, step, str(task), str(episode)] = f"{value:.3f}"
    return rows


def file_of(name: str) -> Path:
    """
    :param name: Name of the results.
    :return: Their file.
    """
    return RESULTS / f"{name}-adaptation.csv"


def read(name: str) -> Rows:
    """
    :param name: Name of the results.
    :return: Keys -> return.
    """
    return {tuple(row[key] for key in KEYS): row["return"] for row in tables.read(file_of(name))}


def collect(name: str, folder: Path) -> int:
    """
    :param name: Name of the results.
    :param folder: Where the runs lie.
    :return: How many rows there are now; those of a finished run replace its older ones.
    """
    new: dict[tuple[str, ...], list[tables.Row]] = {}
    for path in sorted(folder.rglob("adaptation.npz")):
        if not path.with_name(COMPLETE).is_file():
            continue
        variant, environment, seed = path.relative_to(folder).parts[:3]
        run = variant, environment, seed.removeprefix("seed-")
        new[run] = [dict(zip(KEYS, key, strict=True)) | {"return": value} for key, value in rows_of(path, *run).items()]
    return tables.replace(file_of(name), list(chain.from_iterable(new.values())), KEYS[:3], _order)


def _order(row: tables.Row) -> tuple[str | int, ...]:
    return (*(row[key] for key in KEYS[:4]), int(row["step"]), int(row["task"]), row["episode"])


def curves_of(rows: Rows) -> Curves:
    """
    :param rows: Keys -> return.
    :return: The curves of each run.
    """
    by_run: dict[tuple[str, ...], Rows] = defaultdict(dict)
    for key, value in rows.items():
        by_run[key[:4]][key] = value
    curves: Curves = defaultdict(dict)
    for (variant, environment, seed, split), own in by_run.items():
        steps = sorted({int(key[4]) for key in own if key[6] != "nothing"})
        tasks = sorted({int(key[5]) for key in own})
        episodes = sorted({int(key[6]) for key in own if key[6] != "nothing"})

        run = (variant, environment, seed, split)
        returns = np.array(
            [[[float(rows[(*run, str(step), str(task), str(e))]) for e in episodes] for task in tasks] for step in steps]
        )
        nothing = np.array([float(rows[(*run, "0", str(task), "nothing")]) for task in tasks])
        curves[variant, environment, split][seed] = np.array(steps), returns, nothing
    return curves


def splits(name: str) -> list[str]:
    """
    :param name: Name of the results.
    :return: The kinds of tasks in them that are not training's.
    """
    there = {key[3] for key in read(name)}
    return [split for split in ("test", "ood") if split in there]


def table(name: str, split: str) -> str:
    """
    :param name: Name of the results.
    :param split: Which tasks.
    :return: Mean return of each episode at the last evaluation of each run, in Markdown; if there are two tasks also the
        last episode's return in each, and of MAML how far an inner step moves the policy, where that has been measured.
    """
    curves = {key: runs for key, runs in curves_of(read(name)).items() if key[2] == split}
    moved = read_divergence(name) if split == "test" else {}
    shapes = [returns.shape for runs in curves.values() for _, returns, _ in runs.values()]
    by_task = any(n_tasks == 2 for _, n_tasks, _ in shapes)
    n_episodes = max(shape[-1] for shape in shapes)
    episodes = [f"episode {number}" for number in range(1, n_episodes + 1)]
    header = ["environment", "variant", "seed", "steps", *episodes, "doing nothing"]
    header += ["last episode, by task"] if by_task else []
    header += ["KL of a step"] if moved else []
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    labels = {variant: one.label for variant, one in load_study(name).variants.items()}
    for variant, environment, _ in sorted(curves, key=lambda key: (key[1], list(labels).index(key[0]))):
        for seed, (steps, returns, nothing) in curves[variant, environment, split].items():
            means = [_short(mean) for mean in returns[-1].mean(axis=0)]
            means += [""] * (n_episodes - len(means))
            cells = [environment, labels[variant], seed, f"{steps[-1]:,}", *means, _short(nothing.mean())]
            if by_task:
                cells.append(", ".join(map(_short, returns[-1, :, -1])) if returns.shape[1] == 2 else "")
            if moved:
                cells.append(moved.get((variant, environment, seed), ""))
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 99.95 else f"{value:.1f}"


def figures(name: str, split: str) -> dict[str, Figure]:
    """
    :param name: Name of the results.
    :param split: Which tasks.
    :return: Name -> figure: returns before and after adaptation, for each environment.
    """
    drawn: dict[str, Figure] = {}
    labels = {variant: one.label for variant, one in load_study(name).variants.items()}
    curves = {key: runs for key, runs in curves_of(read(name)).items() if key[2] == split}
    for environment in dict.fromkeys(key[1] for key in curves):
        figure = Figure(figsize=(6.4, 5.0), layout="constrained")
        axes = figure.subplots()
        there = [key for key in curves if key[1] == environment]
        for (variant, place, _), (colour, _) in zip(there, cycle(PALETTE), strict=False):
            runs = curves[variant, place, split]
            for seed, (steps, returns, _) in runs.items():
                first = seed == next(iter(runs))
                label = f"{labels[variant]}, after ({len(runs)} {'seed' if len(runs) == 1 else 'seeds'})" if first else None
                axes.plot(steps, returns[..., -1].mean(axis=1), color=colour, linewidth=1.8, label=label)
                before = f"{labels[variant]}, before" if first else None
                axes.plot(steps, returns[..., 0].mean(axis=1), color=colour, linewidth=1, linestyle=":", label=before)
        nothing = np.mean([run[2].mean() for key, runs in curves.items() if key[1] == environment for run in runs.values()])
        axes.axhline(nothing, color=GREY, linestyle="--", linewidth=1, label="doing nothing")
        finish(axes, "Environment steps", f"Return, {split} tasks", environment)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        figure.legend(frameon=False, loc="outside lower center", ncols=1, fontsize="x-small")
        figure.patch.set_visible(True)
        drawn[f"{name}-{environment}-{split}"] = figure
    return drawn


def read_divergence(name: str) -> dict[tuple[str, str, str], str]:
    """
    :param name: Name of the results.
    :return: Variant, environment and seed -> KL(before || after) of the inner steps.
    """
    there = tables.read(RESULTS / f"{name}-divergence.csv")
    return {(row["variant"], row["environment"], row["seed"]): row["kl"] for row in there}


def divergence(name: str, folder: Path) -> None:
    """
    Measure how far the inner steps move the policies of finished runs. Those of multi-task training take them too.

    :param name: Name of the results.
    :param folder: Where the runs lie.
    """
    models = sorted(folder.rglob("maml/*/*-v*.zip"))
    if not models:
        raise SystemExit(f"There are no models of MAML below {folder}")
    for model_path in models:
        variant, environment, seed = model_path.relative_to(folder).parts[:3]
        model = MAML.load(model_path, env=make_vec_env(environment, 40), device="cpu")
        model.multi_task = False
        model.set_random_seed(0)
        model.set_logger(Logger(None, []))
        model.ep_info_buffer, model.ep_success_buffer = deque(), deque()
        callback = CallbackList([])
        callback.init_callback(model)
        model.collect(callback)
        kl = model.logger.name_to_value["rollout/adaptation_kl"]
        run = dict(zip(tables.RUN, (variant, environment, seed.removeprefix("seed-")), strict=True))
        path = RESULTS / f"{name}-divergence.csv"
        tables.replace(path, [run | {"kl": f"{kl:.3g}"}], tables.RUN, lambda row: [row[key] for key in tables.RUN])
        print(variant, environment, seed, f"{kl:.3g}")


def main() -> None:
    """Collect, draw or measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    collecting = commands.add_parser("collect")
    measuring = commands.add_parser("divergence")
    for command in (collecting, measuring):
        command.add_argument("name")
        command.add_argument("folder", type=Path)
    drawing = commands.add_parser("draw")
    drawing.add_argument("name")
    drawing.add_argument("--split", default="test")
    args = parser.parse_args()
    if args.command == "collect":
        print(f"{collect(args.name, args.folder)} rows")
    elif args.command == "divergence":
        divergence(args.name, args.folder)
    else:
        print(table(args.name, args.split))
        print("\n".join(map(str, save_all(figures(args.name, args.split), IMAGES, [file_of(args.name)]))))


if __name__ == "__main__":
    main()
