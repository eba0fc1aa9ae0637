"""Measure a saved model: ``sb3-hyper diagnose MODEL.zip --env ENV``."""

import argparse
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from rich.console import Console
from rich.table import Table
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

from sb3_hyper.common.files import replacing
from sb3_hyper.diagnostics.accuracy import Accuracy, measure_accuracy, summarise
from sb3_hyper.diagnostics.agents import Agent
from sb3_hyper.diagnostics.branches import make_branches
from sb3_hyper.diagnostics.measuring import check_env
from sb3_hyper.diagnostics.plots import values_and_returns
from sb3_hyper.experiments.algorithms import ALGORITHMS

MEANINGS = {
    "gradient/cosine_mean": "cosine similarity of the critic's action gradient with the fit to returns: mean",
    "gradient/cosine_q1": "  first quartile",
    "gradient/cosine_median": "  median",
    "gradient/cosine_q3": "  third quartile",
    "gradient/learnable_0.25": "share of states with a cosine above 0.25",
    "gradient/learnable_0.75": "  above 0.75",
    "gradient/self_cosine_mean": "self-test: cosine with the fit to the critic's own values",
    "gradient/noise_floor_mean": "noise floor: cosine of fits to two halves of the samples",
    "gradient/states_without_direction": "states without a direction (a gradient of zero)",
    "gradient/states_of_lower_rank": "states whose samples leave a direction open",
    "gradient/terminated_share": "share of rollouts that ended for good",
    "bias/mean": "value minus return of the policy: mean",
    "bias/std": "  standard deviation",
    "bias/return_mean": "discounted return of the policy: mean",
    "gradient/env_steps": "environment steps spent",
    "gradient/seconds": "seconds spent",
}


def algorithm_of(path: Path, given: str | None) -> str:
    """
    :param path: A model's file.
    :param given: The algorithm's name, if it was given.
    :return: The algorithm's name: the given one, or that of a folder of the path, as rl-zoo3 makes them.
    :raises ValueError: If it is not known.
    """
    name = given or next((part for part in reversed(path.resolve().parts) if part in ALGORITHMS), None)
    if name not in ALGORITHMS:
        raise ValueError(f"Which algorithm made {path}? Give --algo, one of {', '.join(ALGORITHMS)}")
    return name


def load_agent(path: Path, env_id: str, algo: str | None, normalization: Path | None, device: str) -> Agent:
    """
    :param path: A model that SB3 saved.
    :param env_id: Id of its environment.
    :param algo: rl-zoo3's name of its algorithm; None to read it from the path.
    :param normalization: A saved ``VecNormalize``, if training had one.
    :param device: torch device.
    :return: The model.
    :raises ValueError: If there is no such file, or the algorithm is not known or has no critic of continuous actions.
    """
    for file in (path, normalization):
        if file is not None and not file.is_file():
            raise ValueError(f"There is no file {file}")
    algorithm = ALGORITHMS[algorithm_of(path, algo)]
    env: VecEnv = DummyVecEnv([lambda: gym.make(env_id)])
    if normalization is not None:
        env = VecNormalize.load(str(normalization), env)
        env.training = False
    return Agent(algorithm.load(path, env=env, device=device))


def diagnose(args: argparse.Namespace, console: Console) -> int:
    """Measure a saved model."""
    agent = load_agent(args.model, args.env, args.algo, args.vec_normalize, args.device)

    def make_env() -> gym.Env:
        return gym.make(args.env)

    max_episode_steps = check_env(make_env, args.horizon)
    branches = make_branches(make_env, args.states * (args.actions + 1), args.processes)
    try:
        with console.status(f"{args.states} states, {args.actions} actions each"):
            accuracy = measure_accuracy(
                agent,
                branches,
                np.random.default_rng(args.seed),
                max_episode_steps,
                args.states,
                args.actions,
                args.std,
                args.repeat,
                args.horizon,
            )
    finally:
        branches.close()
    table = Table("", "", title=f"{type(agent.model).__name__} on {args.env}, {agent.model.num_timesteps:,} steps")
    for name, value in summarise(accuracy, int(np.prod(agent.model.action_space.shape or ()))).items():
        table.add_row(MEANINGS[name], f"{value:.4g}" if isinstance(value, float) else f"{value:,}")
    console.print(table)
    if np.prod(agent.model.action_space.shape or ()) == 1:
        console.print("There is one action dimension: a cosine is a sign.")
    columns: dict[str, Any] = {name: np.asarray(getattr(accuracy, name))[None] for name in Accuracy.names()}
    stored = args.output or args.model.with_name(f"{args.model.stem}_accuracy.npz")
    with replacing(stored.with_suffix(".npz")) as temporary:
        np.savez_compressed(temporary, timesteps=np.array([agent.model.num_timesteps]), **columns)
    with replacing(stored.with_suffix(".png")) as temporary:
        values_and_returns(columns, title=str(table.title)).savefig(temporary, dpi=150, facecolor="white", transparent=False)
    console.print(f"Stored: {stored.with_suffix('.npz')}, {stored.with_suffix('.png')}", soft_wrap=True)
    return 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """
    :param parser: The parser of the command.
    """
    parser.add_argument("model", type=Path, help="a model that SB3 saved (.zip), trained by whatever critic")
    parser.add_argument("--env", required=True, help="id of its environment")
    parser.add_argument("--algo", help="rl-zoo3's name of the algorithm (default: a folder of the path)")
    parser.add_argument("--vec-normalize", type=Path, help="the saved VecNormalize, if training had one")
    parser.add_argument("--states", type=int, default=15, help="number of states (default: %(default)s)")
    parser.add_argument("--actions", type=int, default=15, help="actions per state (default: %(default)s)")
    parser.add_argument("--std", type=float, default=0.3, help="standard deviation of the actions (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="steps for which an action is taken (default: %(default)s)")
    parser.add_argument("--horizon", type=int, help="steps after which a rollout ends (default: the episode's end)")
    parser.add_argument("--processes", type=int, default=1, help="processes for the rollouts (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto", help="torch device (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="where arrays and figure go (default: beside the model)")
    parser.set_defaults(function=diagnose)
