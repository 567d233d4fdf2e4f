"""The interval of a published audit, beside ours: a bootstrap over bases alone.

The audit is genwro-ai/robust-counterfactual-methods-audit. It has five bases, takes one rate for each base, and draws
these five with replacement. A bootstrap of five units is too narrow: it divides by n, not by n − 1, and lacks the tails
of Student's distribution. It also ignores the variation between references that several bases share.
"""

import functools

import numpy as np

from cftransfer.measuring.statistics import LEVEL, NONE, Interval

DRAWS = 10_000  # as in the audit


def base_bootstrap_interval(values: np.ndarray, *, level: float = LEVEL) -> Interval:
    """values: (I, J), one per base × reference → the percentile interval of the mean when only bases are resampled.

    A base on which nothing was found has a row of NaN, and is left out. Fewer than two bases give no interval.
    """
    of_bases = values[~np.isnan(values).any(axis=1)].mean(axis=1) if values.size else np.empty(0)
    many = len(of_bases)
    if many < 2:
        return Interval(float(of_bases.mean()) if many else float("nan"), *NONE, "")
    low, high = np.quantile(_draws(many) @ of_bases, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(of_bases.mean()), float(low), float(high), float("nan"), "bootstrap over bases")


@functools.cache
def _draws(many: int) -> np.ndarray:
    """Return (DRAWS, many), the weight of each base in each draw, with a fixed seed: equal rates, equal intervals."""
    return np.random.default_rng(0).multinomial(many, [1 / many] * many, DRAWS) / many
