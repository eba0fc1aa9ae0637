"""
What an iteration of MAML costs, beside plain versions of it in the manner of public implementations.

    python -m benchmarks.maml_speed --threads 1 --tasks 40 --episodes 20

The plain versions play one task after the other, loop over the tasks in the update, and repeat their adaptation in every
product with the Hessian. One of them plays an episode after the other, as samplers with an environment per worker do, the
other all episodes of a task at once. All compute the same, each on episodes of its own, and take turns within one process; a
figure is the median over the rounds, of processor time.
"""

import argparse
import functools
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch as th
from rich.progress import track
from stable_baselines3.common.callbacks import CallbackList
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv

from sb3_hyper import MAML
from sb3_hyper.common.files import write_csv
from sb3_hyper.experiments import provenance
from sb3_hyper.meta.maml.adaptation import play
from sb3_hyper.meta.maml.episodes import LinearBaseline, make_batch
from sb3_hyper.meta.maml.networks import stack
from sb3_hyper.meta.maml.objectives import MetaBatch, divergence, likelihood_ratio, remember
from sb3_hyper.meta.maml.trust_region import assign, conjugate_gradient, flat

POLICIES: dict[str, tuple[str, dict[str, Any]]] = {
    "vanilla": ("MlpPolicy", {}),
    "hyper slim": ("HyperPolicy", {"policy_kwargs": {"preset": "slim"}}),
}


def plain_collect(model: MAML, env: VecEnv) -> list[MetaBatch]:
    """
    Play the tasks of an iteration one after the other.

    :param model: The model.
    :param env: The environments, all of which work on one task.
    :return: The data of each task.
    """
    inner, batches = model.inner_step(), []
    for index in range(model.meta_batch_size):
        task = model.train_tasks[index % len(model.train_tasks)]
        context, baseline = model.contexts([task]), LinearBaseline(model.gamma)
        evaluate = model.evaluator(context)
        parameters = {name: value.detach() for name, value in stack(model.policy.network, 1).items()}
        episodes = play(model, env, [task], parameters, context, model.n_episodes)
        before = make_batch(episodes, baseline.fit(episodes), model.gamma, model.gae_lambda)
        old = remember(evaluate, parameters, before)
        adapted = inner(evaluate, parameters, before, old, differentiable=False)
        after = make_batch(
            play(model, env, [task], adapted, context, model.n_episodes), baseline, model.gamma, model.gae_lambda
        )
        batches.append(MetaBatch(context, [before], [old], after, remember(evaluate, adapted, after)))
    return batches


def plain_train(model: MAML, batches: list[MetaBatch]) -> None:
    """
    TRPO, with the adaptation of every task repeated whenever it is needed.

    :param model: The model.
    :param batches: The data of each task.
    """
    parameters = list(model.policy.network.parameters())
    inner = model.inner_step()

    def objective() -> tuple[th.Tensor, th.Tensor]:
        losses, divergences = [], []
        for batch in batches:
            evaluate = model.evaluator(batch.context)
            adapted, _ = inner.chain(evaluate, stack(model.policy.network, 1), batch.before, batch.olds)
            policy = evaluate(adapted, batch.after.observations)
            losses.append(likelihood_ratio(policy, batch.after, batch.old.log_prob).mean())
            divergences.append(divergence(policy, batch.old.distribution, batch.after).mean())
        return th.stack(losses).mean(), th.stack(divergences).mean()

    def times_hessian(vector: th.Tensor) -> th.Tensor:
        slope = flat(th.autograd.grad(objective()[1], parameters, create_graph=True))
        return flat(th.autograd.grad(slope @ vector, parameters)) + model.cg_damping * vector

    loss, _ = objective()
    gradient = flat(th.autograd.grad(loss, parameters))
    step, _ = conjugate_gradient(times_hessian, gradient, model.cg_max_steps)
    full_step = step * (2 * model.target_kl / (step @ times_hessian(step))) ** 0.5
    start, fraction = flat(parameters).detach(), 1.0
    for _ in range(model.line_search_max_iter):
        assign(start - fraction * full_step, parameters)
        new_loss, new_divergence = objective()
        if new_loss < loss and new_divergence < model.target_kl:
            return
        fraction *= model.line_search_shrinking_factor
    assign(start, parameters)


def seconds(piece: Callable[[], Any], device: str) -> tuple[float, Any]:
    """
    :param piece: What to time.
    :param device: torch device.
    :return: Seconds, of processor time on a CPU, and what it gave.
    """
    clock = time.process_time if device == "cpu" else time.perf_counter
    start = clock()
    result = piece()
    if device != "cpu":
        th.cuda.synchronize()
    return clock() - start, result


def main() -> None:
    """Measure, print and write a CSV file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--tasks", type=int, default=40)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--env", default="HalfCheetahVel-v0")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    args = parser.parse_args()
    th.set_num_threads(args.threads)
    env = make_vec_env(args.env, 2 * args.tasks)
    plain_envs = {"episodes at once": make_vec_env(args.env, args.episodes), "one by one": make_vec_env(args.env, 1)}
    times: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for _ in track(range(args.rounds), description="Rounds"):
        for name, (policy, kwargs) in POLICIES.items():
            for order in ("first", "second"):
                sizes = {"meta_batch_size": args.tasks, "n_episodes": args.episodes, "order": order, "seed": 0}
                model = MAML(policy, env, n_test_tasks=1, device=args.device, **sizes, **kwargs)
                model._setup_learn(1)
                callback = CallbackList([])
                callback.init_callback(model)
                kept = flat(list(model.policy.network.parameters())).detach()
                playing, batch = seconds(functools.partial(model.collect, callback), args.device)
                learning, _ = seconds(functools.partial(model.train, batch), args.device)
                times.setdefault((name, order, "ours"), []).append((playing, learning))
                assign(kept, list(model.policy.network.parameters()))
                for version, plain_env in plain_envs.items():
                    playing, batches = seconds(functools.partial(plain_collect, model, plain_env), args.device)
                    if version == "episodes at once":
                        learning, _ = seconds(functools.partial(plain_train, model, batches), args.device)
                    times.setdefault((name, order, version), []).append((playing, learning))  # they learn in the same way
    rows = []
    for (name, order, version), values in times.items():
        ours = times[name, order, "ours"]
        playing, learning, total = (statistics.median(column) for column in zip(*((*v, sum(v)) for v in values), strict=True))
        ratio = statistics.median(sum(value) / sum(own) for value, own in zip(values, ours, strict=True))
        rows.append([name, order, version, f"{playing:.2f}", f"{learning:.2f}", f"{total:.2f}", f"{ratio:.2f}"])
        print(f"{name:12}{order:8}{version:18}{playing:8.2f} s playing{learning:8.2f} s learning{ratio:8.2f} times ours")
    threads = "" if args.device != "cpu" else f"-{args.threads}-threads"
    path = args.results / f"maml-speed-{args.device}{threads}.csv"
    header = ["policy", "order", "version", "playing_seconds", "learning_seconds", "seconds", "times_ours"]
    what = args.tasks, args.episodes, provenance.processor(args.device), provenance.versions()
    write_csv(path, [*header, "tasks", "episodes", "processor", "versions"], ([*row, *what] for row in rows))
    print(f"{os.path.relpath(path)} is written")


if __name__ == "__main__":
    main()
