"""The interval that draws bases alone: its closed forms, and how often it holds the truth beside the two-way one."""

import numpy as np
import pytest

from cftransfer.measuring.base_bootstrap import base_bootstrap_interval
from cftransfer.measuring.coverage import coverage
from cftransfer.measuring.statistics import Variances, share_interval, spread, two_way_interval


def ends(values):
    interval = base_bootstrap_interval(values)
    return interval.mean, interval.low, interval.high


def test_two_bases_drawn_again_are_both_the_first_in_a_quarter_of_all_draws():
    assert ends(np.array([[0.2, 0.4], [0.6, 0.8]])) == pytest.approx((0.5, 0.3, 0.7))


def test_it_knows_bases_by_their_mean_alone():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(5, 8))
    assert ends(values) == pytest.approx(ends(np.tile(values.mean(1, keepdims=True), (1, 3))))
    alike = values - values.mean(1, keepdims=True)  # references differ, and it does not see it
    flat = base_bootstrap_interval(alike)
    assert flat.high - flat.low < 1e-12 < two_way_interval(alike).high


def test_a_base_without_rates_is_left_out_and_one_base_has_no_interval():
    values = np.array([[0.2, 0.4], [np.nan, np.nan], [0.6, 0.8]])
    assert ends(values) == ends(values[[0, 2]])
    alone = base_bootstrap_interval(values[:2])
    assert alone.mean == pytest.approx(0.3)
    assert np.isnan(alone.low)
    assert np.isnan(base_bootstrap_interval(np.empty((0, 0))).mean)


def test_the_spread_of_a_sum_of_bases_and_references_is_theirs():
    bases, references = np.array([0.1, 0.5, 0.9]), np.array([0.0, 0.2, 0.1, 0.3])
    parts = spread(bases[:, None] + references).variances
    assert (parts.base, parts.reference) == pytest.approx((bases.var(ddof=1), references.var(ddof=1)))
    assert parts.error == pytest.approx(0, abs=1e-12)


def test_the_spread_of_large_tables_is_the_one_that_made_them():
    rng, (I, J) = np.random.default_rng(0), (300, 200)
    own = 0.3 * rng.normal(size=(I, J))
    parts = spread(0.1 * rng.normal(size=(I, 1)) + 0.2 * rng.normal(size=(1, J)) + own).variances
    assert (parts.base, parts.reference, parts.error) == pytest.approx((0.1**2, 0.2**2, 0.3**2), rel=0.24)
    assert spread(own).variances.base < 0.03**2


@pytest.mark.parametrize(("bases", "references"), [(0.05, 0.02), (0.05, 0.05), (0.02, 0.05)])
def test_on_crossed_models_it_covers_less_than_the_two_way_interval(bases, references):
    """Both kinds of models vary, and five bases are drawn: nominally .95."""
    variances = Variances(bases**2, references**2, 0.02**2)
    of = {"shape": (5, 10), "mean": 0.7, "rounds": 400}
    theirs, ours = (coverage(way, variances, **of) for way in (base_bootstrap_interval, share_interval))
    assert theirs < 0.87
    assert ours > 0.91
    assert ours - theirs > 0.08


def test_coverage_is_the_share_of_intervals_that_hold_the_mean():
    variances = Variances(1.0, 1.0, 1.0)
    wide = lambda values: two_way_interval(values, level=0.999999)  # noqa: E731
    assert coverage(wide, variances, shape=(3, 3), rounds=50) == 1
    assert coverage(lambda values: two_way_interval(values + 1e9), variances, shape=(3, 3), rounds=50) == 0


def test_simulated_tables_vary_by_what_they_are_told_to():
    tables = []
    for only in (Variances(0.01, 0.0, 0.0), Variances(0.0, 0.01, 0.0)):
        coverage(lambda table: tables.append(table) or share_interval(table), only, shape=(3, 4), mean=0.5, rounds=1)
    bases, references = tables
    assert (np.ptp(bases, axis=1) == 0).all()
    assert (np.ptp(bases, axis=0) > 0).all()
    assert (np.ptp(references, axis=0) == 0).all()
    assert (np.ptp(references, axis=1) > 0).all()
