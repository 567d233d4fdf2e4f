"""The verdict on a change of the rate: it falls, it rises, it is flat, or more models must decide."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from cftransfer.measuring.models_needed import Models, bases_needed, models_for_bound, models_needed
from cftransfer.measuring.statistics import LEVEL, ROUNDING, SIZE, Interval, Spread, change_interval, fewer_alike, tail

MARGIN = 0.05  # of a rate; a smaller change is taken as irrelevant to a user of explanations
POWER = 0.8  # probability that the `needed` models decide, if the change is as large as it seems
Direction = Literal["falls", "rises", "flat", "undecided"]


@dataclass(frozen=True)
class Verdict:
    """A change with its interval, and the verdict on it.

    flat: smaller than `margin` either way (two one-sided tests at 1 − level; Schuirmann 1987), even if it differs from
    0. falls, rises: it differs from 0 by the adjusted p. undecided: neither; `needed` are the bases and references that
    would decide, with one reference if each base has its own; None if the design does not say.
    """

    direction: Direction
    change: Interval
    margin: float
    needed: Models | None = None


def verdict(change: Spread, *, p: float | None = None, margin: float = MARGIN, level: float = LEVEL) -> Verdict:
    """Judge a change of the rate, in [-1, 1].

    p: of no change, adjusted for other tests if there are several; by default the p of `change_interval`. margin: above
    0.
    """
    over = change_interval(change, level)
    if np.isnan(over.low):
        return Verdict("undecided", over, margin)
    differs = (over.p if p is None else p) < 1 - level
    if p_beyond(change, margin) < 1 - level:
        return Verdict("flat", over, margin)
    if differs:
        return Verdict("rises" if change.mean > 0 else "falls", over, margin)
    tests = 1.0 if p is None or not over.p > 0 else max(p / over.p, 1.0)  # the factor by which p was adjusted
    return Verdict("undecided", over, margin, _needed(change, margin, level, tests))


def p_beyond(change: Spread, margin: float) -> float:
    """Return the p of a change of `margin` or more, either way: the larger of two one-sided p."""
    if abs(change.mean) >= margin:
        return 1.0
    if change.error < ROUNDING:  # all models alike: the p then depends on the share of other models
        return fewer_alike(change.models, _share_that_decides(abs(change.mean), margin))
    return max(tail(change, margin), tail(change, -margin))


def _share_that_decides(size: float, margin: float) -> float:
    """Return the share of alike models above which a change of this size differs from 0, or is below the margin."""
    return SIZE / (SIZE + size) if size >= margin else max(SIZE - margin, 0.0) / (SIZE - size)


def _needed(change: Spread, margin: float, level: float, tests: float) -> Models | None:
    """Return the models that would tell a change of this size from 0, or from the margin, whichever is easier.

    Their interval is narrow enough to give the test a power of `POWER`, by normal quantiles. tests: the factor by which
    the p of no change was adjusted.
    """
    nested = change.variances is None and change.method == "bases"
    if (change.variances is None and not nested) or change.splits > 1:  # more models do not reduce the splits' variance
        return None
    if change.error < ROUNDING:
        alike = models_for_bound((1 - _share_that_decides(abs(change.mean), margin)) / 2, level)
        return alike._replace(references=1) if alike and nested else alike
    from scipy import special

    two_sided, one_sided, power = (float(special.ndtri(q)) for q in ((1 + level) / 2, level, POWER))
    adjusted = float(special.ndtri(1 - (1 - level) / (2 * tests)))
    from_zero = abs(change.mean) * two_sided / (adjusted + power)
    from_margin = two_sided * _error_that_tells(abs(change.mean), margin, one_sided)
    half_width = max(from_zero, from_margin)
    if change.variances is None:
        return bases_needed(change.error**2 * change.models, half_width=half_width, level=level)
    return models_needed(change.variances, half_width=half_width, level=level)


def _error_that_tells(size: float, margin: float, one_sided: float) -> float:
    """Return the largest standard error with which both one-sided tests succeed at `POWER`; 0 beyond the margin.

    A change near 0 may fail on either side, a change near the margin only on that side.
    """
    from scipy import special

    low, high = 0.0, max(margin - size, 0.0) / one_sided  # at `high`, the nearer side succeeds in half of all cases
    for _ in range(50):
        middle = (low + high) / 2
        sides = [(margin - size) / middle, (margin + size) / middle] if middle > 0 else [-np.inf, -np.inf]
        enough = sum(float(special.ndtr(side - one_sided)) for side in sides) - 1 >= POWER
        low, high = (middle, high) if enough else (low, middle)
    return low
