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
    found = transfers.found.to_numpy(dtype=bool)
    agreement = transfers.agreement.to_numpy(dtype=bool) & found
    transferred = transfers.transferred.fillna(False).to_numpy(dtype=bool) & found
    weight = weights(transfers, PAIR)
    flags = {"found": found, "agreement": agreement, "transferred": transferred, "both": agreement & transferred}
    sums = pd.DataFrame({name: flag * weight for name, flag in flags.items()})
    tables = [sums.groupby([transfers[name].to_numpy() for name in PAIR]).sum()]
    tables.append(means(transfers, PAIR, CONTROLS))
    if "transferred_relaxed" in transfers:
        relaxed = transfers.transferred_relaxed
        asked = transfers.assign(crossed=relaxed.notna(), transferred_relaxed=relaxed.astype(float))
        tables.append(means(asked, PAIR, ["transferred_relaxed"], "crossed"))
    by = [transfers[name].to_numpy()[found] for name in (*PAIR, "target")]
    targets = sums.loc[found, ["found", "transferred"]].groupby(by).sum()
    return Counts(
        pd.concat(tables, axis=1).rename_axis(PAIR).reset_index(),
        targets.rename_axis([*PAIR, "target"]).reset_index(),
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

    counterfactuals: of the same bases as transfers, at least.
    """
    key = counterfactual_key(counterfactuals)
    some = transfers.loc[transfers.found, [*dict.fromkeys([*PAIR, *key]), "found", "transferred"]]
    found = some.merge(counterfactuals[[*key, "iterations"]], on=key, validate="many_to_one")
    kinds = transfers[PAIR].drop_duplicates(ignore_index=True)
    which = found[PAIR].merge(kinds.reset_index(), on=PAIR, how="left")["index"].to_numpy()  # counting is by pair
    transferred, iterations = found.transferred.to_numpy(dtype=float), found.iterations.to_numpy()
    rows = []
    for cap in caps:
        kept = iterations <= cap
        weight = weights(found[kept], PAIR)
        sums = {"found": weight, "transferred": transferred[kept] * weight}
        counted = {name: np.bincount(which[kept], weights=sum, minlength=len(kinds)) for name, sum in sums.items()}
        rows.append(kinds.assign(cap=cap, **counted))
    return pd.concat(rows, ignore_index=True)


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
    some = table[table[flag]]
    if "proposal" not in table:
        return some.groupby(list(by))[list(columns)].mean()
    weight, values = weights(some, by, flag)[:, None], some[list(columns)].astype(float)
    groups = [some[name] for name in by]
    return (values * weight).groupby(groups).sum() / (values.notna() * weight).groupby(groups).sum()
