"""
TD3 with a hypernetwork critic on HalfCheetah, beside stock TD3: same algorithm, same actor, one word changed.

    python examples/half_cheetah.py --steps 30000
"""

import argparse

import numpy as np
from stable_baselines3 import TD3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.preprocessing import get_action_dim

import sb3_hyper  # noqa: F401 (makes "HyperPolicy" known)

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--steps", type=int, default=30_000)
parser.add_argument("--env", default="HalfCheetah-v5")
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

env = make_vec_env(args.env, seed=args.seed)
n_actions = get_action_dim(env.action_space)
for critic in ("mlp", "sa_hyper"):
    model = TD3(
        "HyperPolicy",
        env,
        learning_rate=3e-4,
        learning_starts=min(1000, args.steps // 2),
        action_noise=NormalActionNoise(np.zeros(n_actions), 0.1 * np.ones(n_actions)),
        policy_kwargs=dict(critic=critic, preset="slim"),
        seed=args.seed,
    )
    model.learn(args.steps, progress_bar=True)
    mean, std = evaluate_policy(model, env, n_eval_episodes=5)
    print(f"{critic}: {mean:.0f} +/- {std:.0f} after {args.steps} steps")
