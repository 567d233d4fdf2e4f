"""The coverage of an interval, simulated with models that vary as a job's models do."""

from collections.abc import Callable

import numpy as np

from cftransfer.measuring.statistics import Interval, Variances

ROUNDS = 1000  # simulated tables; a coverage of .95 is then known to within .014


def coverage(
    interval: Callable[[np.ndarray], Interval],
    variances: Variances,
    *,
    shape: tuple[int, int],
    mean: float = 0.0,
    rounds: int = ROUNDS,
) -> float:
    """Return the share of simulated tables (bases, references) for which the interval holds the true mean.

    Every cell is the mean plus a normal number for its base, one for its reference, and one of its own: the model of
    `statistics.spread`. The same arguments give the same share.
    """
    random, held = np.random.default_rng(0), 0
    base, reference, error = np.sqrt([variances.base, variances.reference, variances.error])
    for _ in range(rounds):
        bases, references = random.normal(size=(shape[0], 1)), random.normal(size=(1, shape[1]))
        found = interval(mean + base * bases + reference * references + error * random.normal(size=shape))
        held += found.low <= mean <= found.high
    return held / rounds
