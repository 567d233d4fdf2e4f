"""Predictions → two tidy tables → rates. docs/output.md describes every column and number.

Every pair of a base and a reference weighs the same, however many counterfactuals its base found.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from cftransfer.counterfactuals.search import Counterfactuals
from cftransfer.models.prediction import Model, logits, margin, predicted

PAIR = ["base", "reference", "base_seed", "reference_seed"]


def counterfactual_table(searches: Sequence[Counterfactuals], seeds: Sequence[int]) -> pd.DataFrame:
    """One row per base × factual."""
    return pd.concat(
        [
            _counterfactual_rows(result, base, seed)
            for base, (result, seed) in enumerate(zip(searches, seeds, strict=True))
        ],
        ignore_index=True,
    )


def transfer_table(
    searches: Sequence[Counterfactuals],
    references: Sequence[Model],
    *,
    base_seeds: Sequence[int],
    reference_seeds: Sequence[int],
    nested: bool,
) -> pd.DataFrame:
    """One row per base × factual × reference; `transferred` is missing where nothing was found.

    nested: reference i is tried on the counterfactuals of base i alone; else every reference on those of every base.
    """
    factual_logits = [logits(reference, searches[0].factual) for reference in references]
    rows = [
        _transfer_rows(searches[base], references[reference], factual_logits[reference]).assign(
            base=base, reference=reference, base_seed=base_seeds[base], reference_seed=reference_seeds[reference]
        )
        for base in range(len(searches))
        for reference in ([base] if nested else range(len(references)))
    ]
    table = pd.concat(rows, ignore_index=True)
    first = ["base", "reference", "factual", "base_seed", "reference_seed"]
    return table[first + [name for name in table.columns if name not in first]]


def pairs(transfers: pd.DataFrame) -> pd.DataFrame:
    """One row per base × reference, over the counterfactuals found on the base.

    found: their number; agreement: share whose factual both models put in the same class; rate: share transferred;
    rate_conditional: share transferred among those with agreement. NaN for a share of nothing.
    """
    rows = transfers[transfers.found].astype({"transferred": float})
    table = transfers[PAIR].drop_duplicates().set_index(PAIR)
    table = table.assign(
        found=rows.groupby(PAIR).size(),
        agreement=rows.groupby(PAIR).agreement.mean(),
        rate=rows.groupby(PAIR).transferred.mean(),
        rate_conditional=rows[rows.agreement].groupby(PAIR).transferred.mean(),
    )
    return table.fillna({"found": 0}).astype({"found": int}).reset_index()


def rates(counterfactuals: pd.DataFrame, transfers: pd.DataFrame) -> dict[str, Any]:
    """Return the named rates of a job from its two tables; NaN for a share of nothing.

    Every pair weighs the same in all of them, so that the parts add up:
    rate = agreement · rate_conditional + (1 − agreement) · rate_disagree, and likewise over the two targets.
    """
    rows = transfers[transfers.found].astype({"transferred": float})
    weight = 1 / rows.groupby(PAIR).transferred.transform("size")

    def share(column: str, among: pd.Series | None = None) -> float:
        kept = rows.index if among is None else rows.index[among]
        return float(np.average(rows[column][kept], weights=weight[kept])) if len(kept) else float("nan")

    found, rate = float(counterfactuals.found.mean()), share("transferred")
    per_base = counterfactuals[counterfactuals.found].groupby("base")[["distance_l2", "iterations", "margin"]].mean()
    return {
        "rate": rate,
        "found": found,
        "agreement": share("agreement"),
        "rate_conditional": share("transferred", rows.agreement),
        "rate_disagree": share("transferred", ~rows.agreement),
        "rate_end_to_end": found * rate if found else 0.0,
        "rate_to_0": share("transferred", rows.target == 0),
        "rate_to_1": share("transferred", rows.target == 1),
        **{str(name): float(mean) for name, mean in per_base.mean().items()},
        "pairs": len(transfers[PAIR].drop_duplicates()),
    }


def matrix(table: pd.DataFrame, column: str = "rate") -> np.ndarray:
    """Pairs → (bases, references), or (bases, 1) where each base has a reference of its own.

    The row of a base on which nothing was found is NaN.
    """
    nested = len(table) > 1 and bool((table.base == table.reference).all())
    wide = table.assign(reference=0) if nested else table
    return wide.pivot(index="base", columns="reference", values=column).to_numpy()


def _counterfactual_rows(result: Counterfactuals, base: int, seed: int) -> pd.DataFrame:
    difference = (result.counterfactual.double() - result.factual.double()).flatten(1)
    status = np.where(result.found, "found", np.where(result.done, "lost", "not_found"))
    return pd.DataFrame(
        {
            "base": base,
            "factual": np.arange(len(result.factual)),
            "base_seed": seed,
            "target": result.target.numpy(),
            "found": result.found.numpy(),
            "status": status,
            "iterations": result.iterations.numpy(),
            "margin": margin(result.logit, result.target).numpy(),
            "factual_logit": result.factual_logit.numpy(),
            "logit": result.logit.numpy(),
            "distance_l0": (difference != 0).sum(1).numpy(),
            "distance_l1": difference.abs().sum(1).numpy(),
            "distance_l2": difference.norm(dim=1).numpy(),
            "distance_linf": difference.abs().amax(1).numpy(),
            "x": list(result.factual.flatten(1).numpy()),
            "counterfactual": list(result.counterfactual.flatten(1).numpy()),
        }
    )


def _transfer_rows(result: Counterfactuals, reference: Model, factual_logit: torch.Tensor) -> pd.DataFrame:
    logit = logits(reference, result.counterfactual)
    transferred = pd.array((predicted(logit) == result.target).numpy(), dtype="boolean")
    transferred[~result.found.numpy()] = pd.NA
    return pd.DataFrame(
        {
            "factual": np.arange(len(result.factual)),
            "target": result.target.numpy(),
            "found": result.found.numpy(),
            "agreement": (predicted(factual_logit) == predicted(result.factual_logit)).numpy(),
            "transferred": transferred,
            "margin": margin(logit, result.target).numpy(),
            "factual_logit": factual_logit.numpy(),
        }
    )
