"""The spread of rates over references: a person meets one future model, not the mean of many."""

from typing import Any

import numpy as np
import pandas as pd

from cftransfer.columns import matrix
from cftransfer.measuring.statistics import LEVEL, share_interval


def tails(pairs: pd.DataFrame, holds: pd.DataFrame, *, level: float = LEVEL) -> dict[str, Any]:
    """Return the spread of the rate over the references; {} if a base has one reference.

    rate_all: the share of found counterfactuals that all references accept, with an interval over bases, given these
    references. rate_p10, rate_min: the 10th percentile and the minimum of a base's rates over references, averaged over
    bases. All three depend on the number of references: more references find more failures. The last two have no
    interval, since the extreme of a few references says little about the extreme of all.
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
    """Return, by base, the share of found counterfactuals that all references accept; every factual weighs the same."""
    by_factual = holds.assign(all=holds.share == 1).groupby(["base", "factual"])["all"].mean()
    return by_factual.groupby("base").mean()


def accepted_by(holds: pd.DataFrame) -> pd.DataFrame:
    """Return one row per k = 1 … J references: the share of found counterfactuals that at least k of them accept.

    Bases weigh the same, and so do the factuals of a base. No rows if nothing was found. If every base meets all J
    references, the mean of the shares is the transferability rate.
    """
    if holds.empty:
        return pd.DataFrame({"k": [], "references": [], "share": []}).astype({"k": int, "references": int})
    most = int(holds.n_references.max())
    held = (holds.share * holds.n_references).round().astype(int).to_numpy()
    weight = 1 / holds.groupby(["base", "factual"]).factual.transform("size").to_numpy()
    base, bases = pd.factorize(holds.base)
    counts = np.bincount(base * (most + 1) + held, weights=weight, minlength=len(bases) * (most + 1))
    counts = counts.reshape(len(bases), most + 1)  # per base, how many are accepted by 0, 1, … references
    at_least = counts[:, ::-1].cumsum(1)[:, ::-1]
    shares = (at_least[:, 1:] / at_least[:, :1]).mean(0)
    return pd.DataFrame({"k": range(1, most + 1), "references": most, "share": shares})
