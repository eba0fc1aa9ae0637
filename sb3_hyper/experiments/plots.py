"""Figures."""

import os

import numpy as np

from sb3_hyper.common.files import replacing


def plot_learning_curve(
    path: str | os.PathLike[str], curves: dict[str, tuple[np.ndarray, np.ndarray]], title: str = ""
) -> None:
    """
    Draw learning curves: the mean return of each evaluation, and the range of its middle half of episodes.

    :param path: Where the image goes; its ending chooses the format.
    :param curves: Label -> steps ``(n_evaluations,)`` and returns ``(n_evaluations, n_episodes)``.
    :param title: The title.
    """
    # no display is needed, and the user's pyplot state stays as it is
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    for label, (steps, returns) in curves.items():
        (line,) = axes.plot(steps, returns.mean(axis=1), marker="o", markersize=3, label=label)
        low, high = np.quantile(returns, [0.25, 0.75], axis=1)
        axes.fill_between(steps, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    axes.set(xlabel="Environment steps", ylabel="Return", title=title)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    figure.legend(frameon=False, loc="outside upper center", fontsize="small")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)
