"""Rows of a second table file, for example from another place or time, read with a data set's features and classes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cftransfer.data.cells import UNKNOWN, bad_cells, codes, empty
from cftransfer.data.dataset import check_whole
from cftransfer.data.empty_cells import filled, without_empty_rows
from cftransfer.data.inference import Inferred
from cftransfer.data.labels import labels
from cftransfer.data.own_data import weights
from cftransfer.data.space import FeatureSpace
from cftransfer.data.table import found_file
from cftransfer.data.table_file import read_table
from cftransfer.errors import InputError
from cftransfer.settings import check_choice, check_int, check_keys

READING = ("separator", "decimal", "thousands", "encoding", "missing_values")
OWN = ("path", "label", "positive", "weight", "missing", "max_rows", *READING)  # settings of a second file


class OtherRows(NamedTuple):
    """rows: of the features, in original units; y: (n,) float32; weight: (n,) float32 or None; notes: sentences."""

    rows: pd.DataFrame
    y: Tensor
    weight: Tensor | None
    notes: list[str]


def other_rows(
    space: FeatureSpace,
    classes: tuple[str, ...],
    *,
    given: Mapping[str, Any],
    changed: Mapping[str, Any],
    folder: Path,
) -> OtherRows:
    """Return all rows of a second file; it needs a column for every feature and for the label, in any order.

    Nothing is inferred, so every column keeps its meaning in the data set. Rows with a word that a feature lacks are
    left out and counted; empty cells are treated as `missing` says, with the medians of these rows.

    given: the settings of `table.table` for the data set. changed: the settings of OWN that differ.
    InputError, one line that names the file or the setting, for missing columns, other labels, and no row left.
    """
    check_keys("dataset", changed, OWN, required=("path",))
    settings, path = {**given, **changed}, found_file(changed["path"], folder)
    reading = {name: settings[name] for name in READING}
    words = reading["missing_values"]
    table = read_table(path, **{**reading, "missing_values": [words] if isinstance(words, str) else words})
    label, weight, missing = (
        str(settings["label"]),
        settings["weight"],
        check_choice("dataset.missing", settings["missing"]),
    )
    needed = [*space.names, label, *([] if weight is None else [weight])]
    if absent := [name for name in needed if name not in table]:
        raise InputError(f"{path}: has no column {absent[0]!r}, which the base's table has; name it in the first line")
    table, notes = table[needed], list[str]()
    if missing == "drop_rows":
        (table,) = without_empty_rows([table], drop=[], notes=notes)
    table = _drawn(table, settings["max_rows"], settings["split_seed"], notes=notes)
    y = _classes(table[label], classes, settings["positive"], path)
    table, y = _of_known_words(table, space, y, notes=notes)
    rows, _, _ = filled(table, table[:0], Inferred(space.features, {}, {}), missing=missing, notes=notes)
    rows, y = _of_known_words(rows, space, y, notes=notes)  # filling may have added a level
    check_whole(space.features, rows)
    weighted = None if weight is None else torch.from_numpy(weights(rows[weight]).astype(np.float32))
    notes = [f"shifted training rows: {note}" for note in (f"{len(rows):,} of {path.name}", *notes)]
    return OtherRows(rows[space.names].reset_index(drop=True), torch.from_numpy(y.astype(np.float32)), weighted, notes)


def _drawn(table: pd.DataFrame, most: int | None, seed: int, *, notes: list[str]) -> pd.DataFrame:
    if most is None or check_int("dataset.max_rows", most, least=2) >= len(table):
        return table
    notes.append(f"max_rows={most}: drew {most:,} of {len(table):,} rows")
    return table.iloc[np.sort(np.random.default_rng(seed).choice(len(table), most, replace=False))]


def _classes(values: pd.Series, classes: tuple[str, ...], positive: Any, path: Path) -> np.ndarray:
    """Return (n,) classes 0, 1, … by the names of the base's classes; InputError for empty cells and other classes."""
    if empty(values).any():
        raise bad_cells(values, empty(values), "empty label", "fill it, or dataset.missing=drop_rows")
    known = " and ".join(classes) if len(classes) == 2 else ", ".join(classes)
    if positive is None:
        found = codes(values, classes)
        if (found < 0).any():
            strange = values[found < 0].iloc[0]
            raise InputError(
                f"{path}: its label {values.name} has the value {strange}, but the base's classes are {known}"
            )
    else:
        named = labels(values, positive)
        if named.classes[1] != classes[1] or classes[0] not in (named.classes[0], f"not {classes[1]}"):
            theirs = " and ".join(named.classes)
            raise InputError(f"{path}: its label {values.name} has the classes {theirs}, but the base has {known}")
        found = named.codes
    if found.min() == found.max():
        only = classes[int(found.max())]
        raise InputError(f"{path}: its label {values.name} has one class alone, {only!r}; models need two or more")
    return found


def _of_known_words(
    table: pd.DataFrame, space: FeatureSpace, y: np.ndarray, *, notes: list[str]
) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the rows without unknown categories, and their classes; empty cells stay."""
    counts, known = {}, np.ones(len(table), dtype=bool)
    for feature in space.features:
        if feature.categories:
            strange = codes(table[feature.name], feature.categories) == UNKNOWN
            counts[feature.name] = int(strange.sum())
            known &= ~strange
    if known.all():
        return table, y
    listed = ", ".join(f"{name} {many:,}" for name, many in counts.items() if many)
    if not known.any():
        raise InputError(f"every row has a word that the base lacks ({listed}); give other rows")
    left = int((~known).sum())
    notes.append(f"left out {left:,} of {len(table):,} with a category that the base lacks ({listed})")
    return table[known], y[known]
