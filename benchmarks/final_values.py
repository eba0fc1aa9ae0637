"""
What finished models' critics say of their policies' actions, and what following the policies gives.

    python -m benchmarks.final_values slim-search logs/studies/slim-search

plays 10 episodes with every model of the study below a folder, VARIANT/ENVIRONMENT/seed-N/..., that has no rows yet: the last
and the best one of each run. Of a critic whose weights are generated from the state, the generated bias of the output is kept
too: the part of a value that depends on the state alone. Rows, one per model, go to benchmarks/results/STUDY-values.csv.
"""

import argparse
import hashlib
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch as th
from rich.progress import track

from benchmarks import rows
from sb3_hyper.experiments.diagnose import load_agent
from sb3_hyper.experiments.studies import Study, load_study
from sb3_hyper.networks.q_networks import SAHyperQ

RESULTS = Path(__file__).parent / "results"
N_EPISODES = 10
TAIL = 500  # steps before a time limit whose discounted returns are cut too early to count
SEED = 20_000


def file_of(study: str) -> Path:
    """
    :param study: Name of a study.
    :return: Its rows.
    """
    return RESULTS / f"{study}-values.csv"


def discounted(rewards: np.ndarray, gamma: float) -> np.ndarray:
    """
    :param rewards: Rewards of an episode, ``(n,)``
    :param gamma: Discount factor.
    :return: The discounted return from each step to the end, ``(n,)``
    """
    returns = np.zeros(len(rewards) + 1)
    for step in range(len(rewards) - 1, -1, -1):
        returns[step] = rewards[step] + gamma * returns[step + 1]
    return returns[:-1]


def measure(path: Path, algo: str, environment: str) -> rows.Row:
    """
    :param path: A model that SB3 saved.
    :param algo: rl-zoo3's name of its algorithm.
    :param environment: Id of its environment.
    :return: Means over states: the first critic's value of the policy's action, the generated bias in it, and the discounted
        return of following the policy; and the mean undiscounted return of an episode.
    """
    agent, env = load_agent(path, environment, algo, None, "cpu"), gym.make(environment)
    observations, gave, returns = [], [], []
    for episode in range(N_EPISODES):
        observation, _ = env.reset(seed=SEED + episode)
        seen, rewards, terminated, truncated = [], [], False, False
        while not (terminated or truncated):
            seen.append(observation)
            observation, reward, terminated, truncated, _ = env.step(agent.act(observation[None])[0])
            rewards.append(float(reward))
        counted = len(seen) if terminated else max(1, len(seen) - TAIL)
        observations += seen[:counted]
        gave.append(discounted(np.array(rewards), agent.model.gamma)[:counted])
        returns.append(sum(rewards))
    states = np.stack(observations).astype(np.float32)
    values = agent.values(states, agent.actions(states))[0]
    q_network = getattr(agent.policy.critic, "q_network", None)
    bias = None
    if isinstance(q_network, SAHyperQ):
        with th.no_grad():
            bias = q_network.generate(th.as_tensor(states))[-1].bias[0].mean().item()
    return {
        "step": str(agent.model.num_timesteps),
        "episodes": str(N_EPISODES),
        "return": f"{np.mean(returns):.6g}",
        "value": f"{values.mean():.6g}",
        "generated_bias": "" if bias is None else f"{bias:.6g}",
        "policy_return": f"{np.concatenate(gave).mean():.6g}",
    }


def main() -> None:
    """Measure what has not been measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", help="name of the study")
    parser.add_argument("folder", type=Path, help="its folder")
    args = parser.parse_args()
    th.set_num_threads(1)
    path = file_of(args.study)
    for run in track(load_study(args.study).runs()):
        own = dict(zip(rows.RUN, (run.variant, run.environment, str(run.seed)), strict=True))
        for complete in sorted((args.folder / run.label).glob(f"{run.algo}/*/complete")):
            for which, name in (("last", run.environment), ("best", "best_model")):
                model = complete.with_name(f"{name}.zip")
                origin = own | {"which": which, "model": hashlib.sha256(model.read_bytes()).hexdigest()[:8]}
                there = rows.read(path)
                if any(origin.items() <= row.items() for row in there):
                    continue
                older = [row for row in there if (own | {"which": which}).items() <= row.items()]
                new = origin | measure(model, run.algo, run.environment)
                kept = [row for row in there if row not in older]
                rows.write(path, sorted([*kept, new], key=lambda row: [row[name] for name in (*rows.RUN, "which")]))
    print(f"Rows: {path}")


def table(study: Study) -> str:
    """
    :param study: A study.
    :return: Its rows in Markdown, in the order of its runs.
    """
    there = rows.read(file_of(study.name))
    lines = [
        "| environment | variant | seed | model | return | discounted return | value | generated bias in it |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for run in study.runs():
        own = dict(zip(rows.RUN, (run.variant, run.environment, str(run.seed)), strict=True))
        for row in (row for row in there if own.items() <= row.items()):
            numbers = [str(round(float(row[name]))) for name in ("return", "policy_return", "value")]
            bias = str(round(float(row["generated_bias"]))) if row["generated_bias"] else "-"
            model = f"{row['which']}, {int(row['step']):,} steps"
            cells = [run.environment, study.variants[run.variant].label, str(run.seed), model, *numbers, bias]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) if len(lines) > 2 else "No model has been measured yet."


if __name__ == "__main__":
    main()
