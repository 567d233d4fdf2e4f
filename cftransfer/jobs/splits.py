"""The results of a job on several splits of the rows → one result; its long tables have a column `split`."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cftransfer.columns import SPLIT
from cftransfer.jobs.write import JobResult, packed
from cftransfer.measuring.split_metrics import (
    SplitAnswers,
    curve_over_splits,
    metrics_over_splits,
    survivorship_over_splits,
)
from cftransfer.measuring.stage_seconds import together

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

SHOWN = ("examples", "extremes")  # a few counterfactuals to look at; the first split's are kept


def over_splits(
    results: Sequence[JobResult], answers: Sequence[SplitAnswers], seeds: Sequence[int], data: dict[str, Any]
) -> JobResult:
    """Return the result of all splits.

    answers: of each split, the input of its intervals. seeds: the split_seed of each. data: the identity of the data
    of all splits.
    """
    by_name: dict[str, list[tuple[int, Any]]] = {}
    for seed, result in zip(seeds, results, strict=True):
        for name, table in result.tables.items():
            by_name.setdefault(name, []).append((seed, table))
    tables = {
        name: survivorship_over_splits(answers)
        if name == "survivorship"
        else _joined(parts[:1] if name in SHOWN else parts)
        for name, parts in by_name.items()
    }
    curves = [result.curve for result in results if result.curve is not None]
    shown = next((result for result in results if "examples" in result.tables), results[0])
    return replace(
        shown,
        metrics=metrics_over_splits([result.metrics for result in results], answers),
        tables=tables,
        curve=curve_over_splits(curves, [one.ages for one in answers]) if curves else None,
        kept=list(dict.fromkeys(file for result in results for file in result.kept)),
        data=data,
        seconds=together([result.seconds for result in results if result.seconds is not None]),
        notes=[f"split {seed}: {note}" for seed, one in zip(seeds, results, strict=True) for note in one.notes],
    )


def _joined(parts: Sequence[tuple[int, "pd.DataFrame | pa.Table"]]) -> "pa.Table":
    """Return tables stacked, with the split of each in the first column."""
    import pyarrow as pa

    with_split = []
    for seed, part in parts:
        table = packed(part)
        with_split.append(table.add_column(0, SPLIT, pa.array([seed] * len(table), pa.int64())))
    return pa.concat_tables(with_split, promote_options="default")
