"""How many models are needed, and how much one more base, one more reference or more counterfactuals help."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cftransfer.errors import InputError
from cftransfer.measuring.models_needed import (
    COST,
    MOST,
    Models,
    bases_needed,
    bound_half_width,
    expected_half_width,
    models_for_bound,
    models_needed,
)
from cftransfer.measuring.over_splits import spread_over_splits
from cftransfer.measuring.sampling_variances import Sampling
from cftransfer.measuring.splits_needed import (
    MOST_SPLITS,
    expected_over_splits,
    split_variances,
    splits_and_models_needed,
    splits_needed,
    unknown_share,
)
from cftransfer.measuring.stage_seconds import Seconds
from cftransfer.measuring.statistics import LEVEL, ROUNDING, Variances, spread, with_values
from cftransfer.settings import check_float

MORE = 1000  # counterfactuals per base that `more_counterfactuals` adds
ASSURANCE = 0.95  # nominal, of a width within `TOLERANCE` of the wanted one; in simulations it is at least .9
TOLERANCE = 0.15


@dataclass(frozen=True)
class Plan:
    """Numbers of models, and the half-widths of the rate's interval that they give, in units of the rate.

    If all pairs have the same rate, these are half-widths of the bound that `share_interval` gives. No half-width is
    above .5. models: the cheapest bases and references for `wanted`, with one reference if each base has its own; None
    if more than 2,000 are needed. seconds: their time on this machine, None if unknown; about_time: the stages left
    out, or why they are unknown, in words. half_width: of the interval now. one_more_base, one_more_reference,
    more_counterfactuals: expected with one base more, one reference more, or 1,000 counterfactuals per base more. These
    four need models; without them, None. The last also needs single counterfactuals, and models that vary more than
    these make them vary.

    over_splits: whether the interval is over several splits of the rows. Then `splits` are needed, each with `models`:
    the fewest with the present models if these reach `wanted`, otherwise the cheapest splits and models; None beyond
    100. one_more_split: the expected half-width with one split more.
    """

    wanted: float
    models: Models | None
    seconds: float | None
    half_width: float | None = None
    one_more_base: float | None = None
    one_more_reference: float | None = None
    more_counterfactuals: float | None = None
    about_time: str = ""
    one_more_split: float | None = None
    splits: int | None = None
    over_splits: bool = False

    def __str__(self) -> str:
        """Return the plan in two lines, or in one if there are no models yet."""
        buys = [("one more split", self.one_more_split), ("one more base", self.one_more_base)]
        buys.append(("one more reference", self.one_more_reference))
        buys.append((f"{MORE:,} more counterfactuals", self.more_counterfactuals))
        said = ", ".join(f"{what} ±{width:.3f}" for what, width in buys if width is not None)
        now = f"now ±{self.half_width:.3f}; {said}\n" if self.half_width is not None else ""
        if self.models is None:
            or_splits = f" or {MOST_SPLITS} splits" if self.over_splits else ""
            return f"{now}±{self.wanted:g} needs more than {MOST:,} models{or_splits}"
        bases, references = self.models
        many = f"{bases} bases, one reference each" if references == 1 else f"{bases} bases × {references} references"
        return f"{now}±{self.wanted:g}: {f'{self.splits} splits, each with ' if self.splits else ''}{many}{self.time}"

    @property
    def time(self) -> str:
        """The estimated time in words, to follow the models; "" if there is nothing to say about it."""
        if self.seconds is None:
            return f", time {self.about_time}" if self.about_time else ""
        return f", {self.seconds:,.0f} s{self.about_time and f' {self.about_time}'}"

    def timed(self, took: Seconds) -> "Plan":
        """Return the plan with the time for its models, estimated from the seconds of other numbers of models."""
        if self.models is None or self.seconds is not None:
            return self
        without = "" if took.of_models else "without training"
        return replace(self, seconds=took.estimate(self.models), about_time=took.missing() or without)


def plan(
    of: Any,
    *,
    half_width: float = 0.03,
    level: float = LEVEL,
    seconds: tuple[float, float, float] | None = None,
    mean: float | None = None,
) -> Any:
    """Return how many bases and references an interval of the rate needs to be ± half_width.

    Args:
        of: a `Result`, from which the variances are estimated; or any rates, (bases, references), (bases, 1) if each
            base has its own reference, or (splits, bases, references); or, before there are models, `Variances` of a
            base, a reference and a pair, each of a rate in [0, 1]. With the variance of a split, the plan is over
            splits.
        half_width: wanted, in units of the rate, between 0 and 1.
        level: of the interval, between 0 and 1.
        seconds: of a base with its search, of a reference, and of asking it about one base's counterfactuals; the
            plan is the cheapest in these. Without them a base costs as much as two references. They do not count over
            splits.
        mean: the rate that you expect, between 0 and 1, only with `Variances`: near 0 and 1 the interval is wider.
            Without it, half-widths are those of Student's interval.

    Returns:
        Plan: prints in two lines; of a result with several groups of references, a dict of plans by group.

    Raises:
        InputError: for a number out of range, fewer than two bases with rates, or splits that are all alike.

    >>> print(plan(Variances(base=0.004, reference=0.002, error=0.004), half_width=0.05, seconds=(4.0, 0.5, 0.02)))
    ±0.05: 12 bases × 19 references, 62 s
    """
    wanted: dict[str, Any] = {"half_width": half_width, "level": level, "seconds": seconds}
    if isinstance(of, Variances):
        return _planned_before(of, mean, **wanted)
    if mean is not None:
        raise InputError(f"mean={mean}: is for Variances alone; leave it out, since rates have their own")
    if hasattr(of, "plan"):
        return of.plan(**wanted)
    rates = np.asarray(of, dtype=float)
    found = plan_of(rates, **wanted) if rates.ndim in (2, 3) else None
    if found is None:
        raise InputError(
            f"of: gives no plan with the shape {rates.shape}; pass rates (bases, references) of two bases or more, "
            "or (splits, bases, references) of two splits or more with rates that differ"
        )
    return found


def plan_of(rates: np.ndarray, holds_vary: Sampling | None = None, **wanted: Any) -> Plan | None:
    """Return the plan from (I, J) rates, NaN for a base on which nothing was found; None if the design gives none.

    (I, 1) rates, of bases with one reference each, give a plan of bases alone. (S, I, J) rates of several splits give a
    plan over splits, in which counterfactuals and seconds do not count. holds_vary: the counterfactuals' part in the
    variances. wanted: half_width, level and seconds of `planned`.
    """
    if rates.ndim == 3:
        wanted.pop("seconds", None)
        return _plan_over_splits(rates, **wanted)
    rates = with_values(rates)
    known, models = spread(rates), Models(*rates.shape)
    if models.bases < 2 or models.references < 1:
        return None
    variances = known.variances or Variances(known.error**2 * models.bases, 0.0, 0.0)
    sampling, counterfactuals = holds_vary or (None, 0)
    return planned(variances, models, mean=known.mean, sampling=sampling, counterfactuals=counterfactuals, **wanted)


def _planned_before(variances: Variances, mean: float | None, **wanted: Any) -> Plan:
    """Return the plan from `Variances` alone."""
    if not all(0 <= part < np.inf for part in vars(variances).values()):
        raise InputError(f"of={variances}: every variance must be a number of at least 0")
    if mean is not None:
        check_float("mean", mean, inside="between 0 and 1, such as .9", among=lambda one: 0 < one < 1)
    if variances.split == 0:
        return planned(variances, mean=mean, **wanted)
    wanted.pop("seconds")
    _check_wanted(**wanted)
    splits, models = splits_and_models_needed(unknown_share(variances), mean=mean, **wanted)
    return Plan(wanted["half_width"], models, None, splits=splits, over_splits=True)


def _plan_over_splits(rates: np.ndarray, *, half_width: float = 0.03, level: float = LEVEL) -> Plan | None:
    """Return the plan from (S, I, J) rates; None for fewer than two bases or splits with rates, or if nothing varies.

    The models are those with rates on every split.
    """
    _check_wanted(half_width, level)
    if (found := split_variances([*rates])) is None:
        return None
    (parts, models), known = found, spread_over_splits([*rates])
    nested = models.references == 1

    def width(splits: int = 0, bases: int = 0, references: int = 0) -> float:
        many = Models(models.bases + bases, models.references + references)
        return min(expected_over_splits([parts], many, known.splits + splits, level=level, mean=known.mean), 0.5)

    wanted: dict[str, Any] = {"half_width": half_width, "level": level, "mean": known.mean}
    splits = splits_needed([parts], models, **wanted)
    more = splits_and_models_needed([parts], **wanted, nested=nested) if splits is None else (splits, models)
    return Plan(
        wanted=half_width,
        models=more[1],
        seconds=None,
        half_width=width(),
        one_more_base=width(bases=1),
        one_more_reference=None if nested else width(references=1),
        one_more_split=width(splits=1),
        splits=more[0],
        over_splits=True,
    )


def planned(
    variances: Variances,
    models: Models | None = None,
    *,
    half_width: float = 0.03,
    level: float = LEVEL,
    mean: float | None = None,
    sampling: Variances | None = None,
    counterfactuals: int = 0,
    seconds: tuple[float, float, float] | None = None,
) -> Plan:
    """Return a plan from the variances of pairs' rates among these models; None if there are no models yet.

    half_width: wanted, above 0. mean: of the rates; without it, half-widths are Student's. sampling: of one
    counterfactual, from `sampling_variances`; counterfactuals: their number per base. seconds: three, of a base with
    its search, of a reference, and of asking it about one base's counterfactuals; without them a base costs as much as
    two references. InputError for a width, level or seconds out of range.
    """
    _check_wanted(half_width, level)
    if seconds is not None and (np.shape(seconds) != (3,) or not min(seconds) >= 0 < max(seconds[:2])):
        raise InputError(
            f"seconds={seconds}: must be those of a base, of a reference, and of asking it, such as (2, 1, 0.1)"
        )
    alike = variances.base + variances.reference + variances.error < ROUNDING**2
    nested = models is not None and models.references == 1

    def width(parts: Variances = variances, more: tuple[int, int] = (0, 0)) -> float:
        assert models is not None
        many = Models(models.bases + more[0], models.references + more[1])
        expected = bound_half_width(many, level) if alike else expected_half_width(parts, many, level=level, mean=mean)
        return min(expected, 0.5)

    more = _with_more(variances, sampling, counterfactuals) if sampling and counterfactuals else None
    if more and not alike and more.base + more.reference + more.error < ROUNDING**2:
        more = None  # the models vary no more than their counterfactuals would make them, so nothing is known of them
    wanted: dict[str, Any] = {"half_width": (1 + TOLERANCE) * half_width, "level": level}
    wanted |= {"assurance": ASSURANCE, "mean": mean}
    if alike:
        needed = models_for_bound(half_width, level)
        needed = needed and needed._replace(references=1 if nested else needed.references)
    elif nested:
        needed = bases_needed(variances.base, **wanted)
    else:
        needed = models_needed(variances, **wanted, cost=seconds or COST)
    took = needed.cost(seconds) if needed and seconds else None
    if models is None:
        return Plan(half_width, needed, took)
    return Plan(
        wanted=half_width,
        models=needed,
        seconds=took,
        half_width=width(),
        one_more_base=width(more=(1, 0)),
        one_more_reference=None if nested else width(more=(0, 1)),
        more_counterfactuals=width(more) if more else None,
    )


def _check_wanted(half_width: float, level: float) -> None:
    check_float("half_width", half_width, inside="between 0 and 1, such as .03", among=lambda one: 0 < one < 1)
    check_float("level", level, inside="between 0 and 1", among=lambda one: 0 < one < 1)


def _with_more(variances: Variances, sampling: Variances, counterfactuals: int) -> Variances:
    """Return the variances with `MORE` counterfactuals per base; the models' own variances stay."""
    less = 1 / counterfactuals - 1 / (counterfactuals + MORE)
    return replace(
        variances,
        base=max(variances.base - less * sampling.base, 0.0),
        error=max(variances.error - less * sampling.error, 0.0),
    )
