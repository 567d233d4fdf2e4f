"""The counterfactuals that hold on the most and on the fewest references, chosen by this rule alone.

Because of this selection, on other references the first hold less often than on these, and the last more often.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from cftransfer.columns import counterfactual_key
from cftransfer.data.dataset import Dataset
from cftransfer.jobs.examples import Example, strips
from cftransfer.models.prediction import margin, predicted
from cftransfer.searching.candidates import Counterfactuals
from cftransfer.searching.distance import distance

EACH = 3  # of the most stable, and as many of the least stable


def extremes(searches: Sequence[Counterfactuals], holds: pd.DataFrame, dataset: Dataset) -> list[Example]:
    """Return the EACH counterfactuals with the largest share of references, then the EACH with the smallest.

    Ties are broken by the lower number of the factual, then of the base. A factual is shown once.

    holds: the table of `measuring.per_counterfactual`. searches: the counterfactuals of each base.
    """
    key = [name for name in counterfactual_key(holds) if name != "base"]
    shown: set[int] = set()
    rows: list[tuple[str, dict]] = []
    for side, rising in (("most", False), ("least", True)):
        ordered = holds.sort_values(["share", *key, "base"], ascending=[rising, *[True] * (len(key) + 1)])
        once = ordered[~ordered.factual.isin(shown)].drop_duplicates("factual").head(EACH)
        shown |= set(once.factual)
        rows += [(side, row) for row in once.to_dict("records")]
    return [_example(side, searches[row["base"]], row, dataset) for side, row in rows]


def pictures(some: Sequence[Example], dataset: Dataset) -> dict[str, np.ndarray]:
    """Return the pictures of the extremes by name, such as most-stable-0; {} for tables."""
    return strips(some, dataset, names=[f"{one.told['side']}-stable-{index}" for index, one in enumerate(some)])


def _example(side: str, search: Counterfactuals, row: dict, dataset: Dataset) -> Example:
    place = search.entry(row["factual"], row.get("proposal", 0))
    x, reached, target = search.factual[place], search.counterfactual[place], search.target[place]
    said = {"factual": search.factual_logit[place], "counterfactual": search.logit[place]}
    proposal = {"proposal": row["proposal"]} if "proposal" in row else {}
    told = {
        "side": side,
        "factual": row["factual"],
        **proposal,
        "base_seed": row["base_seed"],
        "from_class": dataset.classes[int(predicted(search.factual_logit[place][None]))],
        "target_class": dataset.classes[int(target)],
        **{f"base_{name}": float(torch.sigmoid(margin(logit, target))) for name, logit in said.items()},
        "n_references": row["n_references"],
        "share": row["share"],
        "low": row["low"],
        "l2": float(distance(x[None], reached[None])),
        "linf": float(distance(x[None], reached[None], p=float("inf"))),
    }
    return Example(x, reached, told)
