"""
Milliseconds per ``train()`` step of unmodified SB3 algorithms, with different critics, measured in turn.

    python -m benchmarks.speed --threads 2
    python -m benchmarks.speed --threads 1 --study slim-search
    python -m benchmarks.speed --threads 2 --actions 1 8 32

The second form measures the variants of a study, beside stock SB3, whether they have been run or not; the third one what it
costs to evaluate many actions per state. All variants take turns within one process, so that a change of the machine's speed
meets all of them. A variant's figure is the median over the rounds; ratios are medians of the ratios within a round.
"""

import argparse
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import stable_baselines3
import torch as th
from rich.progress import track
from stable_baselines3 import SAC, TD3
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

import sb3_hyper
from benchmarks import rows as tables
from benchmarks.plain import PlainSACPolicy, PlainTD3Policy
from sb3_hyper.common.files import write_csv
from sb3_hyper.experiments import provenance
from sb3_hyper.experiments.studies import Study
from sb3_hyper.experiments.study_files import load_study
from sb3_hyper.experiments.table import MARKDOWN

RESULTS = Path(__file__).parent / "results"
NET_ARCH = [256, 256]
STOCK = "stock MLP"
ALGORITHMS = {"td3": (TD3, PlainTD3Policy), "sac": (SAC, PlainSACPolicy)}
Variants = Mapping[str, tuple[str | None, dict[str, Any]]]  # name -> policy (None: the plain one), policy_kwargs
VARIANTS: Variants = {
    STOCK: ("MlpPolicy", {"net_arch": NET_ARCH}),
    "mlp": ("HyperPolicy", {"critic": "mlp"}),
    "bounded": ("HyperPolicy", {"preset": "bounded"}),
    "slim": ("HyperPolicy", {"preset": "slim"}),
    "paper": ("HyperPolicy", {"preset": "paper"}),
    "plain paper": (None, {"net_arch": NET_ARCH}),
}


class SpaceEnv(gym.Env):
    """An environment of HalfCheetah's sizes that is never stepped."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (17,))
    action_space = gym.spaces.Box(-1, 1, (6,))


def variants_of(study: Study, algo: str) -> dict[str, tuple[str | None, dict[str, Any]]]:
    """
    :param study: A study.
    :param algo: Key of :data:`ALGORITHMS`
    :return: Stock SB3, and the study's variants for the algorithm.
    :raises ValueError: If there are none.
    """
    found = {name: variant.settings("default") for name, variant in study.variants.items() if variant.algo == algo}
    if not found:
        raise ValueError(f"study {study.name} has no variants for {algo}")
    return {STOCK: VARIANTS[STOCK]} | {
        name: ("HyperPolicy", settings.get("policy_kwargs", {})) for name, settings in found.items()
    }


def make_model(algo: str, policy: str | None, policy_kwargs: Mapping[str, Any], device: str) -> OffPolicyAlgorithm:
    """
    Make a model whose replay buffer is full of noise.

    :param algo: Key of :data:`ALGORITHMS`
    :param policy: Its policy; None for the plain one
    :param policy_kwargs: The policy's arguments
    :param device: torch device
    :return: A model that is ready for ``train()``
    """
    algorithm_class, plain_policy = ALGORITHMS[algo]
    model = algorithm_class(
        plain_policy if policy is None else policy,
        SpaceEnv(),
        learning_rate=3e-4,
        buffer_size=10_000,
        policy_kwargs=dict(policy_kwargs),
        device=device,
        seed=0,
    )
    rng = np.random.default_rng(0)
    buffer = model.replay_buffer
    assert buffer is not None
    for array in (buffer.observations, buffer.next_observations, buffer.rewards):
        array[:] = rng.standard_normal(array.shape)
    buffer.actions[:] = rng.uniform(-1, 1, buffer.actions.shape)
    buffer.full = True
    model._logger = stable_baselines3.common.logger.configure(None, [])
    return model


def seconds_per_step(model: OffPolicyAlgorithm, batch_size: int, n_steps: int) -> float:
    """
    Time ``train()``.

    :param model: The model
    :param batch_size: Batch size
    :param n_steps: Gradient steps in the call; a multiple of TD3's policy delay
    :return: Seconds per gradient step
    """
    start = time.perf_counter()
    model.train(gradient_steps=n_steps, batch_size=batch_size)
    if model.device.type == "cuda":
        th.cuda.synchronize()
    return (time.perf_counter() - start) / n_steps


def measure(algo: str, batch_size: int, models: Mapping[str, OffPolicyAlgorithm], rounds: int) -> dict[str, np.ndarray]:
    """
    Measure variants in turn.

    :param algo: Key of :data:`ALGORITHMS`
    :param batch_size: Batch size
    :param models: Variant -> its model
    :param rounds: How often each variant has its turn
    :return: Variant -> milliseconds per step, ``(rounds,)``
    """
    n_steps = {}
    for variant, model in models.items():  # warm up, and give each turn about half a second
        seconds_per_step(model, batch_size, 4)
        seconds = seconds_per_step(model, batch_size, 4)
        n_steps[variant] = 2 * max(1, min(100, round(0.25 / seconds)))
    times: dict[str, list[float]] = {variant: [] for variant in models}
    for _ in track(range(rounds), description=f"{algo}, batch {batch_size}"):
        for variant, model in models.items():
            times[variant].append(1000 * seconds_per_step(model, batch_size, n_steps[variant]))
    return {variant: np.array(values) for variant, values in times.items()}


def measure_actions(preset: str, batch_size: int, n_actions: list[int], rounds: int, device: str) -> dict[int, np.ndarray]:
    """
    Measure the evaluation of many actions per state, in turn.

    :param preset: The hypernetwork.
    :param batch_size: Number of states.
    :param n_actions: Numbers of actions per state.
    :param rounds: How often each has its turn.
    :param device: torch device
    :return: Number of actions -> milliseconds, ``(rounds,)``
    """
    env = SpaceEnv()
    critic: Any = SAC("HyperPolicy", env, buffer_size=1, policy_kwargs={"preset": preset}, device=device).critic
    obs = th.randn(batch_size, *env.observation_space.shape, device=device)
    actions = {n: 2 * th.rand(batch_size, n, *env.action_space.shape, device=device) - 1 for n in n_actions}

    def milliseconds(n: int) -> float:
        start = time.perf_counter()
        with th.no_grad():
            critic.action_values(obs, actions[n])
        if device.startswith("cuda"):
            th.cuda.synchronize()
        return 1000 * (time.perf_counter() - start)

    for n in n_actions:
        milliseconds(n)
    times: dict[int, list[float]] = {n: [] for n in n_actions}
    for _ in track(range(rounds), description=f"{preset}, batch {batch_size}, {n_actions} actions"):
        for n in n_actions:
            times[n].append(milliseconds(n))
    return {n: np.array(values) for n, values in times.items()}


def setting(device: str, threads: int, rounds: int) -> dict[str, Any]:
    """
    :param device: torch device
    :param threads: torch threads
    :param rounds: How often each variant had its turn
    :return: What a figure depends on beside the code.
    """
    return {
        "rounds": rounds,
        "device": device,
        "processor": provenance.processor(device),
        "threads": threads,
        "torch": th.__version__,
        "stable_baselines3": stable_baselines3.__version__,
        "sb3_hyper": sb3_hyper.__version__,
    }


def train_rows(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """
    :param args: The command line.
    :return: One row per algorithm, batch size and variant.
    """
    for algo in args.algos or ALGORITHMS:
        for batch_size in args.batch_sizes:
            models = {name: make_model(algo, *VARIANTS[name], args.device) for name in args.variants}
            times = measure(algo, batch_size, models, args.rounds)
            for variant, values in times.items():
                row = {"algo": algo, "batch_size": batch_size, "variant": variant, "ms_per_step": f"{np.median(values):.2f}"}
                for name, reference in (("times_stock_mlp", STOCK), ("speedup_over_plain", "plain paper")):
                    if reference in times:
                        ratios = values / times[reference]
                        ratio = np.median(ratios if name == "times_stock_mlp" else 1 / ratios)
                        row[name] = f"{ratio:.2f}"
                yield row


def study_rows(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """
    :param args: The command line.
    :return: One row per algorithm (by default those that the study has), batch size and variant of the study.
    """
    study = load_study(args.study)
    algos = args.algos or [algo for algo in ALGORITHMS if any(variant.algo == algo for variant in study.variants.values())]
    for algo, variants in {algo: variants_of(study, algo) for algo in algos}.items():
        for batch_size in args.batch_sizes:
            models = {name: make_model(algo, *variant, args.device) for name, variant in variants.items()}
            times = measure(algo, batch_size, models, args.rounds)
            for name, values in times.items():
                critic: Any = models[name].policy.critic
                yield {
                    "algo": algo,
                    "batch_size": batch_size,
                    "variant": name,
                    "parameters": sum(parameter.numel() for parameter in critic.parameters()),  # of the twin critics
                    "ms_per_step": f"{np.median(values):.2f}",
                    "times_stock_mlp": f"{np.median(values / times[STOCK]):.2f}",
                }


def table(study: Study) -> str:
    """
    :param study: A study whose variants have been measured.
    :return: What a gradient step of theirs costs, in Markdown.
    """
    measured = tables.read(study_file(study.name))
    labels = {STOCK: STOCK} | {name: variant.label for name, variant in study.variants.items()}
    lines = [
        "| algorithm | batch | variant | parameters of both critics | milliseconds per step | times the stock MLP's |",
        "|---|---:|---|---:|---:|---:|",
        *(
            f"| {row['algo'].upper()} | {row['batch_size']} | {labels[row['variant']].translate(MARKDOWN)} "
            f"| {int(row['parameters']):,} | {row['ms_per_step']} | {row['times_stock_mlp']} |"
            for row in measured
            if row["variant"] in labels
        ),
    ]
    return "\n".join(lines) if len(lines) > 2 else "No variant has been measured yet."


def study_file(name: str) -> Path:
    """
    :param name: Name of a study.
    :return: The rows of what a step of its variants costs.
    """
    return RESULTS / f"{name}-speed.csv"


def action_rows(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """
    :param args: The command line.
    :return: One row per preset, batch size and number of actions.
    """
    for preset in sb3_hyper.PRESETS:
        for batch_size in args.batch_sizes:
            times = measure_actions(preset, batch_size, args.actions, args.rounds, args.device)
            for n_actions, values in times.items():
                ratio = np.median(values / times[args.actions[0]])
                row = {"preset": preset, "batch_size": batch_size, "actions_per_state": n_actions}
                yield row | {"ms": f"{np.median(values):.2f}", f"times_{args.actions[0]}": f"{ratio:.2f}"}


def main() -> None:
    """Measure, print a table, write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=th.get_num_threads(), help="torch threads")
    parser.add_argument("--device", default="cpu", help="torch device (default: cpu)")
    parser.add_argument("--algos", nargs="+", choices=list(ALGORITHMS))
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[100, 256])
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--rounds", type=int, default=15)
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--study", metavar="NAME", help="measure the variants of this study instead")
    kinds.add_argument("--actions", nargs="+", type=int, metavar="N", help="evaluate so many actions per state instead")
    parser.add_argument("--output", type=Path, help="CSV file (default: benchmarks/results/speed-DEVICE-THREADS.csv)")
    args = parser.parse_args()
    th.set_num_threads(args.threads)
    warnings.filterwarnings("ignore", message="A critic of")
    kind = "train" if args.actions is None and args.study is None else "study" if args.study else "actions"
    make_rows = {"train": train_rows, "study": study_rows, "actions": action_rows}[kind]
    default = RESULTS / f"{'speed' if kind == 'train' else kind}-{args.device}-{args.threads}-threads.csv"
    output = args.output or (study_file(args.study) if args.study else default)

    rows = []
    for row in make_rows(args):
        rows.append(row | setting(args.device, args.threads, args.rounds))
        print("  ".join(f"{key}={value}" for key, value in row.items()))
    write_csv(output, rows[0], (row.values() for row in rows))
    print(f"Rows: {output}")


if __name__ == "__main__":
    main()
