"""Two interleaved half circles in the plane, from scikit-learn: a data set that a figure can show exactly."""

from pathlib import Path

import pandas as pd
from sklearn.datasets import make_moons

from cftransfer.data.dataset import Dataset, from_table
from cftransfer.data.feature import Feature
from cftransfer.settings import check_float, check_int

FEATURES = (Feature(name="horizontal", kind="continuous"), Feature(name="vertical", kind="continuous"))


def moons(
    folder: Path,  # noqa: ARG001 (the contract of all data sets; this data set is generated)
    *,
    rows: int = 2000,
    noise: float = 0.2,
    test_share: float = 0.2,
    split_seed: int = 0,
) -> Dataset:
    """Two continuous features; class 1 is the lower half circle. `rows` ≥ 20, `noise` ≥ 0 in units of the radius."""
    check_int("dataset.rows", rows)
    check_float("dataset.noise", noise, inside="≥ 0", among=lambda number: 0 <= number < float("inf"))
    check_int("dataset.split_seed", split_seed, least=0, most=2**32 - 1)
    points, label = make_moons(n_samples=rows, noise=noise, random_state=split_seed)
    return from_table(
        "moons",
        pd.DataFrame(points, columns=[feature.name for feature in FEATURES]),
        label,
        features=FEATURES,
        classes=("upper", "lower"),
        test_share=test_share,
        split_seed=split_seed,
        from_files=False,
    )
