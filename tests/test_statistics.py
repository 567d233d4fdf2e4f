"""Intervals and trends against closed forms, and, by simulation, against their nominal levels."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from cftransfer.measuring.statistics import (
    bootstrap_interval,
    difference_interval,
    product_interval,
    rate_interval,
    ratio_interval,
    share_interval,
    spread,
    two_way_interval,
)
from cftransfer.measuring.trends import band, holm, trend

matrices = arrays(float, st.tuples(st.integers(2, 6), st.integers(2, 6)), elements=st.floats(0, 1))


def simulated(rng, bases, references, base=0.05, reference=0.05, error=0.02, mean=0.7):
    return (
        mean
        + base * rng.normal(size=(bases, 1))
        + reference * rng.normal(size=(1, references))
        + error * rng.normal(size=(bases, references))
    )


def test_with_error_alone_in_the_references_it_is_students_interval():
    # Bases that all say the same leave MS_base = MS_error = 0: Student's t over the references' means remains.
    references = np.array([0.2, 0.4, 0.5, 0.9])
    interval = two_way_interval(np.tile(references, (3, 1)))
    low, high = stats.t.interval(0.95, 3, references.mean(), stats.sem(references))
    assert (interval.low, interval.high) == pytest.approx((low, high))
    assert interval.p == pytest.approx(stats.ttest_1samp(references, 0).pvalue)


def test_by_hand():
    # Rows' means .3 and .7, columns' .4 and .6, no interaction: MS_base .16, MS_reference .04, MS_error 0.
    interval = two_way_interval(np.array([[0.2, 0.4], [0.6, 0.8]]))
    freedom = (0.16 + 0.04) ** 2 / (0.16**2 + 0.04**2)
    half = stats.t.ppf(0.975, freedom) * np.sqrt((0.16 + 0.04) / 4)
    assert (interval.low, interval.high) == pytest.approx((0.5 - half, 0.5 + half))


def test_by_hand_with_interaction():
    # Grand mean .5; rows' means .2, .5, .8 and columns' .35, .65; interaction ±.05, ∓.05, 0.
    values = np.array([[0.1, 0.3], [0.3, 0.7], [0.65, 0.95]])
    rows, columns = values.mean(1), values.mean(0)
    error = values - rows[:, None] - columns + 0.5
    bases, references, rest = 2 * rows.var(ddof=1), 3 * columns.var(ddof=1), (error**2).sum() / 2
    assert min(bases, references) > rest > 0
    total = bases + references - rest
    freedom = total**2 / (bases**2 / 2 + references**2 / 1 + rest**2 / 2)
    half = stats.t.ppf(0.975, freedom) * np.sqrt(total / 6)
    interval = two_way_interval(values)
    assert (interval.low, interval.high) == pytest.approx((0.5 - half, 0.5 + half))


@given(matrices)
def test_bases_and_references_play_the_same_part(values):
    there, back = two_way_interval(values), two_way_interval(values.T)
    assert (there.low, there.high) == pytest.approx((back.low, back.high))
    assert there.low <= there.mean <= there.high


def test_a_share_is_students_interval_on_the_logit_by_hand():
    # Mean .9 and Student's error and freedom of four references; logit(.9) = log 9, slope of the logit 1 / .09.
    values = np.array([[0.85, 0.88, 0.92, 0.95]])
    half = stats.t.ppf(0.975, 3) * stats.sem(values[0]) / 0.09
    odds = 9 * np.exp([-half, half])
    interval = share_interval(values)
    assert (interval.low, interval.high) == pytest.approx(tuple(odds / (1 + odds)))


@given(matrices)
def test_a_share_and_its_complement_have_the_same_interval_mirrored(values):
    there, back = share_interval(values), share_interval(1 - values)
    assert (there.low, there.high) == pytest.approx((1 - back.high, 1 - back.low), abs=1e-6)
    assert there.low - 1e-12 <= there.mean <= there.high + 1e-12


def test_in_the_middle_a_share_has_students_width_and_at_the_ends_it_leans_to_the_middle():
    rng = np.random.default_rng(0)
    middle, high = simulated(rng, 5, 10, mean=0.5), 1 - (0.05 * rng.random((5, 1)) + 0.01 * rng.random((5, 10))) ** 2
    old, new = two_way_interval(middle), share_interval(middle)
    assert new.high - new.low == pytest.approx(old.high - old.low, rel=0.03)
    interval = share_interval(high)
    assert interval.mean - interval.low > interval.high - interval.mean


@pytest.mark.parametrize(("value", "ends"), [(1.0, (0.0, 1.0)), (0.0, (0.0, 0.0)), (0.6, (0.6, 0.6))])
def test_where_all_models_agree_the_bound_is_jeffreys_over_the_rarer_kind(value, ends):
    least = stats.beta.ppf(0.05, 5.5, 0.5)
    interval = share_interval(np.full((5, 10), value))
    assert (interval.low, interval.high) == pytest.approx((value * least, value * least + 1 - least))
    assert "Jeffreys" in interval.method
    more = share_interval(np.full((50, 100), value))
    assert interval.low < more.low <= value <= more.high < interval.high or value in (0, 1)


def test_all_but_one_pair_at_1_has_an_interval_with_width():
    values = np.ones((5, 10))
    values[0, 0] = 0.99
    assert 0.9 < share_interval(values).low < values.mean() < share_interval(values).high < 1


def test_a_ratio_of_means_is_that_of_the_sums_and_has_the_error_of_its_linear_form():
    rng = np.random.default_rng(0)
    whole = rng.uniform(0.6, 0.9, (5, 10))
    part = whole * rng.uniform(0.3, 0.7, (5, 10))
    ratio = part.sum() / whole.sum()
    interval = ratio_interval(part, whole)
    assert interval.mean == pytest.approx(ratio)
    error = spread((part - ratio * whole) / whole.mean()).error / (ratio * (1 - ratio))
    assert np.log(interval.high / (1 - interval.high)) > np.log(ratio / (1 - ratio)) + error
    assert ratio_interval(0.5 * whole, whole).mean == pytest.approx(0.5)
    assert "all alike" in ratio_interval(0.5 * whole, whole).method  # every pair has the same share
    assert np.isnan(ratio_interval(0 * whole, 0 * whole).mean)


def test_a_ratio_covers_as_often_as_a_share():
    rng, covered = np.random.default_rng(5), []
    for _ in range(1500):
        whole = np.clip(simulated(rng, 5, 10), 0.05, 1)
        share = np.clip(simulated(rng, 5, 10, mean=0.6), 0, 1)
        interval = ratio_interval(whole * share, whole)
        covered.append(interval.low <= 0.6 <= interval.high)
    assert 0.92 <= np.mean(covered) <= 0.99


def test_a_product_with_a_share_of_1_is_the_rate_and_failures_count_against_it():
    rates = simulated(np.random.default_rng(0), 5, 10)
    whole, some = product_interval(np.ones(5), rates), product_interval(np.array([1, 0.8, 0.6, 1, 0.9]), rates)
    assert (whole.low, whole.high) == pytest.approx((share_interval(rates).low, share_interval(rates).high))
    assert some.mean == pytest.approx(0.86 * rates.mean())
    gap = np.vstack([rates, np.full((1, 10), np.nan)])
    assert product_interval(np.array([1.0] * 5 + [0.0]), gap).mean == pytest.approx(5 / 6 * rates.mean())


def test_a_base_on_which_nothing_was_found_widens_the_product_as_a_share_of_0_does():
    shares, rates = np.array([1.0, 1, 1, 1, 0]), np.full((5, 4), 0.8)
    rates[-1] = np.nan
    both, alone = product_interval(shares, rates), share_interval(0.8 * np.tile(shares[:, None], 4))
    assert (both.mean, both.low, both.high) == pytest.approx((alone.mean, alone.low, alone.high))


def test_a_product_covers_where_one_base_in_five_finds_nothing():
    rng, covered = np.random.default_rng(0), []
    for _ in range(500):
        shares = (rng.random(20) < 0.8).astype(float)
        rates = simulated(rng, 20, 10, base=0.05, reference=0.05, error=0.02)
        rates[shares == 0] = np.nan
        interval = product_interval(shares, rates)
        covered.append(interval.low <= 0.8 * 0.7 <= interval.high)
    assert np.mean(covered) >= 0.9


@given(matrices)
def test_a_rate_stays_between_0_and_1(values):
    interval = rate_interval(values, found=100)
    assert 0 <= interval.low <= interval.high <= 1


def test_one_base_is_students_interval_over_references():
    values = np.array([[0.2, 0.4, 0.5, 0.9]])
    assert two_way_interval(values).method == "references (one base)"
    low, high = stats.t.interval(0.95, 3, values.mean(), stats.sem(values[0]))
    assert (two_way_interval(values).low, two_way_interval(values).high) == pytest.approx((low, high))
    assert two_way_interval(values.T).method == "bases"


def test_one_pair_is_wilsons_and_says_so():
    interval = rate_interval(np.array([[0.6]]), found=50)
    centre, z = (30 + 1.959964**2 / 2) / (50 + 1.959964**2), 1.959964
    half = z / (50 + z**2) * np.sqrt(30 * 20 / 50 + z**2 / 4)
    assert (interval.low, interval.high) == pytest.approx((centre - half, centre + half), abs=1e-6)
    assert "Wilson" in interval.method


def test_nothing_found_is_no_rate():
    interval = rate_interval(np.zeros((0, 0)), found=0)
    assert np.isnan([interval.mean, interval.low, interval.high]).all()


def test_the_line_is_the_least_squares_line():
    rng = np.random.default_rng(0)
    knob, rates = [1, 2, 4, 8], [simulated(rng, 5, 10, mean=0.7 - 0.02 * x) for x in (1, 2, 4, 8)]
    slope, intercept = np.polyfit(np.repeat(knob, 10), np.concatenate([matrix.mean(0) for matrix in rates]), 1)
    line = trend(knob, rates)
    assert (line.slope, line.intercept) == pytest.approx((slope, intercept))
    assert line.low < line.slope < line.high
    assert line.rho == pytest.approx(stats.spearmanr(knob, [matrix.mean() for matrix in rates]).statistic)


def test_its_interval_is_over_the_slopes_of_pairs():
    rng = np.random.default_rng(0)
    rates = [simulated(rng, 5, 10, mean=0.7 - 0.02 * x) for x in (1, 2, 4)]
    slopes = np.array([[np.polyfit([1, 2, 4], [r[i, j] for r in rates], 1)[0] for j in range(10)] for i in range(5)])
    line, expected = trend([1, 2, 4], rates), two_way_interval(slopes)
    assert (line.low, line.high, line.p) == pytest.approx((expected.low, expected.high, expected.p))


def test_bases_that_stay_the_same_cancel_and_others_count():
    rng = np.random.default_rng(0)
    rates = [simulated(rng, 5, 10, base=0.0) for _ in range(3)]
    lucky = 0.2 * rng.normal(size=(5, 1))
    plain, shared = trend([1, 2, 4], rates), trend([1, 2, 4], [matrix + lucky for matrix in rates])
    assert (shared.low, shared.high) == pytest.approx((plain.low, plain.high))
    fresh = trend([1, 2, 4], [matrix + 0.2 * rng.normal(size=(5, 1)) for matrix in rates])
    assert fresh.high - fresh.low > 2 * (plain.high - plain.low)


def test_one_rate_per_job_is_ordinary_regression():
    knob, rates = [1.0, 2.0, 4.0, 8.0], [np.array([[rate]]) for rate in (0.9, 0.7, 0.8, 0.4)]
    line, expected = trend(knob, rates), stats.linregress(knob, [0.9, 0.7, 0.8, 0.4])
    assert (line.slope, line.p) == pytest.approx((expected.slope, expected.pvalue))
    half = stats.t.ppf(0.975, 2) * expected.stderr
    assert (line.low, line.high) == pytest.approx((expected.slope - half, expected.slope + half))


def test_unequal_jobs_fall_back_to_one_rate_each_and_say_so():
    rng = np.random.default_rng(0)
    line = trend([1, 2, 3], [simulated(rng, 5, 10), simulated(rng, 5, 10), simulated(rng, 2, 3)])
    assert line.method == "one rate per job"


def test_a_base_without_rates_is_left_out_and_leaves_no_slopes_of_pairs():
    rng = np.random.default_rng(0)
    gap = simulated(rng, 5, 10)
    gap[2] = np.nan
    assert rate_interval(gap, found=50).mean == pytest.approx(np.nanmean(gap))
    line = trend([1, 2, 3], [gap, simulated(rng, 5, 10), simulated(rng, 5, 10)])
    assert line.method == "one rate per job"
    assert np.isfinite(line.slope)


def test_two_single_pairs_have_a_slope_and_no_interval():
    line = trend([1, 2], [np.array([[0.4]]), np.array([[0.5]])])
    assert line.slope == pytest.approx(0.1)
    assert np.isnan([line.low, line.high, line.p]).all()


def test_one_knob_has_no_trend():
    assert trend([2, 2], [np.array([[0.4]]), np.array([[0.5]])]) is None


def test_the_band_at_the_middle_is_the_interval_of_the_mean_and_follows_the_line():
    rng = np.random.default_rng(0)
    knob, rates = [1, 2, 6], [simulated(rng, 5, 10, mean=0.7 - 0.02 * x) for x in (1, 2, 6)]
    line, (middle, end) = trend(knob, rates), band(knob, rates, [3, 6])
    expected = two_way_interval(np.mean(rates, axis=0))
    assert (middle.low, middle.high) == pytest.approx((expected.low, expected.high))
    assert end.mean == pytest.approx(line.intercept + 6 * line.slope)
    assert end.low < end.mean < end.high


def test_the_band_of_one_rate_per_job_is_that_of_regression():
    import statsmodels.api as sm

    knob, rates = np.array([1.0, 2.0, 4.0, 8.0]), [0.9, 0.7, 0.8, 0.4]
    fitted = sm.OLS(rates, sm.add_constant(knob)).fit().get_prediction(np.column_stack([np.ones(2), [1.5, 8]]))
    ends = band(knob, [np.array([[rate]]) for rate in rates], [1.5, 8])
    assert [(end.low, end.high) for end in ends] == [pytest.approx(tuple(row)) for row in fitted.conf_int()]


def test_r2_is_that_of_the_regression_on_the_references_means():
    rng = np.random.default_rng(0)
    rates = [simulated(rng, 5, 10, mean=0.7 - 0.02 * x) for x in (1, 2, 4)]
    means = np.concatenate([matrix.mean(0) for matrix in rates])
    assert trend([1, 2, 4], rates).r2 == pytest.approx(stats.linregress(np.repeat([1, 2, 4], 10), means).rvalue ** 2)


@pytest.mark.parametrize("p", [[0.02], [0.04, 0.01, 0.03], [0.9, 0.5, 0.01, 0.01], [0.2, 0.0, 1.0, 0.011, 0.011]])
def test_holm_is_statsmodels(p):
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1].tolist())
    nothing = holm([float("nan"), *p])
    assert np.isnan(nothing[0])
    assert nothing[1:] == pytest.approx(holm(p))


def test_a_steep_trend_is_beyond_all_permutations_and_a_flat_one_is_not():
    rng = np.random.default_rng(0)
    steep = [simulated(rng, 5, 10, base=0.0, mean=0.7 - 0.1 * x) for x in (1, 2, 4)]
    flat = [simulated(rng, 5, 10, base=0.0) for _ in range(3)]
    for sharing, least in (("bases", 1 / 2001), ("models", 2 / 2**10)):
        assert trend([1, 2, 4], steep, sharing=sharing).p_permutation == pytest.approx(least)
        assert trend([1, 2, 4], flat, sharing=sharing).p_permutation > 0.05


@pytest.mark.parametrize("rate", [0.1, 0.3, 1.0])
@pytest.mark.parametrize("knob", [[1, 2, 4], [0.5, 0.6, 0.7, 0.8, 0.9], list(range(1, 21))])
@pytest.mark.parametrize("shape", [(5, 10), (5, 1), (1, 1)])
@pytest.mark.parametrize("sharing", ["none", "bases", "models"])
def test_what_is_flat_to_the_last_bit_has_no_trend(rate, knob, shape, sharing):
    line = trend(knob, [np.full(shape, rate)] * len(knob), sharing=sharing)
    assert line.slope == 0
    assert np.isnan([line.r2, line.rho]).all()
    if not (sharing == "models" and shape == (1, 1)):
        assert line.p == 1
    if sharing == "models":
        assert line.p_permutation == 1


def test_one_pair_of_models_asked_again_and_again_has_a_slope_and_no_interval():
    """Twenty ages of one model are not twenty models: regression on them finds trends in every random walk."""
    walk = 0.5 + 0.03 * np.random.default_rng(0).normal(size=20).cumsum()
    ages = [np.array([[rate]]) for rate in walk]
    line = trend(range(1, 21), ages, sharing="models")
    assert line.slope == pytest.approx(stats.linregress(range(1, 21), walk).slope)
    assert np.isnan([line.low, line.high, line.p]).all()
    assert np.isnan([end.low for end in band(range(1, 21), ages, [1, 20], sharing="models")]).all()
    assert np.isfinite(trend(range(1, 21), ages).p)  # of as many pairs it would be one


def test_a_base_with_a_gap_is_left_out_where_it_is_the_same_base_in_all_jobs():
    rng = np.random.default_rng(0)
    rates = [simulated(rng, 5, 10) for _ in range(3)]
    rates[1][2] = np.nan
    whole = [np.delete(matrix, 2, axis=0) for matrix in rates]
    line, expected = (trend([1, 2, 3], some, sharing="models") for some in (rates, whole))
    assert (line.slope, line.low, line.p) == pytest.approx((expected.slope, expected.low, expected.p))


def test_the_permutation_is_two_sided_and_close_to_counting_all_of_them():
    rng = np.random.default_rng(2)
    means = rng.normal(size=(2, 4)) * 0.05 + [[0.5], [0.52]]
    rates = [np.tile(row, (3, 1)) for row in means]
    splits = [list(half) for half in combinations(range(8), 4)]
    flat = means.ravel()
    differences = [abs(np.delete(flat, half).mean() - flat[half].mean()) for half in splits]
    exact = np.mean(np.array(differences) >= abs(means[1].mean() - means[0].mean()) - 1e-12)
    assert 0.05 < exact < 0.6
    there = trend([1, 2], rates, sharing="bases").p_permutation
    assert there == pytest.approx(exact, abs=0.04)
    assert trend([1, 2], [1 - matrix for matrix in rates], sharing="bases").p_permutation == pytest.approx(
        there, abs=0.04
    )


def test_jobs_with_unequal_numbers_of_references_are_not_exchanged():
    rng = np.random.default_rng(0)
    for sharing in ("bases", "models"):
        line = trend([1, 2, 3], [simulated(rng, 5, n) for n in (10, 10, 8)], sharing=sharing)
        assert np.isnan(line.p_permutation)


def test_a_base_without_rates_is_left_out_of_the_bootstrap():
    values = simulated(np.random.default_rng(0), 5, 10)
    gap = np.vstack([values, np.full((1, 10), np.nan)])
    ends = [(interval.low, interval.high) for interval in (bootstrap_interval(values), bootstrap_interval(gap))]
    assert ends[0] == ends[1]


def test_where_bases_are_drawn_anew_nothing_may_be_exchanged():
    rng = np.random.default_rng(0)
    assert np.isnan(trend([1, 2, 4], [simulated(rng, 5, 10) for _ in range(3)]).p_permutation)


def test_reversing_nested_references_is_exact():
    """Five bases, each with a reference of its own: the least p is 2 of 2⁵."""
    rates = [np.full((5, 1), 0.5) + 0.1 * x + 0.01 * np.arange(5)[:, None] * x for x in (1, 2, 3)]
    assert trend([1, 2, 3], rates, sharing="models").p_permutation == 2 / 32


def test_the_bootstrap_of_one_reference_is_that_of_the_bases():
    values = np.arange(8.0)[:, None] / 10
    interval = bootstrap_interval(values)
    draws = np.random.default_rng(5).choice(values[:, 0], (20_000, 8)).mean(1)
    assert (interval.low, interval.high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])), abs=0.02)
    assert (bootstrap_interval(values).low, bootstrap_interval(values).high) == (interval.low, interval.high)


def test_the_bootstrap_of_what_does_not_vary_is_a_point():
    interval = bootstrap_interval(np.full((3, 4), 0.25))
    assert (interval.low, interval.high) == pytest.approx((0.25, 0.25))
    assert np.isnan(bootstrap_interval(np.array([[0.25]])).low)


def test_a_difference_leaves_out_a_base_without_rates():
    rates, others = np.array([[0.5, 0.7], [0.6, 0.9], [np.nan] * 2]), np.full((3, 2), 0.5)
    assert difference_interval(rates, others).mean == pytest.approx(np.mean([0.0, 0.2, 0.1, 0.4]))
    assert difference_interval(rates, others) == two_way_interval(rates[:2] - 0.5)


def test_bootstrap_draws_bases_and_references_alike():
    values = np.tile(np.arange(8.0) / 10, (3, 1))  # references alone vary
    wide, tall = bootstrap_interval(values), bootstrap_interval(values.T)
    assert wide.high - wide.low == pytest.approx(tall.high - tall.low, abs=0.03)
    assert wide.high - wide.low > 0.2


def test_interaction_alone_has_the_freedom_of_the_fewer_models():
    interval = two_way_interval(0.5 + 0.1 * np.outer([1, 0, -1], [1, -2, 1]))  # all means alike; MS_error .12 / 4
    half = stats.t.ppf(0.975, 2) * np.sqrt(0.03 / 9)
    assert (interval.low, interval.high) == pytest.approx((0.5 - half, 0.5 + half))


def test_the_order_as_it_was_counts_as_as_steep():
    for seed in range(20):
        rates = [np.random.default_rng(seed).random((4, 9)) * 0.05 + 0.2 * x for x in (1, 2, 4)]
        assert trend([1, 2, 4], rates, sharing="models").p_permutation == 2 / 2**9


def test_a_reference_without_a_rate_is_in_no_permutation():
    gap = [np.array([[0.1], [0.2], [0.4]]) * x for x in (1, 2)] + [np.array([[0.5], [np.nan], [0.6]])]
    assert np.isnan(trend([1, 2, 3], gap, sharing="models").p_permutation)


def coverage(bases, references, rounds, **effects):
    rng = np.random.default_rng(1)
    intervals = [two_way_interval(simulated(rng, bases, references, **effects)) for _ in range(rounds)]
    return np.mean([interval.low <= 0.7 <= interval.high for interval in intervals])


@pytest.mark.parametrize(("bases", "references"), [(5, 10), (10, 20)])
@pytest.mark.parametrize("effects", [{}, {"base": 0.0}, {"reference": 0.0}, {"error": 0.05}])
def test_the_interval_covers(bases, references, effects):
    assert 0.92 <= coverage(bases, references, 1500, **effects) <= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(("base", "reference"), [(0.05, 0.05), (0.05, 0.02), (0.0, 0.05)])
def test_a_flat_trend_is_called_one_in_twenty_times(shared, base, reference):
    """Whether the bases are the same in all jobs or new in each; a regression on means fails when they are new."""
    rng, rounds, knob, ours, usual = np.random.default_rng(2), 2000, [2.0, 4.0, 8.0], [], []
    for _ in range(rounds):
        same = base * rng.normal(size=(5, 1))
        rates = [
            simulated(rng, 5, 10, base=0.0, reference=reference) + (same if shared else base * rng.normal(size=(5, 1)))
            for _ in knob
        ]
        ours.append(trend(knob, rates).p < 0.05)
        means = np.concatenate([matrix.mean(0) for matrix in rates])
        usual.append(stats.linregress(np.repeat(knob, 10), means).pvalue < 0.05)
    assert 0.03 <= np.mean(ours) <= 0.07
    if base and not shared:
        assert np.mean(usual) > 0.15


@pytest.mark.slow
def test_counterfactuals_taken_as_independent_cover_the_truth_one_time_in_five():
    """1,000 counterfactuals on each of 5 × 10 pairs, pooled for Wilson's interval; and our interval of them."""
    rng, rounds, truth, counts = np.random.default_rng(3), 2000, 0.7, 1000
    pooled, pairs, bootstrap, ours = [], [], [], []
    for _ in range(rounds):
        rates = rng.binomial(counts, np.clip(simulated(rng, 5, 10), 0, 1)) / counts
        low, high = proportion_confint(round(rates.sum() * counts), rates.size * counts, method="wilson")
        pooled.append(low <= truth <= high)
        low, high = stats.t.interval(0.95, rates.size - 1, rates.mean(), stats.sem(rates.ravel()))
        pairs.append(low <= truth <= high)
        for covered, interval in ((bootstrap, bootstrap_interval(rates)), (ours, two_way_interval(rates))):
            covered.append(interval.low <= truth <= interval.high)
    print(
        {
            name: np.mean(c)
            for name, c in (("Wilson", pooled), ("pairs", pairs), ("bootstrap", bootstrap), ("ours", ours))
        }
    )
    assert np.mean(pooled) < 0.4
    assert np.mean(pairs) < 0.75
    assert 0.85 <= np.mean(bootstrap) <= 0.95
    assert 0.92 <= np.mean(ours) <= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("sharing", ["bases", "models"])
def test_a_permutation_calls_a_flat_trend_one_in_twenty_times(sharing):
    rng, called = np.random.default_rng(4), []
    for _ in range(800):
        bases = 0.05 * rng.normal(size=(5, 1))
        references = 0.05 * rng.normal(size=(1, 10)) if sharing == "models" else 0.0
        effect = 0.0 if sharing == "models" else 0.05
        rates = [simulated(rng, 5, 10, base=0.0, reference=effect) + bases + references for _ in range(3)]
        called.append(trend([2.0, 4.0, 8.0], rates, sharing=sharing).p_permutation < 0.05)
    assert 0.02 <= np.mean(called) <= 0.08


def skewed(rng, bases, references, mean, sd, effects):
    """Shares with Beta margins; their ranks come from bases, references and the pair in the given parts."""
    parts = np.array(effects) / np.linalg.norm(effects)
    normal = simulated(rng, bases, references, *parts, mean=0.0)
    total = mean * (1 - mean) / sd**2 - 1
    return rng.binomial(1000, stats.beta.ppf(stats.norm.cdf(normal), mean * total, (1 - mean) * total)) / 1000


@pytest.mark.slow
@pytest.mark.parametrize(("mean", "sd"), [(0.9, 0.09), (0.97, 0.027), (0.99, 0.009)])
@pytest.mark.parametrize("effects", [(0.7, 0.7, 0.14), (1, 0, 0.1), (0, 1, 0.1), (0, 0, 1)])
def test_shares_near_1_are_covered_where_students_interval_covers_too_seldom(mean, sd, effects):
    rng = np.random.default_rng(7)
    some = [skewed(rng, 5, 10, mean, sd, effects) for _ in range(1500)]
    ours, students = (
        np.mean([interval.low <= mean <= interval.high for interval in map(of, some)])
        for of in (share_interval, two_way_interval)
    )
    assert ours >= 0.92
    if effects[0] == 1:  # bases alone: five values fix the mean
        assert students < 0.92


@pytest.mark.slow
@pytest.mark.parametrize("bases", [5, 20])
def test_the_interval_covers_where_each_base_has_its_own_reference(bases):
    rng = np.random.default_rng(6)
    intervals = [two_way_interval(0.7 + 0.1 * rng.normal(size=(bases, 1))) for _ in range(4000)]
    assert 0.94 <= np.mean([interval.low <= 0.7 <= interval.high for interval in intervals]) <= 0.96
