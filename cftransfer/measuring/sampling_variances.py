"""How much of a pair's rate varies because a base has a finite number of counterfactuals."""

from typing import TypeAlias

import pandas as pd

from cftransfer.measuring.statistics import Variances

Sampling: TypeAlias = tuple[Variances, int]  # variances of one counterfactual's rate; counterfactuals per base


def sampling_of(holds: pd.DataFrame) -> Sampling:
    """Return `sampling_variances`, and the mean number of factuals with counterfactuals per base."""
    many = holds.groupby("base").factual.nunique()
    return sampling_variances(holds), round(many.mean()) if len(many) else 0


def sampling_variances(holds: pd.DataFrame) -> Variances:
    """Return the variances of a pair's rate if it had a single counterfactual: by its base, and by chance.

    holds: one row per base × factual, with `share`, the share of `n_references` that the counterfactual holds on.

    The effect of a factual on all bases is the same in every cell, so it adds no variance between models and is left
    out. The base's part is that of the two-way table of bases and factuals, less the error from few references. With
    one reference per base, their parts are not known separately, and both are the base's.
    """
    table = holds.groupby(["base", "factual"])[["share", "n_references"]].mean()
    bases = table.index.get_level_values("base").nunique()
    everywhere = table.share[table.groupby("factual").share.transform("size") == bases]
    shares = everywhere.unstack("base").to_numpy()  # (factuals, bases), of factuals with counterfactuals on all bases
    references = float(table.n_references.mean())
    if min(shares.shape) < 2:
        return Variances(0.0, 0.0, 0.0)
    apart = shares - shares.mean(1, keepdims=True) - shares.mean(0) + shares.mean()
    together = float((apart**2).sum() / ((shares.shape[0] - 1) * (shares.shape[1] - 1)))
    if references < 2:
        return Variances(base=together, reference=0.0, error=0.0)
    chance = float((shares * (1 - shares)).mean() * references / (references - 1))
    return Variances(base=max(together - chance / references, 0.0), reference=0.0, error=chance)
