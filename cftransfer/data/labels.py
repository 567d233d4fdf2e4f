"""The label column → classes: class 1 and 0, or, with three values or more, one class per value."""

import operator
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cftransfer.data.cells import bad_cells, different_values, empty, numbers, spelled
from cftransfer.errors import InputError

MAX_CLASSES = 50
THRESHOLD = re.compile(r"\s*(>=|<=|>|<|≥|≤)\s*([-+]?\d+\.?\d*(?:[eE][-+]?\d+)?)\s*")
COMPARED: dict[str, Callable[[Any, Any], Any]] = {
    ">": operator.gt, ">=": operator.ge, "≥": operator.ge, "<": operator.lt, "<=": operator.le, "≤": operator.le,
}  # fmt: skip


class Labels(NamedTuple):
    """codes: (n,) int64 classes; classes: their names, in order; note: a sentence for the reader."""

    codes: np.ndarray
    classes: tuple[str, ...]
    note: str


def labels(values: pd.Series, positive: Any = None) -> Labels:
    """Return the classes of the rows.

    positive: the value that is class 1, or a list of such values; all other values together are class 0. Or a
    threshold on a number, such as ">50000". None takes the values as they are: the greater of two values (for words,
    the later in the alphabet) is class 1; three to MAX_CLASSES values are one class each, in that order.

    InputError, naming the column, for empty cells, a single class, quantities without a threshold, and values that
    occur in no row.

    >>> labels(pd.Series(["no", "yes", "no"], name="paid"))
    Labels(codes=array([0, 1, 0]), classes=('no', 'yes'), note="paid: 'yes' is class 1, 'no' class 0")
    >>> labels(pd.Series([10, 60], name="income"), ">50").classes
    ('not > 50', '> 50')
    """
    values = values.astype(object)  # a pandas category may have unused levels
    name = values.name
    if empty(values).any():
        way_out = "fill it, or dataset.missing=drop_rows leaves such rows out"
        raise bad_cells(values, empty(values), "empty label", way_out)
    different = different_values(values)
    infinite = values.map(lambda value: isinstance(value, float) and not np.isfinite(value)).to_numpy(bool)
    if infinite.any():
        raise bad_cells(values, infinite, "infinite label", "correct it, or drop such rows")
    if positive is None:
        return _as_they_are(values, different)
    threshold = THRESHOLD.fullmatch(positive) if isinstance(positive, str) else None
    if threshold and spelled(positive) not in map(spelled, different):
        return _above(values, threshold[1], float(threshold[2]), str(positive))
    wanted = list(positive) if isinstance(positive, Sequence) and not isinstance(positive, str) else [positive]
    known = {spelled(value): value for value in different}
    if not wanted:
        raise InputError("dataset.positive=[]: must be a value, a list of values or a threshold, or null")
    if strange := [value for value in wanted if spelled(value) not in known]:
        raise InputError(f"dataset.positive={strange[0]}: no row of column {name} has it; {_listed(different)}")
    chosen = {spelled(value) for value in wanted}
    others = [str(value) for value in different if spelled(value) not in chosen]
    one = " or ".join(str(known[spelled(value)]) for value in wanted)
    codes = values.map(lambda value: spelled(value) in chosen).to_numpy(dtype=np.int64)
    return _two(codes, (others[0] if len(others) == 1 else f"not {one}", one), name)


def _as_they_are(values: pd.Series, different: Sequence[Any]) -> Labels:
    name, are_numbers = values.name, not any(isinstance(value, str) for value in different)
    if len(different) > 2 and are_numbers and any(float(value) != int(value) for value in different):
        middle = float(np.median(numbers(values)))
        raise InputError(f"dataset.label={name}: is a quantity; dataset.positive='>{middle:g}' makes two classes of it")
    if len(different) > MAX_CLASSES:
        way_out = f"dataset.positive names class 1: a value, a list, or a threshold as '>50'; {_listed(different)}"
        raise InputError(f"dataset.label={name}: has {len(different):,} different values; {way_out}")
    places = {spelled(value): place for place, value in enumerate(different)}
    codes = values.map(lambda value: places[spelled(value)]).to_numpy(dtype=np.int64)
    classes = tuple(str(value) for value in different)
    if len(classes) <= 2:
        return _two(codes, classes, name)
    return Labels(codes, classes, f"{name}: {len(classes)} classes, {', '.join(classes)}; dataset.positive makes two")


def _above(values: pd.Series, sign: str, limit: float, positive: str) -> Labels:
    codes = COMPARED[sign](numbers(values), limit).astype(np.int64)
    one = f"{sign} {limit:g}"
    if codes.min() == codes.max():
        few, most = numbers(values).min(), numbers(values).max()
        raise InputError(f"dataset.positive={positive}: column {values.name} goes from {few:g} to {most:g}: one class")
    return _two(codes, (f"not {one}", one), values.name)


def _two(codes: np.ndarray, classes: tuple[str, ...], name: Any) -> Labels:
    if codes.min() == codes.max():
        raise InputError(f"dataset.label={name}: has one class alone, {classes[int(codes.max())]!r}; takes two or more")
    return Labels(codes, classes, f"{name}: {classes[1]!r} is class 1, {classes[0]!r} class 0")


def _listed(different: Sequence[Any]) -> str:
    some = ", ".join(map(str, different[:8]))
    return f"there are: {some}{', …' if len(different) > 8 else ''}"
