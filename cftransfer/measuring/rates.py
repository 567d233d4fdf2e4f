"""Counts → rates. docs/reference/output.md describes every number, `rate_intervals` has their intervals over models.

Every pair of a base and a reference weighs the same, however many counterfactuals its base found. So does every factual
of a base: if several counterfactuals were found for it (column `proposal`), each counts one over their number.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from cftransfer.columns import CONTROLS, INVALIDATION, PAIR
from cftransfer.data.pixels import GREYS
from cftransfer.measuring.counts import Counts, means
from cftransfer.models.prediction import Asked, logits, predicted
from cftransfer.searching.candidates import Counterfactuals

PER_BASE = ["distance_l2", "distance_linf", "pixel_l2", "pixel_linf", "nearest_l2", "iterations", "margin"]
PER_BASE += ["knn_distance", "knn_share", "lof", "invalidation_base"]  # if the job has them
ROUNDING = 1e-12  # of a share: less counts as nothing


def pairs(counts: Counts) -> pd.DataFrame:
    """Return one row per base × reference, over the counterfactuals found on the base.

    found: their number; agreement: the share for which both models put the factual in the same class; rate: the share
    transferred; rate_conditional: the share transferred among those with agreement; controls: the shares of control
    points that the reference puts in the target class; invalidation, if there is noise: the share of noisy
    counterfactuals that it puts in other classes. NaN for a share of nothing.
    """
    table = counts.pairs
    return table[PAIR].assign(
        found=table.found.round().astype(int),
        agreement=table.agreement / table.found,
        rate=table.transferred / table.found,
        rate_conditional=table.both / table.agreement,
        **table[_asked(table)],
    )


def by_target(counts: Counts) -> pd.DataFrame:
    """Return one row per target class: n_tried, the number of counterfactuals asked about, and their rate.

    A class's share among the found counterfactuals, and among those that transferred, is a mean over pairs. The rates
    of all classes, weighted by these shares, add up to the rate.
    """
    every = counts.pairs.set_index(PAIR)
    rows = []
    for target, some in counts.targets.groupby("target"):
        part = some.set_index(PAIR)[["found", "transferred"]].reindex(every.index).fillna(0)
        share, transferred = ((part[name] / every.found).mean() for name in ("found", "transferred"))
        rows.append({"target": target, "n_tried": round(part.found.sum()), "rate": transferred / share})
    return pd.DataFrame(rows, columns=["target", "n_tried", "rate"])


def rates(counterfactuals: pd.DataFrame, counts: Counts) -> dict[str, Any]:
    """Return the named rates of a job; NaN for a share of nothing.

    Every pair weighs the same in all of them, so that the parts add up:
    rate = agreement · rate_conditional + (1 − agreement) · rate_disagree, and likewise over the targets. A factual that
    was in its target class from the start does not count as searched.
    """
    table = counts.pairs
    agreement, rate, both = ((table[name] / table.found).mean() for name in ("agreement", "transferred", "both"))
    to = by_target(counts).set_index("target")
    classes = sorted({*range(_number_of_classes(counterfactuals)), *to.index})
    eligible = by_factual(counterfactuals[counterfactuals.status != "in_target"])
    found = float(eligible.mean()) if len(eligible) else float("nan")
    per_base = means(counterfactuals, [name for name in PER_BASE if name in counterfactuals])
    per_pair = table.loc[table.found > 0, _asked(table)]
    proposals = {"n_proposals": int(counterfactuals.found.sum())} if "proposal" in counterfactuals else {}
    return {
        "rate": float(rate),
        "found": found,
        "agreement": float(agreement),
        "rate_conditional": _share(both, agreement),
        "rate_disagree": _share(rate - both, 1 - agreement),
        **{f"rate_to_{target}": float(to.rate.get(target, np.nan)) for target in classes},
        "rate_end_to_end": found * float(rate) if found else 0.0,
        **{str(name): float(mean) for part in (per_pair, per_base) for name, mean in part.mean().items()},
        "pairs": len(table),
        "n_searched": len(eligible),
        "n_found": int(eligible.sum()),
        **proposals,
        "n_tried": round(table.found.sum()),
        "n_agreeing": round(table.agreement.sum()),
        **{f"n_to_{target}": int(to.n_tried.get(target, 0)) for target in classes},
    }


def _asked(table: pd.DataFrame) -> list[str]:
    """Return the columns of shares that references were asked about beside the rate."""
    return [name for name in (*CONTROLS, INVALIDATION) if name in table]


def _number_of_classes(counterfactuals: pd.DataFrame) -> int:
    """Return K, the number of logits of a row; 2 if a row has one logit, or if no logits are known."""
    return next((2 if np.ndim(logit) == 0 else len(logit) for logit in counterfactuals.get("factual_logit", ())), 2)


def by_factual(table: pd.DataFrame, flag: str = "found") -> pd.Series:
    """Return bool, one per base × factual: whether any of its proposals has the flag."""
    return table.groupby(["base", "factual"])[flag].any() if "proposal" in table else table[flag]


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole > ROUNDING else float("nan")


def share_as_bytes(searches: Sequence[Counterfactuals], bases: Sequence[Asked]) -> float:
    """Return the mean over bases of the share of found counterfactuals that survive rounding to bytes.

    For images: the scored points are floats, but a file can hold only whole grey levels.
    """
    shares = []
    for search, base in zip(searches, bases, strict=True):
        rounded = search.counterfactual[search.found].mul(GREYS).round().to(torch.uint8)
        survives = (predicted(logits(base, rounded)) == search.target[search.found]).double()
        if search.row is not None:  # every factual weighs the same
            row = search.row[search.found]
            survives = torch.stack([survives[row == one].mean() for one in row.unique()]) if len(row) else survives
        shares.append(survives.mean())
    return float(torch.stack(shares).nanmean())


def before_projection(counterfactuals: pd.DataFrame, counts: Counts) -> dict[str, float]:
    """Return found share, distance and rate of the points before projection; {} if nothing was projected.

    As after projection, distances are means over bases, and rates means over pairs.
    """
    if "found_relaxed" not in counterfactuals:
        return {}
    lengths = means(counterfactuals, ["distance_l2_relaxed"], "found_relaxed")
    return {
        "found_relaxed": float(by_factual(counterfactuals, "found_relaxed").mean()),
        "distance_l2_relaxed": float(lengths.distance_l2_relaxed.mean()),
        "rate_relaxed": float(counts.pairs.transferred_relaxed.dropna().mean()),
    }
