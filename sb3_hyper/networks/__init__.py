"""Hypernetworks in pure torch."""

from sb3_hyper.networks.dynamic import DynamicLayer, DynamicWeights, dynamic_layer, dynamic_network
from sb3_hyper.networks.hypernetwork import HyperNetwork
from sb3_hyper.networks.q_networks import ASHyperQ, EmbHyperQ, SAHyperQ
from sb3_hyper.networks.spec import PRESETS, HyperNetworkSpec, resolve_spec

__all__ = [
    "PRESETS",
    "ASHyperQ",
    "DynamicLayer",
    "DynamicWeights",
    "EmbHyperQ",
    "HyperNetwork",
    "HyperNetworkSpec",
    "SAHyperQ",
    "dynamic_layer",
    "dynamic_network",
    "resolve_spec",
]
