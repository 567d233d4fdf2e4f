"""The figure of how many references accept the same counterfactual."""

import json

import numpy as np
import pandas as pd
import pytest
from test_collect import write_job

from cftransfer.errors import InputError
from cftransfer.jobs.read import read
from cftransfer.measuring.tails import accepted_by
from cftransfer.report import place, report
from cftransfer.report.accepted import NAMED, accepted
from cftransfer.report.collect import jobs
from cftransfer.tracking.dashboard import FIGURES as IN_WANDB

REFERENCES = 4


def put_job(folder, held, *, references=REFERENCES, **settings):
    """A job: counterfactual k of base i is accepted by held[i][k] references."""
    held = np.array(held)
    write_job(folder, rates=np.full((len(held), references), 0.5), **settings)
    rows = [
        {"base": i, "factual": k, "n_references": references, "share": many / references}
        for i, row in enumerate(held)
        for k, many in enumerate(row)
    ]
    kinds = {"base": int, "factual": int, "n_references": int, "share": float}
    pd.DataFrame(rows, columns=[*kinds]).astype(kinds).to_parquet(folder / "holds.parquet")


def lines_of(figure):
    (axes,) = figure.axes
    return [line for line in axes.get_lines() if line.get_marker() != "_"]


def test_a_line_is_the_share_that_at_least_k_references_accept(tmp_path):
    put_job(tmp_path / "0", [[4, 2, 1, 4], [4, 4, 0, 4]])
    figure = accepted(jobs([tmp_path]))
    (line,) = lines_of(figure)
    assert list(line.get_xdata()) == [1, 2, 3, 4]
    assert list(line.get_ydata()) == [7 / 8, 6 / 8, 5 / 8, 5 / 8]
    assert not figure.legends
    assert figure.axes[0].get_xlabel() == "k, of 4 references"


def test_the_interval_of_the_share_that_all_accept_stands_beside_the_end(tmp_path):
    put_job(tmp_path / "0", [[4, 2, 1, 4]])
    path = tmp_path / "0" / "result.json"
    result = json.loads(path.read_text())
    result["metrics"] |= {"rate_all": 0.5, "rate_all_low": 0.3, "rate_all_high": 0.7}
    path.write_text(json.dumps(result))
    (axes,) = accepted(jobs([tmp_path])).axes
    (interval,) = [line for line in axes.get_lines() if line.get_marker() == "_"]
    assert list(interval.get_ydata()) == [0.3, 0.7]
    assert min(interval.get_xdata()) >= 4


def test_every_job_has_a_line_and_as_many_are_named_as_can_be_read(tmp_path):
    for many in range(2 * NAMED + 1):
        put_job(tmp_path / str(many), [[4, many % 5]], overrides=[f"seed={many}"], seed=many, experiment="mine")
    figure = accepted(jobs([tmp_path]))
    assert len(lines_of(figure)) == 2 * NAMED + 1
    assert len(figure.legends[0].get_texts()) == NAMED


def test_other_numbers_of_references_stand_against_their_share(tmp_path):
    put_job(tmp_path / "0", [[2, 1]], references=2, overrides=["seed=0"])
    put_job(tmp_path / "1", [[4, 1]], references=4, overrides=["seed=1"], seed=1)
    figure = accepted(jobs([tmp_path]))
    assert [list(line.get_xdata()) for line in lines_of(figure)] == [[0.5, 1], [0.25, 0.5, 0.75, 1]]
    assert "2 to 4" in figure.axes[0].get_xlabel()


def test_one_reference_nothing_found_and_older_jobs_have_no_figure(tmp_path):
    put_job(tmp_path / "one", [[1, 0]], references=1)
    put_job(tmp_path / "nothing", [[]], experiment="mine")
    write_job(tmp_path / "older", rates=[[0.5, 0.6]], experiment="yours")
    assert accepted(jobs([tmp_path])) is None
    report([tmp_path])
    assert not (tmp_path / "accepted.png").exists()
    assert "references accept" not in (tmp_path / place.REPORT).read_text()


def test_the_page_and_the_folder_have_the_figure_and_wandb_knows_its_name(tmp_path):
    put_job(tmp_path / "0", [[4, 2], [1, 3]])
    report([tmp_path])
    assert {"accepted.png", "accepted.svg"} <= {path.name for path in tmp_path.iterdir()}
    assert "How many references accept the same counterfactual" in (tmp_path / place.REPORT).read_text()
    assert "accepted" in IN_WANDB


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"share": 1.5}, "share is not between 0 and 1"),
        ({"n_references": 0}, "n_references is below 1"),
        ({"n_references": 10**9}, "it has 1,000,000,000 references, more than pairs"),
        ({"n_references": 2.5}, "n_references holds float64, not whole numbers"),
    ],
)
def test_a_table_that_no_job_writes_is_named(changes, said, tmp_path):
    put_job(tmp_path / "0", [[4, 2]])
    path = tmp_path / "0" / "holds.parquet"
    pd.read_parquet(path).assign(**changes).to_parquet(path)
    with pytest.raises(InputError, match=f"holds.parquet cannot be read .*{said}"):
        read(tmp_path / "0")


def test_the_mean_over_k_is_the_rate():
    """Σ P(at least k of J accept) over k = 1 … J is the mean number that accepts; a proposal weighs one over theirs."""
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"base": rng.integers(0, 3, 400), "factual": rng.integers(0, 40, 400), "n_references": 7})
    rows["share"] = rng.integers(0, 8, 400) / 7
    by_factual = rows.groupby(["base", "factual"]).share.mean()
    assert accepted_by(rows).share.mean() == pytest.approx(by_factual.groupby("base").mean().mean())
    assert (np.diff(accepted_by(rows).share) <= 0).all()
    assert accepted_by(rows[:0]).empty
