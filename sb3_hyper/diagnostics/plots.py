"""
The paper's figures on action gradients and generated weights (Figs. 3, 8, 9, 10, 11), from what the callbacks stored.

Each function takes label -> the records of that label's runs, one dictionary per seed, as
:func:`~sb3_hyper.diagnostics.records.load_records` gives them, and returns a figure.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, PercentFormatter

from sb3_hyper.common.figures import GREY, INK, PALETTE, finish, plain
from sb3_hyper.diagnostics.gradients import learnable_share

Records = Mapping[str, np.ndarray]
Runs = Mapping[str, Sequence[Records]]
WINDOW = 20  # evaluations, the paper's
COSINES = {
    "cosine": "Cosine similarity with the fit to returns",
    "self_cosine": "Cosine similarity with the fit to the critic's own values",
    "noise_floor": "Cosine similarity of fits to two halves of the samples",
}


def learnable_states(runs: Runs) -> Figure:
    """
    Fig. 3a: the share of learnable states against the threshold, over all measurements after the first and all seeds.

    :param runs: Label -> records.
    :return: The figure.
    """
    thresholds = np.linspace(0, 1, 101)
    figure, axes = _single()
    for label, records, style in _styled(runs):
        cosines = np.concatenate([np.ravel(one["cosine"][1:] if len(one["cosine"]) > 1 else one["cosine"]) for one in records])
        axes.plot(thresholds, learnable_share(cosines, thresholds), **style, label=_label(label, records))
    _finish(figure, axes, "Threshold of the cosine similarity", "Learnable states")
    axes.set(xlim=(0, 1), ylim=(0, None))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    return figure


def learnable_over_time(runs: Runs, threshold: float = 0.25, window: int = WINDOW) -> Figure:
    """
    Figs. 3b and 3c (thresholds 0.25 and 0.75): the share of learnable states over training, mean over seeds.

    :param runs: Label -> records.
    :param threshold: Threshold of the cosine similarity.
    :param window: Measurements to average over, the last ones at each point.
    :return: The figure.
    """
    figure, axes = _single()
    for label, records, style in _styled(runs):
        steps, shares = _over_time(label, records, lambda one: (one["cosine"] > threshold).mean(axis=1))
        axes.plot(steps, trailing_mean(shares.mean(axis=0), window), **style, label=_label(label, records))
    _finish(figure, axes, "Environment steps", f"States with a cosine above {threshold:g}", _smoothed(window))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlim(left=0)
    return figure


def cosine_over_time(
    runs: Runs, which: Literal["cosine", "self_cosine", "noise_floor"] = "cosine", window: int = WINDOW
) -> Figure:
    """
    Figs. 3d and 9 (``"cosine"``) and Fig. 8 (``"self_cosine"``): mean over states and seeds, the band from the first to the
    third quartile of states.

    :param runs: Label -> records.
    :param which: Which cosine similarity.
    :param window: Measurements to average over, the last ones at each point.
    :return: The figure.
    """
    figure, axes = _over_states(runs, lambda one: one[which], window)
    _finish(figure, axes, "Environment steps", COSINES[which], _smoothed(window))
    axes.set_ylim(-1.02, 1.02)
    return figure


def value_bias_over_time(runs: Runs, window: int = WINDOW) -> Figure:
    """
    How far the critic's values of its policy's actions lie above the discounted returns of following the policy: mean over
    states and seeds, the band from the first to the third quartile of states. (Where a time limit cuts them off, returns go on
    with the target critics' value. Values of SAC and TQC hold the entropy bonus too, returns do not.)

    :param runs: Label -> records.
    :param window: Measurements to average over, the last ones at each point.
    :return: The figure.
    """
    figure, axes = _over_states(runs, lambda one: one["value"] - one["policy_return"], window)
    _finish(figure, axes, "Environment steps", "Value minus discounted return", _smoothed(window))
    return figure


def weight_histograms(runs: Runs, network: str = "critic.q_network", measurement: int = -1) -> Figure:
    """
    Figs. 10 and 11: how weights are distributed, layer by layer, a curve for each seed. A critic without hypernetwork, such as
    MLP-Small, shows its own weights.

    :param runs: Label -> records of :class:`~sb3_hyper.diagnostics.callbacks.DynamicWeightsCallback`.
    :param network: Name of the network in the policy.
    :param measurement: Which measurement: 0 for the first (Fig. 10), -1 for the last (Fig. 11).
    :return: The figure, one panel per layer.
    :raises ValueError: If a record has not that network, or another number of layers; the message says which there are.
    """
    n_layers = _n_layers(runs, network)
    figure = Figure(figsize=(4.6 * n_layers, 3.6), layout="constrained")
    panels = figure.subplots(1, n_layers, squeeze=False)[0]
    for layer, axes in enumerate(panels):
        for label, records, style in _styled(runs):
            for index, one in enumerate(records):
                bins, counts = (one[f"{network}.{layer}.{part}"][measurement] for part in ("bins", "counts"))
                name = _label(label, records) if index == 0 and layer == 0 else None
                total = max(counts.sum(), 1)  # none where no weight is finite
                axes.stairs(counts / total / np.diff(bins), bins, **style, label=name)
        finish(axes, "Weight", "Density" if layer == 0 else "", f"Layer {layer + 1}")
    _legend(figure, panels[0])
    return figure


def values_and_returns(records: Records, measurement: int = -1, title: str = "") -> Figure:
    """
    What the critic says of its policy's actions against what following the policy gave.

    :param records: The records of one run.
    :param measurement: Which measurement.
    :param title: Title.
    :return: The figure.
    """
    values, returns = records["value"][measurement], records["policy_return"][measurement]
    figure, axes = _single(4.2, 4.0)
    ends = [min(values.min(), returns.min()), max(values.max(), returns.max())]
    axes.plot(ends, ends, color=GREY, linewidth=0.8)
    axes.plot(returns, values, "o", color=PALETTE[0][0], markersize=5)
    finish(axes, "Discounted return of following the policy", "Value by the first critic", title)
    return figure


def trailing_mean(values: np.ndarray, window: int) -> np.ndarray:
    """
    :param values: ``(n,)``
    :param window: How many values to average, the last ones at each point (fewer at the start).
    :return: ``(n,)``; what is not a number is left out.
    """
    parts = [values[max(0, end - window) : end] for end in range(1, len(values) + 1)]
    known = [part[~np.isnan(part)] for part in parts]
    return np.array([part.mean() if len(part) else np.nan for part in known])


def _over_states(runs: Runs, quantity: Callable[[Records], np.ndarray], window: int) -> tuple[Figure, Axes]:
    """The mean over states and seeds at each step, in a band from the first to the third quartile."""
    figure, axes = _single()
    axes.axhline(0, color=GREY, linewidth=0.8)
    for label, records, style in _styled(runs):
        steps, values = _over_time(label, records, quantity)  # (n_seeds, n_measurements, n_states)
        pooled = np.moveaxis(values, 0, 1).reshape(len(steps), -1)
        known = [row[~np.isnan(row)] for row in pooled]
        mean, low, high = (
            trailing_mean(np.array([statistic(row) if len(row) else np.nan for row in known]), window)
            for statistic in (np.mean, lambda row: np.quantile(row, 0.25), lambda row: np.quantile(row, 0.75))
        )
        axes.fill_between(steps, low, high, color=style["color"], alpha=0.13, linewidth=0)
        axes.plot(steps, mean, **style, label=_label(label, records))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlim(left=0)
    return figure, axes


def _over_time(
    label: str, records: Sequence[Records], quantity: Callable[[Records], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """The steps that all runs were measured at, and the quantity there: ``(n_seeds, n_measurements, ...)``"""
    steps = sorted(set.intersection(*(set(one["timesteps"].tolist()) for one in records)))
    if not steps:
        raise ValueError(f"The runs of {label!r} were measured at no step in common: draw seeds of one eval_freq together")
    rows = [np.isin(one["timesteps"], steps) for one in records]
    values = [np.asarray(quantity(one))[row] for one, row in zip(records, rows, strict=True)]
    if len({value.shape for value in values}) > 1:
        sizes = ", ".join(str(value.shape[-1]) for value in values)
        raise ValueError(f"The runs of {label!r} were measured in different numbers of states: {sizes}")
    return np.array(steps), np.stack(values)


def _n_layers(runs: Runs, network: str) -> int:
    """The number of layers of the network, which all records must have."""
    numbers: list[tuple[str, int]] = []
    for label, records in runs.items():
        for one in records:
            names = [name for name in one if name.endswith(".counts")]
            numbers.append((label, sum(name.rsplit(".", 2)[0] == network for name in names)))
            if numbers[-1][1] == 0:
                known = sorted({name.rsplit(".", 2)[0] for name in names})
                raise ValueError(
                    f"{label!r} has no histograms of {network!r}, only of {', '.join(map(repr, known)) or 'nothing'}"
                )
    if not numbers:
        raise ValueError("There are no records to draw from")
    if len({number for _, number in numbers}) > 1:
        layers = ", ".join(f"{label!r} has {number}" for label, number in dict.fromkeys(numbers))
        raise ValueError(f"Networks with different numbers of layers cannot be drawn side by side: {layers}")
    return numbers[0][1]


def _styled(runs: Runs) -> list[tuple[str, Sequence[Records], dict[str, Any]]]:
    looks = itertools.cycle([(INK, "-"), *PALETTE])
    return [
        (label, records, {"color": color, "linestyle": line, "linewidth": 1.7})
        for (label, records), (color, line) in zip(runs.items(), looks, strict=False)
    ]


def _single(width: float = 6.4, height: float = 4.0) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _label(label: str, records: Sequence[Records]) -> str:
    return f"{plain(label)} ({len(records)} seed{'' if len(records) == 1 else 's'})"


def _smoothed(window: int) -> str:
    return f"Mean over the last {window} measurements" if window > 1 else ""


def _finish(figure: Figure, axes: Axes, x_label: str, y_label: str, title: str = "") -> None:
    finish(axes, x_label, y_label, title)
    _legend(figure, axes)


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, fontsize="small", frameon=False, labelcolor=INK)
