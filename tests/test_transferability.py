"""Identities that a transferability rate must obey, whatever the models."""

import dataclasses
import subprocess
import sys
import weakref

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import composed, transfer_table
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from scipy import stats

from cftransfer.columns import CONTROLS, matrix
from cftransfer.jobs.base_by_base import base_by_base
from cftransfer.jobs.examples import first
from cftransfer.measuring.controls import DRAWS, Nearest, nearest_rows, nearest_shares, prior_share, random_share
from cftransfer.measuring.counts import by_cap, caps, count
from cftransfer.measuring.long_tables import counterfactual_table
from cftransfer.measuring.long_tables import transfer_tables as transfer_tables_of
from cftransfer.measuring.metric import TransferabilityRate
from cftransfer.measuring.per_counterfactual import per_counterfactual
from cftransfer.measuring.rate_intervals import base_intervals, intervals, minus_seed, survivorship
from cftransfer.measuring.rates import PER_BASE, before_projection, pairs, rates
from cftransfer.measuring.statistics import bootstrap_interval, difference_interval, rate_interval
from cftransfer.models.prediction import logits, predicted
from cftransfer.searching.candidates import Candidates
from cftransfer.searching.engine import search
from cftransfer.store.searched import run_search

SETTINGS = OmegaConf.to_container(composed().counterfactual, resolve=True)


@pytest.fixture(scope="module")
def searches(trained_models, compas):
    return [run_search(model, compas.x_test[:300], settings=SETTINGS, dataset=compas) for model in trained_models[:2]]


def at_origin(search):
    """One training row, the origin, which is the nearest of all."""
    x_train = torch.zeros_like(search.factual[:1])
    return Nearest(x_train, torch.zeros(len(search), dtype=torch.long), search.factual.double().norm(dim=1))


def survived(counterfactuals, transfers):
    """Survivorship, counted base by base."""
    limits = caps(counterfactuals)
    parts = [by_cap(own, transfers[transfers.base == base], limits) for base, own in counterfactuals.groupby("base")]
    return survivorship(counterfactuals, pd.concat(parts))


def measured(searches, references, *, nested=False):
    seeds, other = list(range(len(searches))), list(range(1000, 1000 + len(references)))
    nearest = [at_origin(search) for search in searches]
    transfers = transfer_table(
        searches, references, nearest=nearest, base_seeds=seeds, reference_seeds=other, nested=nested
    )
    counterfactuals = counterfactual_table(searches, seeds, nearest=nearest)
    return counterfactuals, transfers, rates(counterfactuals, count(transfers))


def test_a_model_against_itself_is_exactly_1(searches, trained_models):
    _, _, measure = measured(searches[:1], trained_models[:1])
    assert (measure["rate"], measure["agreement"], measure["rate_conditional"]) == (1.0, 1.0, 1.0)
    _, _, nested = measured(searches, trained_models[:2], nested=True)
    assert (nested["rate"], nested["pairs"]) == (1.0, 2)


def test_a_model_against_its_negated_logits_is_exactly_0(searches, trained_models):
    _, _, measure = measured(searches[:1], [lambda x: -trained_models[0](x)])
    assert (measure["rate"], measure["agreement"], measure["rate_end_to_end"]) == (0.0, 0.0, 0.0)
    assert np.isnan(measure["rate_conditional"])


@pytest.mark.parametrize(("constant", "target"), [(-3.0, 0), (3.0, 1)])
def test_against_a_constant_it_is_the_share_of_its_class_among_targets(searches, constant, target):
    counterfactuals, _, measure = measured(searches[:1], [lambda x: torch.full((len(x),), constant)])
    found = counterfactuals[counterfactuals.found]
    assert measure["rate"] == pytest.approx((found.target == target).mean(), abs=1e-12)
    assert measure[f"rate_to_{target}"] == 1.0
    assert measure[f"rate_to_{1 - target}"] == 0.0


@st.composite
def transfer_tables(draw):
    bases, references, factuals = (draw(st.integers(1, 4)) for _ in range(3))
    rows = []
    for base in range(bases):
        found = draw(st.lists(st.booleans(), min_size=factuals, max_size=factuals))
        for reference in range(references):
            for factual in range(factuals):
                moved = draw(st.booleans()) if found[factual] else None
                rows.append(
                    (
                        base,
                        reference,
                        factual,
                        base,
                        1000 + reference,
                        draw(st.integers(0, 1)),
                        found[factual],
                        draw(st.booleans()),
                        moved,
                    )
                )
    columns = [
        "base",
        "reference",
        "factual",
        "base_seed",
        "reference_seed",
        "target",
        "found",
        "agreement",
        "transferred",
    ]
    table = pd.DataFrame(rows, columns=columns).astype({"transferred": "boolean"})
    return table.assign(**dict.fromkeys(CONTROLS, 0.5))


@given(transfer_tables())
def test_the_rate_is_the_sum_of_its_parts_and_the_mean_of_its_pairs(transfers):
    counterfactuals = transfers[transfers.reference == 0].assign(**dict.fromkeys(PER_BASE, 1.0), status="")
    counts = count(transfers)
    measure, table = rates(counterfactuals, counts), pairs(counts)
    assert len(table) == measure["pairs"]
    if not transfers.found.any():
        assert np.isnan(measure["rate"])
        assert measure["rate_end_to_end"] == 0
        assert np.isnan(matrix(table)).all()
        return
    share = measure["agreement"]
    agreeing, other = (
        0 if np.isnan(measure[name]) else measure[name] for name in ("rate_conditional", "rate_disagree")
    )
    assert measure["rate"] == pytest.approx(share * agreeing + (1 - share) * other, abs=1e-12)
    assert measure["rate"] == pytest.approx(table.rate.mean(), abs=1e-12)
    assert measure["rate"] == pytest.approx(np.nanmean(matrix(table)), abs=1e-12)
    assert measure["rate_end_to_end"] == pytest.approx(measure["found"] * measure["rate"], abs=1e-12)
    for row in table[table.found > 0].itertuples():
        own = transfers[(transfers.base == row.base) & (transfers.reference == row.reference) & transfers.found]
        assert row.rate == pytest.approx(own.transferred.mean(), abs=1e-12)
        assert row.found == len(own)


def test_crossed_and_nested_pairs(searches, trained_models):
    _, crossed, _ = measured(searches, trained_models)
    _, nested, _ = measured(searches, trained_models[:2], nested=True)
    assert matrix(pairs(count(crossed))).shape == (2, 3)
    assert matrix(pairs(count(nested))).shape == (2, 1)
    assert len(crossed) == 2 * 3 * 300


def test_distances_and_margins_are_those_of_the_stored_points(searches, trained_models):
    counterfactuals, transfers, _ = measured(searches, trained_models)
    x, reached = (np.stack(counterfactuals[name]) for name in ("x", "counterfactual"))
    assert x.dtype == reached.dtype == np.float32
    difference = reached.astype(float) - x
    np.testing.assert_array_equal(counterfactuals.distance_l0, (difference != 0).sum(1))
    np.testing.assert_allclose(counterfactuals.distance_l1, np.abs(difference).sum(1), rtol=1e-12)
    np.testing.assert_allclose(counterfactuals.distance_l2, np.sqrt((difference**2).sum(1)), rtol=1e-12)
    np.testing.assert_allclose(counterfactuals.distance_linf, np.abs(difference).max(1), rtol=1e-12)
    first = transfers[(transfers.base == 0) & (transfers.reference == 1)]
    logit = trained_models[1](torch.from_numpy(reached[:300])).detach().numpy()
    agreeing = np.where(counterfactuals.target[:300] == 1, logit, -logit)
    np.testing.assert_allclose(first.margin, agreeing, atol=1e-5)


def test_what_was_not_found_did_not_transfer_and_did_not_fail_to(trained_models, compas):
    result = run_search(trained_models[0], compas.x_test[:50], settings={**SETTINGS, "iterations": 3}, dataset=compas)
    counterfactuals, transfers, measure = measured([result], trained_models[1:])
    assert 0 < measure["found"] < 1
    assert ((counterfactuals.status == "found") == counterfactuals.found).all()
    assert transfers[~transfers.found].transferred.isna().all()
    assert transfers[transfers.found].transferred.notna().all()
    assert measure["rate"] == pytest.approx(transfers.transferred.mean())  # a missing value counts for nothing
    found = counterfactuals[counterfactuals.found]
    for name in ("distance_l2", "iterations", "margin"):
        assert measure[name] == pytest.approx(found[name].mean())
        assert measure[name] != pytest.approx(counterfactuals[name].mean())


@pytest.mark.parametrize("nested", [False, True])
def test_controls_in_the_table_are_of_their_own_base_and_reference(trained_models, compas, nested):
    settings = {**SETTINGS, "iterations": 6}  # some are not found
    bases = trained_models[:2]
    searches = [run_search(model, compas.x_test[:150], settings=settings, dataset=compas) for model in bases]
    references = list(reversed(bases)) if nested else trained_models
    nearest = [nearest_rows(found, base, compas.x_train) for found, base in zip(searches, bases)]
    table = transfer_table(
        searches,
        references,
        nearest=nearest,
        base_seeds=[7, 8],
        reference_seeds=list(range(len(references))),
        nested=nested,
    )
    for (base, reference), rows in table.groupby(["base", "reference"]):
        found, model = searches[base], references[reference]
        expected = {
            "control_random": random_share(found, [model])[0],
            "control_nearest": nearest_shares([found], [nearest[base]], model)[0],
            "control_prior": prior_share(found.target, logits(model, found.factual)),
        }
        for name, share in expected.items():
            kept = found.found.numpy()
            assert 0 < kept.sum() < len(kept)
            np.testing.assert_allclose(rows[name][kept], share.numpy()[kept])
            assert rows[name][~kept].isna().all()
    assert len(table.groupby(["base", "reference"])) == (2 if nested else 6)


def test_every_pair_weighs_the_same_in_the_controls_and_counts_are_of_rows(trained_models, compas):
    searches = [
        run_search(trained_models[0], compas.x_test[:100], settings={**SETTINGS, "iterations": n}, dataset=compas)
        for n in (3, 1000)
    ]
    counterfactuals, transfers, measure = measured(searches, trained_models[1:])
    found = transfers[transfers.found]
    for name in CONTROLS:
        means = found.groupby(["base", "reference"])[name].mean()
        assert measure[name] == pytest.approx(means.mean())
        assert measure[name] == pytest.approx(pairs(count(transfers))[name].mean())
    assert measure["control_random"] != pytest.approx(found.control_random.mean(), abs=1e-6)  # unequal numbers found
    assert measure["n_searched"] == len(counterfactuals) == 200
    assert measure["n_found"] == counterfactuals.found.sum()
    assert measure["n_tried"] == len(found)
    assert measure["n_agreeing"] == found.agreement.sum()
    assert [measure["n_to_0"], measure["n_to_1"]] == [(found.target == side).sum() for side in (0, 1)]


def test_the_intervals_of_a_job_are_those_of_its_pairs(searches, trained_models):
    counterfactuals, transfers, _ = measured(searches, trained_models)
    counts = count(transfers)
    table, given = pairs(counts), intervals(counterfactuals, counts)
    over, check = rate_interval(matrix(table), found=1), bootstrap_interval(matrix(table))
    assert (given["rate_low"], given["rate_high"]) == (over.low, over.high)
    assert (given["rate_bootstrap_low"], given["rate_bootstrap_high"]) == (check.low, check.high)
    last = survived(counterfactuals, transfers).iloc[-1]
    assert (last.rate_low, last.rate_high) == pytest.approx((over.low, over.high))


def test_every_rate_of_a_job_lies_in_its_interval(searches, trained_models):
    counterfactuals, transfers, measure = measured(searches, trained_models)
    counts = count(transfers)
    given, table = intervals(counterfactuals, counts), pairs(counts)
    names = ["rate", "agreement", "rate_conditional", "rate_end_to_end", *CONTROLS, "rate_to_0", "rate_to_1"]
    for name in names:
        assert 0 <= given[f"{name}_low"] < measure[name] < given[f"{name}_high"] <= 1, name
    paired = difference_interval(matrix(table), matrix(table, "control_random"))
    assert given["rate_minus_random"] == pytest.approx(measure["rate"] - measure["control_random"])
    assert (given["rate_minus_random_low"], given["rate_minus_random_p"]) == pytest.approx((paired.low, paired.p))
    assert (given["rate_end_to_end_low"], given["rate_end_to_end_high"]) == pytest.approx(
        (given["rate_low"], given["rate_high"])
    )  # all searches found one


def test_a_base_on_which_nothing_was_found_has_no_part_in_rates_and_makes_no_warning(searches, trained_models, compas):
    nothing = run_search(trained_models[1], compas.x_test[:300], settings=SETTINGS | {"iterations": 0}, dataset=compas)
    assert not nothing.found.any()
    counterfactuals, transfers, measure = measured([searches[0], nothing], trained_models)
    both = intervals(counterfactuals, count(transfers))  # a warning is an error here
    kept, asked, _ = measured(searches[:1], trained_models)
    alone = intervals(kept, count(asked))
    names = ("rate", "agreement", "rate_conditional", "control_random", "rate_to_0", "rate_to_1")
    for end in [f"{name}_{end}" for name in names for end in ("low", "high")]:
        assert both[end] == pytest.approx(alone[end]), end
    assert both["rate_end_to_end_low"] < measure["rate_end_to_end"] < both["rate_end_to_end_high"]


def test_survivorship_ends_at_the_rate_and_found_share_of_the_job(searches, trained_models):
    counterfactuals, transfers, measure = measured(searches, trained_models)
    table = survived(counterfactuals, transfers)
    last = table.iloc[-1]
    assert (last.cap, last.found) == (counterfactuals.iterations.max(), measure["found"])
    assert last.rate == pytest.approx(measure["rate"], abs=1e-12)
    assert table.cap.is_monotonic_increasing
    assert table.cap.is_unique
    assert table.found.is_monotonic_increasing


@pytest.mark.parametrize("cap", [2, 5, 20])
def test_survivorship_is_what_a_search_with_that_cap_gives(trained_models, compas, cap):
    def asked(iterations):
        settings = {**SETTINGS, "iterations": iterations}
        found = [
            run_search(model, compas.x_test[:200], settings=settings, dataset=compas) for model in trained_models[:2]
        ]
        return measured(found, trained_models[2:])

    counterfactuals, transfers, _ = asked(1000)
    row = survived(counterfactuals, transfers).set_index("cap").loc[cap]
    _, _, capped = asked(cap)
    assert row.found == capped["found"]
    assert row.rate == pytest.approx(capped["rate"], abs=1e-12)


def test_survivorship_of_a_search_that_found_nothing(trained_models, compas):
    result = run_search(trained_models[0], compas.x_test[:20], settings={**SETTINGS, "iterations": 0}, dataset=compas)
    counterfactuals, transfers, _ = measured([result], trained_models[1:])
    (row,) = survived(counterfactuals, transfers).to_dict("records")
    assert (row["cap"], row["found"]) == (0, 0.0)
    assert np.isnan(row["rate"])


def test_a_difference_cancels_what_is_particular_to_a_base():
    rng = np.random.default_rng(0)
    rate, lucky = rng.random((3, 4)) / 10, 0.3 * rng.normal(size=(3, 1))
    table = pd.DataFrame({"base": np.repeat(range(3), 4), "reference": np.tile(range(4), 3), "found": 10})
    plain = minus_seed(table.assign(rate=rate.ravel() + 0.4, rate_seed=0.3))
    shared = minus_seed(table.assign(rate=(rate + lucky).ravel() + 0.4, rate_seed=(0 * rate + lucky).ravel() + 0.3))
    names = ("rate_minus_seed", "rate_minus_seed_low", "rate_minus_seed_high", "rate_minus_seed_p")
    assert [shared[name] for name in names] == pytest.approx([plain[name] for name in names])
    assert plain["rate_minus_seed"] == pytest.approx(rate.mean() + 0.1)


@st.composite
def batches(draw):
    """Rows of predictions, and places to cut them."""
    rows = draw(st.integers(1, 30))
    bits = st.lists(st.integers(0, 1), min_size=rows, max_size=rows)
    base, reference = (torch.tensor([draw(bits), draw(bits)]).T for _ in range(2))
    target = 1 - base[:, 0]
    found = torch.tensor(draw(bits)).bool() & (base[:, 1] == target)
    return (base, reference, target, found), sorted(draw(st.lists(st.integers(0, rows), max_size=4)))


def test_the_metric_is_what_jobs_count(trained_models, searches):
    _, transfers, _ = measured(searches, trained_models)
    for _, pair in pairs(count(transfers)).iterrows():
        search, reference = searches[int(pair.base)], trained_models[int(pair.reference)]
        metric, points = TransferabilityRate(), (search.factual, search.counterfactual)
        target, found = search.target, search.found
        base = torch.stack([1 - target, torch.where(found, target, 1 - target)], 1)
        metric.update(base, torch.stack([predicted(logits(reference, x)) for x in points], 1), target, found)
        rate = metric.compute()
        for name in ("rate", "agreement", "rate_conditional"):
            assert float(rate[name]) == pair[name]


def test_a_job_that_trains_nothing_imports_nothing_to_train_with():
    """Lightning and torchmetrics take longer to import than such a job takes."""
    code = "import sys, cftransfer.commands.experiment; print(*{'pytorch_lightning', 'torchmetrics'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


@given(batches())
def test_the_metric_is_the_same_however_its_rows_are_split(rows_and_cuts):
    rows, cuts = rows_and_cuts
    whole, split = TransferabilityRate(), TransferabilityRate()
    whole.update(*rows)
    for part in zip(*(column.tensor_split(cuts) for column in rows), strict=True):
        split.update(*part)
    assert {name: repr(value) for name, value in whole.compute().items()} == {
        name: repr(value) for name, value in split.compute().items()
    }


@given(batches())
def test_the_metric_is_what_its_names_say(rows_and_cuts):
    (base, reference, target, found), _ = rows_and_cuts
    metric = TransferabilityRate()
    metric.update(base, reference, target, found)
    rate = metric.compute()
    moved, agreeing = reference[:, 1] == target, base[:, 0] == reference[:, 0]

    def share(of, among):
        return of[among].double().mean() if among.any() else torch.tensor(float("nan"), dtype=torch.double)

    expected = {
        "found": found.double().mean(),
        "rate": share(moved, found),
        "agreement": share(agreeing, found),
        "rate_conditional": share(moved, found & agreeing),
        "rate_disagree": share(moved, found & ~agreeing),
        "rate_to_0": share(moved, found & (target == 0)),
        "rate_to_1": share(moved, found & (target == 1)),
        "rate_end_to_end": (found & moved).double().mean(),
    }
    assert set(rate) == set(expected)
    for name, value in expected.items():
        assert float(rate[name]) == pytest.approx(float(value), nan_ok=True), name


def test_the_metric_refuses_what_it_cannot_count():
    metric, two = TransferabilityRate(), torch.tensor([[0, 1]])
    with pytest.raises(ValueError, match=r"base_pred: has shape \(1,\), not \(1, 2\)"):
        metric.update(torch.tensor([0]), two, torch.tensor([1]), torch.tensor([True]))
    for base in ([[0, 0]], [[1, 1]]):  # not moved to the target; there already
        with pytest.raises(ValueError, match="found: is true for a row"):
            metric.update(torch.tensor(base), two, torch.tensor([1]), torch.tensor([True]))
    assert int(metric.rows) == 0


PROCESS = """
import sys, torch
import torch.distributed as dist
from cftransfer.measuring.metric import TransferabilityRate
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
metric = TransferabilityRate()
rows = torch.load(sys.argv[3], weights_only=True)
cut = slice(0, 7) if rank == 0 else slice(7, None)  # unequal shares
metric.update(*(column[cut] for column in rows))
print({name: float(value) for name, value in metric.compute().items()})
"""


@pytest.mark.slow
def test_the_metric_adds_up_over_processes(tmp_path):
    generator = torch.Generator().manual_seed(0)
    base, reference = (torch.randint(0, 2, (40, 2), generator=generator) for _ in range(2))
    target = 1 - base[:, 0]
    rows = (base, reference, target, base[:, 1] == target)
    torch.save(rows, tmp_path / "rows.pt")
    words = [[sys.executable, "-c", PROCESS, str(r), str(tmp_path / "meet"), str(tmp_path / "rows.pt")] for r in (0, 1)]
    ranks = [subprocess.Popen(word, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for word in words]
    said = [rank.communicate(timeout=120) for rank in ranks]
    alone = TransferabilityRate()
    alone.update(*rows)
    expected = str({name: float(value) for name, value in alone.compute().items()})
    assert [out.strip().splitlines()[-1:] for out, _ in said] == [[expected]] * 2, said


GAMMA, ANGLE = 0.3, np.pi / 6


def project(model, x, target, *, margin):
    """The point on the base's boundary, and `margin` beyond it; the base's weights are those of the first axis."""
    reached = x.clone()
    reached[:, 0] = 0.5 + margin * (2 * target - 1)
    return Candidates(reached, torch.ones(len(x), dtype=torch.bool), torch.ones(len(x), dtype=torch.long))


def test_the_closed_form_of_linear_models():
    """Isotropic Gaussian data, linear base and reference at an angle of 30°: everything about the pair is known."""
    n, unit = 200_000, 1 / 12  # σ in units of the box: six σ fit on each side of its middle
    x = (0.5 + unit * torch.randn(n, 3, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    axis = torch.tensor([np.cos(ANGLE), np.sin(ANGLE), 0.0], dtype=torch.float32)
    found = search(lambda x: x[:, 0] - 0.5, x, method=project, constraints="box", margin=GAMMA * unit)
    _, _, measure = measured([found], [lambda x: (x - 0.5) @ axis])
    rate = stats.norm.cdf(GAMMA / np.tan(ANGLE))
    agreement = 1 - ANGLE / np.pi
    conditional = 1 - (1 - rate) / agreement
    assert (round(rate, 4), round(conditional, 4)) == (0.6983, 0.6380)
    assert measure["found"] == 1
    for name, p, rows in (
        ("rate", rate, n),
        ("agreement", agreement, n),
        ("rate_conditional", conditional, n * agreement),
    ):
        assert measure[name] == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / rows)), name


def test_before_projection_is_what_the_relaxation_gave(searches, trained_models):
    """Found share, distance and rate before projection are those of the same questions about the relaxed points."""
    counterfactuals, transfers, _ = measured(searches, trained_models)
    before = before_projection(counterfactuals, count(transfers))
    share, lengths, rate = [], [], []
    for search_ in searches:
        crossed = search_.relaxed_found
        share.append(crossed.double().mean())
        lengths.append((search_.relaxed - search_.factual).double()[crossed].norm(dim=1).mean())
        for model in trained_models:
            rate.append(((model(search_.relaxed[crossed]) > 0).long() == search_.target[crossed]).double().mean())
    assert before["found_relaxed"] == pytest.approx(float(np.mean(share)))
    assert before["distance_l2_relaxed"] == pytest.approx(float(np.mean(lengths)))
    assert before["rate_relaxed"] == pytest.approx(float(np.mean(rate)))
    assert before["rate_relaxed"] != measured(searches, trained_models)[2]["rate"]


def test_where_nothing_is_projected_there_is_no_before(trained_models, compas):
    settings = {**SETTINGS, "constraints": "box"}
    boxed = [run_search(trained_models[0], compas.x_test[:50], settings=settings, dataset=compas)]
    counterfactuals, transfers, _ = measured(boxed, trained_models)
    assert boxed[0].relaxed is None
    assert "relaxed" not in counterfactuals
    assert before_projection(counterfactuals, count(transfers)) == {}


def test_the_search_in_the_box_is_the_relaxation_of_the_possible(trained_models, compas):
    """Up to its first crossing the search under `possible` is the one in the box: `before` means that."""
    x = compas.x_test[:200]
    box = run_search(trained_models[0], x, settings={**SETTINGS, "constraints": "box"}, dataset=compas)
    possible = run_search(trained_models[0], x, settings=SETTINGS, dataset=compas)
    assert possible.relaxed_found[box.found].all()
    torch.testing.assert_close(possible.relaxed[box.found], box.counterfactual[box.found], atol=1e-6, rtol=0)
    assert (possible.iterations >= box.iterations).all()


def test_failures_say_why(trained_models, compas):
    """With few steps some rows have not crossed at all, and others are on the target's side only between integers."""
    cut = {**SETTINGS, "iterations": 6}
    few = run_search(trained_models[0], compas.x_test[:400], settings=cut, dataset=compas)
    status = counterfactual_table([few], [0], nearest=[at_origin(few)]).status
    assert set(status) == {"found", "not_found", "lost_by_projection"}
    assert ((status == "found") == few.found.numpy()).all()
    assert ((status == "lost_by_projection") == (few.relaxed_found & ~few.found).numpy()).all()


def test_the_interval_of_the_distance_is_students_over_bases(searches, trained_models):
    counterfactuals, _, measure = measured(searches, trained_models[:1])
    lengths = counterfactuals[counterfactuals.found].groupby("base").distance_l2.mean()
    low, high = stats.t.interval(0.95, len(lengths) - 1, lengths.mean(), stats.sem(lengths))
    ends = base_intervals(counterfactuals)
    assert ends["distance_l2_low"] == pytest.approx(max(low, 0))
    assert ends["distance_l2_high"] == pytest.approx(high)
    assert measure["distance_l2"] == pytest.approx(lengths.mean())


def test_the_interval_of_the_found_share_is_over_bases():
    """Two bases that found 30 and 36 of 40: the share of each counts once, on the logit."""
    found = np.concatenate([np.arange(40) < 30, np.arange(40) < 36])
    rows = pd.DataFrame({"base": np.repeat([0, 1], 40), "factual": [*range(40), *range(40)], "found": found})
    rows = rows.assign(base_seed=rows.base)
    counterfactuals = rows.assign(status=np.where(found, "found", "not_found"))
    tried = counterfactuals[found].assign(reference=0, reference_seed=9, target=1, transferred=1.0, agreement=True)
    tried = tried.assign(**dict.fromkeys(("control_random", "control_nearest", "control_prior"), 0.0))
    ends = intervals(counterfactuals, count(tried))
    middle, error = 0.825, 0.075
    half = stats.t.ppf(0.975, 1) * error / (middle * (1 - middle))
    logit = np.log(middle / (1 - middle))
    assert ends["found_low"] == pytest.approx(1 / (1 + np.exp(half - logit)))
    assert ends["found_high"] == pytest.approx(1 / (1 + np.exp(-half - logit)))


def test_a_reference_is_asked_once_about_what_bases_share(searches, trained_models, compas):
    """Factuals, and training rows that are nearest to some; its own share of a base are x′, where x′ was, and draws."""
    asked = []

    def reference(x):
        asked.append(len(x))
        return trained_models[2](x)

    n, nearest = 300, [nearest_rows(found, found.base, compas.x_train) for found in searches]
    table = transfer_table(searches, [reference], nearest=nearest, base_seeds=[0, 1], reference_seeds=[9], nested=False)
    rows = torch.cat([one.index for one in nearest]).unique()
    assert len(rows) < 2 * n
    assert sum(asked) == n + len(rows) + 2 * n * (1 + (searches[0].relaxed is not None) + DRAWS)
    alone = [
        transfer_table([found], [reference], nearest=[near], base_seeds=[seed], reference_seeds=[9], nested=False)
        for seed, (found, near) in enumerate(zip(searches, nearest))
    ]
    pd.testing.assert_frame_equal(
        table, pd.concat([alone[0], alone[1].assign(base=alone[1].base + 1)], ignore_index=True)
    )


def test_answers_about_one_base_are_gone_before_the_next_is_asked(searches, trained_models):
    """A job keeps counts, and rows packed into less than 80 bytes, whatever the number of bases and references."""
    nearest, kept = [at_origin(found) for found in searches * 2], []

    def tables():
        for some in transfer_tables_of(
            searches * 2, [trained_models], nearest=nearest, base_seeds=range(4), reference_seeds=range(3), nested=False
        ):
            assert sum(table() is not None for table in kept) <= 1
            kept.append(weakref.ref(some[0]))
            yield some

    counterfactuals = counterfactual_table(searches * 2, range(4), nearest=nearest)
    asked = base_by_base(counterfactuals, tables(), group=0)
    whole = transfer_table(
        searches * 2, trained_models, nearest=nearest, base_seeds=range(4), reference_seeds=range(3), nested=False
    )
    pd.testing.assert_frame_equal(asked.transfers[0].to_pandas(), whole, check_dtype=False)
    assert asked.transfers[0].nbytes < 80 * len(whole)
    for ours, theirs in zip(dataclasses.astuple(asked.counts[0]), dataclasses.astuple(count(whole))):
        pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
    pd.testing.assert_frame_equal(asked.holds, per_counterfactual(counterfactuals, whole))
    pd.testing.assert_frame_equal(first(asked.first), first(whole).reset_index(drop=True))
