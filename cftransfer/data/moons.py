"""Two interleaved half circles in the plane, from scikit-learn: what can be drawn exactly."""

from pathlib import Path

import pandas as pd
from sklearn.datasets import make_moons

from cftransfer.data.dataset import Dataset, from_table
from cftransfer.data.space import Feature
from cftransfer.spec import real, whole

FEATURES = (Feature(name="horizontal", kind="continuous"), Feature(name="vertical", kind="continuous"))


def moons(
    folder: Path,  # noqa: ARG001 (the contract of all data sets; this one is made on the spot)
    *,
    rows: int,
    noise: float,
    test_share: float,
    split_seed: int,
) -> Dataset:
    """Two continuous features; class 1 is the lower half circle. `rows` ≥ 20, `noise` ≥ 0 in units of the radius."""
    whole("dataset.rows", rows, least=20)
    real("dataset.noise", noise, inside="≥ 0", among=lambda number: 0 <= number < float("inf"))
    whole("dataset.split_seed", split_seed, least=0, most=2**32 - 1)
    points, label = make_moons(n_samples=rows, noise=noise, random_state=split_seed)
    return from_table(
        "moons",
        pd.DataFrame(points, columns=[feature.name for feature in FEATURES]),
        label,
        features=FEATURES,
        classes=("upper", "lower"),
        test_share=test_share,
        split_seed=split_seed,
    )
