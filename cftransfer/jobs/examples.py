"""A few counterfactuals to look at: the changes, and the answers of both models.

They are the first found in the table of transfers, some that transferred and some that did not: nobody picked them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cftransfer.data.dataset import Dataset
from cftransfer.data.pixels import PixelSpace
from cftransfer.jobs.example_picture import factor, strip
from cftransfer.models.prediction import margin, predicted
from cftransfer.searching.distance import distance
from cftransfer.searching.engine import Counterfactuals

EACH = 3  # examples that transferred, and as many that did not


@dataclass(frozen=True)
class Example:
    """x, counterfactual: (*input). told: facts about the example, named as in docs/reference/output.md."""

    x: Tensor
    counterfactual: Tensor
    told: dict[str, object]


def examples(searches: Sequence[Counterfactuals], transfers: pd.DataFrame, dataset: Dataset) -> list[Example]:
    """Return the first EACH found counterfactuals that transferred, and the first EACH that did not."""
    return [_example(searches[row["base"]], row, dataset) for row in first(transfers).to_dict("records")]


def first(transfers: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that `examples` shows. Applied to the first rows of tables, it gives those of all."""
    tried = transfers[transfers.found]
    groups = [tried[tried.transferred], tried[~tried.transferred.astype(bool)]]
    return pd.concat([group.head(EACH) for group in groups])


def table(some: Sequence[Example], dataset: Dataset) -> pd.DataFrame:
    """Return one row per image example, or one per example and changed feature of a table, with old and new values."""
    rows = []
    for index, example in enumerate(some):
        told = {"example": index, **example.told}
        if isinstance(dataset.space, PixelSpace):
            rows.append({**told, "magnified": factor(example.x, example.counterfactual)})
        else:
            changes = dataset.space.changes(example.x.numpy(), example.counterfactual.numpy())
            rows += [{**told, "feature": name, "old": old, "new": new} for name, old, new in changes]
    return pd.DataFrame(rows)


def pictures(some: Sequence[Example], dataset: Dataset) -> dict[str, np.ndarray]:
    """Return the pictures of examples by name, such as 0-transferred; {} for tables."""
    words = ["transferred" if example.told["transferred"] else "not-transferred" for example in some]
    return strips(some, dataset, names=[f"{index}-{word}" for index, word in enumerate(words)])


def strips(some: Sequence[Example], dataset: Dataset, *, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return one picture per example, (height, width, 3) bytes, by name; {} for tables."""
    if not isinstance(dataset.space, PixelSpace):
        return {}
    binary = dataset.outputs == 1
    return {
        name: strip(example.x, example.counterfactual, example.told, binary=binary)
        for name, example in zip(names, some, strict=True)
    }


def _example(search: Counterfactuals, row: dict, dataset: Dataset) -> Example:
    place, target = search.entry(row["factual"], row.get("proposal", 0)), torch.tensor(row["target"])
    x, reached = search.factual[place], search.counterfactual[place]
    margins = {
        "base_factual": margin(search.factual_logit[place], target),
        "base_counterfactual": margin(search.logit[place], target),
        "reference_factual": margin(torch.tensor(row["factual_logit"]), target),
        "reference_counterfactual": torch.tensor(row["margin"]),
    }
    told = {
        "transferred": bool(row["transferred"]),
        "factual": row["factual"],
        **({"proposal": row["proposal"]} if "proposal" in row else {}),
        "base_seed": row["base_seed"],
        "reference_seed": row["reference_seed"],
        "from_class": dataset.classes[int(predicted(search.factual_logit[place : place + 1]))],
        "target_class": dataset.classes[row["target"]],
        # Each as the probability of the target class.
        **{name: float(torch.sigmoid(one)) for name, one in margins.items()},
        "l2": float(distance(x[None], reached[None])),
        "linf": float(distance(x[None], reached[None], p=float("inf"))),
    }
    return Example(x, reached, told)
