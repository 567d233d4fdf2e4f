"""A page's words on kinds of change between two models follow from their jobs."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from test_collect import write_job

from cftransfer.measuring.base_bootstrap import base_bootstrap_interval
from cftransfer.report.change_families import (
    families,
    on_costs,
    on_curve,
    on_disagreement,
    on_seed,
    rank_correlation,
    residual,
)
from cftransfer.report.collect import jobs
from cftransfer.report.study import STUDIES, write
from cftransfer.report.study_changes import on_intervals, side_by_side
from cftransfer.report.study_running import Outcome

PARTS = {part.name: part for part in STUDIES["changes"].parts}


def put_job(folder, name, *, rates, apart, more=(), **settings):
    """A job of an experiment: rates and disagreements (bases, references), the means of both among its metrics."""
    settings.setdefault("replicates", {"bases": len(rates), "references": np.shape(rates)[1]})
    write_job(folder, rates=rates, experiment=name, dataset="compas", **settings)
    pairs, result = pd.read_parquet(folder / "pairs.parquet"), json.loads((folder / "result.json").read_text())
    # To the last digit, not to a twentieth, as counterfactuals would have it.
    pairs.assign(rate=np.ravel(rates), disagreement=np.ravel(apart)).to_parquet(folder / "pairs.parquet")
    result["metrics"] |= {"disagreement": float(np.mean(apart)), "disagreement_low": 0.0, "disagreement_high": 0.9}
    (folder / "result.json").write_text(json.dumps({**result, "metrics": {**result["metrics"], **dict(more)}}))


def around(mean, *, shape=(4, 6), spread=0.01, seed=1):
    return mean + spread * np.random.default_rng(seed).normal(size=shape)


@pytest.fixture
def some(tmp_path):
    """Six kinds of change, the rate at the least .3; label_noise is as another seed, and growth has other bases."""
    means = {"seed": 0.7, "leave_out": 0.9, "label_noise": 0.7, "optimizer": 0.3, "more_layers": 0.6, "growth": 0.8}
    for number, (name, mean) in enumerate(means.items()):
        rows = {"rows": {"_target_": "part"}} if name == "growth" else {}
        rates = around(mean, seed=number)
        put_job(tmp_path / str(number), name, rates=rates, apart=around(1 - mean, seed=9), **rows)
    return families(jobs([tmp_path]))


def test_families_stand_in_the_order_of_their_rates(some):
    assert [family.name for family in some][:2] == ["optimizer", "more_layers"]
    assert some[0].rate == pytest.approx(0.3, abs=0.01)
    assert some[0].disagreement == pytest.approx(0.7, abs=0.01)
    assert some[0].rates.shape == (4, 6)


def test_the_dearest_and_the_cheapest_change_are_named_with_their_rates(some):
    said = on_costs(some)
    assert said.startswith(f"optimizer costs most, with a rate of {some[0].rate:.3f} (")
    assert f"leave_out least, with {some[-1].rate:.3f} (" in said
    assert "; the two rates differ by +0.60" in said
    assert said.endswith("; p below 0.001, adjusted for 15 differences).")
    like_seed = [family for family in some if family.name in ("seed", "label_noise")]
    assert "; the two rates are not shown to differ: " in on_costs([*like_seed, like_seed[0]])
    assert on_costs(some[:1]).endswith(f"least, with {some[0].said}.")


def test_families_above_and_below_another_seed_are_told_apart(some):
    said = on_seed(some)
    assert "Higher rates: leave_out (0.1" in said
    assert "Lower rates: optimizer (0.7" in said
    assert "more_layers (0.4" in said.split("Not shown")[0]
    assert "Not shown to differ: label_noise (0.3" in said
    assert said.endswith("Not compared, because the bases are other models: growth.")
    assert "no job of experiment=seed" in on_seed([family for family in some if family.name != "seed"])


def test_a_family_of_one_reference_for_each_base_is_compared_with_another_seed(tmp_path):
    put_job(tmp_path / "0", "seed", rates=around(0.7), apart=around(0.3))
    put_job(tmp_path / "1", "bootstrap", rates=around(0.5, shape=(4, 1)), apart=around(0.5, shape=(4, 1)))
    assert "Lower rates: bootstrap (0.5" in on_seed(families(jobs([tmp_path])))


def test_a_family_of_several_splits_is_not_compared_with_a_seed_on_one_split(tmp_path):
    put_job(tmp_path / "0", "seed", rates=around(0.7, shape=(2, 6)), apart=around(0.1, shape=(2, 6)))
    rates = around(0.4, shape=(2, 6))
    put_job(tmp_path / "1", "optimizer", rates=rates, apart=rates, more={"splits": 2})
    pairs = pd.read_parquet(tmp_path / "1" / "pairs.parquet")
    pd.concat([pairs.assign(split=0), pairs.assign(split=1)]).to_parquet(tmp_path / "1" / "pairs.parquet")
    said = on_seed(families(jobs([tmp_path])))
    assert said.endswith("Not compared, because the bases are other models: optimizer.")


def test_all_families_lie_on_the_curve_that_they_were_made_of_and_one_moved_away_does_not(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(5):
        apart = rng.uniform(0.05, 0.3, size=(5, 8))
        rates = 1 - apart**0.5 + 0.01 * rng.normal(size=apart.shape)
        put_job(tmp_path / "on" / str(number), f"kind{number}", rates=rates, apart=apart)
        put_job(tmp_path / "off" / str(number), f"kind{number}", rates=rates - 0.2 * (number == 0), apart=apart)
    on, off = (families(jobs([tmp_path / place])) for place in ("on", "off"))
    assert re.match(r"none of the 5 families is shown to lie off the curve; kind\d lies farthest", on_curve(on))
    below = on_curve(off).partition(": ")[2].split(" and ")[-1]
    assert re.search(r"kind0 \(-0\.1\d+\).* below it\.$", below)
    assert "kind0" not in on_curve(off).partition(" above it")[0] or " above it" not in on_curve(off)
    assert residual(on[0], (1.0, 0.5)).mean == pytest.approx(0, abs=0.01)
    assert "1 − 1.0" in on_disagreement(on)
    assert "· disagreement^0.5" in on_disagreement(on)


def test_what_falls_with_the_disagreement_is_said_to_follow_it(some):
    assert "the mean rate of 6 families follows their mean disagreement: Spearman's ρ is -" in on_disagreement(some)
    assert "used for prediction" not in on_disagreement(some)
    assert "Spearman" not in on_disagreement(some[:3])


def test_the_rank_correlation_is_that_of_scipy_with_ties():
    x, y = [0.1, 0.2, 0.2, 0.5, 0.9, 0.3], [0.9, 0.7, 0.8, 0.1, 0.1, 0.6]
    assert rank_correlation(x, y) == pytest.approx(tuple(spearmanr(x, y)))
    assert np.isnan(rank_correlation(x, [1.0] * 6)).all()


def test_the_two_intervals_of_a_family_stand_side_by_side(tmp_path):
    rng = np.random.default_rng(2)
    rates = 0.6 + 0.03 * rng.normal(size=(5, 1)) + 0.03 * rng.normal(size=(1, 20)) + 0.01 * rng.normal(size=(5, 20))
    more = {"rate_low": 0.5, "rate_high": 0.7}
    put_job(tmp_path / "0", "bootstrap", rates=rates, apart=around(0.1, shape=(5, 20)), more=more)
    put_job(tmp_path / "1", "leave_out", rates=np.ones((5, 20)), apart=around(0.1, shape=(5, 20)))
    first, flat = map(side_by_side, families(jobs([tmp_path])))
    theirs = base_bootstrap_interval(rates)
    assert (first.theirs.low, first.theirs.high) == pytest.approx((theirs.low, theirs.high))
    assert first.wider == pytest.approx(0.2 / (theirs.high - theirs.low))
    assert first.theirs_covers < 0.9 < first.ours_covers
    assert (flat.wider, flat.ours_covers, flat.theirs_covers) == (None, None, None)
    said = on_intervals([first, flat])
    assert f"our interval is {first.wider:.1f} to {first.wider:.1f} times as wide" in said
    assert said.endswith("too narrow for 1 of 1 families: bootstrap.")
    assert on_intervals([flat]) == "no family has two intervals to compare."


def test_the_page_has_the_answers_on_top_and_every_job_below(some, tmp_path):
    outcomes = [
        Outcome(
            part=PARTS[name], dataset=dataset, command=f"python transfer.py -m sweep={name}", jobs=jobs([tmp_path]),
            lines=[], seconds=90.0, passes=3, searches=5,
        )
        for name, dataset in (("changes", "compas"), ("audit", "sklearn"))
    ]  # fmt: skip
    ends = {"rate_all": 0.21, "rate_all_low": 0.105, "rate_all_high": 0.378, "found_low": 0.412, "found_high": 0.588}
    for job in [job for outcome in outcomes for job in outcome.jobs.jobs]:
        job.metrics.update(ends)
    page = write(outcomes, tmp_path / "out", name="changes")
    text, rows = page.read_text(), {family.name: family for family in some}
    for answer in (on_costs, on_disagreement, on_seed, on_curve):
        assert f"On compas, {answer(some)}" in text
    assert text.index("1. **") < text.index("5. **Where is the audit's") < text.index("## Every kind of change: compas")
    table = text.partition("## Every kind of change: compas")[2].partition("<details>")[0]
    assert table.count("\n| ") == 1 + len(some)
    for name, family in rows.items():
        assert f"| {name} | {family.disagreement:.3f} | 0.000–0.900 | {family.rate:.3f} |" in table
    assert table.count("| 0.210 (.105–.378) | 0.500 (.412–.588) |\n") == len(some)
    assert re.search(r"\| optimizer \| training configuration \| 0\.\d{3} \(0\.000–0\.900\) \|", text)
    assert "| optimizer | training configuration |" in text
    assert "- `python transfer.py -m sweep=audit`: 1.5 minutes, 3 training passes, 5 searches." in text
    for name in ("compas-changes", "sklearn-audit"):
        assert (page.parent / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert f"(figures/{name}.png)" in text


def test_a_curve_that_families_are_not_shown_to_follow_comes_with_a_warning(tmp_path):
    for number, mean in enumerate((0.6, 0.8, 0.5, 0.7, 0.6)):
        apart = around(0.2, seed=number)
        put_job(tmp_path / str(number), f"kind{number}", rates=mean - 8 * (apart - apart.mean()), apart=apart)
    said = on_disagreement(families(jobs([tmp_path])))
    assert "is not shown to follow" in said
    assert said.endswith("this curve should not be used for prediction.")
