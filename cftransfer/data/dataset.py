"""The contract of data sets: a training and a test split in one fixed input space."""

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from cftransfer.data.pixels import PixelSpace
from cftransfer.data.space import Feature, FeatureSpace, fit
from cftransfer.errors import InputError
from cftransfer.settings import check_float, check_int
from cftransfer.targets import call_target


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """x: (n, *input) float32 in [0, 1]; y: (n,) float32, classes 0, 1, …, K − 1; classes: their K ≥ 2 names.

    Images are bytes, a quarter of the memory, and stand for the numbers that `pixels.unit` makes of them.

    from_files: whether the data come out of files that could be replaced, unlike data that the package ships or draws.
    about: which part of those files was taken, in words.
    weight: (n_train,) float32 > 0, how much each training row counts in the loss; None where all count the same.
    notes: sentences that a reader of results should know, such as how many test values were clipped.
    """

    name: str
    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    space: FeatureSpace | PixelSpace
    classes: tuple[str, ...]
    from_files: bool = True
    about: str = ""
    weight: Tensor | None = None
    notes: tuple[str, ...] = ()

    @cached_property
    def version(self) -> str:
        """The identity of the data: 16 hex digits of a hash of the tensors, the space and the classes.

        It is a part of every key, so that no model is served for data that it has not seen.
        """
        content = hashlib.sha256(repr((self.space, self.classes)).encode())
        weighted = () if self.weight is None else (self.weight,)
        for part in (self.x_train, self.y_train, self.x_test, self.y_test, *weighted):
            content.update(f"{part.dtype} {tuple(part.shape)}".encode())
            content.update(part.contiguous().numpy().data)
        return content.hexdigest()[:16]

    @property
    def identity(self) -> dict[str, Any]:
        """The description of the data in a job's result."""
        said = {"notes": list(self.notes)} if self.notes else {}
        return {"version": self.version, "about": self.about, "from_files": self.from_files, **said}

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(self.x_train.shape[1:])

    def loaders(self, *, batch_size: int = 64, seed: int = 0) -> tuple[DataLoader, DataLoader]:
        """Return the training and the test split in batches, as `Trainer.fit` takes them.

        seed: decides the order of the training batches, which is another one in every epoch.
        """
        train, test = TensorDataset(self.x_train, self.y_train), TensorDataset(self.x_test, self.y_test)
        order = torch.Generator().manual_seed(seed)
        return DataLoader(train, batch_size, shuffle=True, generator=order), DataLoader(test, batch_size)


def load(settings: Mapping[str, Any], folder: Path) -> Dataset:
    """Return the data set of a spec, its files under `folder`; jobs of one process share it, and none changes it.

    A file that is replaced while the process runs is read by the next process. Until then, models and results stand
    under the version of the data that was read, so nothing is kept under the wrong key.
    """
    return _load(json.dumps(settings, sort_keys=True), folder)


def dataset(name: str, *, folder: str | Path = "data", **settings: Any) -> Dataset:
    """Return a data set by its name, as `dataset=…` does on the command line, with the settings of its function.

    folder: where files lie that the package does not ship.

    >>> data = dataset("moons", rows=200)
    >>> tuple(data.x_train.shape), data.classes
    ((160, 2), ('upper', 'lower'))
    """
    return _made({"_target_": name, **settings}, Path(folder), complete=False)


@functools.lru_cache(maxsize=2)
def _load(settings: str, folder: Path) -> Dataset:
    return _made(json.loads(settings), folder, complete=True)


def _made(settings: Mapping[str, Any], folder: Path, *, complete: bool) -> Dataset:
    made = call_target("dataset", settings, folder, complete=complete)
    if not isinstance(made, Dataset):
        raise InputError(f"dataset._target_={settings['_target_']}: makes no dataset")
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
    from_files: bool = True,
    about: str = "",
) -> Dataset:
    """Split rows by class, fit the space on the training rows alone, and encode both splits in it.

    A test value beyond the training range is put at the range's end: the box [0, 1] is all that models see.
    """
    check_float("dataset.test_share", test_share, inside="between 0 and 1", among=lambda share: 0 < share < 1)
    check_int("dataset.split_seed", split_seed, least=0, most=2**32 - 1)  # scikit-learn's limit
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
        from_files=from_files,
        about=about,
    )
