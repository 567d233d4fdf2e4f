"""Rates against the distance of references from their bases: thirds of the pairs, and a curve through all pairs."""

import numpy as np
import pandas as pd

THIRDS = ("near", "middle", "far")


def by_severity(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return one row per third of the pairs by disagreement, lowest first: number, mean disagreement and mean rate.

    Pairs of equal disagreement stay together; thirds without a pair are left out.
    """
    rated = pairs.dropna(subset=["rate"])
    if rated.empty:
        return pd.DataFrame(columns=["severity", "pairs", "disagreement", "rate"])
    ends = np.quantile(rated.disagreement, [1 / 3, 2 / 3])
    third = np.searchsorted(ends, rated.disagreement.to_numpy(), side="left")
    table = rated.groupby(third).agg(
        pairs=("rate", "size"), disagreement=("disagreement", "mean"), rate=("rate", "mean")
    )
    return table.assign(severity=[THIRDS[place] for place in table.index])[["severity", *table.columns]]


def fraction_lost(disagreement: np.ndarray, rate: np.ndarray) -> tuple[float, float] | None:
    """Return scale and exponent of 1 − rate = scale · disagreement^exponent, fitted to the logarithms of pairs.

    The curve begins at 0, since models that agree everywhere lose nothing. None if fewer than three pairs have lost
    counterfactuals, if all disagree equally, or if pairs that disagree more do not lose more.
    """
    lost = 1 - rate
    some = (lost > 0) & (disagreement > 0)
    x, y = np.log(disagreement[some]), np.log(lost[some])
    if len(x) < 3 or np.ptp(x) == 0:
        return None
    exponent, scale = np.polyfit(x, y, 1)
    return (float(np.exp(scale)), float(exponent)) if exponent > 0 else None
