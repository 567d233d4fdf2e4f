"""Trends: a line through the rates of several jobs against the swept knob, with its interval over models."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

import numpy as np
import pandas as pd

from cftransfer.measuring.over_splits import spread_of
from cftransfer.measuring.statistics import (
    DRAWS,
    NONE,
    ROUNDING,
    Interval,
    Spread,
    Variances,
    change_interval,
    student,
)

Sharing = Literal["none", "bases", "models"]  # jobs of a trend share nothing, their bases, or all models


@dataclass(frozen=True)
class Trend:
    """A least-squares line through rates against the swept knob. slope is per unit of the knob, p is two-sided."""

    slope: float
    low: float
    high: float
    p: float
    intercept: float
    r2: float  # share of the variance of the references' mean rates that the line explains
    rho: float  # Spearman's, between the knob and the jobs' rates
    p_permutation: float  # over references, given the bases; NaN if nothing may be exchanged
    p_bend: float  # of a parabola beyond the line, two-sided; NaN with fewer than three places or without pairs
    change: Spread  # of the line, from the lowest to the highest place of the knob
    method: str


def trend(knob: Sequence[float], rates: Sequence[np.ndarray], *, sharing: Sharing = "none") -> Trend | None:
    """knob: (K,), rates: K matrices (I, J), no matrix all NaN → a least-squares line; None with fewer than two knobs.

    Jobs of several splits have (S, I, J), and intervals over splits and models.

    If the matrices are equal in shape, have at least two pairs, and have no gaps, every pair (i, j) has its own slope
    over the K jobs. The line's slope is their mean, and its interval is theirs over bases and references. Bases that
    differ from job to job therefore add to the error, and bases that stay the same cancel. Otherwise the line goes
    through one rate per job. sharing: models that the jobs share, which decide the exchanges of a
    permutation test. If all jobs share one pair of models, they are repeated measures of it, and there is no interval.
    """
    x = np.asarray(knob, dtype=float)
    if len(np.unique(x)) < 2:
        return None
    means = np.array([np.nanmean(matrix) for matrix in rates])
    paired = _paired(rates, sharing)
    if paired is not None:
        known = spread_of(_slopes(x, paired))
        method = f"slopes of pairs, over {known.method}"
    elif sharing == "models":
        known = Spread(float(_slopes(x, means)), *NONE[:2], 1, "")
        method = "the same pair of models in all jobs"
    else:
        known, method = _line_through(x, means), "one rate per job"
    places = float(np.ptp(x))
    change = _times(known, places)
    slope = student(known)
    if change.error < ROUNDING:  # every pair has the same slope
        bound = change_interval(change)
        slope = replace(slope, low=bound.low / places, high=bound.high / places, p=bound.p)
    references = [reference_means(matrix) for matrix in rates]
    return Trend(
        slope=slope.mean,
        low=slope.low,
        high=slope.high,
        p=slope.p,
        intercept=float(means.mean() - slope.mean * x.mean()),
        r2=_explained(x, references),
        rho=spearman(x, means),
        p_permutation=_permutation_p(x, references, sharing),
        p_bend=_bend(x, paired),
        change=change,
        method=method,
    )


def band(
    knob: Sequence[float], rates: Sequence[np.ndarray], at: Sequence[float], *, sharing: Sharing = "none"
) -> list[Interval]:
    """Return the interval of the trend's line at every place in `at`; the unit is the same as in `trend`."""
    x, means = np.asarray(knob, dtype=float), np.array([np.nanmean(matrix) for matrix in rates])
    weights, paired = _slope_weights(x), _paired(rates, sharing)
    if paired is not None:
        places = [np.tensordot(1 / len(x) + (a - x.mean()) * weights, paired, axes=1) for a in at]
        return [student(spread_of(values)) for values in places]
    line = _line_through(x, means)
    middle, freedom = means.mean(), len(x) - 2
    if freedom < 1 or sharing == "models":
        return [Interval(float(middle + line.mean * (a - x.mean())), *NONE, "") for a in at]
    residual = means - middle - line.mean * (x - x.mean())
    variance = (residual**2).sum() / freedom
    return [
        student(
            Spread(
                float(middle + line.mean * (a - x.mean())),
                float(np.sqrt(variance * (1 / len(x) + (a - x.mean()) ** 2 * (weights**2).sum()))),
                freedom,
                len(x),
                "",
            )
        )
        for a in at
    ]


def reference_means(rates: np.ndarray) -> np.ndarray:
    """(I, J) → (J,) the mean rate per reference; (I, 1) → (I,) if each base has its own reference.

    For several splits, (S, I, J), the mean over them.
    """
    if rates.ndim == 3:
        return np.nanmean(rates, axis=0)[:, 0] if rates.shape[2] == 1 else np.nanmean(rates, axis=(0, 1))
    return rates[:, 0] if rates.shape[1] == 1 else np.nanmean(rates, axis=0)


def holm(p: Sequence[float]) -> list[float]:
    """Adjust the p of several tests, so that any false alarm among them has the stated probability (Holm 1979).

    A test that was not made, NaN, stays NaN and does not count.
    """
    values = np.asarray(p, dtype=float)
    made = np.flatnonzero(~np.isnan(values))
    order = made[np.argsort(values[made], kind="stable")]
    adjusted = np.full(len(values), np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * np.arange(len(order), 0, -1)), 1)
    return adjusted.tolist()


def _slope_weights(x: np.ndarray) -> np.ndarray:
    """(K,) → the weights (K,) with which K values add up to their least-squares slope."""
    return (x - x.mean()) / ((x - x.mean()) ** 2).sum()


def _slopes(x: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(K,), (K, …) → (…) least-squares slopes; exactly 0 for values that are flat up to rounding."""
    slopes = np.tensordot(_slope_weights(x), values - values.mean(0), axes=1)
    return np.where(np.abs(slopes) * np.ptp(x) < ROUNDING, 0.0, slopes)


def _paired(rates: Sequence[np.ndarray], sharing: Sharing) -> np.ndarray | None:
    """Return (K, I, J) if every pair of models has a rate in every job, and there are several pairs; None if not.

    For several splits, (K, S, I, J). If the jobs share bases, a base that found nothing in one job is left out of all.
    """
    if len({matrix.shape for matrix in rates}) > 1:
        return None
    stacked = np.stack(rates)
    gaps = np.isnan(stacked).any(axis=(*range(stacked.ndim - 2), stacked.ndim - 1))
    if sharing == "none" and gaps.any():
        return None
    return stacked[..., ~gaps, :] if stacked[0][..., ~gaps, :].size > 1 else None


def _explained(x: np.ndarray, references: Sequence[np.ndarray]) -> float:
    places, means = np.repeat(x, [len(part) for part in references]), np.concatenate(references)
    known = ~np.isnan(means)
    if np.ptp(means[known]) < ROUNDING:
        return float("nan")
    return float(np.corrcoef(places[known], means[known])[0, 1] ** 2)


def _permutation_p(x: np.ndarray, references: Sequence[np.ndarray], sharing: Sharing) -> float:
    """K × (J,) mean rates per reference model → the share of exchanges that give a slope at least as steep.

    - Jobs with the same bases and different references: references change places between jobs.
    - Jobs with the same models: each reference's jobs are taken in order or in reverse order. Neighbouring jobs may be
      correlated, but the direction is exchangeable.
    - Jobs with different bases: no test, since a job's references have its bases in common.

    The observed order counts as one exchange, so p is never 0.
    """
    means = np.concatenate(references)
    J = len(references[0])
    if sharing == "none" or np.isnan(means).any() or {len(part) for part in references} != {J}:
        return float("nan")
    rng = np.random.default_rng(0)  # a fixed seed, so that equal rates have an equal p
    if sharing == "models":
        slopes = _slopes(x, np.stack(references))
        every = 2**J <= DRAWS
        signs = np.array(list(product((1, -1), repeat=J))) if every else rng.choice((1, -1), (DRAWS, J))
        drawn, seen = np.abs(signs @ slopes), abs(slopes.sum())
    else:
        every, places = False, _slope_weights(np.repeat(x, J))
        drawn = np.abs(rng.permuted(np.tile(means - means.mean(), (DRAWS, 1)), axis=1) @ places)
        seen = abs((means - means.mean()) @ places)
    as_steep = int((drawn >= seen - ROUNDING / np.ptp(x)).sum())  # rounding must not make the observed slope less steep
    return as_steep / len(drawn) if every else (as_steep + 1) / (len(drawn) + 1)


def spearman(x: np.ndarray, means: np.ndarray) -> float:
    """x, means: (K,) → the correlation of their ranks; NaN if all of x or all means are equal."""
    if np.ptp(means) < ROUNDING or np.ptp(x) == 0:
        return float("nan")
    ranks = pd.DataFrame({"x": x, "means": means}).rank()
    return float(np.corrcoef(ranks.x, ranks.means)[0, 1])


def _line_through(x: np.ndarray, y: np.ndarray) -> Spread:
    slope, weights = float(_slopes(x, y)), _slope_weights(x)
    freedom = len(x) - 2
    if freedom < 1:
        return Spread(slope, *NONE[:2], len(x), "")
    residual = y - y.mean() - slope * (x - x.mean())
    residual = np.where(np.abs(residual) < ROUNDING, 0.0, residual)
    error = float(np.sqrt((residual**2).sum() / freedom * (weights**2).sum()))
    return Spread(slope, error, freedom, len(x), "")


def _bend(x: np.ndarray, paired: np.ndarray | None) -> float:
    """Return the p of a parabola, beyond the lines, in pairs' rates (K, I, J)."""
    if paired is None or len(np.unique(x)) < 3:
        return float("nan")
    line = np.column_stack([np.ones(len(x)), x])
    weights = x**2 - line @ np.linalg.lstsq(line, x**2, rcond=None)[0]
    bends = np.tensordot(weights / np.abs(weights).sum(), paired - paired.mean(0), axes=1)
    return student(spread_of(np.where(np.abs(bends) < ROUNDING, 0.0, bends))).p


def _times(known: Spread, factor: float) -> Spread:
    """Return the spread of `factor` times the mean."""
    parts = known.variances
    if parts is not None:
        parts = Variances(*(factor**2 * part for part in (parts.base, parts.reference, parts.error, parts.split)))
    return replace(known, mean=factor * known.mean, error=factor * known.error, variances=parts)
