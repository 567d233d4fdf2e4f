"""The metrics of several splits of the rows → one set: means over splits, intervals over splits and models."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from cftransfer.columns import matrix
from cftransfer.measuring.counts import means
from cftransfer.measuring.over_splits import bootstrap_over_splits, spread_over_splits
from cftransfer.measuring.rate_intervals import LENGTHS, SHARES, difference, ends, survived
from cftransfer.measuring.statistics import Variances, change_interval, on_logit, student
from cftransfer.measuring.tails import accepted_by_all

COUNTED = ("pairs", "n_")  # metrics that are summed over splits; the others are averaged
DERIVED = ("_low", "_high", "_p")  # of an interval; recomputed over splits


@dataclass(frozen=True, eq=False)
class SplitAnswers:
    """The input of one split's intervals, from which the intervals of several splits are computed.

    matrices: by metric, values (bases, references) or (bases, 1) that average to it, NaN for bases without any.
    counterfactuals, by_cap: the arguments of `rate_intervals.survivorship`. ages: the matrices of shares after each
    number of extra epochs; one number without continued training.
    """

    matrices: dict[str, np.ndarray]
    counterfactuals: pd.DataFrame
    by_cap: pd.DataFrame
    ages: Sequence[dict[str, np.ndarray]] = field(default_factory=list)


def further_matrices(counterfactuals: pd.DataFrame, pairs: pd.DataFrame, holds: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the matrices of metrics that are not shares of counts: distances, differences, and `rate_all`."""
    bases = range(pairs.base.nunique())
    rates = matrix(pairs)
    found = {
        "rate_minus_random": rates - matrix(pairs, "control_random"),
        "disagreement": matrix(pairs, "disagreement"),
    }
    for name in [name for name in (*LENGTHS, *SHARES) if name in counterfactuals]:
        found[name] = means(counterfactuals, [name])[name].reindex(bases).to_numpy()[:, None]
    if rates.shape[1] > 1:
        found["rate_all"] = accepted_by_all(holds).reindex(bases).to_numpy()[:, None]
    if "rate_seed" in pairs:
        found["rate_minus_seed"] = rates - matrix(pairs, "rate_seed")
    return found


def metrics_over_splits(metrics: Sequence[dict[str, Any]], answers: Sequence[SplitAnswers]) -> dict[str, Any]:
    """Return the metrics of a job of several splits, with the same names as those of one split.

    Means are over the splits that have a number; counts are sums. Intervals, and the p of differences, are over splits
    and models (`over_splits`). splits: their number. rate_variance_split, _base, _reference, _pair: the variances of a
    pair's rate due to its split, its base, its reference, and the pair.
    """
    every = list(dict.fromkeys(name for one in metrics for name in one))
    known = {name: [one[name] for one in metrics if name in one] for name in every if name != "interval"}
    pooled: dict[str, Any] = {}
    for name, values in known.items():
        if name.startswith(COUNTED):
            pooled[name] = sum(values)
        elif not name.endswith(DERIVED):
            pooled[name] = mean_of(values)
    matrices = _by_metric(metrics, answers)
    rate = spread_over_splits(matrices["rate"])
    over = {"splits": len(metrics), "interval": rate.method, **_variances(rate.variances)}
    over |= ends({"rate_bootstrap": bootstrap_over_splits(matrices["rate"])})
    for name in [name for name in matrices if f"{name}_low" in known]:
        over |= _interval(name, matrices[name])
    return pooled | over


def curve_over_splits(curves: Sequence[pd.DataFrame], ages: Sequence[Sequence[dict[str, np.ndarray]]]) -> pd.DataFrame:
    """Return the curve of continued training over splits: one row per number of extra epochs, as for one split.

    That number is the first column. ages: of each split, the matrices of shares after every number of extra epochs.
    """
    step, rows = str(curves[0].columns[0]), []
    for index, at in enumerate(curves[0][step]):
        points = [curve.iloc[index] for curve in curves]
        means = {name: mean_of([point[name] for point in points]) for name in curves[0].columns.drop(step)}
        for name in [name for name in ages[0][index] if f"{name}_low" in means]:
            means |= _interval(name, [of_split[index][name] for of_split in ages])
        rows.append({step: at} | means)
    return pd.DataFrame(rows)


def survivorship_over_splits(answers: Sequence[SplitAnswers]) -> pd.DataFrame:
    """Return `rate_intervals.survivorship` over splits: means over them, with intervals over splits and models.

    A split in which all searches ended within fewer iterations than a cap keeps its last values.
    """
    every = [survived(one.counterfactuals, one.by_cap) for one in answers]
    last = max(max(of_split) for of_split in every)
    caps = sorted({cap for of_split in every for cap in of_split if all(cap in one or cap > max(one) for one in every)})
    rows = []
    for cap in dict.fromkeys([*caps, last]):
        there = [one.get(cap, one[max(one)]) for one in every]
        rates = [of_split for _, of_split in there]
        known = spread_over_splits(rates)
        found = mean_of([float(within.mean()) for within, _ in there])
        rows.append({"cap": cap, "found": found, "rate": known.mean, **ends({"rate": on_logit(known)})})
    return pd.DataFrame(rows)


def mean_of(values: Sequence[float]) -> float:
    """Return the mean of the values that are numbers, NaN if there are none."""
    numbers = [value for value in values if not np.isnan(value)]
    return float(np.mean(numbers)) if numbers else float("nan")


def _interval(name: str, values: Sequence[np.ndarray]) -> dict[str, float]:
    """Return the metrics of an interval: a change's for differences, Student's for lengths, a share's for others.

    values: of each split, (bases, references).
    """
    known = spread_over_splits(values)
    if "minus" in name:
        return difference(name, change_interval(known))
    if name not in LENGTHS:
        return ends({name: on_logit(known)})
    over = student(known)
    return {f"{name}_low": max(over.low, 0.0), f"{name}_high": over.high}


def _by_metric(metrics: Sequence[dict[str, Any]], answers: Sequence[SplitAnswers]) -> dict[str, list[np.ndarray]]:
    """Return the matrices of the splits by metric; if a split found nothing, its end-to-end rates are 0."""
    matrices: dict[str, list[np.ndarray]] = {}
    for numbers, one in zip(metrics, answers, strict=True):
        for name, values in one.matrices.items():
            nothing = name == "rate_end_to_end" and numbers["found"] == 0
            matrices.setdefault(name, []).append(np.zeros_like(values) if nothing else values)
    return matrices


def _variances(of: Variances | None) -> dict[str, float]:
    if of is None:
        return {}
    owed = {"split": of.split, "base": of.base, "reference": of.reference, "pair": of.error}
    return {f"rate_variance_{name}": part for name, part in owed.items()}
