"""The rate as a function of a counterfactual's margin on the base, or of its distance."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from cftransfer.measuring.answers_by_base import BaseAnswers
from cftransfer.measuring.statistics import LEVEL, ratio_interval

BINS = 10


def rate_curve(
    answers: Sequence[BaseAnswers], column: str = "margin", *, bins: int = BINS, level: float = LEVEL
) -> pd.DataFrame:
    """Return the rate in bins of equally many counterfactuals, with intervals over models.

    Args:
        answers: of all bases of a job.
        column: a numeric column of counterfactuals, such as `margin` or `distance_l2`.
        bins: their largest number; there are fewer if many counterfactuals have the same number.
        level: of the intervals, between 0 and 1.

    Returns:
        DataFrame: one row per bin: `low` and `high`, its ends; `x`, the mean of the column in it; `share`, its share of
            the job's counterfactuals (bases weigh the same); `rate`, `rate_low`, `rate_high`: the mean over pairs of
            the share in the bin that transferred, divided by the mean share in the bin.
    """
    values = [one.found[column].to_numpy(float) for one in answers]
    edges = quantile_edges(np.concatenate(values), bins)
    places = [bin_of(own, edges) for own in values]
    rows = []
    for which in range(len(edges) - 1):
        part, whole = shares_in(answers, [place == which for place in places])
        over = ratio_interval(part, whole, level=level)
        inside = np.concatenate([own[place == which] for own, place in zip(values, places, strict=True)])
        rows.append(
            {
                "low": edges[which],
                "high": edges[which + 1],
                "x": float(inside.mean()) if len(inside) else float("nan"),
                "share": float(whole.mean()),
                "rate": over.mean,
                "rate_low": over.low,
                "rate_high": over.high,
            }
        )
    return pd.DataFrame(rows)


def quantile_edges(values: np.ndarray, bins: int) -> np.ndarray:
    """(n,) → the ends of at most `bins` bins of equally many values; fewer bins if values are equal."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)))
    return edges if len(edges) > 1 else np.array([edges[0], edges[0]])


def bin_of(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(n,), (B + 1,) → (n,) the bin of each value, −1 outside all bins; a value on an edge is in the upper bin."""
    bins = np.searchsorted(edges[1:-1], values, side="right")
    return np.where((values < edges[0]) | (values > edges[-1]), -1, bins)


def shares_in(answers: Sequence[BaseAnswers], weights: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return (I, J) weighted shares of each pair's counterfactuals that transferred, and (I, J) those of all.

    weights: (n,) of every base, at least 0; bool counts the counterfactuals in a bin.
    """
    part = np.stack([(one.transferred * own).mean(1) for one, own in zip(answers, weights, strict=True)])
    whole = np.array([float(np.mean(own)) for own in weights])
    return part, np.broadcast_to(whole[:, None], part.shape)
