"""Identities that a transferability rate must obey, whatever the models."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import composed
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from cftransfer.counterfactuals.search import search
from cftransfer.transferability import counterfactual_table, matrix, pairs, rates, transfer_table

SETTINGS = OmegaConf.to_container(composed().counterfactual)


@pytest.fixture(scope="module")
def searches(trained_models, compas):
    return [search(model, compas.x_test[:300], settings=SETTINGS, dataset=compas) for model in trained_models[:2]]


def measured(searches, references, *, nested=False):
    seeds, other = list(range(len(searches))), list(range(1000, 1000 + len(references)))
    transfers = transfer_table(searches, references, base_seeds=seeds, reference_seeds=other, nested=nested)
    counterfactuals = counterfactual_table(searches, seeds)
    return counterfactuals, transfers, rates(counterfactuals, transfers)


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
    return pd.DataFrame(rows, columns=columns).astype({"transferred": "boolean"})


@given(transfer_tables())
def test_the_rate_is_the_sum_of_its_parts_and_the_mean_of_its_pairs(transfers):
    counterfactuals = transfers[transfers.reference == 0].assign(distance_l2=1.0, iterations=1, margin=1.0)
    measure = rates(counterfactuals, transfers)
    table = pairs(transfers)
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
    assert matrix(pairs(crossed)).shape == (2, 3)
    assert matrix(pairs(nested)).shape == (2, 1)
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
    result = search(trained_models[0], compas.x_test[:50], settings={**SETTINGS, "iterations": 3}, dataset=compas)
    counterfactuals, transfers, measure = measured([result], trained_models[1:])
    assert 0 < measure["found"] < 1
    assert set(counterfactuals.status) == {"found", "not_found"}
    assert transfers[~transfers.found].transferred.isna().all()
    assert transfers[transfers.found].transferred.notna().all()
    assert measure["rate"] == pytest.approx(transfers.transferred.mean())  # a missing value counts for nothing
    found = counterfactuals[counterfactuals.found]
    for name in ("distance_l2", "iterations", "margin"):
        assert measure[name] == pytest.approx(found[name].mean())
        assert measure[name] != pytest.approx(counterfactuals[name].mean())
