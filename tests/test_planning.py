"""Plans: the present half-width is that of the printed interval, and the planned models reach the wanted width."""

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats
from test_splits import drawn
from test_statistics import simulated
from test_verdicts import SOME

import cftransfer as cft
from cftransfer.measuring.models_needed import Models, expected_half_width
from cftransfer.measuring.over_splits import spread_of
from cftransfer.measuring.planning import plan_of, planned
from cftransfer.measuring.sampling_variances import sampling_variances
from cftransfer.measuring.splits_needed import SplitVariances, expected_over_splits, splits_and_models_needed
from cftransfer.measuring.stage_seconds import Seconds
from cftransfer.measuring.statistics import Variances, on_logit, share_interval

NOTHING = Variances(0.0, 0.0, 0.0)
LASTING = {"same_base": 0.05, "same_reference": 0.05, "error": 0.02}
KINDS = [
    LASTING,
    {"base": 0.05, "reference": 0.05, "error": 0.02},
    {"split": 0.03, "base": 0.04, "reference": 0.04, "error": 0.02, "same_base": 0.04},
]


def printed(rates, level=0.95):
    over = on_logit(spread_of(rates), level)
    return (over.high - over.low) / 2


def near_1(rng, shape):
    return 1 - (0.1 * rng.random((shape[0], 1)) + 0.05 * rng.random(shape)) ** 2 * 10


@pytest.mark.parametrize("level", [0.8, 0.95])
@pytest.mark.parametrize("shape", [(2, 3), (5, 10), (7, 1)])
def test_the_width_now_is_that_of_the_printed_interval(shape, level):
    rng = np.random.default_rng(0)
    for rates in (near_1(rng, shape), simulated(rng, *shape)):
        assert plan_of(rates, level=level).half_width == pytest.approx(printed(rates, level), rel=1e-9)


@pytest.mark.parametrize("level", [0.8, 0.95])
@pytest.mark.parametrize("sizes", KINDS)
def test_the_width_now_over_splits_is_that_of_the_printed_interval(sizes, level):
    rng = np.random.default_rng(1)
    for shape in ((2, 2, 2), (2, 5, 10), (5, 5, 10), (4, 6, 1)):
        for _ in range(5):
            rates = drawn(rng, shape, **sizes)
            plan = plan_of(rates, half_width=0.3, level=level)
            assert plan.half_width == pytest.approx(printed(rates, level), rel=1e-9)
            assert plan.one_more_split <= plan.half_width * (1 + 1e-9)


def test_a_split_on_which_a_base_found_nothing_leaves_the_width_now_as_printed():
    rates = drawn(np.random.default_rng(2), (4, 5, 6), **KINDS[2])
    rates[1, 2], rates[3] = np.nan, np.nan
    plan = plan_of(rates, half_width=0.5)
    assert plan.half_width == pytest.approx(printed(rates), rel=1e-9)
    assert plan.models == Models(4, 6)


def test_more_splits_do_not_divide_the_effect_of_a_seed_that_lasts():
    of = [SplitVariances(split=0.0, lasting=SOME, own=NOTHING)]
    alone = expected_half_width(SOME, Models(5, 10))
    assert expected_over_splits(of, Models(5, 10), 100) == pytest.approx(alone)
    of = [SplitVariances(split=0.01, lasting=NOTHING, own=NOTHING)]
    student = stats.t.ppf(0.975, 99) * 0.1 / 10
    assert expected_over_splits(of, Models(5, 10), 100) == pytest.approx(student)


def test_a_plan_over_splits_promises_no_width_that_more_splits_cannot_reach():
    rates = drawn(np.random.default_rng(3), (5, 5, 10), **LASTING)
    plan = plan_of(rates, half_width=0.03)
    assert plan.one_more_split == pytest.approx(plan.half_width, rel=0.01)
    assert plan.one_more_base < 0.97 * plan.half_width
    assert plan.models.bases > 5
    assert str(plan).endswith(
        f"±0.03: {plan.splits} splits, each with {plan.models[0]} bases × {plan.models[1]} references"
    )
    own = plan_of(drawn(np.random.default_rng(3), (5, 5, 10), **KINDS[1]), half_width=0.03)
    assert own.models == Models(5, 10)
    assert own.one_more_split < 0.95 * own.half_width


def test_planned_splits_and_models_reach_the_width_if_seeds_last():
    of = [SplitVariances(0.03**2, Variances(0.05**2, 0.05**2, 0.0), Variances(0.0, 0.0, 0.02**2))]
    splits, models = splits_and_models_needed(of, half_width=0.04)
    rng, sizes = np.random.default_rng(4), LASTING | {"split": 0.03}
    widths = [printed(drawn(rng, (splits, *models), **sizes)) for _ in range(40)]
    assert np.median(widths) == pytest.approx(0.04, rel=0.15)
    fewer = [printed(drawn(rng, (splits + 5, 5, 10), **sizes)) for _ in range(40)]
    assert np.median(fewer) > 1.15 * 0.04


def test_variances_with_a_split_are_planned_over_splits():
    split = Variances(0.0025, 0.0025, 0.0004, split=0.01)
    plan = cft.plan(split, half_width=0.05)
    half = stats.t.ppf(0.975, plan.splits - 1) * 0.1 / np.sqrt(plan.splits)
    assert half < 0.05  # of the splits alone
    assert plan.over_splits
    assert "splits, each with" in str(plan)
    for lasting, own in ((split, NOTHING), (NOTHING, split)):
        of = [SplitVariances(0.01, lasting, own)]
        assert expected_over_splits(of, plan.models, plan.splits) <= 0.05
    assert str(cft.plan(split, half_width=0.001)) == "±0.001 needs more than 2,000 models or 100 splits"
    with pytest.raises(cft.InputError, match=r"^of="):
        cft.plan(Variances(float("nan"), 0.0, 0.0))


def test_rates_of_several_splits_have_a_plan():
    rates = drawn(np.random.default_rng(5), (4, 3, 5), **KINDS[2])
    assert cft.plan(rates, half_width=0.1) == plan_of(rates, half_width=0.1)
    for wrong in (rates[:1], rates[:, :1], rates[0, 0], rates[None]):
        with pytest.raises(cft.InputError, match=r"^of: "):
            cft.plan(wrong)


def test_bases_with_one_reference_each_have_a_plan_of_bases():
    rates = 0.7 + 0.05 * np.random.default_rng(6).normal(size=(20, 1))
    plan = cft.plan(rates, half_width=0.01)
    sd = rates.std(ddof=1)
    assert plan.models.references == 1
    assert str(plan).endswith(f"±0.01: {plan.models.bases} bases, one reference each")
    assert plan.one_more_reference is None
    student = [stats.t.ppf(0.975, many - 1) * sd / np.sqrt(many) for many in (20, 21)]
    assert [plan.half_width, plan.one_more_base] == pytest.approx(student, rel=0.01)  # the logit's, a little off
    alike = cft.plan(np.full((5, 1), 0.7), half_width=0.05)
    bound = share_interval(np.full(alike.models, 0.7))
    assert bound.high - bound.low <= 2 * 0.05
    seconds = (3.0, 2.0, 1.0)
    assert cft.plan(rates, half_width=0.01, seconds=seconds).seconds == pytest.approx(6 * plan.models.bases)
    took = Seconds(training=40.0, searching=10.0, asking=5.0, models=20, bases=10, pairs=10)
    assert plan.timed(took).seconds == pytest.approx(plan.models.bases * (2 + 1 + 2 + 0.5))


def test_with_one_reference_more_counterfactuals_lower_the_variance_between_bases():
    rng, chance = np.random.default_rng(7), 0.6
    table = [(base, factual, float(rng.random() < chance), 1) for base in range(30) for factual in range(400)]
    holds = pd.DataFrame(table, columns=["base", "factual", "share", "n_references"])
    sampling = sampling_variances(holds)
    assert sampling.base == pytest.approx(chance * (1 - chance), rel=0.03)
    plan = planned(Variances(0.01, 0.0, 0.0), Models(20, 1), sampling=sampling, counterfactuals=100)
    less = Variances(0.01 - (1 / 100 - 1 / 1100) * sampling.base, 0.0, 0.0)
    assert plan.more_counterfactuals == pytest.approx(expected_half_width(less, Models(20, 1)))


def test_the_expected_width_at_a_mean_is_that_on_the_logit():
    variances, mean = Variances(0.02**2, 0.02**2, 0.01**2), 0.97
    student = expected_half_width(variances, Models(5, 10))
    ends = special.expit(special.logit(mean) + np.array([-1, 1]) * student / (mean * (1 - mean)))
    on_the_logit = expected_half_width(variances, Models(5, 10), mean=mean)
    assert on_the_logit == pytest.approx((ends[1] - ends[0]) / 2)
    assert on_the_logit > 1.05 * student
    plans = [cft.plan(variances, half_width=0.02, **words) for words in ({}, {"mean": mean})]
    assert plans[1].models.cost((2, 1, 0)) > plans[0].models.cost((2, 1, 0))
    for wrong in ({"of": variances, "mean": 1.0}, {"of": np.eye(3), "mean": 0.5}):
        with pytest.raises(cft.InputError, match=r"^mean="):
            cft.plan(**wrong)


def exponential(rng, models, mean, sd):
    """Rates with a tail towards 0: 1 minus gamma-distributed effects of base and reference, with equal variances."""
    shape, scale = (1 - mean) ** 2 / (2 * sd**2), sd**2 / (1 - mean)
    effects = (rng.gamma(shape, scale, size=size) for size in ((models[0], 1), (1, models[1])))
    return np.clip(1 - sum(effects), 0, 1)


@pytest.mark.slow
@pytest.mark.parametrize("half_width", [0.01, 0.02])
def test_near_1_the_printed_interval_is_within_15_percent_in_nine_of_ten_draws(half_width):
    rng, mean, sd = np.random.default_rng(8), 0.97, 0.027
    models = cft.plan(Variances(sd**2 / 2, sd**2 / 2, 0.0), half_width=half_width, mean=mean).models
    widths = [printed(exponential(rng, models, mean, sd)) for _ in range(2000)]
    assert np.mean([half <= 1.15 * half_width for half in widths]) >= 0.887  # .9, less two standard errors


def test_more_counterfactuals_promise_nothing_where_they_explain_all_that_varies():
    variances = Variances(0.001, 0.0, 0.002)
    found = planned(variances, Models(5, 10), sampling=Variances(1.0, 0.0, 1.0), counterfactuals=50)
    assert found.more_counterfactuals is None
    assert "counterfactuals" not in str(found)
    some = planned(variances, Models(5, 10), sampling=Variances(0.01, 0.0, 0.01), counterfactuals=50)
    assert 0 < some.more_counterfactuals < some.half_width
