"""
The action gradients of finished models, measured with more states and actions than the paper's 15.

    python -m benchmarks.final_gradients logs/studies/gradient-accuracy

measures every model of the study below a folder, VARIANT/ENVIRONMENT/seed-N/..., that has no rows yet, with 100 states and 40
actions each, in two ways: ``paper`` with its samples, actions at a standard deviation of 0.3 that are kept for three steps,
and ``near`` with a standard deviation of 0.1, for one step, which is nearer to what a critic's gradient is. Rows, one per
state, go to benchmarks/results/gradient-accuracy-final.csv.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from benchmarks import gradient_accuracy, rows
from sb3_hyper import cli
from sb3_hyper.common.files import digest
from sb3_hyper.diagnostics.gradients import ceiling
from sb3_hyper.diagnostics.records import load_records
from sb3_hyper.experiments.study_files import load_study

RESULTS = Path(__file__).parent / "results" / "gradient-accuracy-final.csv"
SAMPLES = {"paper": ("0.3", "3"), "near": ("0.1", "1")}  # standard deviation, steps
N_STATES, N_ACTIONS = 100, 40
PER_STATE = (*gradient_accuracy.PER_STATE, "value_correlation")


def measure(model: Path, environment: str, samples: str) -> list[rows.Row]:
    """
    :param model: A model that SB3 saved.
    :param environment: Id of its environment.
    :param samples: Which actions, see ``SAMPLES``.
    :return: One row per state.
    """
    std, repeat = SAMPLES[samples]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "accuracy.npz"
        numbers = ["--states", str(N_STATES), "--actions", str(N_ACTIONS), "--std", std, "--repeat", repeat]
        status = cli.main(["diagnose", str(model), "--env", environment, *numbers, "--output", str(output)])
        if status != 0:
            raise SystemExit(status)
        records = load_records(output)
    step = str(int(records["timesteps"][0]))
    return [
        {"step": step, "samples": samples, "state": str(state)}
        | {name: f"{records[name][0, state]:.6g}" for name in PER_STATE}
        for state in range(N_STATES)
    ]


def main() -> None:
    """Measure what has not been measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the study's folder")
    args = parser.parse_args()
    for run in load_study("gradient-accuracy").runs():
        for complete in sorted((args.folder / run.label).glob(f"{run.algo}/*/complete")):
            model = complete.with_name(f"{run.environment.replace('/', '-')}.zip")
            own = rows.names_of(run)
            origin = {"model": digest(model)[:8]}
            for samples in SAMPLES:
                which = own | {"samples": samples}
                of_run = [row for row in rows.read(RESULTS) if which.items() <= row.items()]
                if len(of_run) != N_STATES or not all(origin.items() <= row.items() for row in of_run):
                    new = [own | origin | row for row in measure(model, run.environment, samples)]
                    rows.replace(RESULTS, new, list(which))
    print(f"Rows: {RESULTS}")


def table() -> str:
    """
    :return: Means over states, in Markdown.
    """
    study, there = load_study("gradient-accuracy"), rows.read(RESULTS)
    lines = [
        "| environment | critic | seed | samples | cosine | ceiling | correlation of values | self-test | half fits |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for run in study.runs():
        for samples in SAMPLES:
            own = rows.names_of(run) | {"samples": samples}
            found = [row for row in there if own.items() <= row.items()]
            if not found:
                continue
            values = {name: np.array([float(row[name]) for row in found]) for name in PER_STATE}
            floor = float(np.nanmean(values["noise_floor"]))
            cells = [run.environment, study.variants[run.variant].label, str(run.seed), samples]
            cells += [rows.with_error(values["cosine"]), f"{ceiling(floor):.2f}", rows.with_error(values["value_correlation"])]
            cells += [f"{np.nanmean(values['self_cosine']):.2f}", f"{floor:.2f}"]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) if len(lines) > 2 else "No model has been measured yet."


if __name__ == "__main__":
    main()
