"""Rates against how far references are from their bases: thirds of the pairs, and a curve through all of them."""

import numpy as np
import pandas as pd

THIRDS = ("near", "middle", "far")


def by_severity(pairs: pd.DataFrame) -> pd.DataFrame:
    """One row per third of the pairs, from those that disagree least: how many, their mean disagreement and rate.

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

    Models that agree everywhere lose nothing, so that the curve begins there. None where fewer than three pairs have
    lost some counterfactuals, all disagree equally, or those that disagree more do not lose more.
    """
    lost = 1 - rate
    some = (lost > 0) & (disagreement > 0)
    x, y = np.log(disagreement[some]), np.log(lost[some])
    if len(x) < 3 or np.ptp(x) == 0:
        return None
    exponent, scale = np.polyfit(x, y, 1)
    return (float(np.exp(scale)), float(exponent)) if exponent > 0 else None
