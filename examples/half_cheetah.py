"""
TD3 with a hypernetwork critic on HalfCheetah, beside stock TD3: same algorithm, same actor, one word changed.

    python examples/half_cheetah.py --steps 30000
"""

import argparse

import numpy as np
from stable_baselines3 import TD3
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.noise import NormalActionNoise

import sb3_hyper  # noqa: F401 (makes "HyperPolicy" known)

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--steps", type=int, default=30_000)
parser.add_argument("--env", default="HalfCheetah-v5")
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

for critic in ("mlp", "sa_hyper"):
    model = TD3(
        "HyperPolicy",
        args.env,
        learning_rate=3e-4,
        learning_starts=min(5000, args.steps // 2),
        policy_kwargs=dict(critic=critic, preset="slim"),
        seed=args.seed,
    )
    n_actions = model.action_space.shape[0]
    model.action_noise = NormalActionNoise(np.zeros(n_actions), 0.1 * np.ones(n_actions))
    model.learn(args.steps, progress_bar=True)
    mean, std = evaluate_policy(model, model.get_env(), n_eval_episodes=5)
    print(f"{critic}: {mean:.0f} +/- {std:.0f} after {args.steps} steps")
