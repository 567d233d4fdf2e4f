"""Data sets out of a table, or arrays, of one's own."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cftransfer.data.cells import UNKNOWN, bad_cells, codes, numbers
from cftransfer.data.dataset import Dataset, encoded, split_rows
from cftransfer.data.empty_cells import MISSING, filled, without_empty_rows
from cftransfer.data.features_file import read_features
from cftransfer.data.images import from_images
from cftransfer.data.inference import infer
from cftransfer.data.labels import Labels, labels
from cftransfer.data.space import Feature, FeatureSpace
from cftransfer.data.table_file import read_table
from cftransfer.errors import InputError
from cftransfer.settings import check_choice, check_int

log = logging.getLogger(__name__)

UNSEEN = ("refuse", "drop_rows")


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
    encoding: str = "utf-8",
    missing_values: Sequence[str] = (),
) -> Dataset:
    """Return the data set of a table: a file (CSV, TSV, Parquet, also .gz) or a DataFrame.

    Columns that `features` does not describe are inferred by the rule of docs/your-data.md, from the training rows
    alone; the log shows what they were taken for.

    Args:
        source: the file or DataFrame, one row per example, with named columns.
        label: the column of classes.
        positive: the value, or values, of class 1, or a threshold such as ">50000"; None takes the values as they are
            (`labels`): two classes, or one class for each of three values or more.
        test: the test rows of a ready split, with the same columns in any order.
        test_share: share of the rows to test on, between 0 and 1, where there is no ready split.
        split_seed: which rows, a whole number ≥ 0.
        drop: columns to leave out.
        weight: a column of numbers > 0, the weight of each training row in the loss.
        features: settings by column, such as {"age": {"mutable": False}}, a YAML file of them, or `Feature`s.
        missing: what to do about empty cells: refuse, drop_rows, impute_median (of the training rows; words become
            the most frequent one), or category (words become a level of their own, numbers the median).
        unseen: what to do about words of the test rows that no training row has: refuse, or drop_rows.
        max_rows: rows to draw, by split_seed, from a larger file.
        separator: between the cells of a CSV; this and the next three go to `read_table`.
        decimal: the sign in 2.5.
        encoding: of the text.
        missing_values: words that mean an empty cell, beside the usual ones.

    Raises:
        InputError: one line that names the column, how many cells and the first row, and the way out.

    >>> rows = pd.DataFrame({"age": [20, 30, 40, 50] * 10, "owner": [True, False] * 20, "paid": ["no", "yes"] * 20})
    >>> data = table(rows, label="paid")
    >>> data.classes, data.space.columns, tuple(data.x_test.shape)
    (('no', 'yes'), ['age', 'owner'], (8, 2))
    """
    check_choice("dataset.missing", missing, MISSING)
    check_choice("dataset.unseen", unseen, UNSEEN)
    reading = {"separator": separator, "decimal": decimal, "encoding": encoding, "missing_values": missing_values}
    parts = [_rows(part, reading) for part in (source, test) if part is not None]
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
    weights = None if weight is None else _weights(train[weight])
    train, test_rows = train.drop(columns=others), test_rows.drop(columns=others, errors="ignore")
    given = read_features(Path(features)) if isinstance(features, str | Path) else features
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
        weight=weights,
        notes=notes,
    )


def arrays(
    x_train: Any,
    y_train: Any,
    x_test: Any,
    y_test: Any,
    *,
    space: FeatureSpace | None = None,
    classes: Sequence[str] | None = None,
    weight: Any = None,
) -> Dataset:
    """Return the data set of arrays: rows (n, columns) or images (n, channels, height, width), and classes 0, 1, ….

    Args:
        x_train: (n, columns) or images (n, channels, height, width). Bytes are grey levels of images. Numbers are in
            [0, 1], in the columns of `space`; without a space, columns are in original units and images in [0, 1].
        y_train: (n,) classes 0, 1, ….
        x_test: as x_train.
        y_test: as y_train.
        space: the meaning of the columns; None for continuous features in the range of the training rows.
        classes: names of the classes; None for 0, 1, ….
        weight: (n_train,) > 0, how much each training row counts in the loss.

    Raises:
        InputError: for shapes and classes that do not fit, and for numbers outside [0, 1].

    >>> data = arrays([[1.0, 20.0], [3.0, 40.0]], [0, 1], [[2.0, 30.0]], [1])
    >>> data.x_test.tolist()
    [[0.5, 0.5]]
    """
    y = [np.asarray(labels_of) for labels_of in (y_train, y_test)]
    for name, one in zip(("y_train", "y_test"), y, strict=True):
        if one.ndim != 1 or one.dtype.kind not in "biuf" or (one != np.round(one)).any() or one.min(initial=0) < 0:
            raise InputError(f"{name}: has shape {one.shape}, {one.dtype}; takes (n,) classes 0, 1, …")
    many = int(max(one.max(initial=0) for one in y)) + 1
    names = tuple(classes) if classes is not None else tuple(map(str, range(max(2, many))))
    if many > len(names):
        raise InputError(f"classes: names {len(names)}, and the labels go to {many - 1}")
    x = [np.asarray(inputs) for inputs in (x_train, x_test)]
    for name, one, label in zip(("x_train", "x_test"), x, y, strict=True):
        if len(one) != len(label):
            raise InputError(f"{name}: has {len(one)} rows and {len(label)} classes; takes as many of both")
    if x[0].ndim == 4:
        return from_images("arrays", train=(x[0], y[0]), test=(x[1], y[1]), classes=names, about="", from_files=False)
    columns = space.columns if space is not None else [f"x{place}" for place in range(x[0].shape[1])]
    train, test = (pd.DataFrame(one, columns=columns) for one in x)
    weights = None if weight is None else _weights(pd.Series(np.asarray(weight), name="weight"))
    if space is None:
        known = [Feature(name=name, kind="continuous") for name in columns]
        made = FeatureSpace.fit(known, train)
        return encoded("arrays", made, (train, y[0]), (test, y[1]), classes=names, weight=weights)
    unit = FeatureSpace(tuple(Feature(name=name, kind="continuous") for name in columns))
    data = encoded("arrays", unit, (train, y[0]), (test, y[1]), classes=names, weight=weights)
    return replace(data, space=space)


def _rows(source: str | Path | pd.DataFrame, reading: Mapping[str, Any]) -> pd.DataFrame:
    if isinstance(source, pd.DataFrame):
        rows = source.reset_index(drop=True)
        if not rows.columns.is_unique:
            raise InputError(
                f"table: has the column {rows.columns[rows.columns.duplicated()][0]!r} twice; name it anew"
            )
        return rows.set_axis([str(name) for name in rows.columns], axis=1)
    return read_table(Path(source), **reading)


def _check_columns(parts: Sequence[pd.DataFrame], *, label: str, weight: str | None, drop: Sequence[str]) -> None:
    """Refuse names that no column has, and a test file with other columns than the training file."""
    names = list(parts[0].columns)
    for key, wanted in (("label", [label]), ("weight", [weight] if weight is not None else []), ("drop", drop)):
        if absent := [name for name in wanted if name not in names]:
            raise InputError(f"dataset.{key}={absent[0]}: the table has no such column; it has {', '.join(names)}")
    for other in parts[1:]:
        used = [name for name in names if name not in (*drop, weight)]
        extra = [name for name in other.columns if name not in names]
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


def _weights(values: pd.Series) -> np.ndarray:
    found = numbers(values)
    bad = ~(np.isfinite(found) & (found > 0))
    if bad.any():
        raise bad_cells(values, bad, "no weight", "a weight is a number > 0; drop such rows, or leave dataset.weight")
    return found


def _seen(test: pd.DataFrame, features: Sequence[Feature], *, unseen: str, notes: list[str]) -> np.ndarray:
    """Return (n_test,) bool: the rows whose words some training row has; InputError for others, or leave them out."""
    kept = np.ones(len(test), dtype=bool)
    for feature in features:
        values = test[feature.name]
        strange = codes(values, feature.categories) == UNKNOWN if feature.categories else ~kept
        if feature.categories and strange.any():
            if unseen == "refuse":
                words = ", ".join(sorted({str(value) for value in values[strange]})[:5])
                known = ", ".join(map(str, feature.categories))
                way_out = f"known are {known}; dataset.unseen=drop_rows leaves such rows out"
                raise bad_cells(values, strange, f"no training row has {words}", way_out)
            kept &= ~strange
    if not kept.all():
        notes.append(f"unseen=drop_rows: left out {int((~kept).sum()):,} test rows with words that no training row has")
    return kept
