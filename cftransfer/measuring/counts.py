"""Tables of transfers → sums by pair of models, of which `rates` makes every rate.

A table of all bases need not be in memory: the sums of each base's rows, joined, are the sums of all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cftransfer.columns import CONTROLS, PAIR, counterfactual_key

CAPS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1000)


@dataclass(frozen=True, eq=False)
class Counts:
    """What one group of references says, counted; every factual of a base counts one, however many proposals it has.

    pairs: one row per base × reference: how many counterfactuals were `found`, and of these with `agreement`,
    `transferred`, and with `both`; the means of the controls, NaN where nothing was found, and of
    `transferred_relaxed`, where references were asked about it.
    targets: one row per base × reference × target class: `found` and `transferred`.
    """

    pairs: pd.DataFrame
    targets: pd.DataFrame


def count(transfers: pd.DataFrame) -> Counts:
    """Count a table of transfers: of one base, or of several."""
    by_pair = transfers.groupby(PAIR)
    kinds = by_pair.size().index.to_frame(index=False)
    rows = transfers.assign(pair=by_pair.ngroup())  # one number to group by, not four
    found = rows.found.to_numpy(dtype=bool)
    agreement = rows.agreement.to_numpy(dtype=bool) & found
    transferred = rows.transferred.fillna(False).to_numpy(dtype=bool) & found
    flags = {"found": found, "agreement": agreement, "transferred": transferred, "both": agreement & transferred}
    weight = weights(rows, ["pair"])
    weighted = rows[["pair", "target"]].assign(**{name: flag * weight for name, flag in flags.items()})
    tables = [kinds, weighted.groupby("pair")[list(flags)].sum(), means(rows, ["pair"], CONTROLS)]
    if "transferred_relaxed" in rows:
        relaxed = rows.transferred_relaxed
        asked = rows.assign(crossed=relaxed.notna(), transferred_relaxed=relaxed.astype(float))
        tables.append(means(asked, ["pair"], ["transferred_relaxed"], "crossed"))
    targets = weighted[found].groupby(["pair", "target"])[["found", "transferred"]].sum().reset_index()
    return Counts(
        pd.concat(tables, axis=1), targets.drop(columns="pair").join(kinds.loc[targets.pair].reset_index(drop=True))
    )


def joined(parts: Sequence[Counts]) -> Counts:
    """Return the counts of several bases in one."""
    return Counts(
        *(pd.concat([getattr(part, name) for part in parts], ignore_index=True) for name in ("pairs", "targets"))
    )


def caps(counterfactuals: pd.DataFrame) -> list[int]:
    """Return caps on iterations: some that are smaller than the largest that was needed, then that one."""
    most = int(counterfactuals.iterations.max())
    return [*[cap for cap in CAPS if cap < most], most]


def by_cap(counterfactuals: pd.DataFrame, transfers: pd.DataFrame, caps: Sequence[int]) -> pd.DataFrame:
    """One row per base × reference × cap: counterfactuals `found` within so many iterations, and `transferred` of them.

    Both tables are of one base; transfers has every reference's rows in the order of counterfactuals.
    """
    kinds = transfers[PAIR].iloc[:: len(counterfactuals)]
    transferred = transfers.transferred.fillna(False).to_numpy(dtype=bool)
    which = np.arange(len(transfers)) // len(counterfactuals)
    own = counterfactuals[[*counterfactual_key(counterfactuals), "found", "iterations"]]
    each = [weights(own.assign(early=own.found & (own.iterations <= cap)), ["base"], "early") for cap in caps]
    moved = [np.bincount(which, weights=transferred * np.tile(weight, len(kinds))) for weight in each]
    return pd.concat([kinds] * len(caps), ignore_index=True).assign(
        cap=np.repeat(caps, len(kinds)),
        found=np.repeat([weight.sum() for weight in each], len(kinds)),
        transferred=np.concatenate(moved),
    )


def weights(table: pd.DataFrame, by: Sequence[str], flag: str = "found") -> np.ndarray:
    """Return (rows,) weights by which the rows of a factual with `flag` count as one; 0 for the others.

    by: the columns that tell bases, or pairs, apart.
    """
    flags = table[flag].to_numpy(dtype=float)
    if "proposal" not in table:
        return flags
    several = table.assign(flagged=flags).groupby([*by, "factual"]).flagged.transform("sum").to_numpy()
    return flags / np.maximum(several, 1)


def means(table: pd.DataFrame, by: Sequence[str], columns: Sequence[str], flag: str = "found") -> pd.DataFrame:
    """Return by base, or by pair, the means of columns over the rows with `flag`; every factual weighs the same."""
    needed = [name for name in (*by, *columns, flag, "factual", "proposal") if name in table]
    some = table.loc[table[flag], list(dict.fromkeys(needed))]
    if "proposal" not in table:
        return some.groupby(list(by))[list(columns)].mean()
    weight, values = weights(some, by, flag)[:, None], some[list(columns)].astype(float)
    groups = [some[name] for name in by]
    return (values * weight).groupby(groups).sum() / (values.notna() * weight).groupby(groups).sum()
