"""The contract of data sets: a training and a test split in one fixed input space."""

import functools
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from cftransfer.data.cells import bad_cells, numbers
from cftransfer.data.feature import Feature
from cftransfer.data.pixels import PixelSpace
from cftransfer.data.space import FeatureSpace, check_columns, fit
from cftransfer.errors import InputError
from cftransfer.settings import check_float, check_int
from cftransfer.targets import call_target

log = logging.getLogger(__name__)

FEW_ROWS = 30  # training rows per class; with fewer, models differ between seeds by chance alone


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """x: (n, *input) float32 in [0, 1]; y: (n,) float32, classes 0, 1, …, K − 1; classes: their K ≥ 2 names.

    Images are stored as bytes, a quarter of the memory; `pixels.unit` turns them into numbers.

    from_files: whether the data come from files that could be replaced, not from the package itself.
    about: which part of the files was taken, in words.
    weight: (n_train,) float32 ≥ 0, the weight of each training row in the loss; None if all count the same.
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
        """The identity of the data: 16 hex digits of a hash of the tensors, the space and the classes."""
        return self._hashed(self.space)

    @cached_property
    def model_version(self) -> str:
        """The identity of the data for a model: `version` without mutability and direction of the features.

        It is part of every model's key. A model is thus never reused for other data, and never retrained because a
        feature became mutable or got another direction. The key of a search has `version` as well.
        """
        if isinstance(self.space, PixelSpace):
            return self.version
        free = (replace(feature, mutable=True, direction="any") for feature in self.space.features)
        return self._hashed(FeatureSpace(tuple(free)))

    def _hashed(self, space: FeatureSpace | PixelSpace) -> str:
        content = hashlib.sha256(repr((space, self.classes)).encode())
        weighted = () if self.weight is None else (self.weight,)
        for part in (self.x_train, self.y_train, self.x_test, self.y_test, *weighted):
            content.update(f"{part.dtype} {tuple(part.shape)}".encode())
            content.update(part.contiguous().numpy().data)
        return content.hexdigest()[:16]

    @property
    def identity(self) -> dict[str, Any]:
        """The description of the data in a job's result."""
        said = {"notes": list(self.notes)} if self.notes else {}
        known = {"name": self.name, "version": self.version, "about": self.about, "from_files": self.from_files}
        return {**known, "classes": list(self.classes), **said}

    @property
    def outputs(self) -> int:
        """Logits of a model per row: 1 (for class 1) with two classes, otherwise one per class."""
        return 1 if len(self.classes) == 2 else len(self.classes)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return tuple(self.x_train.shape[1:])

    def loaders(self, *, batch_size: int = 64, seed: int = 0) -> tuple[DataLoader, DataLoader]:
        """Return the training and the test split in batches, for `Trainer.fit`.

        A batch is (x, y), or (x, y, weight) for training rows with weights.
        seed: decides the order of the training batches, which differs between epochs.
        """
        weighted = () if self.weight is None else (self.weight,)
        train, test = TensorDataset(self.x_train, self.y_train, *weighted), TensorDataset(self.x_test, self.y_test)
        order = torch.Generator().manual_seed(seed)
        return DataLoader(train, batch_size, shuffle=True, generator=order), DataLoader(test, batch_size)


def load(settings: Mapping[str, Any], folder: Path) -> Dataset:
    """Return the data set of a spec, with its files in `folder`; jobs of one process share it and must not change it.

    A file that is replaced while the process runs is read by the next process. Until then, models and results are
    stored under the version of the data that was read, so no key is wrong.
    """
    return _load(json.dumps(settings, sort_keys=True), folder)


def dataset(name: str, /, *, folder: str | Path = "data", **settings: Any) -> Dataset:
    """Return the data set of that name, as in `dataset=…` on the command line, with the settings of its function.

    folder: the folder of files that the package does not ship.

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
    classes: tuple[str, ...],
    test_share: float,
    split_seed: int,
    from_files: bool = True,
    about: str = "",
) -> Dataset:
    """Split rows by class, fit the space on the training rows alone, and encode both splits in it.

    label: (n,) classes 0, 1, …, one for each name in `classes`. A test value beyond the training range is clipped,
    since models only see the box [0, 1]; `Dataset.notes` counts such values. InputError, naming the column and the
    first row, for cells that their feature cannot hold.
    """
    label, table = np.asarray(label), table.reset_index(drop=True)
    if label.shape != (len(table),):
        raise InputError(f"dataset {name}: has {len(table):,} rows and labels of shape {label.shape}; takes one a row")
    check_classes(label, classes)
    check_columns(features, table)
    train, test = split_rows(label, name=name, classes=len(classes), test_share=test_share, split_seed=split_seed)
    space = fit(features, table.iloc[train])
    return encoded(
        name,
        space,
        (table.iloc[train], label[train]),
        (table.iloc[test], label[test]),
        classes=classes,
        from_files=from_files,
        about=about,
    )


def check_classes(label: np.ndarray, classes: tuple[str, ...]) -> None:
    """Refuse labels that are not numbers of `classes`: a model would be trained with a wrong loss."""
    known = np.isin(label, range(len(classes)))
    if not known.all():
        first = label[int((~known).argmax())]
        way_out = f"must be 0 to {len(classes) - 1}, one for each of {', '.join(classes)}"
        raise bad_cells(pd.Series(label, name="label"), ~known, f"not a class: {first}", way_out)


def split_rows(
    label: np.ndarray, *, name: str, classes: int, test_share: float, split_seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """label: (n,) → indices of the training rows and of the test rows, with the same share of every class."""
    check_float("dataset.test_share", test_share, inside="between 0 and 1", among=lambda share: 0 < share < 1)
    check_int("dataset.split_seed", split_seed, least=0, most=2**32 - 1)  # scikit-learn's limit
    counts = np.bincount(label.astype(int), minlength=classes)
    if counts.min() < 2:
        raise InputError(
            f"dataset {name}: classes have {' and '.join(map(str, counts))} rows; each needs at least 2: add rows"
        )
    try:
        train, test = train_test_split(
            np.arange(len(label)), test_size=test_share, stratify=label, random_state=split_seed
        )
    except ValueError as error:
        raise InputError(f"dataset.test_share={test_share}: leaves a split without a class ({error})") from error
    return train, test


def encoded(
    name: str,
    space: FeatureSpace,
    train: tuple[pd.DataFrame, np.ndarray],
    test: tuple[pd.DataFrame, np.ndarray],
    *,
    classes: tuple[str, ...],
    from_files: bool = True,
    about: str = "",
    weight: np.ndarray | None = None,
    notes: Sequence[str] = (),
) -> Dataset:
    """Return the data set of two splits, each rows in original units and their classes, encoded in a given space."""
    check_whole(space.features, train[0])
    check_whole(space.features, test[0])
    (x_train, y_train), (x_test, y_test) = (
        (torch.from_numpy(space.encode(rows)), torch.from_numpy(np.asarray(label).astype(np.float32)))
        for rows, label in (train, test)
    )
    beyond = [*clipped("training", space.features, train[0]), *clipped("test", space.features, test[0])]
    said = [*notes, *few_rows(y_train, classes), *beyond]
    for note in said:
        log.info("%s", note)
    return Dataset(
        name=name,
        x_train=x_train,
        y_train=y_train,
        x_test=x_test,
        y_test=y_test,
        space=space,
        classes=classes,
        from_files=from_files,
        about=about,
        weight=None if weight is None else torch.from_numpy(weight.astype(np.float32)),
        notes=tuple(said),
    )


def check_whole(features: Sequence[Feature], rows: pd.DataFrame) -> None:
    """Refuse fractions in columns of whole numbers, which would otherwise be rounded silently."""
    for feature in features:
        if feature.kind == "integer" and feature.name in rows:
            given = numbers(rows[feature.name])
            fractions = np.isfinite(given) & (given != np.round(given))
            if fractions.any():
                first = given[int(fractions.argmax())]
                way_out = "kind=continuous takes fractions"
                raise bad_cells(rows[feature.name], fractions, f"not a whole number: {first:g}", way_out)


def few_rows(y_train: Tensor, classes: tuple[str, ...]) -> list[str]:
    """Return a note on classes with too few training rows for a model to learn them."""
    counts = y_train.long().bincount(minlength=len(classes)).tolist()
    few = [f"{name} has {many}" for name, many in zip(classes, counts, strict=True) if many < FEW_ROWS]
    return [f"few training rows: {', '.join(few)}; rates of such models vary a lot"] if few else []


def clipped(split: str, features: Sequence[Feature], rows: pd.DataFrame) -> list[str]:
    """Return a note on the values of a split that are clipped to the range of their feature."""
    counts = {}
    for feature in features:
        if not feature.categories:
            given = numbers(rows[feature.name])
            if many := int(((given < feature.low) | (given > feature.high)).sum()):
                counts[feature.name] = many
    listed = ", ".join(f"{name} {many:,}" for name, many in counts.items())
    return (
        [f"{split} values beyond the range of their feature, put at its end: {listed} of {len(rows):,}"]
        if counts
        else []
    )
