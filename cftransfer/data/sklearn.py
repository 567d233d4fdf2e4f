"""dataset=sklearn: data sets that ship with scikit-learn; no network is needed."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cftransfer.data.dataset import Dataset, split_rows
from cftransfer.data.images import from_images
from cftransfer.data.own_data import table
from cftransfer.errors import InputError
from cftransfer.settings import check_choice

NAMES = ("breast_cancer", "digits", "iris", "wine")
GREYS = 16  # of digits: whole grey levels 0 to 16


def sklearn(
    folder: Path,  # noqa: ARG001 (the contract of all data sets; these ship with scikit-learn)
    *,
    name: str,
    positive: Any = None,
    features: Mapping[str, Any] | None = None,
    test_share: float = 0.2,
    split_seed: int = 0,
) -> Dataset:
    """breast_cancer (569 rows, 30 features), wine (178, 13) and iris (150, 4) are tables; digits are 1,797 images.

    positive: the name or names that become class 1; None keeps all classes: 2 of breast_cancer, 3 of wine and iris, 10
    of digits. features: as in `own_data.table`.
    """
    from sklearn import datasets

    check_choice("dataset.name", name, NAMES)
    loaders: dict[str, Callable[..., Any]] = {one: getattr(datasets, f"load_{one}") for one in NAMES}
    bunch = loaders[name](as_frame=name != "digits")
    names = np.asarray([str(word) for word in bunch.target_names])
    if name == "digits":
        if features:
            raise InputError("dataset.features: digits are images, with pixels as features; leave it out")
        return _images(bunch, names, positive, test_share=test_share, split_seed=split_seed)
    rows = bunch.data.assign(target=names[bunch.target.to_numpy()])
    made = table(
        rows, label="target", positive=positive, features=features or (), test_share=test_share, split_seed=split_seed
    )
    return _shipped(made, name)


def _images(bunch: Any, names: np.ndarray, positive: Any, *, test_share: float, split_seed: int) -> Dataset:
    from cftransfer.data.labels import labels

    answers = labels(pd.Series(names[bunch.target], name="target"), positive)
    pixels = (bunch.images[:, None] / GREYS).astype(np.float32)
    train, test = split_rows(
        answers.codes, name="digits", classes=len(answers.classes), test_share=test_share, split_seed=split_seed
    )
    halves = [(pixels[places], answers.codes[places]) for places in (train, test)]
    return from_images(
        "digits", train=halves[0], test=halves[1], classes=answers.classes, about="8 × 8 pixels", from_files=False
    )


def _shipped(data: Dataset, name: str) -> Dataset:
    from dataclasses import replace

    return replace(data, name=name, from_files=False)
