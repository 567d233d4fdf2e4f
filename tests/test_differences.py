"""The difference between two jobs' rates, by closed forms, and verdicts after a choice, by simulation."""

import doctest
from itertools import combinations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from test_statistics import simulated

from cftransfer.measuring import differences
from cftransfer.measuring.differences import after_choice, difference, from_first
from cftransfer.measuring.statistics import change_interval, difference_interval, spread
from cftransfer.measuring.verdicts import verdict

RNG = np.random.default_rng
SHARED = ["the same bases"] * 5
APART = [str(job) for job in range(5)]


def some_jobs(rng, *, shared, means=(0.7,) * 5):
    """Five jobs of 5 × 10 models; the bases are the same in all jobs, or new ones in each."""
    base = 0.0 if shared else 0.09
    same = 0.09 * rng.normal(size=(5, 1)) if shared else 0.0
    return [simulated(rng, 5, 10, base=base, mean=mean) + same for mean in means]


def named(names):
    return [{name} for name in names]


def chosen(rates, names):
    means = [rate.mean() for rate in rates]
    return after_choice(rates, named(names), int(np.argmax(means)), int(np.argmin(means)))


def test_the_example_runs():
    assert doctest.testmod(differences).failed == 0


def test_effects_of_shared_bases_cancel_and_those_of_other_bases_do_not():
    rng = RNG(0)
    one, other = (simulated(rng, 5, 10, base=0.0) for _ in range(2))
    bases = rng.normal(size=(5, 1))
    paired = difference(one + bases, other + bases, shared=True)
    assert (paired.mean, paired.error) == pytest.approx((np.mean(one - other), spread(one - other).error))
    assert difference(one + bases, other + bases, shared=False).error > 5 * paired.error


def test_without_shared_models_it_is_welchs_test():
    one, other = RNG(1).normal(size=(6, 1)), RNG(2).normal(1, 3, size=(9, 1))
    known, welch = difference(one, other, shared=False), stats.ttest_ind(one, other, equal_var=False)
    interval, expected = change_interval(known), welch.confidence_interval()
    assert interval.p == pytest.approx(welch.pvalue.item())
    assert (interval.low, interval.high) == pytest.approx((expected.low.item(), expected.high.item()))


def test_without_shared_models_the_variances_of_both_jobs_add_up_to_the_error():
    one, other = (simulated(RNG(seed), 5, 10, error=0.05) for seed in range(2))
    known = difference(one, other, shared=False)
    parts = known.variances
    assert known.error**2 == pytest.approx(parts.base / 5 + parts.reference / 10 + parts.error / 50)


def test_references_of_their_own_are_paired_with_crossed_ones_base_by_base():
    rng = RNG(3)
    own, crossed = rng.uniform(size=(5, 1)), rng.uniform(size=(5, 10))
    assert change_interval(difference(own, crossed, shared=True)) == difference_interval(own, crossed)


@pytest.mark.parametrize("shapes", [((5, 10), (4, 10)), ((5, 10), (5, 8)), ((2, 5, 10), (5, 10))])
def test_jobs_of_other_shapes_are_independent(shapes):
    one, other = (RNG(number).uniform(size=shape) for number, shape in enumerate(shapes))
    assert difference(one, other, shared=True) == difference(one, other, shared=False)


def test_a_base_that_found_nothing_in_one_job_is_left_out_of_both():
    one, other = (simulated(RNG(seed), 5, 10) for seed in range(2))
    one[2] = np.nan
    kept = [0, 1, 3, 4]
    assert difference(one, other, shared=True) == difference(one[kept], other[kept], shared=True)


def test_without_a_base_that_found_something_in_both_jobs_their_means_are_compared():
    one, other = (simulated(RNG(seed), 4, 10) for seed in range(2))
    one[:2], other[2:] = np.nan, np.nan
    assert difference(one, other, shared=True) == difference(one[2:], other[:2], shared=False)


def test_splits_that_both_jobs_have_cancel():
    rng = RNG(4)
    one, other = (np.stack([simulated(rng, 4, 6) for _ in range(3)]) for _ in range(2))
    splits = rng.normal(size=(3, 1, 1))
    moved = difference(one + splits, other + splits, shared=True)
    assert moved.error == pytest.approx(difference(one, other, shared=True).error)


def test_p_is_adjusted_for_every_difference_that_could_have_been_chosen():
    rates = some_jobs(RNG(5), shared=True, means=(0.7, 0.72, 0.74, 0.7, 0.71))
    pairs = list(combinations(range(5), 2))
    raw = [difference_interval(rates[a], rates[b]).p for a, b in pairs]
    adjusted = multipletests(raw, method="holm")[1]
    for (a, b), p in zip(pairs, adjusted, strict=True):
        judged, there = after_choice(rates, named(SHARED), b, a)
        assert there == pytest.approx(p)
        assert judged.change.mean == pytest.approx((rates[b] - rates[a]).mean())


def test_from_the_first_p_is_adjusted_for_the_other_jobs():
    rates = some_jobs(RNG(5), shared=True, means=(0.7, 0.72, 0.74, 0.7, 0.71))
    raw = [difference_interval(rate, rates[0]).p for rate in rates[1:]]
    judged = from_first(rates, named(SHARED))
    assert [one.change.p for one in judged] == pytest.approx(raw)
    expected = [
        verdict(spread(rate - rates[0]), p=p).direction
        for rate, p in zip(rates[1:], multipletests(raw, method="holm")[1], strict=True)
    ]
    assert [one.direction for one in judged] == expected


def test_one_pair_of_models_per_job_shows_nothing():
    judged, p = after_choice([np.array([[0.2]]), np.array([[0.9]])], named("aa"), 1, 0)
    assert judged.direction == "undecided"
    assert np.isnan([judged.change.low, p]).all()


@pytest.mark.parametrize(("shared", "names"), [(True, SHARED), (False, APART)])
def test_of_five_equal_jobs_the_extremes_are_said_to_differ_one_time_in_twenty(shared, names):
    rng = RNG(0)
    drawn = [some_jobs(rng, shared=shared) for _ in range(600)]
    said = [chosen(rates, names)[0] for rates in drawn]
    assert np.mean([one.direction in ("falls", "rises") for one in said]) <= 0.06
    assert np.mean([one.change.p < 0.05 for one in said]) > 0.1  # unadjusted, it would be said far more often


def test_two_equal_jobs_are_said_to_differ_one_time_in_twenty_and_not_hardly_ever():
    rng = RNG(1)
    drawn = [some_jobs(rng, shared=True)[:2] for _ in range(2000)]
    share = np.mean([chosen(rates, SHARED[:2])[1] < 0.05 for rates in drawn])
    assert 0.03 <= share <= 0.06


def test_five_jobs_that_differ_by_the_margin_are_rarely_alike():
    rng = RNG(2)
    drawn = [some_jobs(rng, shared=True, means=(0.7, 0.7, 0.7, 0.7, 0.75)) for _ in range(400)]
    assert np.mean([chosen(rates, SHARED)[0].direction == "flat" for rates in drawn]) <= 0.06


def test_a_difference_between_overlapping_intervals_is_found_through_shared_bases():
    rng = RNG(3)
    drawn = [some_jobs(rng, shared=True, means=(0.7, 0.8)) for _ in range(200)]
    found = {
        name: np.mean([chosen(rates, names)[0].direction == "rises" for rates in drawn])
        for name, names in (("paired", "aa"), ("independent", "ab"))
    }
    assert found["paired"] > 0.9
    assert found["independent"] < 0.3
