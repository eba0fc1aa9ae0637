"""
Hindsight experience replay with an actor whose weights are generated from the goal, beside stock SAC: the critics, their
networks and all settings are the same.

The environment is SB3's continuous BitFlippingEnv: flip the right bits, all in one step or one after the other.

    python examples/hindsight_goals.py --bits 4 --steps 4000
"""

import argparse

import numpy as np
from stable_baselines3 import SAC, HerReplayBuffer
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import BitFlippingEnv
from stable_baselines3.common.evaluation import evaluate_policy

import sb3_hyper  # noqa: F401 (makes "HyperMultiInputPolicy" known)

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--bits", type=int, default=4)
parser.add_argument("--steps", type=int, default=4_000)
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

hyper = dict(actor="hyper", context_keys=("desired_goal",), critic="mlp", preset="slim")
for policy, policy_kwargs in (("MultiInputPolicy", {}), ("HyperMultiInputPolicy", hyper)):
    env = make_vec_env(lambda: BitFlippingEnv(n_bits=args.bits, continuous=True), seed=args.seed)
    model = SAC(
        policy,
        env,
        learning_rate=1e-3,
        learning_starts=min(300, args.steps // 2),
        batch_size=128,
        gamma=0.95,
        replay_buffer_class=HerReplayBuffer,
        policy_kwargs=policy_kwargs,
        seed=args.seed,
    )
    model.learn(args.steps, progress_bar=True)
    returns = np.array(evaluate_policy(model, env, n_eval_episodes=100, return_episode_rewards=True)[0])
    # -1 for each step that does not reach the goal, and as many steps as there are bits
    print(f"{policy}: goal reached in {(returns > -args.bits).mean():.0%} of episodes, mean return {returns.mean():.2f}")
