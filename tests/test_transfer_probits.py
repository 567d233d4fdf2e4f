"""Why a counterfactual transfers: probits of pairs, the rate against margin, and rates at equal margin."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats

from cftransfer.errors import InputError
from cftransfer.measuring.answers_by_base import BaseAnswers, answers_by_base
from cftransfer.measuring.equal_margin import at_equal_margin
from cftransfer.measuring.probit import null_deviance, probits
from cftransfer.measuring.rate_curve import rate_curve
from cftransfer.measuring.statistics import change_interval, rate_interval, spread, two_way_interval
from cftransfer.measuring.transfer_probits import effects, known_mean, known_share, transfer_probits

ANGLE, SPREAD = np.pi / 5, 1.2  # between two linear models; of the factuals along the base's boundary, in any direction


def found(rng, n, *, margin=None, targets=2):
    return pd.DataFrame(
        {
            "factual": range(n),
            "target": rng.integers(0, targets, n),
            "margin": rng.uniform(0, 2, n) if margin is None else margin,
            "distance_l2": rng.exponential(size=n),
            "knn_distance": rng.exponential(size=n),
        }
    )


def simulated(seed=0, *, bases=3, references=4, n=300, margins=(), by=0.9, targets=2):
    """Pairs in which P(transferred) = Φ(a_ij + by · margin + b_ij · (target is 1)); agreement says nothing."""
    rng = np.random.default_rng(seed)
    answers = []
    for base in range(bases):
        rows = found(rng, n, margin=margins[base] if len(margins) else None, targets=targets)
        pair = rng.normal(size=(2, references, 1))
        index = 0.2 * pair[0] - 0.7 + by * rows.margin.to_numpy() + 0.3 * pair[1] * (rows.target == 1).to_numpy()
        agreement = rng.random((references, n)) < 0.8
        answers.append(BaseAnswers(rows, agreement, index + rng.normal(size=index.shape) > 0))
    return answers


def linear_pairs(*, bases=6, references=6, n=4000, width=5):
    """The base is x₁, a reference cos(θ) x₁ + sin(θ) u · x with u along the base's boundary; x′ has a margin γ."""
    rng = np.random.default_rng(1)
    u = rng.normal(size=(references, width))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    answers = []
    for _ in range(bases):
        rows = found(rng, n)
        along = SPREAD * rng.normal(size=(n, width))
        transferred = np.cos(ANGLE) * rows.margin.to_numpy() + np.sin(ANGLE) * u @ along.T > 0
        answers.append(BaseAnswers(rows, rng.random((references, n)) < 0.8, transferred))
    return answers


def test_probits_are_those_of_statsmodels():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 200, 3))
    x[..., 2] = x[..., 2] > 0.5
    y = x @ [0.8, -0.3, 0.5] + 0.2 + rng.normal(size=(5, 200)) > 0
    ours, null = probits(x, y), null_deviance(y)
    for one in range(5):
        theirs = sm.Probit(y[one], sm.add_constant(x[one])).fit(disp=0, tol=1e-12)
        assert ours.coefficients[one] == pytest.approx(theirs.params[1:], abs=1e-6)
        assert ours.deviance[one] == pytest.approx(-2 * theirs.llf)
        assert null[one] == pytest.approx(-2 * theirs.llnull)
    assert not ours.separated.any()
    assert not ours.unbounded.any()


def test_rows_that_a_value_predicts_perfectly_leave_the_other_coefficients_to_the_rest():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 300, 2))
    x[..., 1] = x[..., 1] > 1
    y = (x[..., 0] + rng.normal(size=(1, 300)) > 0) | (x[..., 1] == 1)
    rest = x[0, :, 1] == 0
    fitted, alone = probits(x, y), probits(x[:, rest, :1], y[:, rest])
    assert fitted.unbounded.tolist() == [[False, True]]
    assert np.isnan(fitted.coefficients[0, 1])
    assert fitted.coefficients[0, 0] == pytest.approx(alone.coefficients[0, 0])
    assert fitted.deviance == pytest.approx(alone.deviance)
    theirs = sm.Probit(y[0, rest], sm.add_constant(x[0, rest, 0])).fit(disp=0)
    assert fitted.deviance[0] == pytest.approx(-2 * theirs.llf)  # the perfect rows add nothing, at the supremum


@pytest.mark.parametrize("gap", [0.0, 0.5], ids=["touching", "apart"])
def test_answers_that_a_number_parts_without_error_have_no_probit(gap):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 100, 2))
    y = x[..., 0] > 0.1
    x[..., 0] += gap * y
    fitted = probits(x, y)
    assert fitted.separated.all()
    assert np.isnan(fitted.coefficients).all()
    y[1, :10] = ~y[1, :10]
    assert probits(x, y).separated.tolist() == [True, False, True]


def test_a_constant_column_changes_nothing_but_its_own_coefficient():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 100, 1))
    y = x[..., 0] + rng.normal(size=(2, 100)) > 0
    with_constant = probits(np.concatenate([x, np.full_like(x, 3.0)], axis=2), y)
    assert with_constant.coefficients[:, 0] == pytest.approx(probits(x, y).coefficients[:, 0])
    assert np.isnan(with_constant.coefficients[:, 1]).all()
    assert with_constant.deviance == pytest.approx(probits(x, y).deviance)


def test_of_two_linear_models_the_margin_has_the_coefficient_of_their_angle_and_nothing_else_has_one():
    fitted = transfer_probits(linear_pairs())
    margin, *others = effects(fitted)
    true = 1 / np.tan(ANGLE) / SPREAD
    assert margin.deviation == pytest.approx(2 / 12**0.5, rel=0.02)
    assert margin.coefficient.mean / margin.deviation == pytest.approx(true, rel=0.03)
    assert margin.coefficient.low < true * margin.deviation < margin.coefficient.high
    for other in others:
        assert other.coefficient.low < 0 < other.coefficient.high
        assert other.beyond.mean < 0.001
    assert margin.beyond.mean == pytest.approx(known_share(fitted.explained).mean, abs=0.003)
    assert margin.beyond.mean > 0.1


def test_of_two_linear_models_the_curve_is_the_normal_distribution():
    curve = rate_curve(linear_pairs(), bins=40)
    expected = stats.norm.cdf(curve.x / np.tan(ANGLE) / SPREAD)
    assert curve.rate.to_numpy() == pytest.approx(expected, abs=0.05)
    assert ((curve.rate_low <= expected) & (expected <= curve.rate_high)).mean() >= 0.85


def test_the_curve_adds_up_to_the_rate_and_one_bin_is_the_rate():
    answers = simulated()
    rates = np.stack([one.transferred.mean(1) for one in answers])
    curve, whole = rate_curve(answers), rate_curve(answers, bins=1)
    assert (curve.rate * curve.share).sum() == pytest.approx(rates.mean())
    assert curve.share.sum() == pytest.approx(1)
    over = rate_interval(rates, found=900)
    assert whole.loc[0, ["rate", "rate_low", "rate_high"]].tolist() == pytest.approx([over.mean, over.low, over.high])


def test_numbers_that_are_all_the_same_are_one_bin_and_no_predictor():
    answers = [replace(one, found=one.found.assign(margin=0.0)) for one in simulated()]
    assert len(rate_curve(answers)) == 1
    assert "margin" not in transfer_probits(answers).predictors


def test_intervals_of_a_coefficient_cover_it_as_often_as_they_say():
    """Slopes of pairs vary over bases and references; the interval is for their mean over all models."""
    rng = np.random.default_rng(0)
    covered, naive = [], []
    for _ in range(150):
        slopes = 0.6 + 0.15 * rng.normal(size=(5, 1)) + 0.15 * rng.normal(size=(1, 8))
        values, errors = np.full((5, 8), np.nan), []
        for base in range(5):
            x = np.broadcast_to(rng.normal(size=(250, 1)), (8, 250, 1))
            y = slopes[base][:, None] * x[..., 0] + rng.normal(size=(8, 250)) > 0
            values[base] = probits(x, y).coefficients[:, 0]
            errors.append(1 / (250 * 0.5))
        over = known_mean(values)
        covered.append(over.low <= 0.6 <= over.high)
        naive.append(abs(values.mean() - 0.6) < 1.96 * (np.mean(errors) / 40) ** 0.5)
    assert np.mean(covered) >= 0.9
    assert np.mean(naive) < 0.6  # pairs taken as independent, with the errors of their probits


def test_a_pair_without_a_value_leaves_the_mean_to_the_others():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(5, 6))
    whole, same = two_way_interval(values), known_mean(values)
    assert [same.mean, same.low, same.high] == pytest.approx([whole.mean, whole.low, whole.high])
    values[0, 1] = values[3, 3] = np.nan
    over = known_mean(values)
    assert over.mean == pytest.approx(np.nanmean(values))
    assert over.low < over.mean < over.high
    assert np.isnan(known_mean(np.full((2, 2), np.nan)).mean)


@pytest.mark.parametrize("known", [[(1, 2)], [(1, 0), (1, 2)], [(0, 2), (1, 2)]])
def test_one_base_or_reference_of_several_gives_no_interval(known):
    values = np.full((5, 6), np.nan)
    for number, place in enumerate(known):
        values[place] = number
    over = known_mean(values)
    assert over.mean == np.mean(range(len(known)))
    assert np.isnan([over.low, over.high, over.p]).all()
    one_reference = known_mean(np.arange(5.0)[:, None])
    assert one_reference.low < 2 < one_reference.high


def test_units_and_the_names_of_classes_decide_nothing():
    answers = simulated()
    other = [
        replace(one, found=one.found.assign(distance_l2=7 * one.found.distance_l2 + 1, target=1 - one.found.target))
        for one in answers
    ]
    before, after = transfer_probits(answers), transfer_probits(other)
    for name in before.predictors:
        sign = -1 if name == "target" else 1
        assert after.coefficients[name] == pytest.approx(sign * before.coefficients[name], abs=1e-6)
        assert after.beyond[name] == pytest.approx(before.beyond[name], abs=1e-6)
        assert after.alone[name] == pytest.approx(before.alone[name], abs=1e-6)
    assert after.deviations["distance"] == pytest.approx(7 * before.deviations["distance"])


def test_the_order_of_rows_decides_nothing():
    rng = np.random.default_rng(0)
    answers = simulated()
    counterfactuals = pd.concat([one.found.assign(base=base, found=True) for base, one in enumerate(answers)])
    rows = [
        one.found[["factual"]].assign(
            base=base, reference=reference, found=True,
            agreement=one.agreement[reference], transferred=one.transferred[reference],
        )
        for base, one in enumerate(answers) for reference in range(4)
    ]  # fmt: skip
    transfers = pd.concat(rows).astype({"transferred": "boolean"})
    counterfactuals.loc[counterfactuals.factual == 7, "found"] = False
    transfers.loc[transfers.factual == 7, "found"] = False
    shuffled = [table.sample(frac=1, random_state=rng.integers(99)) for table in (counterfactuals, transfers)]
    for kept, other, one in zip(
        answers_by_base(counterfactuals, transfers), answers_by_base(*shuffled), answers, strict=True
    ):
        assert (kept.transferred == other.transferred).all()
        assert kept.found.equals(other.found)
        assert (kept.transferred == np.delete(one.transferred, 7, axis=1)).all()
    with pytest.raises(InputError, match=r"^counterfactuals: are of several splits; pass the rows of one split"):
        answers_by_base(*(pd.concat([table.assign(split=0), table.assign(split=1)]) for table in shuffled))
    with pytest.raises(InputError, match="base 0 lacks one answer of each reference"):
        answers_by_base(counterfactuals, transfers.iloc[1:])


def test_pairs_without_a_probit_are_counted_and_left_out():
    answers = simulated(bases=2, references=3)
    answers[0].transferred[1] = True
    answers[1].transferred[2] = answers[1].found.margin.to_numpy() > 1
    fitted = transfer_probits(answers)
    assert fitted.alike.tolist() == [[False, True, False], [False] * 3]
    assert fitted.separated.tolist() == [[False] * 3, [False, False, True]]
    margin = effects(fitted)[0]
    assert margin.pairs == 4
    left = fitted.coefficients["margin"][~(fitted.alike | fitted.separated)]
    assert margin.coefficient.mean == pytest.approx(left.mean())


def test_counterfactuals_that_all_transfer_without_agreement_are_counted_as_unbounded():
    answers = [replace(one, transferred=one.transferred | ~one.agreement) for one in simulated()]
    fitted = transfer_probits(answers)
    (agreement,) = (effect for effect in effects(fitted) if effect.name == "agreement")
    assert (agreement.pairs, agreement.unbounded) == (0, 12)
    assert np.isnan(agreement.coefficient.mean)
    assert agreement.beyond.mean > 0.05


def test_three_classes_have_a_column_each_but_for_the_first():
    assert transfer_probits(simulated(targets=3)).predictors[-2:] == ("target 1", "target 2")


def test_at_equal_margin_nothing_remains_of_a_difference_that_the_margin_makes():
    rng = np.random.default_rng(3)
    near, far = ([end * rng.beta(*shape, size=3000) for _ in range(6)] for end, shape in ((2, (1, 2)), (2, (2, 1))))
    seed, other = (
        simulated(which, bases=6, references=6, n=3000, margins=margins) for which, margins in ((1, near), (2, far))
    )
    apart = at_equal_margin(other, seed, same_bases=False)
    assert apart.difference.low > 0.1
    assert apart.remains.low < 0 < apart.remains.high
    assert abs(apart.remains.mean) < 0.1
    assert apart.at_margins.mean - apart.other.mean == pytest.approx(apart.remains.mean)


def test_at_equal_margin_a_difference_at_every_margin_remains():
    seed, other = (simulated(1, bases=6, references=6, by=by) for by in (0.0, 1.5))
    apart = at_equal_margin(other, seed, same_bases=True)
    assert apart.common == 1
    assert apart.remains.low > 0.2
    assert apart.remains.mean == pytest.approx(apart.difference.mean)


def test_a_job_beside_itself_differs_by_nothing_and_one_without_common_margins_is_not_compared():
    answers = simulated()
    itself = at_equal_margin(answers, answers, same_bases=True)
    assert (itself.difference.mean, itself.remains.mean, itself.common) == (0, 0, 1)
    assert itself.at_margins.mean == pytest.approx(itself.rate.mean)
    same = change_interval(spread(np.zeros((3, 4))))  # equal on all pairs here, which does not show it of all models
    assert (itself.difference.low, itself.remains.high) == (same.low, same.high)
    assert same.low < 0 < same.high
    beyond = [replace(one, found=one.found.assign(margin=one.found.margin + 5)) for one in answers]
    none = at_equal_margin(beyond, answers, same_bases=False)
    assert none.common == 0
    assert np.isnan(none.remains.mean)
    assert (none.rate.mean, none.rate.low) == (itself.rate.mean, itself.rate.low)
