"""Intervals whose unit is the pair of models. docs/statistics.md says why, with simulated coverage.

The counterfactuals of a pair are repeated measures of one pair of models: ten thousand of them on one pair say nothing
about the next pair. Rates therefore come in a matrix, bases × references, and what varies is its rows and columns.
Where each base has a reference of its own, the matrix has one column, and bases are what varies.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special  # scipy.stats takes half a second to import

LEVEL = 0.95
ROUNDING = 1e-12  # of a rate: what differs by less does not differ
SIZE = 0.5  # of a rate: how far models that nobody has seen change it in the mean, if they do what no model here did
DRAWS = 2000  # of a bootstrap or a permutation; a p of .05 is then known to within .01
NONE = (float("nan"), float("nan"), float("nan"))  # no low, no high, no p
BOUNDS = ("exact", "jeffreys")  # of a share: Clopper and Pearson 1934, or with Jeffreys' prior


@dataclass(frozen=True)
class Interval:
    """A mean and its interval (95 % by default), NaN where the design gives none. method: what the interval is over."""

    mean: float
    low: float
    high: float
    p: float  # of the mean against 0, two-sided
    method: str


@dataclass(frozen=True)
class Variances:
    """What one cell of a matrix owes to its base, to its reference, and to the two together; each at least 0.

    split: what it owes to the split of the rows; 0 where all cells are of one split.
    """

    base: float
    reference: float
    error: float
    split: float = 0.0


@dataclass(frozen=True)
class Spread:
    """How well models fix a mean: its standard error and degrees of freedom, NaN where the design gives none.

    models: the number of those that vary, of the rarer kind, splits among them; variances: None but for a design of
    bases × references, or of several splits. splits: of the rows, how many there were.
    """

    mean: float
    error: float
    freedom: float
    models: int
    method: str
    variances: Variances | None = None
    splits: int = 1


def spread(values: np.ndarray) -> Spread:
    """values: (I, J), one per base × reference → how well they fix the mean over new bases and new references.

    The model is value_ij = μ + base_i + reference_j + error_ij, all random. With the usual mean squares,
    Var(mean) = (MS_base + MS_reference − MS_error) / (I·J), and Satterthwaite's degrees of freedom. A mean square of
    models below the error's counts as the error's, since a variance is not negative. With one base or one reference
    it is Student's over the others; with one pair there is no error.
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
    freedom = max(freedom, min(I, J) - 1)  # subtracting MS_error can leave fewer than either kind of model has
    parts = Variances(
        base=float(ms_base - ms_error) / J, reference=float(ms_reference - ms_error) / I, error=float(ms_error)
    )
    return Spread(float(mean), float(np.sqrt(total / (I * J))), float(freedom), min(I, J), "bases × references", parts)


def two_way_interval(values: np.ndarray, *, level: float = LEVEL) -> Interval:
    """values: (I, J), one per base × reference → Student's interval of their mean, with the error of `spread`."""
    return student(spread(values), level)


def share_interval(values: np.ndarray, *, level: float = LEVEL) -> Interval:
    """values: (I, J) shares, or what has a share as its mean → an interval of the mean inside [0, 1], over models.

    Mean, error and degrees of freedom are those of `spread`, carried through the logit: ± t · error / (m (1 − m))
    around logit(m), and back. Near 0 and 1, where shares are skewed, the interval reaches further towards .5.

    Where all values are the same, nothing varies, and an error of 0 would claim certainty. Of n models that all give m,
    Jeffreys' bound says that at least a share b of all models do (one-sided, at `level`); what the others give lies
    between 0 and 1, hence the mean between m · b and m · b + 1 − b. n is the number of the rarer kind of model.
    """
    return on_logit(spread(values), level)


def on_logit(known: Spread, level: float = LEVEL) -> Interval:
    """Return the interval of `share_interval` around a mean that models fix so well."""
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
    """Return Jeffreys' one-sided bound of the share of all models that are like so many, which are all alike."""
    return float(special.betaincinv(models + 0.5, 0.5, 1 - level))


def ratio_interval(part: np.ndarray, whole: np.ndarray, *, level: float = LEVEL) -> Interval:
    """Shares `part` of shares `whole`, (I, J) both → mean(part) / mean(whole) with an interval inside [0, 1].

    The ratio of means is taken as linear in what a pair adds to it (the delta method): r + (part − r · whole) /
    mean(whole). NaN where the whole is nothing.
    """
    return share_interval(with_values(ratio_values(part, whole)), level=level)


def ratio_values(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Shares `part` of shares `whole`, (I, J) both → (I, J) whose mean is mean(part) / mean(whole).

    NaN for a base without shares, and everywhere where the whole is nothing.
    """
    kept, values = ~(np.isnan(part) | np.isnan(whole)).any(axis=1), np.full(part.shape, np.nan)
    part, whole = part[kept], whole[kept]
    if whole.size and whole.mean() >= ROUNDING:
        ratio = part.mean() / whole.mean()
        values[kept] = ratio + (part - ratio * whole) / whole.mean()
    return values


def product_interval(shares: np.ndarray, rates: np.ndarray, *, level: float = LEVEL) -> Interval:
    """shares: (I,) per base, rates: (I, J) → mean(shares) · mean(rates) with an interval inside [0, 1], as for ratios.

    A base without rates, on which nothing was found, adds to the mean and the error of the shares alone; one without a
    share does not count.
    """
    return share_interval(with_values(product_values(shares, rates)), level=level)


def product_values(shares: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """shares: (I,) per base, rates: (I, J) → (I, J) whose mean is mean(shares) · mean(rates).

    NaN for a base without a share, and everywhere where no base has rates.
    """
    counted, values = ~np.isnan(shares), np.full(rates.shape, np.nan)
    shares, rates = shares[counted], rates[counted]
    known = ~np.isnan(rates).any(axis=1)
    if not known.any():
        return values
    share, rate = shares.mean(), rates[known].mean()
    if not known.all():  # the mean of the rates is over fewer bases, each of which weighs more in it
        rates = np.where(known[:, None], rate + (rates - rate) / known.mean(), rate)
    values[counted] = share * rates + rate * (shares - share)[:, None]
    return values


def with_values(values: np.ndarray) -> np.ndarray:
    """(I, J) → the rows that have no NaN: those of the bases on which something was found."""
    return values[~np.isnan(values).any(axis=1)]


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
    return share_interval(rates, level=level)


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
    return change_interval(spread(differences[~np.isnan(differences).any(axis=1)]), level)


def change_interval(known: Spread, level: float = LEVEL) -> Interval:
    """Return Student's interval of a change of the rate, in [-1, 1], and the two-sided p of none.

    Where all models give the same change m, nothing varies, and an error of 0 would claim certainty. As in
    `share_interval`, at least a share b of all models gives m. The others change the rate by `SIZE` at most, in the
    mean: the interval is m · b ± SIZE · (1 − b). p goes with it: below 1 − level where the interval leaves 0 out.
    """
    if not known.error < ROUNDING:
        return student(known, level)
    least, m = share_alike(known.models, level), known.mean
    low, high = max(m * least - SIZE * (1 - least), -1.0), min(m * least + SIZE * (1 - least), 1.0)
    p = 1.0 if m == 0 else fewer_alike(known.models, SIZE / (SIZE + abs(m)))
    return Interval(m, low, high, p, f"{known.method}, all alike (Jeffreys' bound)")


def fewer_alike(models: int, share: float) -> float:
    """Return the probability, by Jeffreys, that fewer than a share of all models are like so many that are alike."""
    return float(special.betainc(models + 0.5, 0.5, share))


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


def student(known: Spread, level: float = LEVEL) -> Interval:
    """Return Student's interval around a mean, and the two-sided p of the mean against 0."""
    if np.isnan(known.error):
        return Interval(known.mean, *NONE, known.method)
    half = _quantile(known.freedom, level) * known.error
    p = 2 * tail(known, 0.0) if known.error > 0 else float(known.mean == 0)
    return Interval(known.mean, known.mean - half, known.mean + half, p, known.method)


def tail(known: Spread, value: float) -> float:
    """Return the probability of a mean at least as far from `value`, on its side, were that the truth."""
    return float(special.stdtr(known.freedom, -abs(known.mean - value) / known.error))


def _quantile(freedom: float, level: float) -> float:
    return float(special.stdtrit(freedom, (1 + level) / 2))


def _one_way(values: np.ndarray, over: str) -> Spread:
    if len(values) < 2:
        return Spread(float(values.mean()) if len(values) else float("nan"), *NONE[:2], len(values), over)
    error = float(values.std(ddof=1) / np.sqrt(len(values)))
    return Spread(float(values.mean()), error, len(values) - 1, len(values), over)
