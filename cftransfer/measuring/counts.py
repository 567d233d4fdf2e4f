"""Tables of transfers → sums by pair of models, from which `rates` computes every rate.

The table of all bases need not be in memory: the sums of each base's rows, joined, are the sums of all rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cftransfer.columns import CONTROLS, INVALIDATION, PAIR, counterfactual_key

CAPS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1000)


@dataclass(frozen=True, eq=False)
class Counts:
    """Counted answers of one group of references; every factual of a base counts one, with one proposal or several.

    pairs: one row per base × reference: how many counterfactuals were `found`, and how many of these had `agreement`,
    `transferred`, or did `both`; the means of the controls, NaN if nothing was found; and the means of
    `transferred_relaxed` and `invalidation`, if references were asked about them.
    targets: one row per base × reference × target class: `found` and `transferred`.
    """

    pairs: pd.DataFrame
    targets: pd.DataFrame


def count(transfers: pd.DataFrame) -> Counts:
    """Count a table of transfers: of one base, or of several."""
    by_pair = transfers.groupby(PAIR)
    kinds, pair = by_pair.size().index.to_frame(index=False), by_pair.ngroup().to_numpy()
    found, agreement = (transfers[name].to_numpy(dtype=bool) for name in ("found", "agreement"))
    transferred = _numbers(transfers.transferred)
    weight = weights(transfers, PAIR, found)
    sums = {"found": weight, "agreement": agreement * weight, "transferred": np.nan_to_num(transferred) * weight}
    sums["both"] = agreement * sums["transferred"]
    shares = [name for name in (*CONTROLS, INVALIDATION) if name in transfers]
    table = kinds.join(pd.DataFrame(sums).groupby(pair).sum()).join(_means(transfers[shares], pair, weight))
    if "transferred_relaxed" in transfers:
        relaxed = _numbers(transfers.transferred_relaxed)
        asked = weights(transfers, PAIR, ~np.isnan(relaxed))
        table = table.join(_means(pd.DataFrame({"transferred_relaxed": relaxed}), pair, asked))
    some = pd.DataFrame({name: sums[name][found] for name in ("found", "transferred")})
    targets = some.groupby([pair[found], transfers.target.to_numpy()[found]]).sum().rename_axis(["pair", "target"])
    of_pair = kinds.loc[targets.index.get_level_values("pair")].reset_index(drop=True)
    return Counts(table, of_pair.join(targets.reset_index("target").reset_index(drop=True)))


def _numbers(column: pd.Series) -> np.ndarray:
    """Return a column of numbers or of truth values as (rows,) float64, NaN where it is missing."""
    return column.to_numpy(dtype=float, na_value=np.nan)


def joined(parts: Sequence[Counts]) -> Counts:
    """Return the counts of several bases in one."""
    return Counts(
        *(pd.concat([getattr(part, name) for part in parts], ignore_index=True) for name in ("pairs", "targets"))
    )


def caps(counterfactuals: pd.DataFrame) -> list[int]:
    """Return caps on iterations: the CAPS below the largest number that was needed, then that number."""
    most = int(counterfactuals.iterations.max())
    return [*[cap for cap in CAPS if cap < most], most]


def by_cap(counterfactuals: pd.DataFrame, transfers: pd.DataFrame, caps: Sequence[int]) -> pd.DataFrame:
    """Return one row per base × reference × cap: how many were `found` within the cap, and how many `transferred`.

    Both tables are of one base; transfers has every reference's rows in the order of counterfactuals.
    """
    kinds = transfers[PAIR].iloc[:: len(counterfactuals)]
    transferred = np.nan_to_num(_numbers(transfers.transferred))
    which = np.arange(len(transfers)) // len(counterfactuals)
    found, iterations = counterfactuals.found.to_numpy(), counterfactuals.iterations.to_numpy()
    rows = []
    for cap in caps:
        weight = np.tile(weights(counterfactuals, ["base"], found & (iterations <= cap)), len(kinds))
        sums = {"found": weight, "transferred": transferred * weight}
        rows.append(kinds.assign(cap=cap, **{name: np.bincount(which, weights=one) for name, one in sums.items()}))
    return pd.concat(rows, ignore_index=True)


def held(counterfactuals: pd.DataFrame, transfers: pd.DataFrame) -> pd.DataFrame:
    """Return one row per found counterfactual: `n_references`, and the number of these on which it `held`.

    Both tables are of one base, as in `by_cap`.
    """
    transferred = _numbers(transfers.transferred).reshape(-1, len(counterfactuals))
    found = counterfactuals.found.to_numpy()
    table = counterfactuals.loc[found, counterfactual_key(counterfactuals)]
    return table.assign(n_references=len(transferred), held=transferred[:, found].sum(0))


def weights(table: pd.DataFrame, by: Sequence[str], flags: np.ndarray) -> np.ndarray:
    """Return (rows,) weights with which the flagged rows of a factual count as one; 0 for the other rows.

    by: the columns that identify a base, or a pair. flags: (rows,) bool.
    """
    if "proposal" not in table:
        return flags.astype(float)
    several = (
        table[[*by, "factual"]].assign(flagged=flags).groupby([*by, "factual"]).flagged.transform("sum").to_numpy()
    )
    return flags / np.maximum(several, 1)


def means(counterfactuals: pd.DataFrame, columns: Sequence[str], flag: str = "found") -> pd.DataFrame:
    """Return, by base, the means of columns over the rows with `flag`; every factual has the same weight."""
    weight = weights(counterfactuals, ["base"], counterfactuals[flag].to_numpy())
    values = counterfactuals[list(columns)]
    values = values.astype(float) if "proposal" in counterfactuals else values
    return _means(values, counterfactuals.base.to_numpy(), weight).rename_axis("base")


def _means(values: pd.DataFrame, groups: np.ndarray, weight: np.ndarray) -> pd.DataFrame:
    """Return a row per group: the weighted means of values, without values of weight 0."""
    kept = weight > 0
    values, groups, weight = values[kept], groups[kept], weight[kept, None]
    if (weight == 1).all():
        return values.groupby(groups).mean()
    return (values * weight).groupby(groups).sum() / (values.notna() * weight).groupby(groups).sum()
