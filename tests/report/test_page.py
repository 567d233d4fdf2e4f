"""The page of a report: tables that fit, definitions where they are needed, failures in a line, figures with words."""

import json
import re
from html.parser import HTMLParser
from importlib import resources
from xml.etree import ElementTree

import pytest
from test_collect import fail_job, write_job

from cftransfer.report import report
from cftransfer.report.answer import answer
from cftransfer.report.cells import PAGE
from cftransfer.report.collect import jobs
from cftransfer.report.figures import trend
from cftransfer.report.glossary import definition
from cftransfer.report.tables import KEYS, TOPICS, WIDEST, first, rest

SVG = "{http://www.w3.org/2000/svg}"


class Tables(HTMLParser):
    """The tables of a page: the numbers of cells in their rows; and the elements that are open at each text."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.open, self.within = [], [], {}
        self.feed(text)

    def handle_starttag(self, tag, attrs):  # noqa: ARG002 (as HTMLParser calls it)
        if tag in ("details", "table", "svg"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append(0)
        if tag in ("td", "th"):
            self.rows[-1] += 1

    def handle_endtag(self, tag):
        if tag in ("details", "table", "svg"):
            self.open.pop()

    def handle_data(self, data):
        self.within[data.strip()] = tuple(self.open)


def swept(folder, many=3, **more):
    for job in range(many):
        layers = job + 1
        write_job(folder / str(job), rates=[[0.5, 0.6]] * 2, overrides=[f"model.layers={layers}"], model__layers=layers)


def test_every_column_has_a_definition_and_a_topic():
    listed = [head for heads in TOPICS.values() for head in heads]
    for head in PAGE:
        assert definition(head), head
        assert head in listed or head.startswith("to class "), head
    assert definition("model.layers") == ""


def test_definitions_are_tooltips_and_one_folded_glossary(tmp_path):
    swept(tmp_path)
    text = report([tmp_path]).read_text()
    assert f'<th title="{definition("agreement")}"><button>agreement</button></th>' in text
    assert Tables(text).within[definition("LOF")] == ("details",)


def test_the_rate_comes_first_and_all_other_numbers_are_folded(tmp_path):
    swept(tmp_path)
    (panel,) = jobs([tmp_path]).panels
    assert first(panel).heads[0] == "rate"
    assert first(panel).names == ["model.layers"]
    text = report([tmp_path]).read_text()
    assert Tables(text).within["Searching and transferring"] == ("details",)
    folded = text.index("<details")
    assert text.index("<button>rate</button>") < folded < text.index("<button>end-to-end</button>")


def test_no_table_is_wider_than_a_screen(tmp_path):
    for job in range(4):
        names = {f"model__key{k}": job for k in range(KEYS + 9)}
        write_job(tmp_path / str(job), rates=[[0.5, 0.6]], **names)
    (panel,) = jobs([tmp_path]).panels
    assert len(first(panel).names) == 1  # a column holds all settings
    assert max(len(table.heads) for table in rest(panel, list("0123"))) <= WIDEST
    assert max(Tables(report([tmp_path]).read_text()).rows) <= WIDEST + KEYS


def test_every_number_is_in_some_table_once(tmp_path):
    swept(tmp_path)
    (panel,) = jobs([tmp_path]).panels
    heads = [head for table in rest(panel, list("012")) for head in table.heads]
    assert len(heads) == len(set(heads))
    assert {"found", "rate", "random", "distance L2", "to class 1", "pairs", "job"} <= set(heads)


@pytest.mark.parametrize("many", [2, 3])
def test_failures_stand_after_the_answer_in_a_line_each_and_are_folded_from_three_on(tmp_path, many):
    swept(tmp_path)
    for job in range(many):
        fail_job(tmp_path / f"lost{job}", ["samples=5", f"model.layers=-{job}"])
        (tmp_path / f"lost{job}" / "transfer.log").write_text(f"1 failed: model.layers=-{job}: takes more\n")
    text = report([tmp_path]).read_text()
    assert text.index('class="answer"') < text.index('id="failed"') < text.index("The comparison")
    assert "<code>lost1</code> model.layers=-1: takes more</summary>" in text
    assert Tables(text).within["model.layers=-1: takes more"] == ("details",) * (2 if many > 2 else 1)


def test_figures_have_a_title_words_and_values(tmp_path):
    swept(tmp_path)
    text = report([tmp_path]).read_text()
    svgs = [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL)]
    for svg in svgs:
        assert svg.find(f"{SVG}title").text
        assert svg.get("role") == "img"
        assert svg.findall(f".//{SVG}text")
    values = [value.find(f"{SVG}title").text for value in svgs[0].iter(f"{SVG}g") if value.get("class") == "value"]
    assert values == [f"model.layers {layers}: 0.550 (.500–.600)" for layers in (1, 2, 3)]


def test_the_page_needs_no_network_and_few_scripts():
    script = (resources.files("cftransfer.report") / "page.js.j2").read_text(encoding="utf-8")
    style = (resources.files("cftransfer.report") / "page.css.j2").read_text(encoding="utf-8")
    assert len(script) < 4096
    assert "http" not in script + style
    assert "prefers-color-scheme: dark" in style
    assert "@media print" in style


def test_a_single_job_on_a_table_is_named_by_its_file(tmp_path):
    write_job(tmp_path / "0", rates=[[0.5, 0.6]] * 2, choices={"dataset": "table"})
    file = tmp_path / "0" / "result.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "data": {"version": "1", "name": "loans.csv"}}))
    ((name, _),) = jobs([tmp_path]).panels[0].rows()[1]
    assert name == "loans.csv"


def test_replicates_are_one_row_and_one_answer(tmp_path):
    for job, (name, seed) in enumerate([("a", 0), ("a", 1), ("b", 0), ("b", 1)]):
        rates = [[0.5 + 0.1 * seed, 0.5 + 0.1 * seed]] * 2
        write_job(tmp_path / str(job), rates=rates, choices={"dataset": name}, overrides=[f"dataset={name}"], seed=seed)
    (panel,) = jobs([tmp_path]).panels
    (axes,) = trend(jobs([tmp_path]), []).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    assert [float(bars.lines[0].get_xdata()[0]) for bars in axes.containers] == pytest.approx([0.55, 0.55])
    assert answer(panel, []).startswith("55 % of the counterfactuals held in each job")


def test_words_have_a_row_each_with_their_names_on_the_left(tmp_path):
    for name in ("minimal", "sns"):
        choices = {"counterfactual": name}
        write_job(tmp_path / name, rates=[[0.5, 0.6]], choices=choices, overrides=[f"counterfactual={name}"])
    (axes,) = trend(jobs([tmp_path]), []).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["minimal", "sns"]
    assert axes.get_ylabel() == "counterfactual"
    (low, high) = axes.containers[0][2][0].get_segments()[0][:, 0]
    assert (low, high) == pytest.approx((0.5, 0.6))
