"""A table, computed once, written as Markdown or LaTeX."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

MINUS, TIMES = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"
LATEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "[": "{[}", "]": "{]}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "±": r"$\pm$", MINUS: "$-$", TIMES: r"$\times$"}
)
MARKDOWN = str.maketrans({character: f"\\{character}" for character in "\\|*_`<"})


@dataclass(frozen=True)
class Table:
    """
    A table, its cells as plain text.

    :param key: Short name.
    :param title: What it shows.
    :param caption: How to read it, and how many seeds stand behind it.
    :param header: Names of the columns.
    :param rows: The rows.
    :param n_names: How many columns at the left hold names; the others hold numbers. If it is two, the first one names
        groups of rows.
    """

    key: str
    title: str
    caption: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    n_names: int = 1

    def groups(self) -> list[Sequence[tuple[str, ...]]]:
        """
        :return: The rows, group by group.
        """
        if self.n_names < 2:
            return [self.rows]
        return [list(rows) for _, rows in groupby(self.rows, key=lambda row: row[0])]

    def markdown(self) -> str:
        """
        :return: The table in GitHub's Markdown.
        """

        def line(cells: tuple[str, ...]) -> str:
            return "| " + " | ".join(_line(cell).translate(MARKDOWN) for cell in cells) + " |"

        rule = "|" + "|".join("---" if column < self.n_names else "---:" for column in range(len(self.header))) + "|"
        title, caption = (_line(text).translate(MARKDOWN) for text in (self.title, self.caption))
        return "\n".join([f"**{title}.** {caption}", "", line(self.header), rule, *map(line, self.rows)]) + "\n"

    def latex(self) -> str:
        """
        :return: The table in LaTeX; it needs the package booktabs.
        """

        def line(cells: tuple[str, ...]) -> str:
            return " & ".join(_line(cell).translate(LATEX) for cell in cells) + r" \\"

        body: list[str] = []
        for rows in self.groups():
            body += [r"\midrule", *map(line, rows)]
        words = textwrap.fill(
            _line(f"{self.title}. {self.caption}").translate(LATEX), 100, break_long_words=False, break_on_hyphens=False
        )
        columns = "l" * self.n_names + "r" * (len(self.header) - self.n_names)
        start = [r"\begin{table}", r"\centering", rf"\caption{{{words}}}", rf"\begin{{tabular}}{{{columns}}}", r"\toprule"]
        return "\n".join([*start, line(self.header), *body, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


def numbers(template: str, *values: float, decimals: int | None = None) -> str:
    """
    :param template: Text with a ``{}`` for each number.
    :param values: The numbers, of one unit.
    :param decimals: Decimals; None for as many as the largest one asks for.
    :return: The text, with minus signs.
    """
    if decimals is None:
        largest = np.max(np.abs(values), initial=0, where=np.isfinite(values))
        decimals = 0 if largest >= 100 else 1 if largest >= 10 else 2
    return template.format(*(f"{value:.{decimals}f}".replace("-", MINUS) for value in values))


def _line(text: str) -> str:
    return " ".join(text.split())
