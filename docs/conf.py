"""Sphinx configuration."""

from pathlib import Path

project = "sb3_hyper"
author = "sb3_hyper contributors"
copyright = author
release = Path(__file__).parents[1].joinpath("sb3_hyper", "version.txt").read_text(encoding="utf-8").strip()

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.mathjax"]
myst_enable_extensions = ["dollarmath", "colon_fence", "attrs_inline"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"sb3_hyper {release}"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
nitpicky = False
