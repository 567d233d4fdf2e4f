"""Intervals with the pair of models as their unit. docs/statistics.md gives the reasons and simulated coverage.

The counterfactuals of a pair are repeated measures of one pair of models: ten thousand of them on one pair say nothing
about the next pair. Rates therefore come in a matrix, bases × references; its rows and columns vary. If each base has
its own reference, the matrix has one column, and only bases vary.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special  # scipy.stats takes half a second to import

LEVEL = 0.95
ROUNDING = 1e-12  # of a rate: a smaller difference counts as none
SIZE = 0.5  # of a rate: the largest assumed mean change on unseen models that differ from all models here
DRAWS = 2000  # of a bootstrap or a permutation; a p of .05 is then known to within .01
NONE = (float("nan"), float("nan"), float("nan"))  # for low, high and p
BOUNDS = ("exact", "jeffreys")  # of a share: Clopper and Pearson 1934, or with Jeffreys' prior


@dataclass(frozen=True)
class Interval:
    """A mean and its interval (95 % by default), NaN if the design gives none. method: the units that vary."""

    mean: float
    low: float
    high: float
    p: float  # of the mean against 0, two-sided
    method: str


@dataclass(frozen=True)
class Variances:
    """Variances of one cell of a matrix due to its base, its reference, and the two together; each at least 0.

    split: the variance due to the split of the rows; 0 if all cells are of one split.
    """

    base: float
    reference: float
    error: float
    split: float = 0.0


@dataclass(frozen=True)
class Spread:
    """The standard error of a mean over models and its degrees of freedom, NaN if the design gives none.

    models: the smaller of the numbers of bases, references and splits that vary; variances: None except for bases ×
    references, or several splits. splits: the number of splits of the rows.
    """

    mean: float
    error: float
    freedom: float
    models: int
    method: str
    variances: Variances | None = None
    splits: int = 1


def spread(values: np.ndarray) -> Spread:
    """values: (I, J), one per base × reference → the error of their mean over new bases and new references.

    The model is value_ij = μ + base_i + reference_j + error_ij, all random. With the usual mean squares,
    Var(mean) = (MS_base + MS_reference − MS_error) / (I·J), and Satterthwaite's degrees of freedom. If a mean square of
    models is below the error's, the error's is used, since a variance is not negative. With one base or one reference,
    the error is Student's over the others; with one pair there is no error.
    """
    I, J = values.shape if values.size else (0, 0)
    if min(I, J) < 2:
        return _one_way(values.ravel(), ("references (one base)" if I == 1 else "bases") if I * J > 1 else "")
    mean, rows, columns = values.mean(), values.mean(1), values.mean(0)
    error = values - rows[:, None] - columns[None, :] + mean
    ms_error = (error**2).sum() / ((I - 1) * (J - 1))
    ms_base, ms_reference = max(J * rows.var(ddof=1), ms_error), max(I * columns.var(ddof=1), ms_error)
    total = ms_base + ms_reference - ms_error
    freedoms = ((ms_base, I - 1), (ms_reference, J - 1), (ms_error, (I - 1) * (J - 1)))
    freedom = 1 / sum((square / total) ** 2 / freedom for square, freedom in freedoms) if total > 0 else 1.0
    freedom = max(freedom, min(I, J) - 1)  # subtracting MS_error can give fewer than the rarer kind of model has
    parts = Variances(
        base=float(ms_base - ms_error) / J, reference=float(ms_reference - ms_error) / I, error=float(ms_error)
    )
    return Spread(float(mean), float(np.sqrt(total / (I * J))), float(freedom), min(I, J), "bases × references", parts)


def two_way_interval(values: np.ndarray, *, level: float = LEVEL) -> Interval:
    """values: (I, J), one per base × reference → Student's interval of their mean, with the error of `spread`."""
    return student(spread(values), level)


def share_interval(values: np.ndarray, *, level: float = LEVEL) -> Interval:
    """values: (I, J) shares, or values that average to a share → an interval of the mean inside [0, 1], over models.

    Mean, error and degrees of freedom are those of `spread`, carried through the logit: ± t · error / (m (1 − m))
    around logit(m), and back. Near 0 and 1, where shares are skewed, the interval reaches further towards .5.

    If all values are the same, nothing varies, and an error of 0 would claim certainty. If n models all give m,
    Jeffreys' bound says that at least a share b of all models do (one-sided, at `level`). The other models give values
    between 0 and 1, so the mean lies between m · b and m · b + 1 − b. n is the number of the rarer kind of model.
    """
    return on_logit(spread(values), level)


def on_logit(known: Spread, level: float = LEVEL) -> Interval:
    """Return the interval of `share_interval` for a mean with this error."""
    m = known.mean
    if np.isnan(known.error):
        return Interval(m, *NONE, known.method)
    if known.error < ROUNDING or not 0 < m < 1:
        least = share_alike(known.models, level)
        said = f"{known.method}, all alike (Jeffreys' bound)"
        return Interval(m, max(m * least, 0.0), min(m * least + 1 - least, 1.0), float("nan"), said)
    half = _quantile(known.freedom, level) * known.error / (m * (1 - m))
    low, high = special.expit(special.logit(m) - half), special.expit(special.logit(m) + half)
    return Interval(m, float(low), float(high), float("nan"), known.method)


def share_alike(models: int, level: float = LEVEL) -> float:
    """Return Jeffreys' one-sided bound of the share of all models that answer as these do, which all answer alike."""
    return float(special.betaincinv(models + 0.5, 0.5, 1 - level))


def ratio_interval(part: np.ndarray, whole: np.ndarray, *, level: float = LEVEL) -> Interval:
    """Shares `part` of shares `whole`, (I, J) both → mean(part) / mean(whole) with an interval inside [0, 1].

    The ratio of means is linearised (the delta method): r + (part − r · whole) / mean(whole) for each pair. NaN if the
    whole is 0.
    """
    return share_interval(with_values(ratio_values(part, whole)), level=level)


def ratio_values(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Shares `part` of shares `whole`, (I, J) both → (I, J) values with the mean mean(part) / mean(whole).

    NaN for a base without shares, and everywhere if the whole is 0.
    """
    kept, values = ~(np.isnan(part) | np.isnan(whole)).any(axis=1), np.full(part.shape, np.nan)
    part, whole = part[kept], whole[kept]
    if whole.size and whole.mean() >= ROUNDING:
        ratio = part.mean() / whole.mean()
        values[kept] = ratio + (part - ratio * whole) / whole.mean()
    return values


def product_interval(shares: np.ndarray, rates: np.ndarray, *, level: float = LEVEL) -> Interval:
    """shares: (I,) per base, rates: (I, J) → mean(shares) · mean(rates) with an interval inside [0, 1], as for ratios.

    A base without rates, on which nothing was found, counts only in the mean and the error of the shares. A base
    without a share does not count.
    """
    return share_interval(with_values(product_values(shares, rates)), level=level)


def product_values(shares: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """shares: (I,) per base, rates: (I, J) → (I, J) values with the mean mean(shares) · mean(rates).

    NaN for a base without a share, and everywhere if no base has rates.
    """
    counted, values = ~np.isnan(shares), np.full(rates.shape, np.nan)
    shares, rates = shares[counted], rates[counted]
    known = ~np.isnan(rates).any(axis=1)
    if not known.any():
        return values
    share, rate = shares.mean(), rates[known].mean()
    if not known.all():  # the mean of the rates is over fewer bases, so each of them weighs more
        rates = np.where(known[:, None], rate + (rates - rate) / known.mean(), rate)
    values[counted] = share * rates + rate * (shares - share)[:, None]
    return values


def with_values(values: np.ndarray) -> np.ndarray:
    """(I, J) → the rows without NaN: the bases on which something was found."""
    return values[~np.isnan(values).any(axis=1)]


def rate_interval(rates: np.ndarray, *, found: int, level: float = LEVEL) -> Interval:
    """rates: (I, J) transferability rates → their mean with an interval inside [0, 1].

    A base on which nothing was found has a row of NaN, and is left out.

    A single pair has no interval over models; it gets Wilson's, over its `found` counterfactuals, and `method` says so.
    """
    rates = rates[~np.isnan(rates).any(axis=1)]
    if rates.size == 1:
        from statsmodels.stats.proportion import proportion_confint  # half a second, for single pairs alone

        rate = float(rates[0, 0])
        low, high = proportion_confint(round(rate * found), found, alpha=1 - level, method="wilson")
        return Interval(rate, float(low), float(high), float("nan"), "counterfactuals of one pair (Wilson)")
    return share_interval(rates, level=level)


def lower_bound(held: np.ndarray, asked: np.ndarray, *, level: float = LEVEL, interval: str = "exact") -> np.ndarray:
    """Counts held ≤ asked, (n,) → (n,) one-sided lower bounds of a share that gave `held` in `asked` independent draws.

    interval: exact (Clopper and Pearson) is above the true share in at most 1 − level of all cases, whatever that share
    is; jeffreys is the quantile of its posterior, above the true share in about 1 − level. Both are 0 if nothing held.
    """
    prior = (0.0, 1.0) if interval == "exact" else (0.5, 0.5)
    above = np.maximum(held, 1) + prior[0]
    return np.where(held > 0, special.betaincinv(above, asked - held + prior[1], 1 - level), 0.0)


def difference_interval(rates: np.ndarray, others: np.ndarray, *, level: float = LEVEL) -> Interval:
    """Rates and others, (I, J) both → the mean of rates − others, with an interval over the pairs' differences.

    A base on which nothing was found is left out.
    """
    differences = rates - others
    return change_interval(spread(differences[~np.isnan(differences).any(axis=1)]), level)


def change_interval(known: Spread, level: float = LEVEL) -> Interval:
    """Return Student's interval of a change of the rate, in [-1, 1], and the two-sided p of no change.

    If all models give the same change m, nothing varies, and an error of 0 would claim certainty. As in
    `share_interval`, at least a share b of all models gives m. The other models change the rate by at most `SIZE` in
    the mean, so the interval is m · b ± SIZE · (1 − b). If m itself is larger, the others may change the rate as much,
    so the interval ends at m. p is consistent with it: below 1 − level if 0 is outside.
    """
    if not known.error < ROUNDING:
        return student(known, level)
    least, m = share_alike(known.models, level), known.mean
    low, high = min(m * least - SIZE * (1 - least), m), max(m * least + SIZE * (1 - least), m)
    p = 1.0 if m == 0 else fewer_alike(known.models, SIZE / (SIZE + abs(m)))
    return Interval(m, low, high, p, f"{known.method}, all alike (Jeffreys' bound)")


def fewer_alike(models: int, share: float) -> float:
    """Return the probability, by Jeffreys, that fewer than a share of all models answer as these, all alike, do."""
    return float(special.betainc(models + 0.5, 0.5, share))


def bootstrap_interval(values: np.ndarray, *, level: float = LEVEL) -> Interval:
    """values: (I, J), one per base × reference → the percentile interval of their mean, as a check on Student's.

    The two-way bootstrap (Owen 2007, "the pigeonhole bootstrap"): bases and references are drawn independently, with
    replacement, and every drawn base meets every drawn reference. With few models it covers less than its level.
    """
    values = values[~np.isnan(values).any(axis=1)]
    I, J = values.shape if values.size else (0, 0)
    if I * J < 2:
        return Interval(float(values.mean()) if values.size else float("nan"), *NONE, "")
    rng = np.random.default_rng(0)  # a fixed seed, so that equal matrices have equal intervals
    bases, references = rng.multinomial(I, [1 / I] * I, DRAWS) / I, rng.multinomial(J, [1 / J] * J, DRAWS) / J
    means = np.einsum("di,ij,dj->d", bases, values, references)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(values.mean()), float(low), float(high), float("nan"), "two-way bootstrap")


def student(known: Spread, level: float = LEVEL) -> Interval:
    """Return Student's interval around a mean, and the two-sided p of the mean against 0."""
    if np.isnan(known.error):
        return Interval(known.mean, *NONE, known.method)
    half = _quantile(known.freedom, level) * known.error
    p = 2 * tail(known, 0.0) if known.error > 0 else float(known.mean == 0)
    return Interval(known.mean, known.mean - half, known.mean + half, p, known.method)


def tail(known: Spread, value: float) -> float:
    """Return the probability of a mean at least as far from `value`, on its side, if `value` were the truth."""
    return float(special.stdtr(known.freedom, -abs(known.mean - value) / known.error))


def _quantile(freedom: float, level: float) -> float:
    return float(special.stdtrit(freedom, (1 + level) / 2))


def _one_way(values: np.ndarray, over: str) -> Spread:
    if len(values) < 2:
        return Spread(float(values.mean()) if len(values) else float("nan"), *NONE[:2], len(values), over)
    error = float(values.std(ddof=1) / np.sqrt(len(values)))
    return Spread(float(values.mean()), error, len(values) - 1, len(values), over)
