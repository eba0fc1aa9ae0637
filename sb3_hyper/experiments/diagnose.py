"""Measure a saved model: ``sb3-hyper diagnose MODEL.zip --env ENV``."""

import argparse
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from rich.console import Console
from rich.table import Table
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

from sb3_hyper.common.files import replacing
from sb3_hyper.diagnostics.accuracy import Accuracy, measure_accuracy, summarise
from sb3_hyper.diagnostics.agents import Agent
from sb3_hyper.diagnostics.branches import make_branches, stack
from sb3_hyper.diagnostics.environments import check_env
from sb3_hyper.diagnostics.gradients import halves_are_too_small
from sb3_hyper.diagnostics.plots import values_and_returns
from sb3_hyper.experiments.algorithms import ALGORITHMS, MEASURABLE
from sb3_hyper.experiments.trained_env import trained_env, zoo_folder

MEANINGS = {
    "gradient/cosine_mean": "cosine similarity of the critic's action gradient with the fit to returns: mean",
    "gradient/cosine_q1": "  first quartile",
    "gradient/cosine_median": "  median",
    "gradient/cosine_q3": "  third quartile",
    "gradient/learnable_0.25": "share of states with a cosine above 0.25",
    "gradient/learnable_0.75": "  above 0.75",
    "gradient/self_cosine_mean": "self-test: cosine with the fit to the critic's own values",
    "gradient/noise_floor_mean": "noise floor: cosine of fits to two halves of the samples",
    "gradient/cosine_ceiling": "  ceiling: about what a perfect critic's cosine would be",
    "gradient/value_correlation_mean": "correlation of values with returns over a state's actions: mean",
    "gradient/states_without_direction": "states without a direction (a gradient of zero)",
    "gradient/states_of_lower_rank": "states whose samples leave a direction open",
    "gradient/terminated_share": "share of rollouts that ended for good",
    "gradient/bias_mean": "value minus return of the policy: mean",
    "gradient/bias_std": "  standard deviation",
    "gradient/return_mean": "discounted return of the policy: mean",
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
    accepted = ", ".join(MEASURABLE)
    if name is None:
        raise ValueError(f"Which algorithm made {path}? Give --algo, one of {accepted}")
    if name not in MEASURABLE:
        raise ValueError(f"Models of {name!r} cannot be measured: --algo is one of {accepted}")
    return name


def load_agent(
    path: Path,
    env_id: str,
    make_env: Callable[[], gym.Env],
    algo: str | None,
    normalization: Path | None,
    device: str,
    deterministic: bool = True,
) -> Agent:
    """
    :param path: A model that SB3 saved.
    :param env_id: Id of its environment.
    :param make_env: Makes that environment.
    :param algo: rl-zoo3's name of its algorithm; None to read it from the path.
    :param normalization: A saved ``VecNormalize``, if training had one.
    :param device: torch device.
    :param deterministic: Whether rollouts follow the policy's mean action.
    :return: The model.
    :raises ValueError: If there is no such file or environment, the files do not fit them, or the algorithm is not known or
        has no critic of continuous actions.
    """
    for file in (path, normalization):
        if file is not None and not file.is_file():
            raise ValueError(f"There is no file {file}")
    name = algorithm_of(path, algo)
    try:
        env: VecEnv = DummyVecEnv([make_env])
    except gym.error.Error as error:
        message = f"There is no environment {env_id}: {_one_line(error)} (--gym-packages names modules that register more)"
        raise ValueError(message) from error
    except Exception as error:  # whatever an environment or a wrapper says to its arguments
        raise ValueError(f"{env_id} cannot be made: {_one_line(error)}") from error
    if normalization is not None:
        try:
            env = VecNormalize.load(str(normalization), env)
            env.training = False
        except Exception as error:  # whatever unpickling raises
            message = f"{normalization} is no VecNormalize that was saved for {env_id} ({_one_line(error)})"
            raise ValueError(message) from error
    try:
        model = MEASURABLE[name].load(path, env=env, device=device)
    except Exception as error:  # whatever another algorithm's constructor raises
        message = (
            f"{path} could not be loaded as a model of {name} in {env_id} ({_one_line(error)}): are --algo and --env right? "
            "--gym-packages names modules that register critics"
        )
        raise ValueError(message) from error
    agent = Agent(model, deterministic)
    if not issubclass(model.policy_class, tuple(model.policy_aliases.values())):
        raise ValueError(f"{path} holds a {model.policy_class.__name__}, which is no policy of {name}: is --algo right?")
    observations = stack([make_env().reset(seed=0)[0]])
    try:
        agent.values(observations, agent.actions(observations))
    except Exception as error:  # whatever another algorithm's critic raises
        raise ValueError(f"{path} holds no critic of {name} ({_one_line(error)}): is --algo right?") from error
    return agent


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {textwrap.shorten(str(error), 400)}"


def check_arguments(args: argparse.Namespace) -> None:
    """
    :param args: The command line.
    :raises ValueError: If a number is out of range.
    """
    horizon = 1 if args.horizon is None else args.horizon
    numbers = {"--states": args.states, "--repeat": args.repeat, "--horizon": horizon, "--processes": args.processes}
    least = {**dict.fromkeys(numbers, 1), "--actions": 4, "--seed": 0}
    for name, number in {**numbers, "--actions": args.actions, "--seed": args.seed}.items():
        if number < least[name]:
            raise ValueError(f"{name} must be at least {least[name]}, got {number}")
    if not 0 < args.std < float("inf"):
        raise ValueError(f"--std must be a positive number, got {args.std}")


def find_normalization(path: Path, env_id: str) -> Path | None:
    """
    :param path: A model's file.
    :param env_id: Id of its environment.
    :return: The ``VecNormalize`` that rl-zoo3 saved with it, if it did.
    """
    file = zoo_folder(path, env_id) / "vecnormalize.pkl"
    return file if file.is_file() else None


def output_files(output: Path | None, model: Path) -> tuple[Path, Path]:
    """
    :param output: Where to, with or without a suffix of ours.
    :param model: The model's file.
    :return: The files of arrays and figure.
    """
    output = output or model.with_name(f"{model.stem}_accuracy")
    stem = output.stem if output.suffix in (".npz", ".png") else output.name
    return output.with_name(f"{stem}.npz"), output.with_name(f"{stem}.png")


def diagnose(args: argparse.Namespace, console: Console) -> int:
    """Measure a saved model."""
    check_arguments(args)
    if not args.model.is_file() and args.model.with_name(f"{args.model.name}.zip").is_file():  # SB3, too, does without .zip
        args.model = args.model.with_name(f"{args.model.name}.zip")
    if args.model.is_dir():
        there = ", ".join(sorted(file.name for file in args.model.glob("*.zip"))) or "no .zip"
        raise ValueError(f"{args.model} is a folder; a model in it is needed. It holds {there}")
    make_env, how = trained_env(args.model, args.env)
    if how:
        console.print(f"Made as in training: {how}", soft_wrap=True)
    normalization = args.vec_normalize or find_normalization(args.model, args.env)
    if normalization is not None and args.vec_normalize is None:
        console.print(f"Normalised as in training: {normalization}", soft_wrap=True)
    agent = load_agent(args.model, args.env, make_env, args.algo, normalization, args.device, not args.stochastic)
    arrays, figure = output_files(args.output, args.model)
    arrays.parent.mkdir(parents=True, exist_ok=True)
    action_dim = int(np.prod(agent.model.action_space.shape or ()))
    try:
        max_episode_steps = check_env(make_env, args.horizon, agent)
    except RuntimeError as error:
        raise ValueError(f"{args.env} cannot be measured: {_one_line(error)}") from error
    branches = make_branches(make_env, args.states * (args.actions + 1), args.processes)
    try:
        set_random_seed(args.seed)  # of actions that are drawn
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
    for name, value in summarise(accuracy, action_dim).items():
        table.add_row(MEANINGS[name], f"{value:.4g}" if isinstance(value, float) else f"{value:,}")
    console.print(table)
    if action_dim == 1:
        console.print("There is one action dimension: a cosine is a sign.")
    if halves_are_too_small(args.actions, action_dim):
        console.print(
            "Half of the actions are too few for a fit in that many dimensions: leave noise floor and ceiling aside."
        )
    columns: dict[str, Any] = {name: np.asarray(getattr(accuracy, name))[None] for name in Accuracy.names()}
    with replacing(arrays) as temporary:
        np.savez_compressed(temporary, timesteps=np.array([agent.model.num_timesteps]), **columns)
    with replacing(figure) as temporary:
        values_and_returns(columns, title=str(table.title)).savefig(temporary, dpi=150, facecolor="white", transparent=False)
    console.print(f"Stored: {arrays}, {figure}", soft_wrap=True)
    return 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """
    :param parser: The parser of the command.
    """
    parser.add_argument("model", type=Path, help="a model that SB3 saved (.zip), trained by whatever critic")
    parser.add_argument("--env", required=True, help="id of its environment")
    parser.add_argument("--algo", help=f"{', '.join(MEASURABLE)} (default: a folder of the path)")
    parser.add_argument(
        "--vec-normalize", type=Path, help="the saved VecNormalize, if training had one (default: as rl-zoo3 keeps it)"
    )
    parser.add_argument("--states", type=int, default=15, help="number of states (default: %(default)s)")
    parser.add_argument("--actions", type=int, default=15, help="actions per state, 4 at least (default: %(default)s)")
    parser.add_argument("--std", type=float, default=0.3, help="standard deviation of the actions (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="steps for which an action is taken (default: %(default)s)")
    parser.add_argument("--horizon", type=int, help="steps after which a rollout ends (default: the episode's end)")
    parser.add_argument(
        "--stochastic", action="store_true", help="follow the policy that draws its actions (SAC, TQC, CrossQ)"
    )
    parser.add_argument("--processes", type=int, default=1, help="processes for the rollouts (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of what is drawn (default: %(default)s)")
    parser.add_argument("--device", default="auto", help="torch device (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="where arrays and figure go (default: beside the model)")
    parser.set_defaults(function=diagnose)
