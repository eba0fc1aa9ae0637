"""The command line."""

import argparse
import os
import sys

import rl_zoo3.enjoy
import rl_zoo3.train

from sb3_hyper.experiments.hyperparams import HYPERPARAMS, SHARED, hyperparams_file
from sb3_hyper.networks.spec import PRESETS
from sb3_hyper.zoo.managers import ExperimentManager
from sb3_hyper.zoo.meta import adapt_before_acting
from sb3_hyper.zoo.resuming import ResumingExperimentManager


def _take_own_arguments(arguments: list[str]) -> tuple[list[str], bool]:
    """
    :param arguments: The command line of ``train``.
    :return: The command line for rl-zoo3, and whether to resume.
    """
    parser = argparse.ArgumentParser(prog="python -m sb3_hyper.zoo train", add_help=False, allow_abbrev=False)
    parser.add_argument("--preset", choices=sorted(PRESETS), help="which of this package's hyperparameters to use")
    parser.add_argument("--resume", action="store_true", help="go on with the run in the log folder if it was interrupted")
    own, rest = parser.parse_known_args(arguments)
    if {"-h", "--help"} & set(rest):
        print(parser.format_help(), "\nand the arguments of rl_zoo3.train:\n")
    if own.preset is not None:
        known = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        known.add_argument("--algo", default="ppo")
        known.add_argument("-conf", "--conf-file")
        others = known.parse_known_args(rest)[0]
        if others.conf_file is not None:
            parser.error("--preset chooses the file of hyperparameters: give either --preset or --conf-file")
        path = hyperparams_file(others.algo, own.preset)
        if path is None:
            there = [preset for preset in PRESETS if hyperparams_file(others.algo, preset) is not None]
            algos = [path.stem for path in HYPERPARAMS.glob("*.yml") if not path.stem.endswith("_paper")] + [*SHARED]
            parser.error(
                f"no hyperparameters for --algo {others.algo} with --preset {own.preset} are in {HYPERPARAMS}. There are some "
                + (
                    f"for --preset {', '.join(there)}, whose policy_kwargs can be replaced, as a whole: "
                    f"-params policy_kwargs:\"dict(preset='{own.preset}')\""
                    if there
                    else f"for --algo {', '.join(sorted(algos))}; for others leave --preset out: rl-zoo3's own are taken then"
                )
            )
        rest += ["--conf-file", str(path)]
    if own.resume:
        rest = ["--seed", "0", *rest]  # where none is given, rl-zoo3 would draw another one each time
    return rest, own.resume


def main() -> None:
    """Run ``train`` or ``enjoy`` with the arguments of the command line."""
    command, arguments = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("", [])
    if command not in ("train", "enjoy"):
        print("usage: python -m sb3_hyper.zoo train|enjoy [arguments of rl_zoo3.train or rl_zoo3.enjoy]")
        print(f"train only: [--preset {'|'.join(PRESETS)}] [--resume]")
        sys.exit(0 if command in ("-h", "--help") else 2)
    resume = False
    if command == "train":
        arguments, resume = _take_own_arguments(arguments)
    sys.argv = [f"{sys.argv[0]} {command}", *arguments]
    if command == "enjoy":
        adapt_before_acting()
        no_display = sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ)
        if no_display and not {"--no-render", "-h", "--help"} & set(arguments):
            print("There is no display: going on with --no-render")
            sys.argv.append("--no-render")
        rl_zoo3.enjoy.enjoy()
        return
    # rl_zoo3.train looks the name up when it runs
    manager = ResumingExperimentManager if resume else ExperimentManager
    setattr(rl_zoo3.train, "ExperimentManager", manager)  # noqa: B010 (mypy: not exported)
    rl_zoo3.train.train()


if __name__ == "__main__":
    main()
