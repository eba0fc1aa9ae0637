"""
Train critics of your choice on one environment, everything else being equal, and draw their learning curves.

    python examples/compare_critics.py --critics mlp layernorm_mlp sa_hyper --env HalfCheetah-v5 --steps 30000
"""

import argparse
from pathlib import Path

import numpy as np
from stable_baselines3 import TD3
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.preprocessing import get_action_dim

from sb3_hyper.experiments.evaluations import load_evaluations
from sb3_hyper.experiments.plots import plot_learning_curve
from sb3_hyper.policies import CRITICS

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--critics", nargs="+", choices=CRITICS, default=["mlp", "layernorm_mlp", "sa_hyper"])
parser.add_argument("--env", default="HalfCheetah-v5")
parser.add_argument("--steps", type=int, default=30_000)
parser.add_argument("--eval-episodes", type=int, default=5)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--folder", type=Path, default=Path("logs/compare_critics"))
args = parser.parse_args()

curves = {}
for critic in args.critics:
    env, eval_env = make_vec_env(args.env, seed=args.seed), make_vec_env(args.env, seed=10_000 + args.seed)
    n_actions = get_action_dim(env.action_space)
    model = TD3(
        "HyperPolicy",
        env,
        learning_rate=3e-4,
        learning_starts=min(5000, args.steps // 3),
        action_noise=NormalActionNoise(np.zeros(n_actions), 0.1 * np.ones(n_actions)),
        policy_kwargs=dict(critic=critic),
        seed=args.seed,
    )
    log_path = args.folder / critic
    freq = max(1, args.steps // 6)
    callback = EvalCallback(eval_env, n_eval_episodes=args.eval_episodes, eval_freq=freq, log_path=str(log_path), verbose=0)
    model.learn(args.steps, callback, progress_bar=True)
    curves[critic] = load_evaluations(log_path / "evaluations.npz")
    print(f"{critic}: {curves[critic][1][-1].mean():.0f} after {args.steps} steps")

plot_learning_curve(args.folder / "curves.png", curves, f"TD3 on {args.env}")
print(f"Figure: {args.folder / 'curves.png'}")
