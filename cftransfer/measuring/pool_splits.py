"""Results on several splits of the rows → rates with intervals over splits and models."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from cftransfer.columns import matrix
from cftransfer.errors import InputError
from cftransfer.measuring.over_splits import spread_over_splits
from cftransfer.measuring.result import Result
from cftransfer.measuring.statistics import LEVEL, on_logit

COLUMNS = ("group", "splits", "rate", "low", "high", "over")


def pool_splits(results: Sequence[Result], *, level: float = LEVEL) -> pd.DataFrame:
    """Return the rate over several splits of the rows, each with bases and references of its own, by group.

    Args:
        results: two or more, one per split, with the same groups and numbers of bases and references; the i-th base,
            and the j-th reference, of every split is trained from the same seed, or each from a seed of its own.
        level: of the interval, between 0 and 1.

    Returns:
        DataFrame: one row per group: how many `splits`; `rate`, the mean of their rates; `low` and `high` of its
        interval over splits and models; `over`, the units of that interval; and the variances of a pair's rate due to
        its split, base, reference and pair (`variance_split`, `_base`, `_reference`, `_pair`; NaN if unknown).

    Raises:
        InputError: for a single result, groups or numbers of models that differ, or a level out of range.
    """
    if len(results) < 2:
        raise InputError(f"results: has {len(results)}; pass two or more, one per split")
    if not 0 < level < 1:
        raise InputError(f"level={level}: must be a number between 0 and 1")
    groups = results[0].groups
    if any(set(result.groups) != set(groups) for result in results):
        raise InputError("results: differ in their groups of references; ask the same groups on every split")
    rows = []
    for group in groups:
        pairs = [result.pairs for result in results]
        rates = [matrix(pd.DataFrame(one[one.group == group])) for one in pairs]
        if len({one.shape for one in rates}) > 1:
            raise InputError(f"results: group {group!r} differs in its numbers of models; use as many on every split")
        known = spread_over_splits(rates)
        interval = on_logit(known, level)
        row = dict(
            zip(COLUMNS, (group, len(rates), known.mean, interval.low, interval.high, interval.method), strict=True)
        )
        parts = known.variances
        named = () if parts is None else (parts.split, parts.base, parts.reference, parts.error)
        names = [f"variance_{name}" for name in ("split", "base", "reference", "pair")]
        rows.append(row | dict(zip(names, named or [np.nan] * len(names), strict=True)))
    return pd.DataFrame(rows)
