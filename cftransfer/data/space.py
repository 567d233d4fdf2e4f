"""The feature space of a table: the meaning of each column of the input, and its values in original units."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cftransfer.data.cells import value_range
from cftransfer.data.feature import SEEN, Feature
from cftransfer.errors import InputError


@dataclass(frozen=True)
class FeatureSpace:
    """The features of a table, in the order of the input's columns.

    >>> age = Feature(name="age", kind="integer", low=18, high=68, mutable=False)
    >>> job = Feature(name="job", kind="categorical", categories=("none", "part", "full"))
    >>> space = FeatureSpace((age, job))
    >>> space.columns
    ['age', 'job=none', 'job=part', 'job=full']
    >>> space.encode(pd.DataFrame({"age": [43], "job": ["full"]})).tolist()
    [[0.5, 0.0, 0.0, 1.0]]
    """

    features: tuple[Feature, ...]

    @classmethod
    def fit(cls, features: Sequence[Feature], training: pd.DataFrame) -> "FeatureSpace":
        """Return the space with the ranges of the training rows; categories and kinds stay as they are.

        InputError for a feature that the table lacks.

        >>> rows = pd.DataFrame({"age": [18, 30, 68]})
        >>> FeatureSpace.fit([Feature(name="age", kind="integer")], rows).features[0].high
        68.0
        """
        for feature in features:
            if feature.name not in training:
                raise InputError(f"feature {feature.name!r}: the table has no such column")
        return fit(features, training)

    def __post_init__(self) -> None:
        if twice := [name for place, name in enumerate(self.names) if name in self.names[:place]]:
            raise InputError(f"feature {twice[0]!r}: is named twice; give each its own name")

    @classmethod
    def infer(cls, table: pd.DataFrame, features: Any = ()) -> "FeatureSpace":
        """Return the space of a table's columns by the rule of docs/guides/your-table.md, with the ranges of its rows.

        features: settings that win over inferred ones: {"age": {"mutable": False}}, or `Feature`s. A column without two
        different values is left out. InputError, naming the column, for dates, ids and too many words.

        >>> rows = pd.DataFrame({"age": [18.0, 30.0, 68.0], "job": ["none", "full", "part"], "owner": [1, 0, 1]})
        >>> [(feature.name, feature.kind) for feature in FeatureSpace.infer(rows).features]
        [('age', 'integer'), ('job', 'categorical'), ('owner', 'binary')]
        """
        from cftransfer.data.inference import infer  # inference imports Feature

        return cls(infer(table, features).features)

    @property
    def names(self) -> list[str]:
        """The features' names, in order."""
        return [feature.name for feature in self.features]

    @property
    def columns(self) -> list[str]:
        """One name per column of the input: `age`, or `race=Asian` for a category."""
        names: list[str] = []
        for feature in self.features:
            one_hot = feature.kind == "categorical"
            names += [f"{feature.name}={category}" for category in feature.categories] if one_hot else [feature.name]
        return names

    @property
    def mutable(self) -> np.ndarray:
        """(columns,) bool: whether a person can change the column's feature."""
        return np.repeat([feature.mutable for feature in self.features], [feature.columns for feature in self.features])

    def changes(self, x: np.ndarray, other: np.ndarray) -> list[tuple[str, str, str]]:
        """x, other: (columns,) → (feature, old, new) of every change, in words, the largest first."""
        ends = self._ends[:-1]
        parts = zip(self.features, np.split(x, ends), np.split(other, ends), strict=True)
        changed = [(np.abs(new - old).max(), feature, old, new) for feature, old, new in parts]
        changed = sorted((part for part in changed if part[0] > SEEN), key=lambda part: -part[0])
        return [(feature.name, feature.said(old), feature.said(new)) for _, feature, old, new in changed]

    def encode(self, table: pd.DataFrame, *, clip: bool = True) -> np.ndarray:
        """Rows in original units → x: (n, columns) float32 in [0, 1]; columns are found by name.

        clip: whether to clip numbers to each feature's range. InputError for a missing column.
        """
        check_columns(self.features, table)
        x, ends = np.empty((len(table), len(self.columns)), dtype=np.float32), [0, *self._ends]
        for feature, begin, end in zip(self.features, ends[:-1], ends[1:], strict=True):
            x[:, begin:end] = feature.encode(table[feature.name], clip=clip)
        return x

    def decode(self, x: np.ndarray) -> pd.DataFrame:
        """x: (n, columns) in [0, 1] → rows in original units with category names (`Feature.decode`)."""
        parts = np.split(x, self._ends[:-1], axis=1)
        return pd.DataFrame({f.name: f.decode(part) for f, part in zip(self.features, parts, strict=True)})

    @property
    def _ends(self) -> np.ndarray:
        return np.cumsum([feature.columns for feature in self.features])

    def to_original(self, x: Tensor) -> Tensor:
        """x: (n, columns) in [0, 1] → (n, columns), numbers in original units, unrounded and differentiable.

        Columns of binary, ordinal and categorical features stay as they are.
        """
        numbers = [feature for feature in self.features for _ in range(feature.columns)]
        ends = np.array([[0.0, 1.0] if f.categories else f.scaled(np.array([f.low, f.high])) for f in numbers])
        low, high = torch.from_numpy(ends.astype(np.float32)).to(x.device).unbind(1)
        scaled = low + x * (high - low)
        log = torch.tensor([f.scale == "log1p" for f in numbers], device=x.device)
        return torch.where(log, torch.expm1(torch.where(log, scaled, 0.0)), scaled)


def check_columns(features: Sequence[Feature], table: pd.DataFrame) -> None:
    """Refuse two features of one name, a table with a repeated column, and a table without a feature's column."""
    names = [feature.name for feature in features]
    if twice := [name for place, name in enumerate(names) if name in names[:place]]:
        raise InputError(f"feature {twice[0]!r}: is named twice; give each its own name")
    if not table.columns.is_unique:
        raise InputError(f"table: has the column {table.columns[table.columns.duplicated()][0]!r} twice")
    if absent := [name for name in names if name not in table]:
        raise InputError(f"table: has no column {absent[0]!r}; it needs {', '.join(names)}")


def fit(features: Sequence[Feature], training: pd.DataFrame) -> FeatureSpace:
    """Return the space with the ranges of the training rows; categories and kinds stay as they are."""

    def fitted(feature: Feature) -> Feature:
        if feature.categories:
            return feature
        low, high = value_range(training[feature.name])
        return replace(feature, low=low, high=high)

    return FeatureSpace(tuple(fitted(feature) for feature in features))
