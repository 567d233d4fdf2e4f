"""The figures of sweeps over searches and over techniques: every job in its own place, with its own numbers."""

import json

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from test_collect import only_panel, write_job

from cftransfer.report import report
from cftransfer.report.collect import jobs
from cftransfer.report.frontier import frontier
from cftransfer.report.matrix import matrix
from cftransfer.targets import OWN

TARGET = "cftransfer.counterfactuals.{0}.{0}"


def searched(folder, method, *, rate, distance, found=1.0, dataset="compas", **settings):
    """A job of one search; the interval of its distance is .05 wide to either side."""
    choices = {"counterfactual": method, "dataset": dataset}
    search = {"_target_": TARGET.format(method), **settings}
    write_job(folder, rates=[[rate, rate]], choices=choices, counterfactual=search)
    path = folder / "result.json"
    result = json.loads(path.read_text())
    ends = {"distance_l2_low": distance - 0.05, "distance_l2_high": distance + 0.05}
    result["metrics"] |= {"distance_l2": distance, "found": found, "rate": rate, **ends}
    result["metrics"] |= {"rate_low": rate - 0.1, "rate_high": rate + 0.1}
    path.write_text(json.dumps(result))


@pytest.fixture
def methods(tmp_path):
    for index, (rate, distance, found, confidence) in enumerate([(0.6, 0.2, 1.0, 0.5), (0.9, 0.4, 0.8, 0.9)]):
        searched(tmp_path / str(index), "gradient", rate=rate, distance=distance, found=found, confidence=confidence)
    searched(tmp_path / "2", "nearest", rate=0.7, distance=0.25, distance_setting="l2")
    return tmp_path


def test_each_search_stands_at_its_distance_and_rate_with_both_intervals(methods):
    (axes,) = frontier(jobs([methods])).axes
    bars = {tuple(np.round(bar.lines[0].get_xydata()[0], 6)): bar for bar in axes.containers}
    assert set(bars) == {(0.2, 0.6), (0.4, 0.9), (0.25, 0.7)}
    for (x, y), bar in bars.items():
        across, up = (part for part in bar.lines[2] if isinstance(part, LineCollection))
        np.testing.assert_allclose(across.get_segments()[0], [[x - 0.05, y], [x + 0.05, y]])
        np.testing.assert_allclose(up.get_segments()[0], [[x, y - 0.1], [x, y + 0.1]])
    hollow = {place for place, bar in bars.items() if bar.lines[0].get_markerfacecolor() == "white"}
    assert hollow == {(0.4, 0.9)}  # found .8
    assert set(axes.get_legend_handles_labels()[1]) == {"gradient (p = 0.5, 0.9)", "nearest"}
    assert axes.get_xscale() == "linear"


def test_distances_that_differ_much_stand_by_factors(methods):
    searched(methods / "3", "minimal", rate=0.5, distance=0.1)
    (axes,) = frontier(jobs([methods])).axes
    assert axes.get_xscale() == "log"


def test_every_method_that_we_ship_has_a_colour_and_a_marker_of_its_own(tmp_path):
    shipped = sorted(OWN["counterfactual"])
    for index, name in enumerate(shipped):
        searched(tmp_path / str(index), name, rate=0.5, distance=0.1 + index / 10)
    (axes,) = frontier(jobs([tmp_path])).axes
    handles, labels = axes.get_legend_handles_labels()
    assert sorted(labels) == shipped
    assert len({handle.get_color() for handle in handles}) == len(shipped)
    assert len({handle.get_marker() for handle in handles}) == len(shipped)


def test_there_is_a_panel_for_each_data_set(methods):
    searched(methods / "3", "nearest", rate=0.5, distance=0.5, dataset="moons")
    figure = frontier(jobs([methods]))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["compas", "moons"]
    assert [len(axes.containers) for axes in figure.axes] == [3, 1]


def test_one_search_has_no_frontier(tmp_path):
    for job in range(2):
        searched(tmp_path / str(job), "gradient", rate=0.5, distance=0.2 + job, confidence=0.5)
    assert frontier(jobs([tmp_path])) is None


def test_the_page_has_the_frontier_and_a_later_report_without_one_removes_it(methods):
    report([methods])
    assert (methods / "frontier.png").stat().st_size > 10_000
    assert "The price of transfer" in (methods / "report.html").read_text()
    report([methods / "2"], out=methods)
    assert not (methods / "frontier.png").exists()
    assert "The price of transfer" not in (methods / "report.html").read_text()


@pytest.fixture
def techniques(tmp_path):
    for row, base in enumerate(["mlp", "svm"]):
        for column, reference in enumerate(["mlp", "svm", "knn"]):
            rate = 0.1 + 0.3 * row + 0.1 * column
            write_job(
                tmp_path / f"{row}{column}",
                rates=[[rate - 0.05, rate + 0.05]],
                experiment="technique",
                overrides=[f"model={base}", f"model@reference.model={reference}"],
                choices={"model": base, "reference.model": reference, "dataset": "compas"},
                reference={"model": {"_target_": reference}},
            )
    return tmp_path


def test_every_cell_has_the_rate_of_its_base_and_reference(techniques):
    panel = only_panel(techniques)
    assert (panel.knob, panel.series) == (None, ["model", "reference.model"])
    (axes,) = matrix(jobs([techniques])).axes
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert cells[2, 1] == "0.60\n0.55–0.65"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["mlp", "svm"]


def test_fewer_than_two_of_either_make_no_matrix(techniques):
    assert matrix(jobs([techniques / "00", techniques / "01"])) is None
    assert matrix(jobs([techniques / "00", techniques / "10"])) is None
