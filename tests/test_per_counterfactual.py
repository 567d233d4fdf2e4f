"""Will this explanation hold? The share of references for each counterfactual, its bound, and the extremes on show."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SMALL, run_command, table
from scipy import stats

from cftransfer import InputError, StoredLogits, ask, judge, measure, search
from cftransfer.measuring.per_counterfactual import in_words, per_counterfactual
from cftransfer.measuring.statistics import lower_bound


def line(bias):
    return lambda x: x.sum(1) + bias


@pytest.fixture
def result():
    """Points on the line of sum 1.05 and one that is not found, asked of lines at 1, 1.1, …"""
    x = torch.tensor([[0.2, 0.2], [0.3, 0.1], [0.1, 0.1], [0.5, 0.3]])
    reached = torch.tensor([[0.55, 0.5], [0.55, 0.75], [0.5, 0.4], [0.5, 0.95]])
    found = judge(line(-1.0), x, reached)
    references = [line(-bias) for bias in (0.9, 1.1, 1.2, 1.4, 1.5)]
    return measure(ask(found, {"five": references, "one": [line(-1.0)]}))


def test_shares_and_bounds_are_those_of_the_closed_form(result):
    here = result.per_counterfactual.set_index(["group", "factual"])
    assert here.loc["five"].index.tolist() == [0, 1, 3]  # the third was not found
    assert here.loc["five"].n_references.tolist() == [5, 5, 5]
    assert here.loc["five"].share.tolist() == [1 / 5, 3 / 5, 4 / 5]
    assert here.loc["one"].share.tolist() == [1, 1, 1]
    for held, low in zip((1, 3, 4), here.loc["five"].low, strict=True):
        exact = stats.binomtest(held, 5, alternative="greater").proportion_ci(0.95, "exact")
        assert low == pytest.approx(exact.low, abs=1e-9)
    np.testing.assert_allclose(here.loc["one"].low, 0.05)
    np.testing.assert_allclose(here.loc["five"].margin, [0.05, 0.3, 0.45], atol=1e-6)
    np.testing.assert_allclose(here.loc["five"].distance_l2[0], np.hypot(0.35, 0.3), atol=1e-6)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_bounds_of_another_level_and_kind(result, level):
    here = result.held(level, interval="jeffreys")
    held = (here.share * here.n_references).to_numpy()
    np.testing.assert_allclose(here.low, stats.beta.ppf(1 - level, held + 0.5, here.n_references - held + 0.5))
    exact = result.held(level)
    assert (exact.low <= here.low).all()
    assert exact.drop(columns="low").equals(here.drop(columns="low"))


@pytest.mark.parametrize("many", [1, 5, 10])
@pytest.mark.parametrize("share", [0.03, 0.5, 0.8, 0.97])
def test_the_exact_bound_is_too_high_as_seldom_as_it_says(many, share):
    held = np.arange(many + 1)
    low = lower_bound(held, np.full(many + 1, many))
    assert stats.binom.pmf(held[low > share], many, share).sum() <= 0.05
    assert low[0] == 0
    assert (np.diff(low) > 0).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"level": 1}, "level=1: must be a number between 0 and 1"),
        ({"interval": "wald"}, "interval=wald: must be one of"),
    ],
)
def test_what_no_bound_can_be_is_one_line(result, options, said):
    with pytest.raises(InputError, match=said) as raised:
        result.held(**options)
    assert "\n" not in str(raised.value)


def test_nothing_found_has_no_rows():
    found = judge(line(-1.0), torch.tensor([[0.2, 0.2]]), torch.tensor([[0.3, 0.2]]))
    here = measure(ask(found, line(-0.9))).per_counterfactual
    assert len(here) == 0
    assert {"share", "low"} <= set(here)


def test_each_base_of_a_nested_design_has_one_reference():
    x = torch.tensor([[0.2, 0.2]])
    found = [search(line(-bias), x, method="minimal") for bias in (1.0, 1.2)]
    here = measure(ask(found, [line(-0.9), line(-1.3)], nested=True)).per_counterfactual
    assert here.n_references.tolist() == [1, 1]
    assert here.share.tolist() == [1, 0]


def test_stored_answers_count_as_well():
    found = judge(line(-1.0), torch.tensor([[0.2, 0.2]]), torch.tensor([[0.9, 0.2]]))
    said = [StoredLogits(factual=[-1.0], counterfactual=[logit]) for logit in (1.0, -1.0)]
    assert measure(ask(found, said)).per_counterfactual.share.tolist() == [0.5]


def test_words_round_the_bound_down():
    assert in_words(0.9, 10, 0.6058) == "holds on 9 of 10 references (at least 0.60)"
    assert in_words(1.0, 1, 0.05) == "holds on 1 of 1 reference (at least 0.05)"
    assert in_words(0.0, 10, 0.0) == "holds on 0 of 10 references"


@pytest.mark.slow
def test_a_job_says_which_counterfactuals_hold_and_shows_the_extremes(tmp_path):
    done = run_command(tmp_path, "transfer.py", *SMALL, "training.epochs=20", "wandb=disabled")
    assert done.returncode == 0, done.stderr
    holds, transfers, found = (table(tmp_path, name) for name in ("holds", "transfers", "counterfactuals"))
    shares = transfers[transfers.found].groupby(["base", "factual"]).transferred.mean().astype(float)
    np.testing.assert_allclose(holds.set_index(["base", "factual"]).share, shares)
    pd.testing.assert_frame_equal(holds, per_counterfactual(found, transfers))
    shown = table(tmp_path, "extremes").drop_duplicates("example")
    assert shown.side.tolist() == ["most"] * 3 + ["least"] * 3
    assert shown.factual.is_unique
    ordered = holds.sort_values(["share", "factual", "base"], ascending=[False, True, True]).drop_duplicates("factual")
    assert shown.factual[:3].tolist() == ordered.factual[:3].tolist()
    rest = holds[~holds.factual.isin(shown.factual[:3])].sort_values(["share", "factual", "base"])
    assert shown.factual[3:].tolist() == rest.drop_duplicates("factual").factual[:3].tolist()
    (page,) = tmp_path.rglob("report.html")
    first = shown.iloc[0]
    assert in_words(first.share, first.n_references, first.low) in page.read_text()


@pytest.mark.slow
def test_continued_training_is_asked_at_its_last_age(tmp_path):
    words = [*SMALL, "experiment=continued_training", "extra_epochs=3", "training.epochs=10", "wandb=disabled"]
    done = run_command(tmp_path, "transfer.py", *words)
    assert done.returncode == 0, done.stderr
    holds, transfers = table(tmp_path, "holds"), table(tmp_path, "transfers")
    last = transfers[(transfers.extra_epochs == 3) & transfers.found]
    assert (holds.n_references == 1).all()
    assert holds.share.tolist() == last.transferred.astype(float).tolist()


def test_each_of_several_counterfactuals_has_a_row_and_a_factual_counts_once():
    """Factual 0 has two points, one accepted; factual 1 has one, not accepted; factual 2 has none."""
    x = torch.tensor([[0.2, 0.2], [0.3, 0.1], [0.1, 0.1]])
    points = torch.tensor([[0.55, 0.5], [0.9, 0.5], [0.55, 0.5], [0.2, 0.2]])
    numbers = [0, 0, 1, 0]
    found = judge(line(-1.0), x, points, factual=numbers)
    assert found.status.tolist() == ["found", "found", "found", "lost", "not_found"]
    assert found.rows.tolist() == [0, 0, 1, 0, 2]
    assert found.proposal.tolist() == [0, 1, 0, 2, 0]
    assert [found.entry(0, 2), found.entry(1), found.entry(2)] == [3, 2, 4]
    result = measure(ask(found, [line(-1.2), line(-1.0)]))
    assert result.found == pytest.approx(2 / 3)
    assert result.pairs.found.tolist() == [2, 2]
    assert result.pairs.rate.tolist() == [(1 / 2 + 0) / 2, 1]
    assert result.rate == pytest.approx(5 / 8)
    assert result.by_target.n_tried.tolist() == [4]
    assert result.by_target.rate.tolist() == [pytest.approx(5 / 8)]
    here = result.per_counterfactual
    assert here[["factual", "proposal", "share"]].to_numpy().tolist() == [[0, 0, 0.5], [0, 1, 1], [1, 0, 0.5]]
    length = (np.hypot(0.35, 0.3) + np.hypot(0.7, 0.3)) / 4 + np.hypot(0.25, 0.4) / 2
    assert f"at a mean L2 distance of {length:.3f}" in str(result)
    assert "found 3 counterfactuals for 2 of 3 factuals on 1 base, a share of 0.667,\n" in str(result)
    assert str(result).splitlines()[2] == "not found: 1 lost, 1 not_found"
    again = judge(line(-1.0), x, points[[2, 0, 3, 1]], factual=torch.tensor([1, 0, 0, 0]))
    assert measure(ask(again, [line(-1.2), line(-1.0)])).rate == result.rate


def test_one_for_each_in_order_is_as_without_numbers():
    x, points = torch.rand(9, 2) / 2, torch.rand(9, 2)
    plain, numbered = (judge(line(-1.0), x, points, factual=factual) for factual in (None, range(9)))
    references = [line(-1.1), line(-0.9)]
    one, other = (measure(ask(found, references)) for found in (plain, numbered))
    pd.testing.assert_frame_equal(one.table, other.table, check_exact=True)
    assert "proposal" not in one.counterfactuals


@pytest.mark.parametrize(
    ("factual", "said"),
    [
        ([0, 1], "factual: must be the row of x of each of the 3 counterfactuals, as whole numbers"),
        ([0.0, 1.0, 0.5], "as whole numbers"),
        ([0, 2, 1], "factual: has 2 in row 1, and x the rows 0 to 1"),
        ([0, 1, -1], "factual: has -1 in row 2"),
    ],
)
def test_a_point_of_no_factual_is_one_line(factual, said):
    with pytest.raises(InputError) as raised:
        judge(line(-1.0), torch.rand(2, 2), torch.rand(3, 2), factual=factual)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
