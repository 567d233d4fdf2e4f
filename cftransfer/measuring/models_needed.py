"""How many bases and references give an interval of a wanted width."""

from typing import NamedTuple

import numpy as np
from scipy import special

from cftransfer.measuring.statistics import LEVEL, Variances, share_alike

MOST = 2000  # most bases or references; beyond that, models alone do not help
MOST_SPLITS = 100  # of one job


class Models(NamedTuple):
    """Numbers of bases and references."""

    bases: int
    references: int


def expected_half_width(variances: Variances, models: Models, *, level: float = LEVEL, assurance: float = 0.5) -> float:
    """Return half the expected width of the two-way interval; it is not exceeded with probability `assurance`.

    The expected mean squares of `statistics.spread` give the error and its degrees of freedom. The estimated error
    scatters around it like the root of a χ² over its degrees of freedom.
    """
    I, J = models
    parts = (
        (J * variances.base + variances.error, I - 1),
        (I * variances.reference + variances.error, J - 1),
        (variances.error, (I - 1) * (J - 1)),
    )
    total = parts[0][0] + parts[1][0] - parts[2][0]
    if total <= 0:
        return 0.0
    freedom = max(1 / sum((square / total) ** 2 / df for square, df in parts), min(I, J) - 1)
    scatter = 1.0 if assurance == 0.5 else np.sqrt(special.chdtri(freedom, 1 - assurance) / freedom)
    return float(special.stdtrit(freedom, (1 + level) / 2) * np.sqrt(total / (I * J)) * scatter)


def expected_over_splits(variances: Variances, models: Models, splits: int, *, level: float = LEVEL) -> float:
    """Return half the width of the interval over two or more splits, each with this many models of its own.

    It is the interval of `over_splits.spread_over_splits`, if models of different splits are independent.
    """
    I, J = models
    of_models = variances.base / I + variances.reference / J + variances.error / (I * J)
    t = float(special.stdtrit(splits - 1, (1 + level) / 2))
    parts = (variances.base, variances.reference, variances.error)
    alone = expected_half_width(Variances(*(part / splits for part in parts)), models, level=level)
    return max(t * float(np.sqrt((variances.split + of_models) / splits)), alone)


def splits_needed(variances: Variances, models: Models, *, half_width: float, level: float = LEVEL) -> int | None:
    """Return the fewest splits, two or more, with at most this half-width; None if 100 are not enough."""
    some = range(2, MOST_SPLITS + 1)
    return next((S for S in some if expected_over_splits(variances, models, S, level=level) <= half_width), None)


def models_needed(
    variances: Variances,
    *,
    half_width: float,
    level: float = LEVEL,
    cost: tuple[float, float, float] = (2.0, 1.0, 0.0),
    assurance: float = 0.5,
) -> Models | None:
    """Return the cheapest bases × references with at most this half-width; None if `MOST` are not enough.

    half_width: above 0, in units of the rate. cost: of a base (including its search), of a reference, and of asking one
    reference about one base; only their ratios matter.
    """
    if half_width <= 0:
        return None
    best, least = None, np.inf
    for bases in _numbers():
        if bases * cost[0] >= least:
            break
        references = _fewest(variances, bases, half_width, level, assurance)
        price = bases * cost[0] + (references or 0) * cost[1] + bases * (references or 0) * cost[2]
        if references is not None and price < least:
            best, least = Models(bases, references), price
    return best


def bases_needed(variance: float, *, half_width: float, level: float = LEVEL) -> Models | None:
    """Return the fewest bases, each with its own reference, with at most this half-width; None beyond `MOST`.

    variance: of the rate, or of its change, over such pairs. half_width: above 0, in units of the rate.
    """
    for bases in range(2, MOST + 1):
        if special.stdtrit(bases - 1, (1 + level) / 2) * np.sqrt(variance / bases) <= half_width:
            return Models(bases, 1)
    return None


def bound_half_width(models: Models, level: float = LEVEL) -> float:
    """Return half the width of the bound that `statistics.share_interval` gives if all pairs have the same rate."""
    return (1 - share_alike(min(models), level)) / 2


def models_for_bound(half_width: float, level: float = LEVEL) -> Models | None:
    """Return the fewest bases and references for a bound of at most this half-width; None beyond `MOST`."""
    for many in range(2, MOST + 1):
        if bound_half_width(Models(many, many), level) <= half_width:
            return Models(many, many)
    return None


def _numbers() -> list[int]:
    """Return the numbers of bases to try: all up to 40, then steps of a twentieth."""
    return np.unique(np.concatenate([np.arange(2, 41), np.geomspace(40, MOST, 80)]).round().astype(int)).tolist()


def _fewest(variances: Variances, bases: int, half_width: float, level: float, assurance: float) -> int | None:
    """Return the fewest references, from 2 to `MOST`, that give the wanted width with this many bases."""

    def enough(references: int) -> bool:
        models = Models(bases, references)
        return expected_half_width(variances, models, level=level, assurance=assurance) <= half_width

    if not enough(MOST):
        return None
    low, high = 1, MOST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if middle >= 2 and enough(middle) else (middle, high)
    return high
