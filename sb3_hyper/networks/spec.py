"""Describe a hypernetwork in plain values, and the named presets."""

import dataclasses
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any


def positive_number(name: str, value: Any) -> float:
    """
    Check a hyperparameter that must be a positive, finite number.

    :param name: Its name, for the error message.
    :param value: What was given.
    :return: The number as ``float``.
    :raises ValueError: If it is anything else; text that YAML failed to read as a number is explained.
    """
    if isinstance(value, str):
        raise ValueError(
            f"{name} must be a positive number, got the text {value!r}. "
            "(YAML reads 1e-3 as text: write 0.001 or !!float 1e-3.)"
        )
    # numpy's numbers are accepted, and turned into plain floats that every checkpoint can hold
    if isinstance(value, bool) or not hasattr(value, "__float__") or not 0 < float(value) < math.inf:
        raise ValueError(f"{name} must be a positive number, got {value!r}")
    return float(value)


def _positive_integers(name: str, values: Any, at_least_one: bool = False) -> tuple[int, ...]:
    wrong = not isinstance(values, (tuple, list)) or any(not _is_integer(value) or value < 1 for value in values)
    if wrong or (at_least_one and not values):
        raise ValueError(f"{name} must be a list of positive whole numbers, got {values!r}")
    return tuple(int(value) for value in values)


def _is_integer(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _names(names: Any) -> str:
    return ", ".join(repr(name) for name in names)


NAMES = {
    "primary": ("residual", "normed"),
    "heads": ("dense", "low_rank", "residual"),
    "initialization": ("paper", "sac_code", "bias_hyper", "hyperfan_in", "kaiming"),
}


@dataclass(frozen=True)
class HyperNetworkSpec:
    """
    Everything that defines a hypernetwork but its input and output sizes. The defaults are the paper's network.

    Lists are accepted where tuples are declared, so a spec can be written in YAML.

    :param widths: One entry per stage of the primary network: a linear map to that width, followed by
        ``n_blocks`` residual blocks (Fig. 1). The last width is the size of the latent ``z``.
    :param n_blocks: Residual blocks per stage.
    :param primary: ``"residual"``: the paper's, without normalisation. ``"normed"``: residual blocks and ``z`` are
        layer-normalised.
    :param heads: How ``z`` becomes dynamic weights. ``"dense"``: the paper's linear maps. ``"low_rank"``: a product of
        factors of which one depends on ``z``. ``"residual"``: fixed learned weights and a change of low rank.
    :param rank: Rank of the low-rank heads.
    :param initialization: ``"paper"``, ``"sac_code"``, ``"bias_hyper"``, ``"hyperfan_in"`` or ``"kaiming"``, see
        :mod:`sb3_hyper.networks.initialization`. Heads that are not dense know the first two only.
    :param primary_gain: Kaiming gain of the primary network's linear weights, drawn from
        U(+-gain * sqrt(3 / fan_in)). The paper (Sec. 5.2): 1/sqrt(12). PyTorch's default: 1/sqrt(3). The initialisations
        ``"sac_code"`` and ``"kaiming"`` have gains of their own.
    :param shared_primary: Whether the members of an ensemble (twin critics) share one primary network and differ in
        their heads only (the paper: not).
    :param dynamic_widths: Hidden widths of the generated network.
    :param gain: Whether dynamic layers have the gain of Eq. 1.
    :param dynamic_layer_norm: Whether the hidden layers of the generated network are layer-normalised, before the ReLU
        and without learned scale (the paper: not).
    :param dynamic_weight_norm: Whether the weights of each hidden unit of the generated network, its bias among them, are
        scaled to length one. The network stays piecewise linear in its input, as it is without (the paper: not).
    :param hidden_head_bound: Heads of hidden dynamic layers start from U(+-bound). Larger: generated weights start wider.
        (Of heads ``"dense"`` and ``"low_rank"`` with the initialisations ``"paper"`` and ``"sac_code"``; others have no
        bounds.)
    :param output_head_bound: The same for the output layer. Larger: larger initial outputs.
    :param critic_learning_rate: The step size of the critic's optimizer that goes with this network.
    :raises ValueError: If a value is out of range.
    """

    widths: tuple[int, ...] = (256, 512, 1024)
    n_blocks: int = 2
    primary: str = "residual"
    heads: str = "dense"
    rank: int = 64
    initialization: str = "paper"
    primary_gain: float = 1 / math.sqrt(12)
    shared_primary: bool = False
    dynamic_widths: tuple[int, ...] = (256,)
    gain: bool = True
    dynamic_layer_norm: bool = False
    dynamic_weight_norm: bool = False
    hidden_head_bound: float = 0.05
    output_head_bound: float = 0.008
    critic_learning_rate: float = 5e-5

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", _positive_integers("widths", self.widths, at_least_one=True))
        object.__setattr__(self, "dynamic_widths", _positive_integers("dynamic_widths", self.dynamic_widths))
        if not _is_integer(self.n_blocks) or self.n_blocks < 0:
            raise ValueError(f"n_blocks must be a whole number of at least 0, got {self.n_blocks!r}")
        if not _is_integer(self.rank) or self.rank < 1:
            raise ValueError(f"rank must be a positive whole number, got {self.rank!r}")
        object.__setattr__(self, "rank", int(self.rank))
        for name, accepted in NAMES.items():
            if getattr(self, name) not in accepted:
                raise ValueError(f"{name} must be one of {_names(accepted)}, got {getattr(self, name)!r}")
        if self.heads != "dense" and self.initialization not in ("paper", "sac_code"):
            raise ValueError(f"initialization={self.initialization!r} is for heads='dense', got heads={self.heads!r}")
        for name in ("shared_primary", "gain", "dynamic_layer_norm", "dynamic_weight_norm"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be true or false, got {getattr(self, name)!r}")
        for name in ("primary_gain", "hidden_head_bound", "output_head_bound", "critic_learning_rate"):
            object.__setattr__(self, name, positive_number(name, getattr(self, name)))


# A fifteenth of the paper's size, made trainable at an MLP's step size by layer normalisation.
# The head bounds give the generated weights the same initial spread as the paper's (std 0.045 in the first layer).
_SLIM = HyperNetworkSpec(
    widths=(256,),
    primary="normed",
    primary_gain=1 / math.sqrt(3),
    dynamic_widths=(128,),
    hidden_head_bound=0.005,
    output_head_bound=0.0008,
    critic_learning_rate=3e-4,
)

# Saved models name their preset, or rely on the default: once released, neither changes
PRESETS: dict[str, HyperNetworkSpec] = {
    # Sec. 2 and App. D.1: three stages of two residual blocks each, one generated hidden layer of 256.
    "paper": HyperNetworkSpec(),
    "slim": _SLIM,
    # A fortieth of the paper's size. Output weights are linear in a normalised z, and what they are multiplied with is
    # normalised too: values of slim ran away on Hopper-v5, those of this one did not (the study slim-search).
    "bounded": dataclasses.replace(_SLIM, widths=(128,), gain=False, dynamic_layer_norm=True),
}


def resolve_spec(preset: str | HyperNetworkSpec, changes: Mapping[str, Any] | None = None) -> HyperNetworkSpec:
    """
    Look a preset up and apply changes to it.

    :param preset: The name of a preset (``"paper"``, ``"slim"``, ``"bounded"``) or a spec.
    :param changes: Fields of :class:`HyperNetworkSpec` to replace, e.g. ``{"dynamic_widths": [64]}``.
    :return: The complete spec.
    :raises ValueError: If the preset or a field is unknown, or a value out of range.
    """
    if isinstance(preset, HyperNetworkSpec):
        spec = preset
    elif isinstance(preset, str) and preset in PRESETS:
        spec = PRESETS[preset]
    else:
        raise ValueError(f"Unknown preset {preset!r}. Accepted: {_names(PRESETS)} or a HyperNetworkSpec.")
    if changes is None:
        return spec
    fields = [field.name for field in dataclasses.fields(HyperNetworkSpec)]
    if not isinstance(changes, Mapping) or not set(changes) <= set(fields):
        given = ", ".join(sorted(map(str, set(changes) - set(fields)))) if isinstance(changes, Mapping) else repr(changes)
        raise ValueError(f"network_kwargs changes fields of the preset. Given: {given}. Accepted: {_names(fields)}.")
    changed = dataclasses.replace(spec, **changes)
    if changed.rank != spec.rank and changed.heads == "dense":
        warnings.warn('rank is for heads="low_rank" and heads="residual", not for "dense"', stacklevel=2)
    return changed
