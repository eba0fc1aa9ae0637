"""
What finished models' critics say of their policies' actions, and what following the policies gives.

    python -m benchmarks.final_values slim-search logs/studies/slim-search

plays 10 episodes with every model of the study below a folder, VARIANT/ENVIRONMENT/seed-N/..., that has no rows yet: the last
and the best one of each run; the values of random actions in the same states tell how much of a value depends on the action,
and the length of a value's gradient with respect to the critic's parameters how far a step of the optimizer moves it. Rows,
one per model, go to benchmarks/results/STUDY-values.csv. (Values of SAC and TQC hold the entropy
bonus too, and are those of the policy that draws its actions; returns are without it, and of the policy's mean action. Where
training normalised observations, both models are measured with the statistics of its end.)
"""

import argparse
import math
from pathlib import Path

import numpy as np
import torch as th
from rich.progress import track

from benchmarks import rows
from sb3_hyper.common.files import digest
from sb3_hyper.diagnostics.agents import Agent
from sb3_hyper.experiments.diagnose import find_normalization, load_agent
from sb3_hyper.experiments.studies import Study
from sb3_hyper.experiments.study_files import load_study
from sb3_hyper.experiments.trained_env import trained_env
from sb3_hyper.meta.maml.episodes import discounted_sums

RESULTS = Path(__file__).parent / "results"
KEYS = (*rows.RUN, "which")
N_EPISODES = 10
N_ACTIONS = 16
N_GRADIENTS = 25
CUT = 0.01  # returns count where a time limit cuts off less than this share of what would follow
SEED = 20_000


def file_of(study: str) -> Path:
    """
    :param study: Name of a study.
    :return: Its rows.
    """
    return RESULTS / f"{study}-values.csv"


def parameter_gradient(agent: Agent, states: np.ndarray) -> float:
    """
    :param agent: A model.
    :param states: ``(n, state_dim)``
    :return: Length of the gradient of the first critic's value of the policy's action with respect to the critic's parameters:
        mean over ``N_GRADIENTS`` of the states.
    """
    critic, lengths = agent.policy.critic, []
    parameters = [parameter for parameter in critic.parameters() if parameter.requires_grad]
    for index in np.linspace(0, len(states) - 1, N_GRADIENTS).astype(int):
        state = states[index : index + 1]
        with th.enable_grad():
            value = agent._values(agent._tensor(state), th.as_tensor(agent.actions(state)))[0].sum() / agent.reward_scale
            gradients = th.autograd.grad(value, parameters, allow_unused=True)
        lengths.append(th.cat([gradient.flatten() for gradient in gradients if gradient is not None]).norm().item())
    return float(np.mean(lengths))


def measure(path: Path, algo: str, environment: str) -> rows.Row:
    """
    :param path: A model that SB3 saved.
    :param algo: rl-zoo3's name of its algorithm.
    :param environment: Id of its environment.
    :return: Means over states, in units of the rewards: the first critic's value of the policy's action and of uniformly
        random ones, the length of its gradient with respect to the parameters, and the discounted return of following the
        policy; and the mean undiscounted return of an episode.
    :raises ValueError: If episodes are too short for discounted returns.
    """
    make_env, _ = trained_env(path, environment)
    agent = load_agent(path, environment, make_env, algo, find_normalization(path, environment), "cpu")
    env, scale = make_env(), agent.reward_scale
    tail = 0 if agent.model.gamma == 0 else math.ceil(math.log(CUT) / math.log(agent.model.gamma))
    observations, gave, returns = [], [], []
    for episode in range(N_EPISODES):
        observation, _ = env.reset(seed=SEED + episode)
        seen, rewards, terminated, truncated = [], [], False, False
        while not (terminated or truncated):
            seen.append(observation)
            observation, reward, terminated, truncated, _ = env.step(agent.act(observation[None])[0])
            rewards.append(float(reward))
        counted = len(seen) if terminated else max(0, len(seen) - tail)
        observations += seen[:counted]
        gave.append(discounted_sums(th.tensor(rewards, dtype=th.float64), agent.model.gamma)[:counted].numpy())
        returns.append(sum(rewards))
    if not observations:
        raise ValueError(
            f"An episode of {environment} ends before the last {tail} steps, whose discounted returns are cut off"
        )
    states = np.stack(observations).astype(np.float32)
    values = agent.values(states, agent.actions(states))[0]
    shape = (N_ACTIONS, len(states), math.prod(agent.model.action_space.shape or ()))
    random_actions = np.random.default_rng(SEED).uniform(-1, 1, shape).astype(np.float32)
    random_values = [agent.values(states, actions)[0].mean() for actions in random_actions]
    return {
        "step": str(agent.model.num_timesteps),
        "episodes": str(N_EPISODES),
        "return": f"{np.mean(returns):.6g}",
        "value": f"{values.mean() / scale:.6g}",
        "value_of_random_actions": f"{np.mean(random_values) / scale:.6g}",
        "parameter_gradient": f"{parameter_gradient(agent, states):.6g}",
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
        own = rows.names_of(run)
        for complete in sorted((args.folder / run.label).glob(f"{run.algo}/*/complete")):
            for which, name in (("last", run.environment.replace("/", "-")), ("best", "best_model")):
                model = complete.with_name(f"{name}.zip")
                origin = own | {"which": which, "model": digest(model)[:8]}
                if any(origin.items() <= row.items() for row in rows.read(path)):
                    continue
                new = origin | measure(model, run.algo, run.environment)
                rows.replace(path, [new], KEYS, lambda row: [row[key] for key in KEYS])
    print(f"Rows: {path}")


def table(study: Study) -> str:
    """
    :param study: A study.
    :return: The rows of its runs' last models in Markdown, in the order of environments, variants and seeds.
    """
    there = [row for row in rows.read(file_of(study.name)) if row["which"] == "last"]
    lines = [
        "| environment | variant | seed | return | discounted return | value | of random actions | gradient |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    order = [list(study.environments), list(study.variants)]
    for run in sorted(study.runs(), key=lambda run: (order[0].index(run.environment), order[1].index(run.variant), run.seed)):
        own = rows.names_of(run)
        for row in (row for row in there if own.items() <= row.items()):
            names = ("return", "policy_return", "value", "value_of_random_actions", "parameter_gradient")
            numbers = [rows.whole(float(row[name])) for name in names]
            lines.append(
                "| " + " | ".join([run.environment, study.variants[run.variant].label, str(run.seed), *numbers]) + " |"
            )
    return "\n".join(lines) if len(lines) > 2 else "No model has been measured yet."


if __name__ == "__main__":
    main()
