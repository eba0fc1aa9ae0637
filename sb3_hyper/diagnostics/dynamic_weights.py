"""The callback that looks at the weights of critics and actors (Figs. 10, 11 of the paper)."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.preprocessing import get_action_dim
from torch import nn

from sb3_hyper.common.arguments import refuse_less
from sb3_hyper.diagnostics.agents import Agent
from sb3_hyper.diagnostics.branches import stack
from sb3_hyper.diagnostics.measuring import (
    MeasuringCallback,
    has_stored_observations,
    last_step_without_training,
)
from sb3_hyper.diagnostics.weights import (
    common_bins,
    distance_to_initial,
    find_hypernetworks,
    generated_weights,
    initial_bound,
    linear_layers,
    linear_weights,
    n_inputs,
)
from sb3_hyper.networks.hypernetwork import HyperNetwork

ORDINARY = "critic.q_network"  # the name of a hypernetwork critic: figures show both side by side


class DynamicWeightsCallback(MeasuringCallback):
    """
    How the generated weights are distributed (the paper's Figs. 10, 11 and Table 2), for every hypernetwork of a
    policy, critic or actor. Of a critic without hypernetwork, its own weights, to draw beside: those of the first Q-network,
    under the name ``critic.q_network``.

    Logged under ``weights.NETWORK.LAYER/``: for each layer the standard deviation of the weights over everything (``std``),
    the mean over the weights of the standard deviation over states (``std_of_meta``), the largest weight, and the
    total-variation distance to the weights that PyTorch gives an ordinary network at first. That network reads all the
    features (and a critic's the action) into layers as wide as the dynamic network's: for a critic with the paper's
    hypernetwork it is MLP-Small. Where a weight is not finite all of these are not a number.

    Histograms of the finite weights, with their bins, are kept in ``dynamic_weights.npz``.

    The first measurement is made when learning starts: of untrained networks, for the states of random actions.

    :param eval_freq: Steps between measurements.
    :param n_states: Number of observations, drawn from the replay buffer.
    :param n_bins: Number of bins.
    :param log_path: Folder of the file; None: the logger's, if it has one.
    :param seed: Seed of the states drawn.
    :param verbose: Verbosity: 1 prints each measurement.
    :raises ValueError: If the policy has neither hypernetwork nor a critic of linear layers, its critic reads more than
        observations and actions (PEARL's), or a number is not positive.
    """

    def __init__(
        self,
        eval_freq: int = 10_000,
        n_states: int = 100,
        n_bins: int = 200,
        log_path: str | Path | None = None,
        seed: int = 0,
        verbose: int = 0,
    ) -> None:
        refuse_less(1, n_states=n_states, n_bins=n_bins)
        super().__init__("dynamic_weights.npz", eval_freq, log_path, seed, verbose)
        self.n_states = n_states
        self.n_bins = n_bins
        self.networks: dict[str, HyperNetwork] = {}
        self.ordinary: nn.Module | None = None

    def _prepare(self) -> None:
        policy: Any = self.model.policy
        self.policy = getattr(policy, "_orig_mod", policy)  # of one that was compiled
        self.networks = {
            name: network for name, network in find_hypernetworks(self.policy).items() if "target" not in name.split(".")[0]
        }
        critic: Any = getattr(self.model.policy, "critic", None)
        has_own = critic is not None and not any(name.startswith("critic.") for name in self.networks)
        self.ordinary = first_q_network(critic) if has_own else None
        if not self.networks and self.ordinary is None:
            raise ValueError(f"{type(self.model.policy).__name__} has no hypernetwork, and no critic of linear layers either")
        if self.networks:
            Agent(self.model)  # tells at once if it cannot be asked what they read

    def _first_step(self) -> int:
        return last_step_without_training(self.model)

    def _is_possible(self) -> bool:
        return not self.networks or has_stored_observations(self.model)

    def _settings(self) -> dict[str, Any]:
        return {"n_states": self.n_states, "n_bins": self.n_bins}

    def _measure(self, rng: np.random.Generator) -> tuple[dict[str, Any], dict[str, float]]:
        stored: dict[str, Any] = {}
        logged: dict[str, float] = {}
        metas = meta_variables(self.model, self.networks, self.n_states, rng) if self.networks else {}
        # name, weights, inputs of the ordinary layer, how many sets of weights
        layers: list[tuple[str, np.ndarray, int, int]] = [
            (f"{name}.{index}", weights, self._n_inputs(name, network, index), len(metas[name]))
            for name, network in self.networks.items()
            for index, weights in enumerate(generated_weights(network, metas[name]))
        ]
        if self.ordinary is not None:
            pairs = zip(linear_weights(self.ordinary), linear_layers(self.ordinary), strict=True)
            layers += [(f"{ORDINARY}.{index}", weights, n_inputs(layer), 1) for index, (weights, layer) in enumerate(pairs)]
        for key, weights, size, n_sets in layers:
            bound = initial_bound(size)
            weights = np.where(np.isfinite(weights), weights, np.nan)
            bins = common_bins([weights, np.array([-bound, bound])], self.n_bins)
            numbers = {
                "std": float(weights.std()),
                "std_of_meta": float(weights.reshape(n_sets, -1).std(axis=0).mean()),
                "largest": float(np.abs(weights).max()),
                "total_variation": distance_to_initial(weights, size, bins),
            }
            logged |= {f"weights.{key}/{what}": value for what, value in numbers.items()}
            stored |= {f"{key}.{what}": value for what, value in numbers.items()}
            stored |= {f"{key}.bins": bins, f"{key}.counts": np.histogram(weights, bins)[0]}
        if self.verbose > 0:
            spreads = ", ".join(
                f"{name.removesuffix('.std')} {value:.3g}" for name, value in stored.items() if name.endswith(".std")
            )
            print(f"{self.num_timesteps} steps: standard deviation of weights: {spreads}")
        return stored, logged

    def _n_inputs(self, name: str, network: HyperNetwork, layer: int) -> int:
        """Of a layer of the ordinary network that does without a meta variable."""
        if layer > 0:
            return network.spec.dynamic_widths[layer - 1]
        part = name.split(".")[0]
        extractor: Any = getattr(self.policy, part).features_extractor
        return extractor.features_dim + (get_action_dim(self.model.action_space) if part == "critic" else 0)


def first_q_network(critic: nn.Module) -> nn.Module | None:
    """
    :param critic: A critic without hypernetwork, of this package or stock.
    :return: Its first Q-network; None if there is none of linear layers.
    """
    network = getattr(critic, "q_network", None)
    if network is None:
        networks = getattr(critic, "q_networks", None)
        network = networks[0] if networks else None
    return network if network is not None and linear_layers(network) else None


def meta_variables(
    model: Any, networks: Mapping[str, HyperNetwork], n_states: int, rng: np.random.Generator
) -> dict[str, th.Tensor]:
    """
    What the hypernetworks of a policy read when it is asked about observations of the replay buffer.

    :param model: An off-policy model.
    :param networks: Name -> hypernetwork of its policy.
    :param n_states: Number of observations.
    :param rng: Random generator.
    :return: Name -> meta variables, ``(n, meta_dim)``
    """
    agent = Agent(model)
    observations = stack(agent.stored_observations(n_states, rng))
    metas: dict[str, th.Tensor] = {}

    def watch(name: str) -> Callable[..., None]:
        def keep(module: th.nn.Module, arguments: tuple[Any, ...]) -> None:
            metas[name] = arguments[0].detach()

        return keep

    hooks = [network.primary.register_forward_pre_hook(watch(name)) for name, network in networks.items()]
    try:
        agent.values(observations, agent.actions(observations))
    finally:
        for hook in hooks:
            hook.remove()
    return metas
