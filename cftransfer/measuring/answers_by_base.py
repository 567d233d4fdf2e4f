"""A job's long tables as arrays, base by base: the counterfactuals found on a base, and each reference's answers."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cftransfer.columns import SPLIT, counterfactual_key
from cftransfer.errors import InputError

KEPT = ("base", "factual", "proposal", "target", "margin", "distance_l2", "knn_distance")  # columns without lists


@dataclass(frozen=True)
class BaseAnswers:
    """One base. found: n rows of the table of counterfactuals; agreement, transferred: (J, n) bool, by reference."""

    found: pd.DataFrame
    agreement: np.ndarray
    transferred: np.ndarray


def answers_by_base(counterfactuals: pd.DataFrame, transfers: pd.DataFrame) -> list[BaseAnswers]:
    """Return the answers for every base on which something was found, in the order of bases.

    Each counterfactual counts as one, even if a factual has several.

    Args:
        counterfactuals: as in `counterfactuals.parquet`.
        transfers: as in `transfers.parquet`, of one group of references at one number of extra epochs.

    Raises:
        InputError: for a reference that lacks an answer about a counterfactual of a base, or has two; for several
            splits, since their i-th bases are different models.
    """
    if SPLIT in counterfactuals and counterfactuals[SPLIT].nunique() > 1:
        raise InputError("counterfactuals: are of several splits; pass the rows of one split of both tables")
    key = counterfactual_key(counterfactuals)
    columns = [*key, "reference", "agreement", "transferred"]
    known = transfers.loc[transfers.found, columns].sort_values(["reference", *key], kind="stable")
    parts = dict(list(known.groupby("base")))
    answers = []
    for base, rows in counterfactuals[counterfactuals.found].groupby("base"):
        found = rows[[name for name in KEPT if name in rows]].sort_values(key).reset_index(drop=True)
        part = parts.get(base, known.iloc[:0])
        shape = (part.reference.nunique(), len(found))
        asked = part.factual.to_numpy()
        if (
            len(part) != shape[0] * shape[1]
            or (asked.reshape(shape) != found.factual.to_numpy()).any()
            or not len(part)
        ):
            raise InputError(f"transfers: base {base} lacks one answer of each reference; pass one group of references")
        agreement, transferred = (
            part[name].to_numpy(dtype=bool).reshape(shape) for name in ("agreement", "transferred")
        )
        answers.append(BaseAnswers(found, agreement, transferred))
    if len({len(one.transferred) for one in answers}) > 1:
        raise InputError("transfers: bases met different numbers of references; pass one group of references")
    return answers
