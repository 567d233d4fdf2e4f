"""The feature space of a table: the meaning of each column of the input, and its values in original units."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cftransfer.errors import InputError

SEEN = 0.005  # of a feature's range: smaller changes are not told
Kind = Literal["continuous", "integer", "binary", "ordinal", "categorical"]


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One original feature.

    kind: continuous and integer take one column, scaled so that [low, high] is [0, 1]; binary one column, 0 or 1;
        ordinal one column, in which the categories stand in their order at equal steps from 0 to 1; categorical one
        column per category, one of them 1 (one-hot).
    low, high: the range in original units, as seen in the training split.
    mutable: whether a person can change it; direction: which way, if it can change at all.
    scale: log1p scales log(1 + value) instead of the value.
    """

    name: str
    kind: Kind
    low: float = 0.0
    high: float = 1.0
    mutable: bool = True
    direction: Literal["any", "up", "down"] = "any"
    categories: tuple[str, ...] = ()
    scale: Literal["linear", "log1p"] = "linear"

    def __post_init__(self) -> None:
        named = f"feature {self.name!r}: "
        for word, value, known in (
            ("kind", self.kind, get_args(Kind)),
            ("direction", self.direction, ("any", "up", "down")),
            ("scale", self.scale, ("linear", "log1p")),
        ):
            if value not in known:
                raise InputError(f"{named}{word}={value}: takes one of {', '.join(known)}")
        if self.kind in ("continuous", "integer") and self.categories:
            raise InputError(f"{named}kind={self.kind} takes no categories; binary, ordinal and categorical do")
        if self.kind not in ("continuous", "integer") and len(set(self.categories)) < max(2, len(self.categories)):
            raise InputError(f"{named}kind={self.kind} takes two different categories or more")
        if self.kind == "binary" and len(self.categories) != 2:
            raise InputError(f"{named}kind=binary takes two categories, and has {len(self.categories)}")

    @property
    def columns(self) -> int:
        """Number of columns of the input."""
        return len(self.categories) if self.kind == "categorical" else 1

    def encode(self, values: pd.Series, *, clip: bool = True) -> np.ndarray:
        """(n,) original values → (n, columns) float32 in [0, 1]; with `clip`, beyond the range is put at its end."""
        if self.categories:
            codes = pd.Index(self.categories).get_indexer(pd.Index(values))
            if (codes < 0).any():
                unknown = sorted(set(map(str, values[codes < 0])))
                raise InputError(f"{self.name}: unknown category {', '.join(unknown)}")
            if self.kind == "categorical":
                return np.eye(len(self.categories), dtype=np.float32)[codes]
            return (codes[:, None] / self._steps).astype(np.float32)
        try:
            numbers = self.scaled(values.to_numpy(dtype=float))
        except (ValueError, TypeError) as error:
            raise InputError(f"{self.name}: holds words, and is {self.kind} ({error})") from error
        low, high = self.scaled(np.array([self.low, self.high]))
        if low == high:  # both ends are 0
            return np.zeros((len(numbers), 1), dtype=np.float32)
        share = (numbers - low) / (high - low)
        return (np.clip(share, 0, 1) if clip else share)[:, None].astype(np.float32)

    def decode(self, x: np.ndarray) -> np.ndarray:
        """(n, columns) in [0, 1] → (n,) original values, read as a person would.

        Integers are rounded; a category is the largest of its columns, or the nearest on the one column.
        """
        if self.kind == "categorical":
            return np.asarray(self.categories, dtype=object)[x.argmax(1)]
        if self.categories:
            return np.asarray(self.categories, dtype=object)[np.rint(np.clip(x[:, 0], 0, 1) * self._steps).astype(int)]
        low, high = self.scaled(np.array([self.low, self.high]))
        scaled = low + x[:, 0].astype(float) * (high - low)
        numbers = np.expm1(scaled) if self.scale == "log1p" else scaled
        return np.rint(numbers).astype(int) if self.kind == "integer" else numbers

    @property
    def levels(self) -> np.ndarray | None:
        """Ascending float32 values of its column, as `encode` gives them; None if it has any, or several columns.

        A range without a width has one value.
        """
        if self.kind in ("continuous", "categorical"):
            return None
        if self.categories:
            return np.unique(self.encode(pd.Series(self.categories)))
        return np.unique(self.encode(pd.Series(np.arange(np.ceil(self.low), self.high + 1))))

    def said(self, x: np.ndarray) -> str:
        """(columns,) in [0, 1] → the value in words, unrounded: a search may stop between possible values."""
        if not self.categories:
            low, high = self.scaled(np.array([self.low, self.high]))
            number = low + float(x[0]) * (high - low)
            return f"{np.expm1(number) if self.scale == 'log1p' else number:.4g}"
        if self.kind == "categorical":
            parts = [(weight, name) for weight, name in zip(x.tolist(), self.categories, strict=True) if weight > SEEN]
            parts.sort(key=lambda part: -part[0])
            if len(parts) == 1 and parts[0][0] > 1 - SEEN:
                return parts[0][1]
            return " + ".join(f"{weight:.2f} {name}" for weight, name in parts) or "none"
        place = float(x[0]) * self._steps
        below = min(max(int(place + SEEN), 0), self._steps)
        share = place - below
        if abs(share) <= SEEN:
            return self.categories[below]
        if not 0 <= place <= self._steps:  # where a search without constraints may end
            return f"{self.categories[below]}, and {abs(share):.0%} of a step beyond"
        return f"{self.categories[below]}, {share:.0%} of the way to {self.categories[below + 1]}"

    @property
    def _steps(self) -> int:
        return len(self.categories) - 1

    def scaled(self, numbers: np.ndarray) -> np.ndarray:
        """Return numbers in original units on the feature's own scale, linear or logarithmic."""
        return np.log1p(numbers) if self.scale == "log1p" else numbers


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
        """Return the space whose ranges are those of the training rows; categories and kinds stay as they are.

        InputError for a feature that the table does not have.

        >>> rows = pd.DataFrame({"age": [18, 30, 68]})
        >>> FeatureSpace.fit([Feature(name="age", kind="integer")], rows).features[0].high
        68.0
        """
        for feature in features:
            if feature.name not in training:
                raise InputError(f"feature {feature.name!r}: the table has no such column")
        return fit(features, training)

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
        ends = np.cumsum([feature.columns for feature in self.features])[:-1]
        parts = zip(self.features, np.split(x, ends), np.split(other, ends), strict=True)
        changed = [(np.abs(new - old).max(), feature, old, new) for feature, old, new in parts]
        changed = sorted((part for part in changed if part[0] > SEEN), key=lambda part: -part[0])
        return [(feature.name, feature.said(old), feature.said(new)) for _, feature, old, new in changed]

    def encode(self, table: pd.DataFrame, *, clip: bool = True) -> np.ndarray:
        """Rows in original units → x: (n, columns) float32 in [0, 1], columns being found by their names.

        clip: whether numbers beyond a feature's range are put at its end. InputError for a column that is missing.
        """
        if not table.columns.is_unique:
            raise InputError(f"table: has the column {table.columns[table.columns.duplicated()][0]!r} twice")
        if absent := [feature.name for feature in self.features if feature.name not in table]:
            raise InputError(f"table: has no column {absent[0]!r}; it needs {', '.join(self.names)}")
        parts = [feature.encode(table[feature.name], clip=clip) for feature in self.features]
        return np.concatenate(parts, axis=1)

    def decode(self, x: np.ndarray) -> pd.DataFrame:
        """x: (n, columns) in [0, 1] → rows in original units and category names, as `Feature.decode` reads them."""
        ends = np.cumsum([feature.columns for feature in self.features])
        parts = np.split(x, ends[:-1], axis=1)
        return pd.DataFrame({f.name: f.decode(part) for f, part in zip(self.features, parts, strict=True)})

    def to_original(self, x: Tensor) -> Tensor:
        """x: (n, columns) in [0, 1] → (n, columns), numbers in their own units, without rounding, with gradients.

        Columns of binary, ordinal and categorical features stay as they are.
        """
        numbers = [feature for feature in self.features for _ in range(feature.columns)]
        ends = np.array([[0.0, 1.0] if f.categories else f.scaled(np.array([f.low, f.high])) for f in numbers])
        low, high = torch.from_numpy(ends.astype(np.float32)).to(x.device).unbind(1)
        scaled = low + x * (high - low)
        log = torch.tensor([f.scale == "log1p" for f in numbers], device=x.device)
        return torch.where(log, torch.expm1(torch.where(log, scaled, 0.0)), scaled)


def fit(features: Sequence[Feature], training: pd.DataFrame) -> FeatureSpace:
    """Return the space whose ranges are those of the training rows; categories and kinds stay as they are."""

    def fitted(feature: Feature) -> Feature:
        if feature.categories:
            return feature
        values = training[feature.name]
        return replace(feature, low=float(values.min()), high=float(values.max()))

    return FeatureSpace(tuple(fitted(feature) for feature in features))
