"""Verdicts on a change of the rate, and the number of models that decide, by closed forms and by simulation."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from test_statistics import simulated

import cftransfer as cft
from cftransfer.errors import InputError
from cftransfer.measuring.models_needed import Models, expected_half_width, models_needed
from cftransfer.measuring.planning import planned
from cftransfer.measuring.sampling_variances import sampling_variances
from cftransfer.measuring.statistics import (
    Spread,
    Variances,
    change_interval,
    share_interval,
    spread,
    two_way_interval,
)
from cftransfer.measuring.trends import trend
from cftransfer.measuring.verdicts import p_beyond, verdict

SOME = Variances(base=0.05**2, reference=0.05**2, error=0.02**2)


def change(mean, error, freedom=20.0):
    return Spread(mean, error, freedom, 5, "bases × references", SOME)


@pytest.mark.parametrize(
    ("mean", "error", "said"),
    [
        (-0.2, 0.02, "falls"),
        (0.2, 0.02, "rises"),
        (0.01, 0.01, "flat"),
        (0.04, 0.001, "flat"),  # it differs from 0, and is smaller than matters
        (0.04, 0.03, "undecided"),
        (0.0, 0.1, "undecided"),
        (0.0, 0.0, "undecided"),  # of five models
        (0.3, 0.0, "rises"),
    ],
)
def test_a_change_falls_rises_is_flat_or_undecided(mean, error, said):
    assert verdict(change(mean, error)).direction == said


@pytest.mark.parametrize(("shape", "said"), [((2, 3), "undecided"), ((5, 10), "undecided"), ((20, 40), "flat")])
def test_a_few_models_that_are_all_alike_do_not_show_that_nothing_changes(shape, said):
    judged = verdict(spread(np.zeros(shape)))
    assert judged.direction == said
    assert judged.change.low < 0 < judged.change.high
    assert judged.change.p == 1
    if said == "undecided":
        assert verdict(spread(np.zeros(judged.needed))).direction == "flat"
        fewer = [many - 1 for many in judged.needed]
        assert verdict(spread(np.zeros(fewer))).direction == "undecided"


@pytest.mark.parametrize("change", [0.0, 0.02, -0.2, 0.4, 0.6, 1.0])
@pytest.mark.parametrize("models", [2, 5, 30])
def test_where_all_models_are_alike_the_change_has_jeffreys_bound_by_hand(change, models):
    least = stats.beta.ppf(0.05, models + 0.5, 0.5)
    over = change_interval(spread(np.full((models, models + 1), change)))
    assert over.low == pytest.approx(change * least - (1 - least) / 2)
    assert over.high == pytest.approx(max(change * least + (1 - least) / 2, change))
    assert over.low <= over.mean <= over.high
    assert (over.p < 0.05) == (over.low > 0 or over.high < 0)


def test_a_trend_without_any_spread_has_the_bound_of_its_change():
    line = trend([2, 4, 8], [np.full((5, 10), rate) for rate in (0.4, 0.5, 0.7)])
    over = change_interval(line.change)
    assert (line.low, line.high) == pytest.approx((over.low / 6, over.high / 6))
    assert line.low < line.slope < line.high


def test_two_one_sided_tests_by_hand():
    # A change of .01 with an error of .02: .04 below the margin, t = 2 of 20 degrees of freedom.
    assert p_beyond(change(0.01, 0.02), 0.05) == pytest.approx(stats.t.sf(2, 20))
    assert p_beyond(change(-0.01, 0.02), 0.05) == pytest.approx(stats.t.sf(2, 20))
    assert p_beyond(change(0.06, 0.02), 0.05) == 1


def test_the_adjusted_p_decides_and_a_wider_margin_makes_more_flat():
    steep = change(0.1, 0.04)
    assert verdict(steep).direction == "rises"
    assert verdict(steep, p=0.2).direction == "undecided"
    assert verdict(steep, margin=0.25).direction == "flat"


def test_a_change_among_many_tests_needs_more_models():
    steep = change(0.1, 0.06)
    alone, among = verdict(steep), verdict(steep, p=10 * verdict(steep).change.p)
    assert alone.direction == among.direction == "undecided"
    assert among.needed.bases * among.needed.references > alone.needed.bases * alone.needed.references


def test_a_single_pair_decides_nothing_and_no_number_of_models_is_named():
    alone = verdict(spread(np.array([[0.3]])))
    assert (alone.direction, alone.needed) == ("undecided", None)


def test_an_undecided_trend_of_nested_models_names_bases():
    """Each base has its own reference; so many bases as are named have an interval that decides, and no fewer."""
    values = np.random.default_rng(0).normal(size=(8, 1))
    mean, sd = 0.03, 0.1
    found = verdict(spread(mean + sd * (values - values.mean()) / values.std(ddof=1)))
    assert found.direction == "undecided"
    bases, references = found.needed
    assert references == 1
    z, power = stats.norm.ppf([0.975, 0.8])
    widest = max(mean * z / (z + power), z * (0.05 - mean) / (stats.norm.ppf(0.95) + power))
    half = [stats.t.ppf(0.975, many - 1) * sd / np.sqrt(many) for many in (bases, bases - 1)]
    assert half[0] <= widest * 1.2
    assert half[1] > widest * 0.8


def test_nested_models_that_are_all_alike_need_bases_with_one_reference_each():
    found = verdict(spread(np.zeros((3, 1))))
    assert (found.direction, found.needed.references) == ("undecided", 1)
    assert verdict(spread(np.zeros(found.needed))).direction == "flat"
    assert verdict(spread(np.zeros((found.needed.bases - 1, 1)))).direction == "undecided"


def test_the_expected_width_is_that_of_the_mean_squares():
    # J σ_b² + σ_e² = .0254, I σ_r² + σ_e² = .0129; their sum less σ_e² over 50 pairs, at Satterthwaite's freedom.
    bases, references, error, total = 0.0254, 0.0129, 0.0004, 0.0379
    freedom = total**2 / (bases**2 / 4 + references**2 / 9 + error**2 / 36)
    expected = stats.t.ppf(0.975, freedom) * np.sqrt(total / 50)
    assert expected_half_width(SOME, Models(5, 10)) == pytest.approx(expected)


@pytest.mark.parametrize("half_width", [0.02, 0.05, 0.1])
def test_the_cheapest_models_are_just_enough(half_width):
    cost = (2.0, 1.0, 0.0)
    bases, references = models_needed(SOME, half_width=half_width, cost=cost)
    assert expected_half_width(SOME, Models(bases, references)) <= half_width
    assert expected_half_width(SOME, Models(bases, references - 1)) > half_width
    for other in range(2, 41):
        fewer = int((2 * bases + references - 1 - 2 * other) // 1)
        assert fewer < 2 or expected_half_width(SOME, Models(other, fewer)) > half_width


def test_what_bases_vary_needs_bases_and_what_nothing_varies_needs_two_of_each():
    only = Variances(base=0.05**2, reference=0.0, error=0.0)
    assert models_needed(only, half_width=0.03).references == 2
    assert models_needed(Variances(0.0, 0.0, 0.0), half_width=0.03) == (2, 2)
    assert models_needed(SOME, half_width=1e-6) is None
    assert models_needed(SOME, half_width=0.0) is None


def answers(bases, references, factuals, *, seed=0, model=0.1, shared=1.0, own=0.7):
    """Whether counterfactuals hold: effects of the factual, the base, the counterfactual and the reference."""
    models, rng = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    logit = 0.8 + shared * rng.normal(size=(1, 1, factuals)) + own * rng.normal(size=(bases, 1, factuals))
    logit = logit + model * models.normal(size=(bases, 1, 1)) + model * models.normal(size=(1, references, 1))
    return rng.random((bases, references, factuals)) < 1 / (1 + np.exp(-logit))


def holds_of(held):
    bases, references, factuals = held.shape
    index = {"base": np.repeat(range(bases), factuals), "factual": np.tile(range(factuals), bases)}
    return pd.DataFrame({**index, "share": held.mean(1).ravel(), "n_references": references})


def test_more_counterfactuals_take_from_the_variances_what_they_take_from_the_rates():
    few = [spread(answers(8, 16, 50, seed=seed).mean(2)).variances for seed in range(300)]
    many = [spread(answers(8, 16, 1050, seed=seed).mean(2)).variances for seed in range(300)]
    one = [sampling_variances(holds_of(answers(8, 16, 200, seed=seed))) for seed in range(40)]
    less = 1 / 50 - 1 / 1050
    for part in ("base", "error"):
        drop = np.mean([getattr(v, part) for v in few]) - np.mean([getattr(v, part) for v in many])
        assert drop == pytest.approx(less * np.mean([getattr(v, part) for v in one]), rel=0.25), part


def test_a_plan_says_what_more_of_each_buys_and_time_goes_by_seconds():
    plan = planned(SOME, Models(5, 10), sampling=Variances(0.02, 0.0, 0.15), counterfactuals=200)
    assert plan.half_width == expected_half_width(SOME, Models(5, 10))
    assert plan.one_more_base == expected_half_width(SOME, Models(6, 10))
    assert plan.one_more_reference == expected_half_width(SOME, Models(5, 11))
    assert plan.one_more_base < plan.one_more_reference < plan.half_width
    assert plan.more_counterfactuals < plan.half_width
    dear = planned(SOME, Models(5, 10), seconds=(100.0, 1.0, 0.1))
    assert dear.models.bases < plan.models.bases
    assert dear.seconds == pytest.approx(
        100 * dear.models.bases + (1 + 0.1 * dear.models.bases) * dear.models.references
    )
    assert f"{plan.models.bases} bases × {plan.models.references} references" in str(plan)


@pytest.mark.parametrize("true", [0.0, 0.02, 0.045, 0.1])
def test_the_models_that_are_named_decide_in_four_of_five_draws(true):
    rng = np.random.default_rng(0)
    needed = verdict(Spread(true, 0.1, 10.0, 5, "", SOME)).needed
    said = [verdict(spread(simulated(rng, *needed, mean=true))).direction for _ in range(600)]
    assert np.mean([one != "undecided" for one in said]) >= 0.77  # .8, less three standard errors


@pytest.mark.parametrize("shape", [(2, 3), (5, 10)])
def test_where_all_pairs_are_alike_the_plan_is_that_of_the_printed_bound(shape):
    rates = np.full(shape, 0.7)
    plan, printed = planned(spread(rates).variances, Models(*shape)), share_interval(rates)
    assert plan.half_width == pytest.approx((printed.high - printed.low) / 2)
    enough = share_interval(np.full(plan.models, 0.7))
    fewer = share_interval(np.full(tuple(many - 1 for many in plan.models), 0.7))
    assert enough.high - enough.low <= 2 * 0.03 < fewer.high - fewer.low


def test_no_planned_interval_of_a_rate_is_wider_than_0_to_1():
    assert planned(Variances(1.0, 1.0, 0.0), Models(2, 2)).half_width == 0.5


@pytest.mark.parametrize(
    "wrong", [{"half_width": "a"}, {"half_width": 1.0}, {"level": 1}, {"seconds": (1,)}, {"seconds": 3}]
)
def test_a_plan_refuses_what_it_cannot_plan_with(wrong):
    with pytest.raises(InputError, match=f"^{next(iter(wrong))}="):
        planned(SOME, Models(5, 10), **wrong)


def test_the_spread_of_a_trends_change_is_that_of_the_pairs_changes():
    first, last = (simulated(np.random.default_rng(seed), 5, 10, error=0.05) for seed in range(2))
    change, pairs = trend([2, 6], [first, last]).change, spread(last - first)
    assert (change.mean, change.error, change.freedom) == pytest.approx((pairs.mean, pairs.error, pairs.freedom))
    for part in ("base", "reference", "error"):
        assert getattr(change.variances, part) == pytest.approx(getattr(pairs.variances, part)), part


def test_a_plan_leaves_room_for_luck():
    models = planned(SOME, Models(5, 10), half_width=0.05).models
    assert expected_half_width(SOME, models, assurance=0.95) <= 1.15 * 0.05
    assert expected_half_width(SOME, models) < 0.05


def test_a_plan_is_made_from_a_result_from_rates_or_from_variances():
    rates = simulated(np.random.default_rng(0), 5, 10)
    here = cft.plan(rates, half_width=0.05)
    assert here == planned(spread(rates).variances, Models(5, 10), half_width=0.05, mean=rates.mean())
    before = cft.plan(spread(rates).variances, half_width=0.05, mean=rates.mean())
    assert (before.models, before.half_width) == (here.models, None)
    assert str(here).endswith(str(before))
    with pytest.raises(cft.InputError, match="two bases or more"):
        cft.plan(rates[:1])


@pytest.mark.slow
@pytest.mark.parametrize("half_width", [0.02, 0.03, 0.05, 0.1])
def test_planned_models_reach_the_width_within_15_percent_in_nine_of_ten_draws(half_width):
    rng = np.random.default_rng(0)
    models = planned(SOME, Models(5, 10), half_width=half_width).models
    drawn = [two_way_interval(simulated(rng, *models)) for _ in range(1000)]
    assert np.mean([(interval.high - interval.low) / 2 <= 1.15 * half_width for interval in drawn]) >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("models", [(5, 10), (20, 40)])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("true", [0.0, 0.1])
def test_verdicts_are_wrong_one_time_in_twenty(models, shared, true):
    """A true change of 0 that falls or rises, and one of .1 that is flat; models shared, or new in each job."""
    rng, said = np.random.default_rng(1), Counter()
    for _ in range(1500):
        effect = 0.0 if shared else 0.05
        same = simulated(rng, *models, error=0.0, mean=0.0) if shared else 0.0
        rates = [simulated(rng, *models, effect, effect, mean=0.7 - true * x) + same for x in (0, 0.5, 1)]
        said[verdict(trend([0, 0.5, 1], rates).change).direction] += 1
    wrong = said["falls"] + said["rises"] if true == 0 else said["flat"] + said["rises"]
    assert wrong / said.total() <= 0.06
