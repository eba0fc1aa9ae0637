"""A study small enough to compute by hand."""

import numpy as np

from sb3_hyper.experiments.results import RunResult
from sb3_hyper.experiments.studies import Study

RANDOM = {"A-v0": 0.0, "B-v0": -100.0}


def make_study(**changes):
    fields = {
        "name": "toy",
        "title": "A toy",
        "description": "Numbers made by hand.",
        "environments": ["A-v0", "B-v0"],
        "seeds": 3,
        "steps": 6000,
        "eval_freq": 1000,
        "eval_episodes": 2,
        "baseline": "base",
        "variants": {
            "base": {"label": "Base", "hyperparams": {"policy": "MlpPolicy", "batch_size": 100}},
            "new": {"label": "New", "hyperparams": {"policy": "MlpPolicy", "batch_size": 200}},
        },
    }
    return Study(**fields | changes)


def make_run(variant, environment, seed, curve, seconds=10.0, **changes):
    """Evaluations are ``seconds`` apart, four fifths of them CPU time; the two episodes lie 1 below and above the curve."""
    curve = np.array(curve, dtype=float)
    index = np.arange(1, len(curve) + 1)
    fields = {
        "study": "toy",
        "variant": variant,
        "algorithm": "td3",
        "environment": environment,
        "seed": seed,
        "steps": 1000 * index,
        "returns": curve[:, None] + [-1, 1],
        "seconds": seconds * index,
        "cpu_seconds": 0.8 * seconds * index,
        "versions": "python-3.11 numpy-2",
        "commit": "abc123",
        "processor": "a processor",
    }
    return RunResult(**fields | changes)


def half_finished():
    """Base: two seeds on A (final scores 30 and 40), one on B (100). New: one on A (54), one unfinished on B."""
    return [
        make_run("base", "A-v0", 0, [0, 10, 20, 30, 40, 50]),
        make_run("base", "A-v0", 1, [10, 20, 30, 40, 50, 60]),
        make_run("base", "B-v0", 0, [0, 100, 100, 100, 100, 100]),
        make_run("new", "A-v0", 0, [0, 30, 60, 60, 60, 60], seconds=25.0),
        make_run("new", "B-v0", 0, [0, 100], seconds=25.0),
    ]


def both_everywhere():
    """As before, and New has finished on B with a final score of 300."""
    return [*half_finished()[:-1], make_run("new", "B-v0", 0, [0, 300, 300, 300, 300, 300], seconds=25.0)]
