"""Intervals and trends whose unit is the pair of models. docs/statistics.md says why, with simulated coverage.

The counterfactuals of a pair are repeated measures of one pair of models: ten thousand of them on one pair say nothing
about the next pair. Rates therefore come in a matrix, bases × references, and what varies is its rows and columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95
NONE = (float("nan"), float("nan"), float("nan"))  # no low, no high, no p


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval; NaN where the design gives none. method: what the interval is over."""

    mean: float
    low: float
    high: float
    p: float  # of the mean against 0, two-sided
    method: str


@dataclass(frozen=True)
class Trend:
    """A least-squares line through rates against the swept knob. slope is per unit of the knob, p is two-sided."""

    slope: float
    low: float
    high: float
    p: float
    intercept: float
    rho: float  # Spearman's, between the knob and the jobs' rates
    method: str


def two_way_interval(values: np.ndarray) -> Interval:
    """values: (I, J), one per base × reference → their mean, with an interval over new bases and new references.

    The model is value_ij = μ + base_i + reference_j + error_ij, all random. With the usual mean squares,
    Var(mean) = (MS_base + MS_reference − MS_error) / (I·J), and Satterthwaite's degrees of freedom. A mean square of
    models below the error's counts as the error's, since a variance is not negative. With one base or one reference
    the interval is Student's over the others; with one pair there is none.
    """
    I, J = values.shape if values.size else (0, 0)
    if min(I, J) < 2:
        return _one_way_interval(values.ravel(), ("references (one base)" if I == 1 else "bases") if I * J > 1 else "")
    mean, rows, columns = values.mean(), values.mean(1), values.mean(0)
    error = values - rows[:, None] - columns[None, :] + mean
    ms_error = (error**2).sum() / ((I - 1) * (J - 1))
    ms_base, ms_reference = max(J * rows.var(ddof=1), ms_error), max(I * columns.var(ddof=1), ms_error)
    total = ms_base + ms_reference - ms_error
    freedoms = ((ms_base, I - 1), (ms_reference, J - 1), (ms_error, (I - 1) * (J - 1)))
    freedom = 1 / sum((square / total) ** 2 / freedom for square, freedom in freedoms) if total > 0 else 1.0
    return _student(float(mean), float(np.sqrt(total / (I * J))), freedom, "bases × references")


def rate_interval(rates: np.ndarray, *, found: int) -> Interval:
    """rates: (I, J) transferability rates → their mean with an interval inside [0, 1].

    The row of a base on which nothing was found is NaN, and is left out.
    A single pair has no interval over models; it gets Wilson's, over its `found` counterfactuals, and says so.
    """
    rates = rates[~np.isnan(rates).any(axis=1)]
    if rates.size == 1:
        from statsmodels.stats.proportion import proportion_confint  # half a second, for single pairs alone

        rate = float(rates[0, 0])
        low, high = proportion_confint(round(rate * found), found, alpha=1 - LEVEL, method="wilson")
        return Interval(rate, float(low), float(high), float("nan"), "counterfactuals of one pair (Wilson)")
    interval = two_way_interval(rates)
    return Interval(interval.mean, max(interval.low, 0.0), min(interval.high, 1.0), interval.p, interval.method)


def trend(knob: Sequence[float], rates: Sequence[np.ndarray]) -> Trend | None:
    """knob: (K,), rates: K matrices (I, J), none all NaN → a least-squares line; None with fewer than two knobs.

    With equal matrices of at least two pairs and without gaps, every pair (i, j) has a slope of its own over the K
    jobs; the line's slope is their mean, and its interval theirs over bases and references. So bases that are drawn
    anew for every job count as such, and bases that stay the same cancel. Otherwise the line goes through one rate per
    job.
    """
    x = np.asarray(knob, dtype=float)
    means = np.array([np.nanmean(matrix) for matrix in rates])
    if len(np.unique(x)) < 2:
        return None
    weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    rho = float(stats.spearmanr(x, means).statistic) if np.ptp(means) > 0 else float("nan")
    same = len({matrix.shape for matrix in rates}) == 1 and not any(np.isnan(matrix).any() for matrix in rates)
    if same and rates[0].size > 1:
        slope = two_way_interval(np.tensordot(weights, np.stack(rates), axes=1))
        method = f"slopes of pairs, over {slope.method}"
    else:
        slope = _line_through(x, means, weights)
        method = "one rate per job"
    intercept = float(means.mean() - slope.mean * x.mean())
    return Trend(slope.mean, slope.low, slope.high, slope.p, intercept, rho, method)


def _line_through(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> Interval:
    slope = float(weights @ y)
    freedom = len(x) - 2
    if freedom < 1:
        return Interval(slope, *NONE, "")
    residual = y - y.mean() - slope * (x - x.mean())
    error = float(np.sqrt((residual**2).sum() / freedom * (weights**2).sum()))
    return _student(slope, error, freedom, "")


def _one_way_interval(values: np.ndarray, over: str) -> Interval:
    if len(values) < 2:
        return Interval(float(values.mean()) if len(values) else float("nan"), *NONE, over)
    error = float(values.std(ddof=1) / np.sqrt(len(values)))
    return _student(float(values.mean()), error, len(values) - 1, over)


def _student(mean: float, error: float, freedom: float, method: str) -> Interval:
    half = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * error
    p = 2 * float(stats.t.sf(abs(mean) / error, freedom)) if error > 0 else float(mean == 0)
    return Interval(mean, mean - half, mean + half, p, method)
