"""What every data set gives: a training and a test split in one fixed input space."""

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor

from cftransfer.data.pixels import PixelSpace
from cftransfer.data.space import Feature, FeatureSpace, fit
from cftransfer.errors import InputError
from cftransfer.spec import call, real, whole


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """x: (n, *input) float32 in [0, 1]; y: (n,) float32, 0 or 1; classes: the names of class 0 and class 1.

    Images are bytes, a quarter of the memory, and stand for the numbers that `pixels.unit` makes of them.

    version: what identifies the content of files that are not shipped with the package; "" where nothing was read
        from any. Two contents of one file have different versions, so that no model serves data it has not seen.
    about: what of those files was taken, in words.
    """

    name: str
    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    space: FeatureSpace | PixelSpace
    classes: tuple[str, str]
    version: str = ""
    about: str = ""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(self.x_train.shape[1:])


def load(settings: Mapping[str, Any], folder: Path) -> Dataset:
    """Return the data set of a spec, its files under `folder`; jobs of one process share it, nobody writes into it."""
    return _load(json.dumps(settings, sort_keys=True), folder)


@functools.lru_cache(maxsize=2)
def _load(settings: str, folder: Path) -> Dataset:
    made = call("dataset", json.loads(settings), folder)
    if not isinstance(made, Dataset):
        raise InputError(f"dataset._target_={json.loads(settings)['_target_']}: makes no dataset")
    return made


def from_table(
    name: str,
    table: pd.DataFrame,
    label: np.ndarray,
    *,
    features: Sequence[Feature],
    classes: tuple[str, str],
    test_share: float,
    split_seed: int,
    version: str = "",
) -> Dataset:
    """Split rows by class, fit the space on the training rows alone, and encode both splits in it.

    A test value beyond the training range is put at the range's end: the box [0, 1] is all that models see.
    """
    real("dataset.test_share", test_share, inside="between 0 and 1", among=lambda share: 0 < share < 1)
    whole("dataset.split_seed", split_seed, least=0, most=2**32 - 1)  # scikit-learn's limit
    counts = np.bincount(label.astype(int), minlength=2)
    if counts.min() < 2:
        raise InputError(
            f"dataset {name}: classes have {counts[0]} and {counts[1]} rows; both need at least 2: it takes more rows"
        )
    try:
        train, test = train_test_split(
            np.arange(len(table)), test_size=test_share, stratify=label, random_state=split_seed
        )
    except ValueError as error:
        raise InputError(f"dataset.test_share={test_share}: leaves a split without both classes ({error})") from error
    space = fit(features, table.iloc[train])
    x, y = torch.from_numpy(space.encode(table)), torch.from_numpy(label.astype(np.float32))
    return Dataset(
        name=name,
        x_train=x[train],
        y_train=y[train],
        x_test=x[test],
        y_test=y[test],
        space=space,
        classes=classes,
        version=version,
    )
