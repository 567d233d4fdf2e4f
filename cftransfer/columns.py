"""Columns of a job's tables, for readers without models or torch."""

import numpy as np
import pandas as pd

PAIR = ["base", "reference", "base_seed", "reference_seed"]
CURVE = ["train_loss", "test_loss", "test_accuracy", "test_auroc"]  # of training, one row per epoch
CONTROLS = ["control_random", "control_nearest", "control_prior"]
SPLIT = "split"  # the split_seed of the rows, the first column in tables of jobs of several splits
INVALIDATION = "invalidation"  # of references under noisy execution, in tables of jobs with `execution`


def matrix(table: pd.DataFrame, column: str = "rate") -> np.ndarray:
    """Pairs → (bases, references), or (bases, 1) if each base has its own reference.

    The row of a base without found counterfactuals is NaN. Pairs of several splits → (splits, bases, references), or
    (splits, bases, 1).
    """
    if SPLIT in table:
        return np.stack([matrix(part.drop(columns=SPLIT), column) for _, part in table.groupby(SPLIT)])
    nested = len(table) > 1 and bool((table.base == table.reference).all())
    wide = table.assign(reference=0) if nested else table
    return wide.pivot(index="base", columns="reference", values=column).to_numpy()


def counterfactual_key(table: pd.DataFrame) -> list[str]:
    """Return the columns that name a counterfactual: base and factual, and proposal if factuals have several."""
    return ["base", "factual", *(["proposal"] if "proposal" in table else [])]
