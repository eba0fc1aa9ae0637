from html.parser import HTMLParser

import numpy as np
import pytest

from sb3_hyper.experiments.report import evaluation_size, make_report
from sb3_hyper.experiments.study_files import load_study
from sb3_hyper.experiments.study_runs import StudyRuns
from sb3_hyper.experiments.study_tables import study_tables
from sb3_hyper.experiments.table import TIMES
from tests.experiments.fake_runs import RANDOM, both_everywhere, half_finished, make_run, make_study

VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """What a test wants to know about a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.ids, self.captions, self.rows, self.open = [], [], [], [], [], []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "figcaption":
            self.captions.append("")

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if "style" not in self.open and ("td" in self.open or "th" in self.open):
            self.rows[-1][-1] += data
        if "figcaption" in self.open:
            self.captions[-1] += data


@pytest.fixture
def report(tmp_path):
    def make(results, random_returns=RANDOM, **changes):
        path = tmp_path / "report.html"
        make_report(make_study(**changes), results, path, random_returns)
        return Page(path.read_text(encoding="utf-8"))

    return make


def test_numbers_of_a_half_finished_study(report):
    page = report(half_finished())
    assert "4 of 12 runs have finished, 1 more" in " ".join(page.text.split())
    # the first row of an environment names it
    assert ["A-v0", "Base", "2", "35.0 [30.0, 40.0]", "55.0 ± 7.1", "30.0 [25.0, 35.0]", "0.00"] in page.rows
    assert ["New", "1", "54.0", "60.0", "48.0", "0.00"] in page.rows
    assert ["New", "1", "2.2k (1 of 1)", f"20.0 (2.50 {TIMES})"] in page.rows
    assert ["New", "1 of 3", "0 of 3 (+1)"] in page.rows


def test_numbers_of_a_study_that_can_be_compared(report):
    page = report(both_everywhere())
    assert ["New", "2", "1.77", "1.77", "1.61", "1.61", "-"] in page.rows
    assert page.tags.count("svg") == 5


def test_every_caption_of_results_tells_the_seeds(report):
    captions = [" ".join(text.split()) for text in report(both_everywhere()).captions]
    results = [text for text in captions if not text.startswith(("Settings", "Versions", "Normalisation"))]
    assert len(results) == 10
    assert all("seed" in text for text in results)


def test_the_legend_of_a_figure_is_text(report):
    assert "Base (1 to 2 seeds)" in report(both_everywhere()).text


def test_ids_are_unique_and_references_hit_them(report):
    page = report(both_everywhere())
    assert len(page.ids) == len(set(page.ids))
    references = [value[1:] for name, value in page.attributes if name in ("href", "xlink:href")]
    references += [part.split(")")[0] for _, value in page.attributes for part in value.split("url(#")[1:]]
    assert references
    assert set(references) <= set(page.ids)


def test_the_page_needs_nothing_but_itself(report):
    page = report(both_everywhere())
    assert not {"script", "link", "img", "iframe", "object", "embed"} & set(page.tags)
    addresses = [value for name, value in page.attributes if name in ("src", "href", "xlink:href", "srcset")]
    assert all(value.startswith("#") for value in addresses)
    assert "@import" not in page.text
    assert not any("url(" in value and "url(#" not in value for _, value in page.attributes)


@pytest.mark.parametrize(
    "text", ['<script>alert("x")</script>', '"><img src=x onerror=y>', "--> {{ 7 * 7 }} <b>", r"$x_{ \n ]]>"]
)
def test_hostile_texts_stay_texts(report, text):
    variants = {
        "base": {"label": text, "hyperparams": {"policy": text}},
        "new": {"label": "New", "hyperparams": {"policy": "p", text: {text: [text]}}},
    }
    results = [make_run(run.variant, run.environment, run.seed, run.curve, versions=text) for run in both_everywhere()]
    page = report(results, title=text, description=text, variants=variants)
    assert not {"script", "img"} & set(page.tags)
    assert set(page.tags) == set(report(both_everywhere()).tags)
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert page.text.count(text) > 8  # title, heading, description, cells, legends


def test_an_empty_study_says_so(report):
    page = report([])
    assert "0 of 12 runs have finished" in page.text
    assert "No run has finished yet" in page.text
    assert "svg" not in page.tags
    assert ["Base", "0 of 3", "0 of 3"] in page.rows


def test_a_study_that_has_only_begun_has_curves(report):
    page = report([make_run("new", "A-v0", 0, [1, 2])])
    assert page.tags.count("svg") == 2
    assert "New (1 seed, unfinished)" in page.text


def test_a_finished_run_without_times_beside_an_unfinished_one_with_them(report):
    unknown = dict.fromkeys(("seconds", "cpu_seconds"), np.full(6, np.nan))
    finished = make_run("base", "A-v0", 0, range(6), **unknown)
    page = report([finished, make_run("base", "A-v0", 1, [0, 1])])
    assert page.tags.count("svg") == 1  # against steps: of the run that is drawn no times are known


def test_what_is_left_out_is_said(report):
    page = report(half_finished(), random_returns={"A-v0": 0.0})
    assert "Left out: B-v0 (the return of random actions is not known)" in page.text
    assert ["B-v0", "1", "-", "-"] in page.rows


def test_a_diverged_run_does_not_stop_the_report(report):
    diverged = [make_run("new", name, 0, [0, 1, float("nan"), 1, 1, 1]) for name in ("A-v0", "B-v0")]
    page = report([*half_finished()[:3], *diverged])
    assert ["New", "1", "nan", "nan", "nan", "nan"] in page.rows


def test_settings_are_those_of_the_baseline_and_what_differs(report):
    rows = {row[0]: " ".join(row[1].split()) for row in report([]).rows if len(row) == 2}
    assert rows["Base"] == "algotd3 policyMlpPolicy batch_size100 n_timesteps6000"
    assert rows["New"] == "batch_size200"


def test_settings_that_a_variant_lacks_are_named(report):
    variants = make_study().model_dump()["variants"]
    del variants["new"]["hyperparams"]["batch_size"]
    variants["new"]["hyperparams"]["policy_kwargs"] = {"net_arch": [8]}
    rows = {row[0]: " ".join(row[1].split()) for row in report([], variants=variants).rows if len(row) == 2}
    assert rows["New"] == "policy_kwargs.net_arch[8] withoutbatch_size"


def test_versions_and_commits_are_counted(report):
    other = make_run("new", "B-v0", 0, [1] * 6, commit="def456")
    rows = report([*half_finished()[:-1], other]).rows
    assert ["python-3.11 numpy-2", "abc123", "a processor", "4"] in rows
    assert ["python-3.11 numpy-2", "def456", "a processor", "1"] in rows


def test_the_same_results_give_the_same_page(tmp_path):
    for name in ("one.html", "two.html"):
        make_report(make_study(), both_everywhere(), tmp_path / name, RANDOM)
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


def test_tables_agree_whatever_they_are_written_in(report):
    page = report(both_everywhere())
    tables = study_tables(StudyRuns(make_study(), both_everywhere(), RANDOM))
    markdown, latex = ("\n".join(getattr(table, kind)() for table in tables) for kind in ("markdown", "latex"))
    assert ["Base", "3", *["1.00 [0.93, 1.07]"] * 2, "0.90 [0.83, 0.97]", "0.95 [0.83, 0.97]", "-"] in page.rows
    assert "| Base | 3 | 1.00 [0.93, 1.07] | 1.00 [0.93, 1.07] | 0.90 [0.83, 0.97] | 0.95 [0.83, 0.97] | - |" in markdown
    assert r"& 0.90 {[}0.83, 0.97{]} & 0.95 {[}0.83, 0.97{]} & - \\" in latex
    assert markdown.count("**Scores.**") == latex.count(r"\caption{Scores.") == 1


def test_what_an_evaluation_consists_of():
    assert evaluation_size(make_study()) == "2 episodes"
    assert evaluation_size(load_study("maml-small")) == "adaptation in each task"
    assert evaluation_size(load_study("pearl-small")) == "3 episodes in each task"
