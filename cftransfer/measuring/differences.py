"""The difference between the rates of two jobs, with its error over models, and the verdict on it."""

from collections.abc import Collection, Sequence
from itertools import combinations

import numpy as np

from cftransfer.measuring.over_splits import spread_of
from cftransfer.measuring.statistics import Spread, Variances, change_interval
from cftransfer.measuring.trends import holm
from cftransfer.measuring.verdicts import MARGIN, Verdict, verdict


def difference(one: np.ndarray, other: np.ndarray, *, shared: bool) -> Spread:
    """Rates of two jobs, (I, J) or (S, I, J) each, NaN rows for bases without rates → the error of mean(one − other).

    shared: whether place (i, j) has a model, or a split, in common in both jobs. If so, and if the shapes allow it, the
    error is that of the pairs' differences, so that the effects of common models cancel. A job in which each base has
    its own reference, (I, 1), is paired base by base with (I, J). Otherwise, and if too few bases or splits have rates
    in both jobs, the two means are independent: their squared errors add up, with the degrees of freedom of Welch
    (1947).

    >>> one, other = np.array([[0.8, 0.9], [0.4, 0.5]]), np.array([[0.7, 0.8], [0.4, 0.5]])
    >>> [round(difference(one, other, shared=shared).error, 3) for shared in (True, False)]
    [0.05, 0.26]
    """
    references = one.shape[-1], other.shape[-1]
    if shared and one.shape[:-1] == other.shape[:-1] and (references[0] == references[1] or 1 in references):
        paired = spread_of(one - other)
        if not np.isnan(paired.error):
            return paired
    return _independent(spread_of(one), spread_of(other))


def after_choice(
    rates: Sequence[np.ndarray],
    models: Sequence[Collection[str]],
    one: int,
    other: int,
    *,
    margin: float = MARGIN,
) -> tuple[Verdict, float]:
    """Judge rates[one] − rates[other], two jobs that were chosen for their rates: the highest and the lowest, say.

    Any two of the K jobs could have been chosen, so p is adjusted for all K (K − 1) / 2 differences (Holm 1979). The
    margin needs no adjustment: a choice of distant rates makes it harder to show that they are close.

    Args:
        rates: K matrices, as in `difference`.
        models: for each job, names of its populations of models; jobs with a name in common share these models.
        one: place of the first of the two jobs.
        other: place of the second.
        margin: the difference of rates below which they count as alike, above 0.

    Returns:
        The verdict on the difference, and its adjusted p; NaN without an interval.
    """
    apart = {(a, b): _between(rates, models, a, b) for a, b in combinations(range(len(rates)), 2)}
    adjusted = holm([change_interval(known).p for known in apart.values()])
    p = adjusted[list(apart).index((min(one, other), max(one, other)))]
    return _judged(_between(rates, models, one, other), p, margin), p


def from_first(
    rates: Sequence[np.ndarray], models: Sequence[Collection[str]], *, margin: float = MARGIN
) -> list[Verdict]:
    """Judge each job's rate minus the first job's, with p adjusted for these K − 1 differences (Holm).

    Args:
        rates: K matrices, as in `difference`.
        models: as in `after_choice`.
        margin: as in `after_choice`.

    Returns:
        K − 1 verdicts.
    """
    apart = [_between(rates, models, place, 0) for place in range(1, len(rates))]
    adjusted = holm([change_interval(known).p for known in apart])
    return [_judged(known, p, margin) for known, p in zip(apart, adjusted, strict=True)]


def _between(rates: Sequence[np.ndarray], models: Sequence[Collection[str]], one: int, other: int) -> Spread:
    return difference(rates[one], rates[other], shared=not set(models[one]).isdisjoint(models[other]))


def _judged(known: Spread, p: float, margin: float) -> Verdict:
    return verdict(known, p=None if np.isnan(p) else p, margin=margin)


def _independent(one: Spread, two: Spread) -> Spread:
    """Return the spread of the difference of two independent means, with Welch's degrees of freedom."""
    squares = np.array([one.error, two.error]) ** 2
    freedom = squares.sum() ** 2 / (squares**2 / [one.freedom, two.freedom]).sum() if squares.sum() > 0 else 1.0
    return Spread(
        mean=one.mean - two.mean,
        error=float(np.sqrt(squares.sum())),
        freedom=float(freedom),
        models=min(one.models, two.models),
        method=f"{one.method} of each job",
        variances=_sum(one.variances, two.variances),
        splits=max(one.splits, two.splits),
    )


def _sum(one: Variances | None, two: Variances | None) -> Variances | None:
    """Return the variances of a difference of two cells that have no model in common; None if not both are known."""
    if one is None or two is None:
        return None
    return Variances(
        one.base + two.base, one.reference + two.reference, one.error + two.error, split=one.split + two.split
    )
