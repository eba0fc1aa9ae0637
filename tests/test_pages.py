"""The pages in docs/results follow from the rows in benchmarks/results."""

import re

import pytest
from matplotlib.image import imread

from benchmarks import pages
from benchmarks.images import IMAGES, fingerprint, save_all, source_of
from sb3_hyper.experiments.studies import StudyError
from sb3_hyper.experiments.study_files import load_study

PAGES = sorted(path for path in pages.PAGES.glob("*.md") if path.name != "index.md")


def test_there_are_pages():
    assert {"critics-100k", "sac-100k", "slim-search", "gradient-accuracy", "dynamic-weights", "pearl", "maml"} <= {
        path.stem for path in PAGES
    }


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_the_tables_are_those_of_the_rows(path):
    text = path.read_text(encoding="utf-8")
    assert pages.BLOCK.search(text)
    assert pages.rendered(text) == text, "make results"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_the_figures_were_drawn_from_these_rows(path):
    for _, kind, name, _ in pages.BLOCK.findall(path.read_text(encoding="utf-8")):
        block, study = pages.BLOCKS[kind], load_study(name)
        for figure in block.figures(study) if block.figures else ():
            assert source_of(IMAGES / f"{figure}.png") == fingerprint([block.file(study)]), "make results"


def test_every_image_is_shown_somewhere():
    texts = [path.read_text(encoding="utf-8") for path in (pages.ROOT / "README.md", *(pages.ROOT / "docs").rglob("*.md"))]
    assert not [path.name for path in IMAGES.iterdir() if not any(f"images/{path.name})" in text for text in texts)]


def test_a_figure_is_drawn_from_the_rows(tmp_path):
    drawn = save_all(pages.learning_figures(load_study("critics-100k")), tmp_path, [pages.RESULTS / "critics-100k.csv"])
    assert drawn[0].name == "critics-100k-steps.png"
    for path in drawn:
        assert imread(path).std() > 0
        assert source_of(path) == source_of(IMAGES / path.name)
        assert source_of(path) != fingerprint([])
        assert imread(path)[..., 3].min() == 1  # opaque


def test_rows_of_another_definition_make_no_page(tmp_path, monkeypatch):
    text = (pages.RESULTS / "sac-100k.csv").read_text(encoding="utf-8")
    (tmp_path / "sac-100k.csv").write_text(re.sub(r",[0-9a-f]{8},", ",00000000,", text), encoding="utf-8")
    monkeypatch.setattr(pages, "RESULTS", tmp_path)
    with pytest.raises(StudyError, match="another definition"):
        pages.tables(load_study("sac-100k"))


def test_rows_that_change_make_a_page_stale(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "RESULTS", tmp_path)
    text = (pages.PAGES / "critics-100k.md").read_text(encoding="utf-8")
    assert "No run has finished yet." in pages.rendered(text)
