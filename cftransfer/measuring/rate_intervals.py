"""Intervals over models for all numbers that a job has of its pairs: rates, their parts, controls, differences."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from cftransfer.columns import CONTROLS, INVALIDATION, PAIR, matrix
from cftransfer.measuring.counts import Counts, means
from cftransfer.measuring.rates import by_factual, by_target
from cftransfer.measuring.statistics import (
    LEVEL,
    Interval,
    bootstrap_interval,
    difference_interval,
    product_values,
    rate_interval,
    ratio_values,
    share_interval,
    two_way_interval,
    with_values,
)

LENGTHS = ("distance_l2", "pixel_l2", "pixel_linf", "knn_distance", "lof")
SHARES = ("knn_share", "invalidation_base")


def intervals(counterfactuals: pd.DataFrame, counts: Counts, *, level: float = LEVEL) -> dict[str, Any]:
    """Return the intervals of a job's rates, `NAME_low` and `NAME_high`, and the method of the rate's interval.

    The found share has an interval over bases. Shares of a share (`rate_conditional`, the rates by target) are ratios
    of two means; the end-to-end rate is a product of two. rate_bootstrap: a check on the rate's interval.
    rate_minus_random: the rate minus the random control of the same pairs, with its interval and the p of no
    difference.
    """
    every = matrices(counterfactuals, counts)
    rates = every.pop("rate")
    rate = rate_interval(rates, found=int(counts.pairs.found.round().sum()), level=level)
    known = {"rate": rate, "rate_bootstrap": bootstrap_interval(rates, level=level)}
    known |= {name: share_interval(with_values(values), level=level) for name, values in every.items()}
    random = difference_interval(rates, every["control_random"], level=level)
    return {"interval": rate.method} | ends(known) | difference("rate_minus_random", random)


def matrices(counterfactuals: pd.DataFrame, counts: Counts) -> dict[str, np.ndarray]:
    """Return, by name of a share, the values (bases, references) that average to it, NaN for bases without any."""
    table, places = counts.pairs, _places(counts.pairs)

    def of(values: np.ndarray) -> np.ndarray:
        return values[places]

    beside = table[[name for name in (*CONTROLS, INVALIDATION) if name in table]]
    shares = table[["transferred", "agreement", "both"]].div(table.found, axis=0)  # NaN for 0 / 0, without a warning
    rates, agreement, both = (of(shares[name].to_numpy()) for name in shares)
    found = _found_by_base(counterfactuals, table)
    return {
        "rate": rates,
        "found": found[:, None],
        "agreement": agreement,
        "rate_conditional": ratio_values(both, agreement),
        "rate_end_to_end": product_values(found, rates),
        **{str(name): of(column.to_numpy()) for name, column in beside.items()},
        **{f"rate_to_{target}": ratio_values(of(part), of(whole)) for target, part, whole in _by_target(counts)},
    }


def ends(known: Mapping[str, Interval]) -> dict[str, float]:
    """Return both ends of named intervals, by the names of metrics."""
    return {f"{name}_{end}": getattr(of, end) for name, of in known.items() for end in ("low", "high")}


def difference(name: str, of: Interval) -> dict[str, float]:
    """Return a difference, its interval, and the p of no difference, by the names of metrics."""
    return {name: of.mean, **ends({name: of}), f"{name}_p": of.p}


def target_intervals(counts: Counts, *, level: float = LEVEL) -> pd.DataFrame:
    """Return `rates.by_target` with the ends of each rate's interval over models, `low` and `high`."""
    places = _places(counts.pairs)
    known = [
        share_interval(with_values(ratio_values(part[places], whole[places])), level=level)
        for _, part, whole in _by_target(counts)
    ]
    return by_target(counts).assign(low=[of.low for of in known], high=[of.high for of in known])


def base_intervals(counterfactuals: pd.DataFrame, *, level: float = LEVEL) -> dict[str, float]:
    """Return the intervals, over bases, of means over found counterfactuals: `NAME_low`, `NAME_high`.

    They cover distances, plausibility, and noise on the base, if the table has them. Shares have the interval of a
    share; lengths and outlier factors have Student's, cut off at 0.
    """
    known = {}
    for name in [name for name in (*LENGTHS, *SHARES) if name in counterfactuals]:
        values = means(counterfactuals, [name])[name].dropna().to_numpy()[:, None]
        over = (share_interval if name in SHARES else two_way_interval)(values, level=level)
        known[name] = replace(over, low=max(over.low, 0.0))  # NaN stays NaN
    return ends(known)


def minus_seed(table: pd.DataFrame) -> dict[str, Any]:
    """Return the mean over pairs of rate − rate_seed, with an interval over the differences of pairs.

    Both rates of a pair are about the same counterfactuals, so the particular effects of a base cancel.
    """
    over = difference_interval(matrix(table), matrix(table, "rate_seed"))
    seed = float(np.nanmean(matrix(table, "rate_seed"))) if table.found.any() else float("nan")
    return {"rate_seed": seed} | difference("rate_minus_seed", over)


def survivorship(counterfactuals: pd.DataFrame, by_cap: pd.DataFrame) -> pd.DataFrame:
    """Return found share and rate, with its 95 % interval, as if the search had ended after fewer iterations.

    A search that ends at its first success gives the same counterfactual under every larger cap. The rows that survive
    a cap are those found within it, and they may be the easier ones. One row per cap; the last is the cap that was
    used, so its rate is the job's. by_cap: the table of `counts.by_cap`.
    """
    rows = []
    for cap, (within, rates) in survived(counterfactuals, by_cap).items():
        interval = rate_interval(rates, found=int(within.sum()))
        rows.append(
            {
                "cap": cap,
                "found": float(within.mean()),
                "rate": float("nan") if np.isnan(rates).all() else float(np.nanmean(rates)),
                "rate_low": interval.low,
                "rate_high": interval.high,
            }
        )
    return pd.DataFrame(rows)


def survived(counterfactuals: pd.DataFrame, by_cap: pd.DataFrame) -> dict[int, tuple[pd.Series, np.ndarray]]:
    """Return, by cap, which factuals have a counterfactual within it, and the rates (bases, references) of these."""
    table = by_cap.sort_values("cap", kind="stable")
    caps = table.cap.unique()
    places = _places(table.iloc[: len(table) // len(caps)])
    every = (table.transferred / table.found).to_numpy().reshape(len(caps), -1)  # NaN for 0 / 0
    found = {}
    for cap, shares in zip(caps.tolist(), every, strict=True):
        early = counterfactuals.found & (counterfactuals.iterations <= cap)
        found[cap] = by_factual(counterfactuals.assign(early=early), "early"), shares[places]
    return found


def _places(table: pd.DataFrame) -> np.ndarray:
    """Pairs → the row of the table for each cell of their matrix, as `columns.matrix` arranges them."""
    return matrix(table[PAIR].assign(rate=range(len(table)))).astype(int)


def _found_by_base(counterfactuals: pd.DataFrame, table: pd.DataFrame) -> np.ndarray:
    """Return (I,) shares of factuals with a found counterfactual, among those not yet in their target class."""
    eligible = counterfactuals[counterfactuals.status != "in_target"]
    shares = eligible.groupby(["base", "factual"]).found.any().groupby("base").mean()
    return shares.reindex(np.unique(table.base)).to_numpy(dtype=float)


def _by_target(counts: Counts) -> Iterator[tuple[Any, np.ndarray, np.ndarray]]:
    """Yield each target class with the shares of pairs' counterfactuals that transfer to it and aim at it."""
    every = counts.pairs.set_index(PAIR)
    for target, some in counts.targets.groupby("target"):
        part = some.set_index(PAIR)[["found", "transferred"]].reindex(every.index).fillna(0)
        transferred, found = ((part[name] / every.found).to_numpy() for name in ("transferred", "found"))
        yield target, transferred, found
