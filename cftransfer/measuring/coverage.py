"""How often an interval holds the truth, simulated with models that spread as those of a job do."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cftransfer.measuring.statistics import Interval

ROUNDS = 1000  # simulated tables; a coverage of .95 is then known to within .014


@dataclass(frozen=True)
class Spread:
    """Standard deviations of values over bases, over references, and of what is left for a pair, each ≥ 0."""

    bases: float
    references: float
    pairs: float


def spread_of(values: np.ndarray) -> Spread:
    """values: (I, J), both ≥ 2, one per base × reference → their spread, by mean squares; a negative variance is 0."""
    I, J = values.shape
    rows, columns = values.mean(1), values.mean(0)
    left = values - rows[:, None] - columns[None, :] + values.mean()
    error = (left**2).sum() / ((I - 1) * (J - 1))
    bases = max(rows.var(ddof=1) - error / J, 0.0)
    references = max(columns.var(ddof=1) - error / I, 0.0)
    return Spread(float(np.sqrt(bases)), float(np.sqrt(references)), float(np.sqrt(error)))


def coverage(
    interval: Callable[[np.ndarray], Interval], spread: Spread, *, shape: tuple[int, int], rounds: int = ROUNDS
) -> float:
    """Return the share of simulated tables (bases, references) whose interval holds the true mean, here 0.

    Every cell is the sum of a normal number for its base, one for its reference, and one of its own: what
    `two_way_interval` assumes. The same arguments give the same share.
    """
    random, held = np.random.default_rng(0), 0
    for _ in range(rounds):
        bases, references = random.normal(size=(shape[0], 1)), random.normal(size=(1, shape[1]))
        own = random.normal(size=shape)
        found = interval(spread.bases * bases + spread.references * references + spread.pairs * own)
        held += found.low <= 0 <= found.high
    return held / rounds
