"""
What PEARL's pieces cost: weights generated once per task against once per row, and whole gradient steps.

    python -m benchmarks.pearl_speed --threads 1

Sizes are those of HalfCheetah's tasks (20 observations, 6 actions): a gradient step has 16 tasks with 256 transitions each,
acting is one step in each of 16 environments. The plain version is that of the paper's code: z is repeated for every row
and every row's weights are generated; when acting, they are generated anew at each step. All variants take turns; a figure
is the median over the rounds, of processor time.
"""

import argparse
import functools
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch as th
from rich.progress import track
from stable_baselines3.common.env_util import make_vec_env

from sb3_hyper import PEARL
from sb3_hyper.common.files import write_csv
from sb3_hyper.experiments import provenance
from sb3_hyper.meta.pearl.networks import HyperActor
from sb3_hyper.networks.spec import resolve_spec

OBS_DIM, ACTION_DIM, LATENT_DIM, N_TASKS, BATCH = 20, 6, 5, 16, 256
# name -> policy, policy_kwargs
UPDATES: dict[str, tuple[str, dict[str, Any]]] = {
    "mlp": ("MlpPolicy", {}),
    "slim actor, mlp critic": ("HyperPolicy", {"preset": "slim", "critic": "mlp"}),
    "slim, critic_meta=z": ("HyperPolicy", {"preset": "slim", "critic_meta": "z"}),
    "slim, critic_meta=obs": ("HyperPolicy", {"preset": "slim"}),
    "paper actor, mlp critic": ("HyperPolicy", {"critic": "mlp"}),
    "paper, critic_meta=z": ("HyperPolicy", {"critic_meta": "z"}),
    "paper, critic_meta=obs": ("HyperPolicy", {}),
}


def actor_pieces(preset: str, device: str) -> dict[str, Callable[[], Any]]:
    """
    :param preset: The hypernetwork.
    :param device: torch device.
    :return: What to time: forward and backward pass, and acting, in both ways.
    """
    actor = HyperActor(OBS_DIM, LATENT_DIM, ACTION_DIM, resolve_spec(preset)).to(device)
    obs, z = th.randn(N_TASKS, BATCH, OBS_DIM, device=device), th.randn(N_TASKS, LATENT_DIM, device=device)
    rows, repeated = obs.flatten(0, 1).unsqueeze(1), z.repeat_interleave(BATCH, dim=0)
    one = th.randn(N_TASKS, 1, OBS_DIM, device=device)
    with th.no_grad():
        condition = actor.condition(z)
        difference = (actor(obs, z)[0].flatten(0, 1) - actor(rows, repeated)[0].squeeze(1)).abs().max().item()
    if difference > 1e-6:
        raise RuntimeError(f"The two ways differ by {difference}")

    def learn(obs: th.Tensor, z: th.Tensor) -> None:
        actor.zero_grad()
        mean, log_std = actor(obs, z)
        (mean.square().mean() + log_std.square().mean()).backward()

    @th.no_grad()
    def act(anew: bool) -> None:
        actor.evaluate(actor.condition(z) if anew else condition, one)

    return {
        "actor, once per task": lambda: learn(obs, z),
        "actor, once per row": lambda: learn(rows, repeated),
        "acting, weights kept": lambda: act(False),
        "acting, weights anew": lambda: act(True),
    }


def make_model(policy: str, policy_kwargs: dict[str, Any], device: str) -> PEARL:
    """
    :param policy: Name of the policy.
    :param policy_kwargs: Its arguments.
    :param device: torch device.
    :return: A model that is ready for ``train()``, its replay buffer full of noise.
    """
    env = make_vec_env("HalfCheetahVel-v0", 1)
    sizes = dict(n_train_tasks=N_TASKS, n_test_tasks=1, buffer_size=N_TASKS * 1000, meta_batch_size=N_TASKS)
    model = PEARL(policy, env, policy_kwargs=policy_kwargs, batch_size=BATCH, seed=0, device=device, **sizes)  # type: ignore[arg-type]
    model._setup_learn(1)
    model._log_interval = None
    tasks = np.arange(N_TASKS)
    for _ in range(500):
        noise = {name: np.random.randn(N_TASKS, dim) for name, dim in model.replay_buffer.dims.items()}
        model.replay_buffer.add(tasks, {**noise, "dones": np.zeros(N_TASKS)}, np.ones(N_TASKS, dtype=bool))
    return model


def seconds(piece: Callable[[], Any], repeats: int, device: str) -> float:
    """
    :param piece: What to time.
    :param repeats: How often to call it.
    :param device: torch device.
    :return: Seconds of a call: of processor time on a CPU, on the clock elsewhere.
    """
    clock = time.process_time if device == "cpu" else time.perf_counter
    start = clock()
    for _ in range(repeats):
        piece()
    if device != "cpu":
        th.cuda.synchronize()
    return (clock() - start) / repeats


def main() -> None:
    """Measure, print and write a CSV file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    args = parser.parse_args()
    th.set_num_threads(args.threads)
    pieces: dict[tuple[str, str], Callable[[], Any]] = {}
    for preset in ("slim", "paper"):
        pieces |= {(preset, name): piece for name, piece in actor_pieces(preset, args.device).items()}
    for name, (policy, policy_kwargs) in UPDATES.items():
        model = make_model(policy, policy_kwargs, args.device)
        pieces["update", name] = functools.partial(model.train, 1, BATCH)
    repeats = {key: max(1, int(0.3 / max(seconds(piece, 1, args.device), 1e-6))) for key, piece in pieces.items()}
    times: dict[tuple[str, str], list[float]] = {key: [] for key in pieces}
    for _ in track(range(args.rounds), description="Rounds"):
        for key, piece in pieces.items():
            times[key].append(seconds(piece, min(repeats[key], 2000), args.device))
    baselines = {"actor, once per task": "actor, once per row", "acting, weights kept": "acting, weights anew"}
    rows = []
    for (group, name), values in times.items():
        baseline = ("update", "mlp") if group == "update" else (group, baselines.get(name, name))
        ratio = statistics.median(value / other for value, other in zip(values, times[baseline], strict=True))
        rows.append([group, name, f"{1000 * statistics.median(values):.3f}", f"{ratio:.4f}", " vs ".join((name, baseline[1]))])
        print(f"{group:8}{name:28}{1000 * statistics.median(values):10.3f} ms{ratio:10.3f} of {baseline[1]}")
    threads = "" if args.device != "cpu" else f"-{args.threads}-threads"
    path = args.results / f"pearl-speed-{args.device}{threads}.csv"
    what = provenance.processor(args.device), provenance.versions()
    header = ["group", "piece", "milliseconds", "ratio", "ratio_of", "processor", "versions"]
    write_csv(path, header, ([*row, *what] for row in rows))
    print(f"{os.path.relpath(path)} is written")


if __name__ == "__main__":
    main()
