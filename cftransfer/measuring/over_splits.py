"""Intervals over splits of the rows as well as over models. docs/statistics.md gives reasons and simulated coverage.

Within a split, bases and references cross as in `statistics`; no model of one split meets a model of another. Models of
different splits share their seeds, though, and a seed may raise or lower its models' rates on every split.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import special

from cftransfer.measuring.statistics import DRAWS, LEVEL, NONE, Interval, Spread, Variances, spread, with_values


def spread_over_splits(values: Sequence[np.ndarray]) -> Spread:
    """values: matrices (I, J), one per split, with NaN rows for bases without values → the error of their mean.

    The mean is the mean of the splits' means. It varies with splits and with models, so the half-width of the interval
    at `LEVEL` is the larger of two:

    - Student's over the splits' means, with S − 1 degrees of freedom. It holds for any variation between splits if
      models of different splits are independent.
    - √(h² + t²·v), which also counts a seed's effect on all splits. h is the half-width of the two-way interval of the
      matrix of means over splits; v is the splits' own part of the variance of the mean, at least 0; t has S − 1
      degrees of freedom.

    `freedom` is the number with which Student's t gives that half-width. Only bases with values on every split count as
    models. A split without values is left out. With one pair of models per split, only splits vary. NaN for fewer than
    two splits with values.
    """
    stacked = with_rates(values)
    means, S = np.nanmean(stacked, axis=(1, 2)) if len(stacked) else np.empty(0), len(stacked)
    if S < 2:
        return Spread(float(means.mean()) if S else float("nan"), float("nan"), float("nan"), S, "")
    mean, between = float(means.mean()), float(means.var(ddof=1)) / S
    whole = rated_on_all(stacked)
    if whole[0].size < 2:
        parts = Variances(*(float("nan"),) * 3, split=S * between)  # the split's part includes its pair's
        return Spread(mean, float(np.sqrt(between)), S - 1, S, "splits", parts, S)
    models = spread(whole.mean(0))
    within, crossed = cell_variances(whole, S), cell_variances(whole - whole.mean(0), S - 1)
    split = max(between - variance_of_mean(crossed, whole[0].shape) / S, 0.0)
    error, freedom = wider_error(between, models.error, models.freedom, split, S)
    parts = replace(_known(within, whole.shape[1:]), split=S * split)
    over = f"splits and {models.method}"
    return Spread(mean, error, freedom, min(S, models.models), over, parts, S)


def wider_error(
    between: float, models_error: float, models_freedom: float, split: float, splits: int
) -> tuple[float, float]:
    """Return the error and the degrees of freedom of the wider of the two intervals of `spread_over_splits`.

    between: the variance of the mean, from the means of the splits. models_error, models_freedom: of the matrix of
    means over splits. split: the splits' own part of the variance of the mean.
    """
    t, t_models = (special.stdtrit(freedom, (1 + LEVEL) / 2) for freedom in (splits - 1, models_freedom))
    variance = max(between, models_error**2 + split)
    half = np.sqrt(max(t**2 * between, (t_models * models_error) ** 2 + t**2 * split))
    freedom = special.stdtridf((1 + LEVEL) / 2, half / np.sqrt(variance)) if variance > 0 else splits - 1
    return float(np.sqrt(variance)), float(freedom)


def with_rates(values: Sequence[np.ndarray]) -> np.ndarray:
    """values: matrices (I, J), one per split → (S, I, J), without the splits that have no values."""
    stacked = np.stack([np.asarray(one, dtype=float) for one in values])
    return stacked[~np.isnan(stacked).all(axis=(1, 2))]


def rated_on_all(stacked: np.ndarray) -> np.ndarray:
    """(S, I, J) → without the bases that lack values on some split."""
    return stacked[:, ~np.isnan(stacked).any(axis=(0, 2))]


def spread_of(values: np.ndarray) -> Spread:
    """values: (I, J) of one split, or (S, I, J) of several → the error of their mean; NaN rows are left out."""
    return spread_over_splits([*values]) if values.ndim == 3 else spread(with_values(values))


def cell_variances(whole: np.ndarray, splits: int) -> Variances:
    """(S, I, J) → the variances of base, reference and error in a mean over this many splits.

    With one base or one reference, all variance is attributed to the models that vary.
    """
    (I, J), middle = whole.shape[1:], whole.mean(axis=(1, 2), keepdims=True)
    rows, columns = whole.mean(2, keepdims=True) - middle, whole.mean(1, keepdims=True) - middle
    ms_base, ms_reference = (
        scale * float((part**2).sum()) / (splits * max(many - 1, 1))
        for part, scale, many in ((rows, J, I), (columns, I, J))
    )
    if min(I, J) < 2:
        return Variances(base=ms_base, reference=ms_reference, error=0.0)
    ms_error = float(((whole - middle - rows - columns) ** 2).sum()) / (splits * (I - 1) * (J - 1))
    return Variances(max(ms_base - ms_error, 0.0) / J, max(ms_reference - ms_error, 0.0) / I, ms_error)


def _known(parts: Variances, shape: tuple[int, ...]) -> Variances:
    """Return the variances with NaN for factors that this many bases and references cannot show.

    With one reference, the variance between bases includes that of the pair, and likewise with one base.
    """
    (I, J), unknown = shape, float("nan")
    base, reference = parts.base if I > 1 else unknown, parts.reference if J > 1 else unknown
    return Variances(base, reference, parts.error if min(I, J) > 1 else unknown)


def variance_of_mean(parts: Variances, shape: tuple[int, ...]) -> float:
    """Return the variance of the mean over I × J cells with these components."""
    I, J = shape
    return parts.base / I + parts.reference / J + parts.error / (I * J)


def bootstrap_over_splits(values: Sequence[np.ndarray]) -> Interval:
    """values: as in `spread_over_splits` → the percentile interval of the mean, as `bootstrap_interval` for one split.

    Splits, bases and references are drawn independently, with replacement; a drawn base or reference is drawn on every
    split. Bases without values on some split are left out.
    """
    stacked = with_rates(values)
    whole = rated_on_all(stacked) if len(stacked) else stacked
    if len(whole) < 2 or not whole.size:
        return Interval(float("nan"), *NONE, "")
    rng = np.random.default_rng(0)  # a fixed seed, so that equal matrices have equal intervals
    splits, bases, references = (rng.multinomial(n, [1 / n] * n, DRAWS) / n for n in whole.shape)
    parts = zip(splits.T, whole, strict=True)
    means = sum(share * np.einsum("di,ij,dj->d", bases, one, references) for share, one in parts)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(whole.mean()), float(low), float(high), float("nan"), "three-way bootstrap")
