"""The tables that a job leaves, as those who only read them know them: no model is needed, nor torch."""

import numpy as np
import pandas as pd

PAIR = ["base", "reference", "base_seed", "reference_seed"]
CURVE = ["train_loss", "test_loss", "test_accuracy", "test_auroc"]  # of training, one row per epoch
CONTROLS = ["control_random", "control_nearest", "control_prior"]
SPLIT = "split"  # the split_seed that rows are of, the first column in tables of jobs of several splits
INVALIDATION = "invalidation"  # of references under noisy execution, in tables of jobs that ask for it


def matrix(table: pd.DataFrame, column: str = "rate") -> np.ndarray:
    """Pairs → (bases, references), or (bases, 1) where each base has a reference of its own.

    The row of a base on which nothing was found is NaN. Pairs of several splits → (splits, bases, references), or
    (splits, bases, 1).
    """
    if SPLIT in table:
        return np.stack([matrix(part.drop(columns=SPLIT), column) for _, part in table.groupby(SPLIT)])
    nested = len(table) > 1 and bool((table.base == table.reference).all())
    wide = table.assign(reference=0) if nested else table
    return wide.pivot(index="base", columns="reference", values=column).to_numpy()


def counterfactual_key(table: pd.DataFrame) -> list[str]:
    """Return the columns that name a counterfactual: base and factual, and proposal where a factual has several."""
    return ["base", "factual", *(["proposal"] if "proposal" in table else [])]
