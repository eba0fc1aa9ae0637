"""
Is the critic's action gradient right? Measured while stock TD3 and TD3 with a hypernetwork critic learn Pendulum.

    python examples/gradient_accuracy.py --steps 4000
"""

import argparse
from pathlib import Path

import numpy as np
from stable_baselines3 import TD3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.noise import NormalActionNoise

import sb3_hyper  # noqa: F401 (makes "HyperPolicy" known)
from sb3_hyper.diagnostics.callbacks import GradientAccuracyCallback
from sb3_hyper.diagnostics.plots import cosine_over_time
from sb3_hyper.diagnostics.records import load_records

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--steps", type=int, default=4_000)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--folder", type=Path, default=Path("logs/gradient_accuracy"))
args = parser.parse_args()

records = {}
for label, policy, policy_kwargs in (
    ("stock TD3", "MlpPolicy", dict(net_arch=[256, 256])),
    ("SA-Hyper", "HyperPolicy", dict(critic="sa_hyper", critic_learning_rate=None)),  # None: the algorithm's, too
):
    model = TD3(
        policy,
        make_vec_env("Pendulum-v1", seed=args.seed),
        learning_rate=1e-3,
        gamma=0.98,
        learning_starts=min(200, args.steps // 2),
        action_noise=NormalActionNoise(np.zeros(1), 0.1 * np.ones(1)),
        policy_kwargs=policy_kwargs,
        seed=args.seed,
    )
    folder = args.folder / label.replace(" ", "-")
    callback = GradientAccuracyCallback(eval_freq=max(1, args.steps // 8), log_path=folder, verbose=1)
    print(label)
    model.learn(args.steps, callback, progress_bar=True)
    records[label] = [load_records(folder / "gradient_accuracy.npz")]

cosine_over_time(records, window=1).savefig(args.folder / "cosine.png", dpi=150, facecolor="white")
print(f"Figure: {args.folder / 'cosine.png'}")
