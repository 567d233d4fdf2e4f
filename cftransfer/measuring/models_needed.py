"""How many bases and references give an interval of a wanted width."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import special

from cftransfer.measuring.statistics import LEVEL, Variances, share_alike

MOST = 2000  # most bases or references; beyond that, models alone do not help
COST = (2.0, 1.0, 0.0)  # of a base with its search, of a reference, and of asking it about one base


class Models(NamedTuple):
    """Numbers of bases and references. With one reference, each base has its own."""

    bases: int
    references: int

    @property
    def rarer(self) -> int:
        """The number of the rarer kind of model that varies."""
        return self.bases if self.references == 1 else min(self)

    def cost(self, each: tuple[float, float, float]) -> float:
        """Return the cost of these models: of a base with its search, a reference, and asking it about one base."""
        trained = self.bases if self.references == 1 else self.references
        return self.bases * each[0] + trained * each[1] + self.bases * self.references * each[2]


def expected_error(variances: Variances, models: Models) -> tuple[float, float]:
    """Return the standard error of the mean over these models, and its degrees of freedom.

    They are those of `statistics.spread` if its mean squares have their expected values.
    """
    I, J = models
    if J == 1:
        return float(np.sqrt((variances.base + variances.reference + variances.error) / I)), I - 1
    parts = (
        (J * variances.base + variances.error, I - 1),
        (I * variances.reference + variances.error, J - 1),
        (variances.error, (I - 1) * (J - 1)),
    )
    total = parts[0][0] + parts[1][0] - parts[2][0]
    if total <= 0:
        return 0.0, 1.0
    freedom = max(1 / sum((square / total) ** 2 / df for square, df in parts), min(I, J) - 1)
    return float(np.sqrt(total / (I * J))), freedom


def expected_half_width(
    variances: Variances,
    models: Models,
    *,
    level: float = LEVEL,
    assurance: float = 0.5,
    mean: float | None = None,
) -> float:
    """Return half the expected width of the two-way interval; it is not exceeded with probability `assurance`.

    The estimated error scatters around its expected value like the root of a χ² over its degrees of freedom, or over
    fewer if the rates have the long tail of a Beta distribution. mean: of the rate, above 0 and below 1; without it the
    width is that of Student's interval, not of the interval on the logit, and no tail is assumed.
    """
    error, freedom = expected_error(variances, models)
    half = float(special.stdtrit(freedom, (1 + level) / 2)) * error
    if assurance != 0.5 and error > 0:
        known = 1 / (1 / freedom + _scatter_of_tails(variances, models, error, mean))
        half *= float(np.sqrt(special.chdtri(known, 1 - assurance) / known))
    return half_on_logit(half, mean)


def _scatter_of_tails(variances: Variances, models: Models, error: float, mean: float | None) -> float:
    """Return how much the tail of the rates adds to 1 / degrees of freedom.

    The variance of a sample's variance s² is σ⁴ · (2 / (n − 1) + κ / n), where κ is the excess kurtosis: here that of
    the Beta distribution with the rates' mean and variance, if it is above 0.
    """
    I, J = models
    every = variances.base + variances.reference + variances.error
    if mean is None or not 0 < every < mean * (1 - mean):
        return 0.0
    total = mean * (1 - mean) / every - 1
    a, b = mean * total, (1 - mean) * total
    kurtosis = 6 * ((a - b) ** 2 * (total + 1) - a * b * (total + 2)) / (a * b * (total + 2) * (total + 3))
    if J == 1:
        return max(kurtosis, 0.0) / (2 * I)
    bases, references = (
        variances.base / I + variances.error / (I * J),
        variances.reference / J + variances.error / (I * J),
    )
    return max(kurtosis, 0.0) / 2 * (bases**2 / I + references**2 / J) / error**4


def half_on_logit(half: float, mean: float | None) -> float:
    """Return half the width of `statistics.on_logit` for this half-width of Student's; the same without a mean."""
    if mean is None or not 0 < mean < 1:
        return half
    middle, apart = special.logit(mean), half / (mean * (1 - mean))
    return float(special.expit(middle + apart) - special.expit(middle - apart)) / 2


def models_needed(
    variances: Variances,
    *,
    half_width: float,
    level: float = LEVEL,
    cost: tuple[float, float, float] = COST,
    assurance: float = 0.5,
    mean: float | None = None,
) -> Models | None:
    """Return the cheapest bases × references with at most this half-width; None if `MOST` are not enough.

    half_width: above 0, in units of the rate. cost: of a base (including its search), of a reference, and of asking one
    reference about one base; only their ratios matter. mean: as for `expected_half_width`.
    """
    if half_width <= 0:
        return None

    def enough(models: Models) -> bool:
        return expected_half_width(variances, models, level=level, assurance=assurance, mean=mean) <= half_width

    return cheapest(enough, cost)


def bases_needed(
    variance: float, *, half_width: float, level: float = LEVEL, assurance: float = 0.5, mean: float | None = None
) -> Models | None:
    """Return the fewest bases, each with its own reference, with at most this half-width; None beyond `MOST`.

    variance: of the rate, or of its change, over such pairs. half_width: above 0, in units of the rate. mean: as for
    `expected_half_width`.
    """
    of_pairs = Variances(variance, 0.0, 0.0)
    for bases in range(2, MOST + 1):
        models = Models(bases, 1)
        if expected_half_width(of_pairs, models, level=level, assurance=assurance, mean=mean) <= half_width:
            return models
    return None


def bound_half_width(models: Models, level: float = LEVEL) -> float:
    """Return half the width of the bound that `statistics.share_interval` gives if all pairs have the same rate."""
    return (1 - share_alike(models.rarer, level)) / 2


def models_for_bound(half_width: float, level: float = LEVEL) -> Models | None:
    """Return the fewest bases and references for a bound of at most this half-width; None beyond `MOST`."""
    for many in range(2, MOST + 1):
        if bound_half_width(Models(many, many), level) <= half_width:
            return Models(many, many)
    return None


def cheapest(
    enough: Callable[[Models], bool],
    cost: tuple[float, float, float] = COST,
    *,
    nested: bool = False,
    below: float = np.inf,
) -> Models | None:
    """Return the cheapest models that are enough, and cost less than `below`; None if there are none up to `MOST`.

    More models than enough must be enough. nested: each base has its own reference.
    """
    best, least = None, below
    if not enough(Models(MOST, 1 if nested else MOST)):
        return None
    for bases in _numbers():
        if bases * cost[0] >= least:
            break
        references = int(enough(Models(bases, 1))) if nested else _fewest(enough, bases)
        if references and (price := Models(bases, references).cost(cost)) < least:
            best, least = Models(bases, references), price
    return best


def _numbers() -> list[int]:
    """Return the numbers of bases to try: all up to 40, then steps of a twentieth."""
    return np.unique(np.concatenate([np.arange(2, 41), np.geomspace(40, MOST, 80)]).round().astype(int)).tolist()


def _fewest(enough: Callable[[Models], bool], bases: int) -> int | None:
    """Return the fewest references, from 2 to `MOST`, that are enough with this many bases."""
    if not enough(Models(bases, MOST)):
        return None
    low, high = 1, MOST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if middle >= 2 and enough(Models(bases, middle)) else (middle, high)
    return high
