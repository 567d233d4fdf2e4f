"""Intervals and trends whose unit is the pair of models. docs/statistics.md says why, with simulated coverage.

The counterfactuals of a pair are repeated measures of one pair of models: ten thousand of them on one pair say nothing
about the next pair. Rates therefore come in a matrix, bases × references, and what varies is its rows and columns.
Where each base has a reference of its own, the matrix has one column, and bases are what varies.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
import pandas as pd
from scipy import special  # scipy.stats takes half a second to import

LEVEL = 0.95
ROUNDING = 1e-12  # of a rate: what differs by less does not differ
DRAWS = 2000  # of a bootstrap or a permutation; a p of .05 is then known to within .01
NONE = (float("nan"), float("nan"), float("nan"))  # no low, no high, no p


@dataclass(frozen=True)
class Interval:
    """A mean and its interval (95 % by default), NaN where the design gives none. method: what the interval is over."""

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
    r2: float  # share of the variance of the references' mean rates that the line explains
    rho: float  # Spearman's, between the knob and the jobs' rates
    p_permutation: float  # over references, given the bases; NaN where nothing may be exchanged
    method: str


BOUNDS = ("exact", "jeffreys")  # of a share: Clopper and Pearson 1934, or with Jeffreys' prior
Sharing = Literal["none", "bases", "models"]  # what the jobs of a trend have in common: nothing, bases, or all models


def two_way_interval(values: np.ndarray, *, level: float = LEVEL) -> Interval:
    """values: (I, J), one per base × reference → their mean, with an interval over new bases and new references.

    The model is value_ij = μ + base_i + reference_j + error_ij, all random. With the usual mean squares,
    Var(mean) = (MS_base + MS_reference − MS_error) / (I·J), and Satterthwaite's degrees of freedom. A mean square of
    models below the error's counts as the error's, since a variance is not negative. With one base or one reference
    the interval is Student's over the others; with one pair there is none.
    """
    I, J = values.shape if values.size else (0, 0)
    if min(I, J) < 2:
        return _one_way_interval(
            values.ravel(), ("references (one base)" if I == 1 else "bases") if I * J > 1 else "", level
        )
    mean, rows, columns = values.mean(), values.mean(1), values.mean(0)
    error = values - rows[:, None] - columns[None, :] + mean
    ms_error = (error**2).sum() / ((I - 1) * (J - 1))
    ms_base, ms_reference = max(J * rows.var(ddof=1), ms_error), max(I * columns.var(ddof=1), ms_error)
    total = ms_base + ms_reference - ms_error
    freedoms = ((ms_base, I - 1), (ms_reference, J - 1), (ms_error, (I - 1) * (J - 1)))
    freedom = 1 / sum((square / total) ** 2 / freedom for square, freedom in freedoms) if total > 0 else 1.0
    freedom = max(freedom, min(I, J) - 1)  # subtracting MS_error can leave fewer than either kind of model has
    return _student(float(mean), float(np.sqrt(total / (I * J))), freedom, "bases × references", level)


def rate_interval(rates: np.ndarray, *, found: int, level: float = LEVEL) -> Interval:
    """rates: (I, J) transferability rates → their mean with an interval inside [0, 1].

    The row of a base on which nothing was found is NaN, and is left out.
    A single pair has no interval over models; it gets Wilson's, over its `found` counterfactuals, and says so.
    """
    rates = rates[~np.isnan(rates).any(axis=1)]
    if rates.size == 1:
        from statsmodels.stats.proportion import proportion_confint  # half a second, for single pairs alone

        rate = float(rates[0, 0])
        low, high = proportion_confint(round(rate * found), found, alpha=1 - level, method="wilson")
        return Interval(rate, float(low), float(high), float("nan"), "counterfactuals of one pair (Wilson)")
    interval = two_way_interval(rates, level=level)
    return Interval(interval.mean, max(interval.low, 0.0), min(interval.high, 1.0), interval.p, interval.method)


def lower_bound(held: np.ndarray, asked: np.ndarray, *, level: float = LEVEL, interval: str = "exact") -> np.ndarray:
    """Counts held ≤ asked, (n,) → (n,) one-sided lower bounds of the share of which `asked` independent draws held.

    interval: exact (Clopper and Pearson) is above the true share in at most 1 − level of all cases, whatever that share
    is; jeffreys is the quantile of its posterior, above the true share in about as many. Both are 0 where nothing held.
    """
    prior = (0.0, 1.0) if interval == "exact" else (0.5, 0.5)
    above = np.maximum(held, 1) + prior[0]
    return np.where(held > 0, special.betaincinv(above, asked - held + prior[1], 1 - level), 0.0)


def difference_interval(rates: np.ndarray, others: np.ndarray, *, level: float = LEVEL) -> Interval:
    """Rates and others, (I, J) both → the mean of rates − others, with an interval over the pairs' differences.

    A base on which nothing was found is left out.
    """
    differences = rates - others
    return two_way_interval(differences[~np.isnan(differences).any(axis=1)], level=level)


def bootstrap_interval(values: np.ndarray) -> Interval:
    """values: (I, J), one per base × reference → the percentile interval of their mean, as a check on the other one.

    The two-way bootstrap (Owen 2007, "the pigeonhole bootstrap"): bases and references are drawn with replacement, each
    on their own, and every drawn base meets every drawn reference. It covers less than it says with few models.
    """
    values = values[~np.isnan(values).any(axis=1)]
    I, J = values.shape if values.size else (0, 0)
    if I * J < 2:
        return Interval(float(values.mean()) if values.size else float("nan"), *NONE, "")
    rng = np.random.default_rng(0)  # the same matrix has the same interval
    bases, references = rng.multinomial(I, [1 / I] * I, DRAWS) / I, rng.multinomial(J, [1 / J] * J, DRAWS) / J
    means = np.einsum("di,ij,dj->d", bases, values, references)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(values.mean()), float(low), float(high), float("nan"), "two-way bootstrap")


def trend(knob: Sequence[float], rates: Sequence[np.ndarray], *, sharing: Sharing = "none") -> Trend | None:
    """knob: (K,), rates: K matrices (I, J), none all NaN → a least-squares line; None with fewer than two knobs.

    With equal matrices of at least two pairs and without gaps, every pair (i, j) has a slope of its own over the K
    jobs; the line's slope is their mean, and its interval theirs over bases and references. Bases that differ from job
    to job therefore count as such, and bases that stay the same cancel. Otherwise the line goes through one rate per
    job. sharing: what is the same in all jobs, and so what a permutation may exchange. Where it is one pair of models
    throughout, jobs are repeated measures of it, and there is no interval.
    """
    x = np.asarray(knob, dtype=float)
    if len(np.unique(x)) < 2:
        return None
    means = np.array([np.nanmean(matrix) for matrix in rates])
    paired = _paired(rates, sharing)
    if paired is not None:
        slope = two_way_interval(_slopes(x, paired))
        method = f"slopes of pairs, over {slope.method}"
    elif sharing == "models":
        slope, method = Interval(float(_slopes(x, means)), *NONE, ""), "the same pair of models in all jobs"
    else:
        slope, method = _line_through(x, means), "one rate per job"
    references = [reference_means(matrix) for matrix in rates]
    return Trend(
        slope=slope.mean,
        low=slope.low,
        high=slope.high,
        p=slope.p,
        intercept=float(means.mean() - slope.mean * x.mean()),
        r2=_explained(x, references),
        rho=_spearman(x, means),
        p_permutation=_permutation_p(x, references, sharing),
        method=method,
    )


def band(
    knob: Sequence[float], rates: Sequence[np.ndarray], at: Sequence[float], *, sharing: Sharing = "none"
) -> list[Interval]:
    """Return the interval of the trend's line at every place in `at`; the unit is that of `trend`."""
    x, means = np.asarray(knob, dtype=float), np.array([np.nanmean(matrix) for matrix in rates])
    weights, paired = _slope_weights(x), _paired(rates, sharing)
    if paired is not None:
        return [two_way_interval(np.tensordot(1 / len(x) + (a - x.mean()) * weights, paired, axes=1)) for a in at]
    line = _line_through(x, means)
    middle, freedom = means.mean(), len(x) - 2
    if freedom < 1 or sharing == "models":
        return [Interval(float(middle + line.mean * (a - x.mean())), *NONE, "") for a in at]
    residual = means - middle - line.mean * (x - x.mean())
    spread = (residual**2).sum() / freedom
    return [
        _student(
            float(middle + line.mean * (a - x.mean())),
            float(np.sqrt(spread * (1 / len(x) + (a - x.mean()) ** 2 * (weights**2).sum()))),
            freedom,
            "",
        )
        for a in at
    ]


def reference_means(rates: np.ndarray) -> np.ndarray:
    """(I, J) → (J,) the mean rate per reference; (I, 1) → (I,) where each base has a reference of its own."""
    return rates[:, 0] if rates.shape[1] == 1 else np.nanmean(rates, axis=0)


def holm(p: Sequence[float]) -> list[float]:
    """Adjust the p of several tests, so that any false alarm among them has the stated probability (Holm 1979).

    NaN, a test that was not made, stays NaN and does not count.
    """
    values = np.asarray(p, dtype=float)
    made = np.flatnonzero(~np.isnan(values))
    order = made[np.argsort(values[made], kind="stable")]
    adjusted = np.full(len(values), np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * np.arange(len(order), 0, -1)), 1)
    return adjusted.tolist()


def _slope_weights(x: np.ndarray) -> np.ndarray:
    """(K,) → the weights (K,) whose sum with K values is their least-squares slope."""
    return (x - x.mean()) / ((x - x.mean()) ** 2).sum()


def _slopes(x: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(K,), (K, …) → (…) least-squares slopes; exactly 0 for what is flat but for rounding."""
    slopes = np.tensordot(_slope_weights(x), values - values.mean(0), axes=1)
    return np.where(np.abs(slopes) * np.ptp(x) < ROUNDING, 0.0, slopes)


def _paired(rates: Sequence[np.ndarray], sharing: Sharing) -> np.ndarray | None:
    """Return (K, I, J) if every pair of models has a rate in every job, and there are several; else None.

    A base that found nothing in one job is left out of all of them, if it is the same base in all.
    """
    if len({matrix.shape for matrix in rates}) > 1:
        return None
    stacked = np.stack(rates)
    gaps = np.isnan(stacked).any(axis=(0, 2))
    if sharing == "none" and gaps.any():
        return None
    return stacked[:, ~gaps] if stacked[0, ~gaps].size > 1 else None


def _explained(x: np.ndarray, references: Sequence[np.ndarray]) -> float:
    places, means = np.repeat(x, [len(part) for part in references]), np.concatenate(references)
    known = ~np.isnan(means)
    if np.ptp(means[known]) < ROUNDING:
        return float("nan")
    return float(np.corrcoef(places[known], means[known])[0, 1] ** 2)


def _permutation_p(x: np.ndarray, references: Sequence[np.ndarray], sharing: Sharing) -> float:
    """K × (J,) mean rates per reference model → how often an exchange gives a slope at least as steep.

    Jobs with the same bases and other references: references change places between jobs. Jobs with the same models:
    each reference's jobs are taken in order or in reverse order (neighbouring jobs may be alike, their order is not).
    Jobs with bases of their own: nothing, since a job's references have its bases in common. The exchange itself counts
    as one, so that p is never 0.
    """
    means = np.concatenate(references)
    J = len(references[0])
    if sharing == "none" or np.isnan(means).any() or {len(part) for part in references} != {J}:
        return float("nan")
    rng = np.random.default_rng(0)  # the same rates have the same p
    if sharing == "models":
        slopes = _slopes(x, np.stack(references))
        every = 2**J <= DRAWS
        signs = np.array(list(product((1, -1), repeat=J))) if every else rng.choice((1, -1), (DRAWS, J))
        drawn, seen = np.abs(signs @ slopes), abs(slopes.sum())
    else:
        every, places = False, _slope_weights(np.repeat(x, J))
        drawn = np.abs(rng.permuted(np.tile(means - means.mean(), (DRAWS, 1)), axis=1) @ places)
        seen = abs((means - means.mean()) @ places)
    as_steep = int((drawn >= seen - ROUNDING / np.ptp(x)).sum())  # rounding must not part an exchange from itself
    return as_steep / len(drawn) if every else (as_steep + 1) / (len(drawn) + 1)


def _spearman(x: np.ndarray, means: np.ndarray) -> float:
    """Return the correlation of the ranks; NaN where all means are the same."""
    if np.ptp(means) < ROUNDING:
        return float("nan")
    ranks = pd.DataFrame({"x": x, "means": means}).rank()
    return float(np.corrcoef(ranks.x, ranks.means)[0, 1])


def _line_through(x: np.ndarray, y: np.ndarray) -> Interval:
    slope, weights = float(_slopes(x, y)), _slope_weights(x)
    freedom = len(x) - 2
    if freedom < 1:
        return Interval(slope, *NONE, "")
    residual = y - y.mean() - slope * (x - x.mean())
    residual = np.where(np.abs(residual) < ROUNDING, 0.0, residual)
    error = float(np.sqrt((residual**2).sum() / freedom * (weights**2).sum()))
    return _student(slope, error, freedom, "")


def _one_way_interval(values: np.ndarray, over: str, level: float) -> Interval:
    if len(values) < 2:
        return Interval(float(values.mean()) if len(values) else float("nan"), *NONE, over)
    error = float(values.std(ddof=1) / np.sqrt(len(values)))
    return _student(float(values.mean()), error, len(values) - 1, over, level)


def _student(mean: float, error: float, freedom: float, method: str, level: float = LEVEL) -> Interval:
    half = float(special.stdtrit(freedom, (1 + level) / 2)) * error
    p = 2 * float(special.stdtr(freedom, -abs(mean) / error)) if error > 0 else float(mean == 0)
    return Interval(mean, mean - half, mean + half, p, method)
