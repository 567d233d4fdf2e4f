"""One feature of a table: the meaning of its column, and its values in original units."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from cftransfer.data.cells import EMPTY, bad_cells, codes, numbers, spelled
from cftransfer.errors import InputError

MOST_LEVELS = 1000  # per feature; a categorical feature has one input column per level
MOST_STEPS = 10**6  # of an integer feature; float32 could not distinguish many more
SEEN = 0.005  # of a feature's range; smaller changes are not reported
Kind = Literal["continuous", "integer", "binary", "ordinal", "categorical"]


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One original feature.

    kind: continuous and integer take one column, scaled so that [low, high] is [0, 1]; binary one column, 0 or 1;
        ordinal one column, with the ordered categories at equal steps from 0 to 1; categorical one column per category,
        one of them 1 (one-hot).
    low, high: the range in original units, as seen in the training split.
    categories: words, numbers or truth values; cells match by their spelling (`cells.spelled`), so that 1, 1.0 and "1"
        are one category.
    mutable: whether a person can change it; direction: the allowed direction of a change.
    scale: log1p uses log(1 + value) in place of the value.
    """

    name: str
    kind: Kind
    low: float = 0.0
    high: float = 1.0
    mutable: bool = True
    direction: Literal["any", "up", "down"] = "any"
    categories: tuple[Any, ...] = ()
    scale: Literal["linear", "log1p"] = "linear"

    def __post_init__(self) -> None:
        named = f"feature {self.name!r}: "
        for word, value, known in (
            ("kind", self.kind, get_args(Kind)),
            ("direction", self.direction, ("any", "up", "down")),
            ("scale", self.scale, ("linear", "log1p")),
        ):
            if value not in known:
                raise InputError(f"{named}{word}={value}: must be one of {', '.join(known)}")
        if not isinstance(self.mutable, bool | np.bool_):
            raise InputError(f"{named}mutable={self.mutable}: must be true or false")
        for word, number in (("low", self.low), ("high", self.high)):
            if isinstance(number, bool) or not isinstance(number, int | float | np.number):
                raise InputError(f"{named}{word}={number}: must be a number")
        if self.kind in ("continuous", "integer") and self.categories:
            raise InputError(f"{named}kind={self.kind} takes no categories; binary, ordinal and categorical do")
        different = len({spelled(category) for category in self.categories})
        if self.kind not in ("continuous", "integer") and different < max(2, len(self.categories)):
            raise InputError(f"{named}kind={self.kind} takes two different categories or more")
        if self.kind == "binary" and len(self.categories) != 2:
            raise InputError(f"{named}kind=binary takes two categories, and has {len(self.categories)}")
        if len(self.categories) > MOST_LEVELS:
            many = f"{len(self.categories):,} categories, more than {MOST_LEVELS:,}"
            raise InputError(f"{named}has {many}; group them, or leave the column out")
        if self.kind == "integer" and self.high - self.low > MOST_STEPS:
            raise InputError(f"{named}goes from {self.low:g} to {self.high:g}; use kind=continuous for so wide a range")
        if not self.low <= self.high or not np.isfinite([self.low, self.high]).all():
            raise InputError(f"{named}low={self.low:g} and high={self.high:g} are not a range; low ≤ high, both finite")
        if self.scale == "log1p" and self.low <= -1:
            raise InputError(f"{named}scale=log1p takes values above -1, and low is {self.low:g}; scale=linear")

    @property
    def columns(self) -> int:
        """Number of columns of the input."""
        return len(self.categories) if self.kind == "categorical" else 1

    def encode(self, values: pd.Series, *, clip: bool = True) -> np.ndarray:
        """(n,) original values → (n, columns) float32 in [0, 1]; with `clip`, values are clipped to the range.

        InputError, naming the first row, for empty cells, infinite numbers and unknown categories.
        """
        values = values.rename(self.name)
        if self.categories:
            places = codes(values, self.categories)
            if (places == EMPTY).any():
                raise bad_cells(values, places == EMPTY, "empty", "fill it, or drop such rows")
            if (places < 0).any():
                unknown = ", ".join(sorted({str(value) for value in values[places < 0]})[:5])
                known = ", ".join(map(str, self.categories))
                raise bad_cells(values, places < 0, f"unknown category {unknown}", f"known are {known}")
            if self.kind == "categorical":
                one_hot = np.zeros((len(places), len(self.categories)), dtype=np.float32)
                one_hot[np.arange(len(places)), places] = 1
                return one_hot
            return (places[:, None] / self._steps).astype(np.float32)
        given = numbers(values)
        for bad, what in ((np.isnan(given), "empty"), (np.isinf(given), "infinite")):
            if bad.any():
                raise bad_cells(values, bad, what, "correct it, or drop such rows")
        found = self.scaled(given)
        low, high = self.scaled(np.array([self.low, self.high]))
        if low == high:  # both ends are 0
            return np.zeros((len(found), 1), dtype=np.float32)
        share = (found - low) / (high - low)
        return (np.clip(share, 0, 1) if clip else share)[:, None].astype(np.float32)

    def decode(self, x: np.ndarray) -> np.ndarray:
        """(n, columns) in [0, 1] → (n,) original values.

        Integers are rounded; a category is its largest column, or the nearest level in a single column.
        """
        if self.categories:
            nearest = np.rint(np.clip(x[:, 0], 0, 1) * self._steps).astype(int)
            return self._named[x.argmax(1) if self.kind == "categorical" else nearest]
        low, high = self.scaled(np.array([self.low, self.high]))
        scaled = low + x[:, 0].astype(float) * (high - low)
        found = np.expm1(scaled) if self.scale == "log1p" else scaled
        return np.rint(found).astype(int) if self.kind == "integer" else found

    @property
    def levels(self) -> np.ndarray | None:
        """Ascending float32 values of the column, as in `encode`; None for a continuous or a categorical feature.

        A range of zero width has one value.
        """
        if self.kind in ("continuous", "categorical"):
            return None
        if self.categories:
            return np.unique(self.encode(pd.Series(self.categories)))
        return np.unique(self.encode(pd.Series(np.arange(np.ceil(self.low), self.high + 1))))

    def said(self, x: np.ndarray) -> str:
        """(columns,) in [0, 1] → the value in words, unrounded, because a search may stop between possible values."""
        if not self.categories:
            low, high = self.scaled(np.array([self.low, self.high]))
            number = low + float(x[0]) * (high - low)
            return f"{np.expm1(number) if self.scale == 'log1p' else number:.4g}"
        if self.kind == "categorical":
            weights = zip(x.tolist(), map(str, self.categories), strict=True)
            parts = [(weight, name) for weight, name in weights if weight > SEEN]
            parts.sort(key=lambda part: -part[0])
            if len(parts) == 1 and parts[0][0] > 1 - SEEN:
                return parts[0][1]
            return " + ".join(f"{weight:.2f} {name}" for weight, name in parts) or "none"
        place = float(x[0]) * self._steps
        below = min(max(int(place + SEEN), 0), self._steps)
        share = place - below
        if abs(share) <= SEEN:
            return str(self.categories[below])
        if not 0 <= place <= self._steps:  # a search without constraints may end here
            return f"{self.categories[below]}, and {abs(share):.0%} of a step beyond"
        return f"{self.categories[below]}, {share:.0%} of the way to {self.categories[below + 1]}"

    @property
    def _steps(self) -> int:
        return len(self.categories) - 1

    @property
    def _named(self) -> np.ndarray:
        """(categories,) in their own type: numbers, truth values, or words as objects."""
        plain = len({type(category) for category in self.categories}) == 1 and not isinstance(self.categories[0], str)
        return np.asarray(self.categories, dtype=None if plain else object)

    def scaled(self, original: np.ndarray) -> np.ndarray:
        """Return numbers in original units on the feature's own scale, linear or logarithmic."""
        return np.log1p(original) if self.scale == "log1p" else original
