"""How many splits of the rows, and how many models on each, give an interval over splits of a wanted width."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from cftransfer.measuring.models_needed import COST, Models, cheapest, expected_error, half_on_logit
from cftransfer.measuring.over_splits import (
    cell_variances,
    rated_on_all,
    spread_over_splits,
    variance_of_mean,
    wider_error,
    with_rates,
)
from cftransfer.measuring.statistics import LEVEL, ROUNDING, Variances, spread

MOST_SPLITS = 100  # of one job


@dataclass(frozen=True)
class SplitVariances:
    """Variances of a pair's rate on one split: the split's, the seeds' on all splits, and the models' on one split.

    More splits divide `split` and `own`, never `lasting`. seen: how much of `own` the means of the splits show; by
    chance, they may vary less than their models vary.
    """

    split: float
    lasting: Variances
    own: Variances
    seen: float = 1.0


def split_variances(values: Sequence[np.ndarray]) -> tuple[SplitVariances, Models] | None:
    """values: as in `spread_over_splits` → the variances, and the models that have rates on every split.

    With these models and splits, `expected_over_splits` is the interval of `spread_over_splits`. None for fewer than
    two splits or bases, or if nothing varies.
    """
    stacked = with_rates(values)
    if len(stacked) < 2:
        return None
    known, whole, S = spread_over_splits(values), rated_on_all(stacked), len(stacked)
    models = Models(*whole.shape[1:])
    if known.variances is None or models.bases < 2 or known.error < ROUNDING:
        return None
    over, own = spread(whole.mean(0)), cell_variances(whole - whole.mean(0), S - 1)
    every = over.variances or Variances(over.error**2 * models.bases, 0.0, 0.0)
    lasting = _each(lambda whole, part: max(whole - part / S, 0.0), every, own)
    shown = float(np.nanmean(stacked, axis=(1, 2)).var(ddof=1)) - known.variances.split
    own = _each(lambda whole, last: S * (whole - last), every, lasting)
    of_models = variance_of_mean(own, models)
    return SplitVariances(known.variances.split, lasting, own, shown / of_models if of_models > 0 else 1.0), models


def unknown_share(variances: Variances) -> list[SplitVariances]:
    """Return both ways in which a model's variance may come about: all of it on one split alone, or on all splits."""
    nothing = Variances(0.0, 0.0, 0.0)
    return [
        SplitVariances(variances.split, nothing, variances),
        SplitVariances(variances.split, variances, nothing),
    ]


def expected_over_splits(
    every: Sequence[SplitVariances], models: Models, splits: int, *, level: float = LEVEL, mean: float | None = None
) -> float:
    """Return half the expected width of the interval over two or more splits, each with this many models.

    It is the interval of `over_splits.spread_over_splits`, for the least favourable of these variances. mean: as for
    `models_needed.expected_half_width`.
    """
    widest = 0.0
    for of in every:
        between = (of.split + of.seen * variance_of_mean(of.own, models)) / splits
        on_mean = _each(lambda last, one: last + one / splits, of.lasting, of.own)
        error, freedom = wider_error(between, *expected_error(on_mean, models), of.split / splits, splits)
        widest = max(widest, float(special.stdtrit(freedom, (1 + level) / 2)) * error)
    return half_on_logit(widest, mean)


def splits_needed(
    every: Sequence[SplitVariances],
    models: Models,
    *,
    half_width: float,
    level: float = LEVEL,
    mean: float | None = None,
) -> int | None:
    """Return the fewest splits, two or more, with at most this half-width; None if 100 are not enough."""
    some = range(2, MOST_SPLITS + 1)
    width = (expected_over_splits(every, models, S, level=level, mean=mean) for S in some)
    return next((S for S, half in zip(some, width, strict=True) if half <= half_width), None)


def splits_and_models_needed(
    every: Sequence[SplitVariances],
    *,
    half_width: float,
    level: float = LEVEL,
    mean: float | None = None,
    cost: tuple[float, float, float] = COST,
    nested: bool = False,
) -> tuple[int, Models] | tuple[None, None]:
    """Return the cheapest splits, and models on each, with at most this half-width; None, None if there are none.

    cost: of a base, of a reference, and of asking it about one base, on one split. nested: each base has its own
    reference.
    """
    found: tuple[int, Models] | tuple[None, None] = (None, None)
    least = np.inf
    for splits in range(2, MOST_SPLITS + 1):

        def enough(models: Models, splits: int = splits) -> bool:
            return expected_over_splits(every, models, splits, level=level, mean=mean) <= half_width

        models = cheapest(enough, cost, nested=nested, below=least / splits)
        if models is not None:
            found, least = (splits, models), splits * models.cost(cost)
    return found


def _each(of: Callable[[float, float], float], one: Variances, other: Variances) -> Variances:
    return Variances(of(one.base, other.base), of(one.reference, other.reference), of(one.error, other.error))
