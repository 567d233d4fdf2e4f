"""What a person meets is one future model, not the mean of many: how rates are spread over references."""

from typing import Any

import numpy as np
import pandas as pd

from cftransfer.columns import matrix
from cftransfer.measuring.statistics import LEVEL, share_interval


def tails(pairs: pd.DataFrame, holds: pd.DataFrame, *, level: float = LEVEL) -> dict[str, Any]:
    """Return how the rate is spread over the references; {} where a base has one reference.

    rate_all: share of found counterfactuals that all references accept, with an interval over bases, given these
    references. rate_p10, rate_min: the 10th percentile and the least of a base's rates over references, averaged over
    bases. These three depend on how many references there are: more of them find more that fail. The last two have no
    interval, since an extreme of few references says little about that of all.
    """
    rates = matrix(pairs)
    rates = rates[~np.isnan(rates).any(1)]
    if rates.size == 0 or rates.shape[1] < 2:
        return {}
    over = share_interval(accepted_by_all(holds).to_numpy()[:, None], level=level)
    return {
        "rate_all": over.mean,
        "rate_all_low": over.low,
        "rate_all_high": over.high,
        "rate_p10": float(np.quantile(rates, 0.1, axis=1).mean()),
        "rate_min": float(rates.min(1).mean()),
    }


def accepted_by_all(holds: pd.DataFrame) -> pd.Series:
    """Return by base the share of found counterfactuals that all references accept; every factual weighs the same."""
    by_factual = holds.assign(all=holds.share == 1).groupby(["base", "factual"])["all"].mean()
    return by_factual.groupby("base").mean()


def accepted_by(holds: pd.DataFrame) -> pd.DataFrame:
    """One row per k = 1 … J references: the share of found counterfactuals that at least k of them accept.

    Bases weigh the same, and so do the factuals of a base. No row where nothing was found. Where every base meets all J
    references, the mean of the shares is the transferability rate.
    """
    if holds.empty:
        return pd.DataFrame({"k": [], "references": [], "share": []}).astype({"k": int, "references": int})
    most = int(holds.n_references.max())
    held = (holds.share * holds.n_references).round().astype(int).to_numpy()
    weight = 1 / holds.groupby(["base", "factual"]).factual.transform("size").to_numpy()
    base, bases = pd.factorize(holds.base)
    counts = np.bincount(base * (most + 1) + held, weights=weight, minlength=len(bases) * (most + 1))
    counts = counts.reshape(len(bases), most + 1)  # of each base, how many 0, 1, … references accept
    at_least = counts[:, ::-1].cumsum(1)[:, ::-1]
    shares = (at_least[:, 1:] / at_least[:, :1]).mean(0)
    return pd.DataFrame({"k": range(1, most + 1), "references": most, "share": shares})
