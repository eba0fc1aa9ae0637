"""What a gradient step of a critic takes on a CPU, for who starts with a network meant for a GPU."""

import time
import warnings

import torch as th
from stable_baselines3.common.preprocessing import get_action_dim

from sb3_hyper.policies.critics import QNetworkCritic

SLOW_ON_CPU = 5_000_000  # parameters per critic from which training on a CPU deserves a warning
# Forward passes of all critics in a gradient step: targets 1, loss and its gradient 3, actor's step 1/4 (TD3) or 1 (SAC)
FORWARDS_PER_STEP = 4.5
# Adam and the target's update read and write memory: per parameter, measured as the parts of a step in benchmarks/speed.py
SECONDS_PER_PARAMETER = 1e-9


def warn_if_slow(critic: QNetworkCritic, hyper: bool) -> None:
    """
    Say what training a large critic will take, by the time of a forward pass.

    :param critic: A critic on a CPU.
    :param hyper: Whether it is a hypernetwork, of which there are smaller presets.
    """
    n_parameters = sum(parameter.numel() for parameter in critic.q_network.parameters()) // critic.n_critics
    if n_parameters < SLOW_ON_CPU:
        return
    features = th.zeros(256, critic.features_extractor.features_dim)
    actions = th.zeros(256, get_action_dim(critic.action_space))
    training = critic.training
    critic.set_training_mode(False)  # what has running statistics keeps them
    with th.no_grad():
        critic.q_network(features, actions)  # the first pass allocates
        start = time.perf_counter()
        critic.q_network(features, actions)
        seconds = FORWARDS_PER_STEP * (time.perf_counter() - start)
    critic.set_training_mode(training)
    seconds += SECONDS_PER_PARAMETER * n_parameters * critic.n_critics
    warnings.warn(
        f"A critic of {n_parameters / 1e6:.1f} million parameters is trained on a CPU: about {seconds:.2g} s per gradient "
        f"step at batch size 256, {seconds * 100_000 / 3600:.0f} hours for 100 000 steps, as busy as the machine is now."
        + (' policy_kwargs=dict(preset="bounded") is the network for CPUs.' if hyper else ""),
        stacklevel=2,
    )
