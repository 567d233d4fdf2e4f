"""Answers of references, counted and packed one base at a time, so that all of them are never in memory together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa

from cftransfer.jobs.examples import first
from cftransfer.jobs.write import packed
from cftransfer.measuring.counts import Counts, by_cap, caps, count, held, joined
from cftransfer.measuring.per_counterfactual import bounded


@dataclass(frozen=True, eq=False)
class AllBases:
    """Answers of groups of references about the counterfactuals of all bases.

    counts, transfers: one per group. by_cap, holds, first: results of the functions of these names for one group's
    transfers (holds: of `per_counterfactual`).
    """

    counts: list[Counts]
    transfers: list[pa.Table]
    by_cap: pd.DataFrame
    holds: pd.DataFrame
    first: pd.DataFrame


def base_by_base(counterfactuals: pd.DataFrame, tables: Iterable[Sequence[pd.DataFrame]], *, group: int) -> AllBases:
    """Count and pack the tables that `transfer_tables` yields. group: the one for by_cap, holds and first."""
    limits = caps(counterfactuals)
    counts, transfers, of_group = [], [], []
    for base, some in enumerate(tables):
        own = counterfactuals[counterfactuals.base == base]
        counts.append([count(table) for table in some])
        transfers.append([packed(table) for table in some])
        table = some[group]
        of_group.append((by_cap(own, table, limits), held(own, table), first(table)))
    capped, hold, shown = (pd.concat(parts, ignore_index=True) for parts in zip(*of_group, strict=True))
    return AllBases(
        [joined(parts) for parts in zip(*counts, strict=True)],
        [pa.concat_tables(parts, promote_options="default") for parts in zip(*transfers, strict=True)],
        capped,
        bounded(counterfactuals, hold),
        shown,
    )
