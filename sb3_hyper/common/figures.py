"""The look of figures: readable in print and on screen, and by the colour-blind."""

from matplotlib.axes import Axes

INK = "#2b2b2b"  # of text, axes and the baseline; a page may replace it by its own
GREY = "#7f7f7f"
# Okabe and Ito's palette without yellow and black, its two light colours darkened: each stands out from white and from
# black by 3 : 1. The dashes tell the pairs apart that are alike to the colour-blind, such as orange and ochre.
DASHES = (0, (4.5, 1.2))
PALETTE = (
    ("#0072b2", "-"),
    ("#d55e00", "-"),
    ("#009e73", "-"),
    ("#c465a0", DASHES),
    ("#b98300", DASHES),
    ("#3a97d0", DASHES),
)


def finish(axes: Axes, x_label: str = "", y_label: str = "", title: str = "") -> None:
    """
    Give axes the look of all figures here.

    :param axes: The axes.
    :param x_label: Label of the x axis.
    :param y_label: Label of the y axis.
    :param title: Title.
    """
    axes.set_xlabel(x_label, color=INK)
    axes.set_ylabel(y_label, color=INK)
    axes.set_title(plain(title), color=INK, fontsize="medium", fontweight="bold", loc="left")
    axes.tick_params(colors=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_color(INK)
    axes.grid(color=GREY, alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    for background in (axes.patch, axes.figure.patch):
        background.set_visible(False)


def plain(text: str) -> str:
    """
    :param text: Any text.
    :return: One line, in which no dollar sign starts a formula.
    """
    return " ".join(text.split()).replace("$", r"\$")
