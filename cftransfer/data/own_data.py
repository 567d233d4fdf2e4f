"""A data set from the user's table; for arrays see own_arrays.py."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cftransfer.data.cells import UNKNOWN, bad_cells, codes, numbers
from cftransfer.data.dataset import Dataset, encoded, split_rows
from cftransfer.data.empty_cells import filled, without_empty_rows
from cftransfer.data.feature import Feature
from cftransfer.data.features_file import read_features
from cftransfer.data.inference import infer
from cftransfer.data.labels import Labels, labels
from cftransfer.data.space import FeatureSpace
from cftransfer.data.table_file import read_table, without_words
from cftransfer.errors import InputError
from cftransfer.settings import check_choice, check_int

log = logging.getLogger(__name__)


def table(
    source: str | Path | pd.DataFrame,
    *,
    label: str,
    positive: Any = None,
    test: str | Path | pd.DataFrame | None = None,
    test_share: float = 0.2,
    split_seed: int = 0,
    drop: Sequence[str] = (),
    weight: str | None = None,
    features: str | Path | Mapping[str, Any] | Sequence[Feature] = (),
    missing: str = "refuse",
    unseen: str = "refuse",
    max_rows: int | None = None,
    separator: str | None = None,
    decimal: str = ".",
    thousands: str | None = None,
    encoding: str = "utf-8",
    missing_values: Sequence[str] = (),
) -> Dataset:
    """Return the data set of a table: a file (CSV, TSV, Parquet, also .gz) or a DataFrame.

    Columns that `features` does not describe are inferred by the rule of docs/guides/your-table.md, from the
    training rows alone; the log shows the result.

    Args:
        source: the file or DataFrame, one row per example, with named columns.
        label: the column of classes.
        positive: the value, or values, of class 1, or a threshold such as ">50000"; None takes the values as they are
            (`labels`): two classes, or one class for each of three values or more.
        test: the test rows of a ready split, with the same columns in any order.
        test_share: share of the test rows, between 0 and 1, without a ready split.
        split_seed: seed of the split, a whole number ≥ 0.
        drop: columns to leave out.
        weight: a column of numbers > 0, the weight of each training row in the loss.
        features: settings by column, such as {"age": {"mutable": False}}, a YAML file of them, or `Feature`s.
        missing: treatment of empty cells: refuse, drop_rows, impute_median (of the training rows; for words, the most
            frequent one), or category (words get a new level, numbers the median).
        unseen: treatment of test words that no training row has: refuse, or drop_rows.
        max_rows: rows to draw, by split_seed, from a larger file.
        separator: between the cells of a CSV; this and the next three go to `read_table` and are for files only.
        decimal: the sign in 2.5.
        thousands: the sign in 1,000.
        encoding: of the text.
        missing_values: words that mean an empty cell, in addition to the usual ones.

    Raises:
        InputError: one line that names the column, how many cells and the first row, and the way out.

    >>> rows = pd.DataFrame({"age": [20, 30, 40, 50] * 10, "owner": [True, False] * 20, "paid": ["no", "yes"] * 20})
    >>> data = table(rows, label="paid")
    >>> data.classes, data.space.columns, tuple(data.x_test.shape)
    (('no', 'yes'), ['age', 'owner'], (8, 2))
    """
    check_choice("dataset.missing", missing)
    check_choice("dataset.unseen", unseen)
    reading = {"separator": separator, "decimal": decimal, "thousands": thousands, "encoding": encoding}
    parts = [_rows(part, reading, missing_values) for part in ([source] if test is None else [source, test])]
    drop = [str(column) for column in drop]
    _check_columns(parts, label=label, weight=weight, drop=drop)
    name = Path(source).name if isinstance(source, str | Path) else "table"
    others = list(dict.fromkeys(column for column in (label, weight, *drop) if column is not None))
    notes: list[str] = []
    if missing == "drop_rows":
        parts = without_empty_rows(parts, drop=drop, notes=notes)
    answers = labels(pd.concat([part[label] for part in parts], ignore_index=True), positive)
    notes.append(answers.note)
    (train, y_train), (test_rows, y_test) = _splits(
        parts, answers, max_rows=max_rows, test_share=test_share, split_seed=split_seed, notes=notes
    )
    weighted = None if weight is None else weights(train[weight])
    train, test_rows = (rows.drop(columns=others, errors="ignore") for rows in (train, test_rows))
    given = read_features(Path(features)) if isinstance(features, str | Path) else features
    if isinstance(given, Mapping):  # a file of features may still describe a dropped column
        given = {column: settings for column, settings in given.items() if column not in drop}
    known = infer(train, given)
    log.info("%s: features, by the training rows; dataset.features changes them\n%s", name, known)
    notes += [f"left out: {column} ({reason})" for column, reason in known.left_out.items()]
    train, test_rows, known = filled(train, test_rows, known, missing=missing, notes=notes)
    seen = _seen(test_rows, known.features, unseen=unseen, notes=notes)
    return encoded(
        name,
        FeatureSpace(known.features),
        (train, y_train),
        (test_rows[seen], y_test[seen]),
        classes=answers.classes,
        about=f"{len(train) + int(seen.sum()):,} rows",
        weight=weighted,
        notes=notes,
    )


def _rows(source: Any, reading: Mapping[str, Any], missing_values: Sequence[str]) -> pd.DataFrame:
    """Return rows numbered from 0, with strings as column names and empty cells for `missing_values`."""
    if isinstance(source, str | Path):
        return read_table(Path(source), **reading, missing_values=missing_values)
    if not isinstance(source, pd.DataFrame):
        raise InputError(f"table: must be a path or a DataFrame, not {type(source).__name__}")
    rows = source.reset_index(drop=True).set_axis([str(name) for name in source.columns], axis=1)
    if not rows.columns.is_unique:
        raise InputError(f"table: has the column {rows.columns[rows.columns.duplicated()][0]!r} twice; rename one")
    return without_words(rows, missing_values)


def _check_columns(parts: Sequence[pd.DataFrame], *, label: str, weight: str | None, drop: Sequence[str]) -> None:
    """Refuse names of unknown columns, and a test file with columns other than the training file's."""
    names = list(parts[0].columns)
    if label in drop:
        raise InputError(
            f"dataset.drop={label}: names the label, which is never a feature; leave it out of dataset.drop"
        )
    known = {name for part in parts for name in part} if len(parts) > 1 else set(names)
    for key, wanted in (("label", [label]), ("weight", [weight] if weight is not None else []), ("drop", drop)):
        if absent := [name for name in wanted if name not in (known if key == "drop" else names)]:
            raise InputError(f"dataset.{key}={absent[0]}: the table has no such column; it has {', '.join(names)}")
    for other in parts[1:]:
        used = [name for name in names if name not in (*drop, weight)]
        extra = [name for name in other.columns if name not in (*names, *drop)]
        if absent := [name for name in used if name not in other]:
            raise InputError(f"dataset.test_path: its table has no column {absent[0]!r}, which the training table has")
        if extra:
            raise InputError(
                f"dataset.test_path: its table has the column {extra[0]!r}, which the training table lacks"
            )


def _splits(
    parts: Sequence[pd.DataFrame],
    answers: Labels,
    *,
    max_rows: int | None,
    test_share: float,
    split_seed: int,
    notes: list[str],
) -> tuple[tuple[pd.DataFrame, np.ndarray], tuple[pd.DataFrame, np.ndarray]]:
    """Return rows and classes of the training and of the test split, each at most its share of max_rows."""
    codes_of = np.split(answers.codes, [len(parts[0])])
    whole = sum(map(len, parts))
    if max_rows is not None and check_int("dataset.max_rows", max_rows, least=2) < whole:
        random = np.random.default_rng(split_seed)
        shares = [round(max_rows * len(part) / whole) for part in parts]
        drawn = [
            np.sort(random.choice(len(part), many, replace=False)) for part, many in zip(parts, shares, strict=True)
        ]
        parts = [part.iloc[places] for part, places in zip(parts, drawn, strict=True)]
        codes_of = [some[places] for some, places in zip(codes_of, drawn, strict=False)]
        notes.append(f"max_rows={max_rows}: drew {sum(shares):,} of {whole:,} rows")
    if len(parts) > 1:
        absent = [name for code, name in enumerate(answers.classes) if code not in codes_of[0]]
        if absent:
            raise InputError(f"dataset.path: no training row has the class {absent[0]!r}, which a test row has")
        return (parts[0], codes_of[0]), (parts[1], codes_of[1])
    places = split_rows(
        codes_of[0], name="table", classes=len(answers.classes), test_share=test_share, split_seed=split_seed
    )
    train, test = ((parts[0].iloc[some], codes_of[0][some]) for some in places)
    return train, test


def weights(values: pd.Series) -> np.ndarray:
    """(n,) weights of training rows → float64; InputError for cells that are not numbers > 0."""
    found = numbers(values)
    bad = ~(np.isfinite(found) & (found > 0))
    if bad.any():
        raise bad_cells(values, bad, "not a weight", "a weight is a number > 0; drop such rows, or omit dataset.weight")
    return found


def _seen(test: pd.DataFrame, features: Sequence[Feature], *, unseen: str, notes: list[str]) -> np.ndarray:
    """Return (n_test,) bool: rows without unseen words; InputError for unseen words under unseen=refuse."""
    kept = np.ones(len(test), dtype=bool)
    for feature in features:
        values = test[feature.name]
        strange = codes(values, feature.categories) == UNKNOWN if feature.categories else ~kept
        if feature.categories and strange.any():
            if unseen == "refuse":
                words = ", ".join(sorted({str(value) for value in values[strange]})[:5])
                known = ", ".join(map(str, feature.categories))
                way_out = f"known are {known}; dataset.unseen=drop_rows leaves such rows out"
                raise bad_cells(values, strange, f"test rows have levels that the feature lacks, {words}", way_out)
            kept &= ~strange
    if not kept.all():
        notes.append(f"unseen=drop_rows: left out {int((~kept).sum()):,} test rows with words that no training row has")
    return kept
