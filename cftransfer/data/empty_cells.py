"""Empty cells of a table: refused, dropped with their rows, or filled from the training rows, and counted."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from cftransfer.data.cells import bad_cells, codes, empty, numbers
from cftransfer.data.feature import Feature
from cftransfer.data.inference import Inferred
from cftransfer.errors import InputError
from cftransfer.settings import CHOICES

NO_VALUE = "missing"  # the level of an empty cell under missing=category


def without_empty_rows(parts: Sequence[pd.DataFrame], *, drop: Sequence[str], notes: list[str]) -> list[pd.DataFrame]:
    """Return the tables without rows that have an empty cell; fully empty columns do not count."""
    nothing = [name for name in parts[0] if empty(parts[0][name]).all()]
    looked_at = [name for name in parts[0] if name not in (*drop, *nothing)]
    kept = [part[~np.logical_or.reduce([empty(part[name]) for name in looked_at])] for part in parts]
    if any(part.empty for part in kept):
        raise InputError("dataset.missing=drop_rows: every row has an empty cell; impute_median or category keeps them")
    whole, left = (sum(map(len, tables)) for tables in (parts, kept))
    if left < whole:
        notes.append(f"missing=drop_rows: left out {whole - left:,} of {whole:,} rows with an empty cell")
    return kept


def filled(
    train: pd.DataFrame, test: pd.DataFrame, known: Inferred, *, missing: str, notes: list[str]
) -> tuple[pd.DataFrame, pd.DataFrame, Inferred]:
    """Return both splits without empty cells, and the features, which may have a new level for empty cells.

    InputError under missing=refuse, naming all such columns.
    """
    cells = {f.name: (empty(train[f.name]), empty(test[f.name])) for f in known.features}
    lacking = {name: parts for name, parts in cells.items() if any(part.any() for part in parts)}
    if not lacking:
        return train, test, known
    if missing in ("refuse", "drop_rows"):
        raise _refused(train, test, list(lacking))
    features, train, test = list(known.features), train.copy(), test.copy()
    for place, feature in enumerate(known.features):
        if feature.name in lacking:
            value, features[place] = _value_for_empty(train[feature.name], feature, missing)
            for part, gone in zip((train, test), lacking[feature.name], strict=True):
                part[feature.name] = part[feature.name].astype(object).where(~gone, value)
            many = sum(int(part.sum()) for part in lacking[feature.name])
            notes.append(f"missing={missing}: {many:,} empty cells of {feature.name} became {value}")
    return train, test, replace(known, features=tuple(features))


def _refused(train: pd.DataFrame, test: pd.DataFrame, names: Sequence[str]) -> InputError:
    """Return the InputError for empty cells; rows of one file count together, rows of a ready split separately."""
    one_file = train.index.intersection(test.index).empty
    parts = [pd.concat([train, test]).sort_index()] if one_file else [train, test]
    values = next(part[names[0]] for part in parts if empty(part[names[0]]).any())
    others = f"; others with empty cells: {', '.join(names[1:])}" if len(names) > 1 else ""
    where = "" if one_file or values.index is train.index else " in the test table"
    ways = " | ".join(CHOICES["dataset.missing"][1:])
    return bad_cells(values, empty(values), f"empty{where}", f"dataset.missing={ways}{others}")


def _value_for_empty(values: pd.Series, feature: Feature, missing: str) -> tuple[Any, Feature]:
    """Return the value for an empty cell of a column, and the feature with that level."""
    if not feature.categories:
        middle = float(np.nanmedian(numbers(values)))
        return (round(middle) if feature.kind == "integer" else middle), feature
    if missing == "category":
        if feature.kind == "ordinal":
            way_out = "dataset.missing=impute_median, or kind: categorical"
            raise InputError(f"column {feature.name}: an empty cell has no place in an order of levels; {way_out}")
        if NO_VALUE in feature.categories:  # for example from a saved file of features
            return NO_VALUE, feature
        return NO_VALUE, replace(feature, kind="categorical", categories=(*feature.categories, NO_VALUE))
    counts = np.bincount(codes(values, feature.categories)[~empty(values)], minlength=len(feature.categories))
    return feature.categories[int(counts.argmax())], feature
