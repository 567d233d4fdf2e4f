"""Cells of a table: equal values have one spelling, independent of the type that a file or program gave them."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from cftransfer.errors import InputError

UNKNOWN, EMPTY = -2, -1
WHOLE = re.compile(r"([-+]?\d+)\.0*")


def spelled(value: Any) -> str:
    """Return one spelling for equal values: 1, 1.0, True, "1" and " 1.0 " are all "1".

    >>> [spelled(value) for value in (True, 1.0, " 1.0 ", "yes ", 2.5)]
    ['1', '1', '1', 'yes', '2.5']
    """
    if isinstance(value, bool | np.bool_):
        return str(int(value))
    if isinstance(value, int | float | np.number):
        return str(int(value)) if np.isfinite(value) and value == int(value) else repr(float(value))
    text = str(value).strip()
    if text.lower() in ("true", "false"):
        return "1" if text.lower() == "true" else "0"
    whole = WHOLE.fullmatch(text)
    return whole[1] if whole else text


def codes(values: pd.Series, categories: Sequence[Any]) -> np.ndarray:
    """(n,) cells → (n,) indices in `categories` by spelling, EMPTY for an empty cell, UNKNOWN for other values."""
    places, different = pd.factorize(values.astype(object), use_na_sentinel=True)
    known = {spelled(category): place for place, category in enumerate(categories)}
    found = [EMPTY if spelled(value) == "" else known.get(spelled(value), UNKNOWN) for value in different]
    return np.array([*found, EMPTY])[places]


def plain_value(value: Any) -> bool | int | float | str:
    """Return a cell as a Python number or truth value, and anything other than these as a word."""
    own = value.item() if isinstance(value, np.generic) else value
    return own if isinstance(own, bool | int | float | str) else str(own)


def different_values(values: pd.Series) -> list[Any]:
    """Return the distinct values of a column, one per spelling: numbers ascending, words in alphabetical order.

    Numbers and truth values are Python's own types; words are stripped of blanks; empty cells do not count.
    """
    by_spelling: dict[str, Any] = {}
    for value in pd.unique(values.astype(object).dropna()):
        by_spelling.setdefault(spelled(value), plain_value(value))
    by_spelling.pop("", None)
    found = [value.strip() if isinstance(value, str) else value for value in by_spelling.values()]
    if all(isinstance(value, int | float) for value in found):
        return sorted(found)
    return sorted(found, key=str)


def empty(values: pd.Series) -> np.ndarray:
    """(n,) cells → (n,) bool: whether a cell is empty; a word of blanks counts as empty."""
    missing = values.isna().to_numpy(dtype=bool)
    if values.dtype.kind in "biuf":
        return missing
    return missing | values.astype(object).map(lambda value: isinstance(value, str) and not value.strip()).to_numpy(
        bool
    )


def numbers(values: pd.Series) -> np.ndarray:
    """(n,) cells → (n,) float64, NaN for an empty cell; InputError for words, naming the first."""
    if isinstance(values.dtype, np.dtype) and values.dtype.kind in "biuf":
        return values.to_numpy(dtype=float)
    found = pd.to_numeric(values.astype(object).where(~empty(values), None), errors="coerce").to_numpy(
        dtype=float, na_value=np.nan
    )
    words = np.isnan(found) & ~empty(values)
    if words.any():
        first = values.iloc[int(words.argmax())]
        raise bad_cells(values, words, f"not a number: {first!r}", "correct it, or change the kind")
    return found


def value_range(values: pd.Series) -> tuple[float, float]:
    """Return the least and the greatest number of a column; InputError if one is infinite or all are empty."""
    found = numbers(values)
    if np.isinf(found).any():
        raise bad_cells(values, np.isinf(found), "infinite", "correct it, or drop such rows")
    if np.isnan(found).all():
        raise InputError(f"column {values.name}: every cell is empty; leave it out")
    return float(np.nanmin(found)), float(np.nanmax(found))


def bad_cells(values: pd.Series, bad: np.ndarray, what: str, way_out: str) -> InputError:
    """Return the InputError for cells of a column; bad: (n,) bool. Rows are named by their index, from 0."""
    where = f"{bad.sum():,} of {len(bad):,} cells, first in row {values.index[int(bad.argmax())]}"
    return InputError(f"column {values.name}: {what} ({where}); {way_out}")
