"""Points made elsewhere, from a Parquet, CSV, npy or npz file → inputs in [0, 1], and the factual of each."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from cftransfer.data.cells import codes
from cftransfer.data.feature import Feature
from cftransfer.data.pixels import GREYS
from cftransfer.data.space import FeatureSpace
from cftransfer.errors import InputError
from cftransfer.settings import check_choice

FRAMES, ARRAYS = (".parquet", ".csv"), (".npy", ".npz")
FACTUAL = "factual"  # column of the factuals' numbers in exported files
POINTS = "counterfactual"  # array of the points in an npz file with several
NO_NUMBER = ["", "nan", "NaN", "NA", "N/A", "null", "None"]  # in a CSV's numeric columns; a category may be called so
UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, pa.ArrowException)


def read_proposals(
    path: str, *, shape: Sequence[int], space: Any, units: str, index: str | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return points (m, *shape) float32 in units of [0, 1], and (m,) int64 the number of each point's factual.

    shape: of one input. units: original for the data set's own units (a table's columns by name; bytes of images), unit
    for [0, 1] (a table with the columns `space.columns`, or an array). index: the column, or the array of an npz file,
    with the factuals' numbers; None if row i is for factual i, and then no numbers are returned.

    InputError, one line that names the file, for an unreadable file, and for columns and values that do not fit.
    """
    check_choice("counterfactual.units", units)
    if index is not None and (not isinstance(index, str) or not index):
        raise InputError(f"counterfactual.index={index}: must be the name of a column, or null")
    named = f"counterfactual.path={path}: "
    suffix = Path(path).suffix
    if suffix not in FRAMES + ARRAYS:
        raise InputError(f"{named}takes a file that ends in {', '.join(FRAMES + ARRAYS)}")
    try:
        points: np.ndarray | pd.DataFrame
        if suffix in ARRAYS:
            points, numbers = _arrays(path, index)
        else:
            frame = _frame(path, space)
            points, numbers = frame.drop(columns=[index] if index else [], errors="ignore"), frame.get(index)
        if index is not None and numbers is None:
            raise InputError(f"has no {'array' if suffix in ARRAYS else 'column'} {index!r} (counterfactual.index)")
        factuals = None if numbers is None else _whole(numbers, str(index))
        if isinstance(points, pd.DataFrame):
            read = _encoded(points, space, units)
        else:
            read = _unit(points, shape, space, units)
        if factuals is not None and len(factuals) != len(read):
            raise InputError(f"array {index!r} has {len(factuals)} numbers for {len(read)} points")
    except InputError as error:
        raise InputError(f"{named}{error}") from error
    except UNREADABLE as error:
        raise InputError(f"{named}cannot be read ({' '.join(str(error).split())})") from error
    return read, factuals


def _arrays(path: str, index: str | None) -> tuple[np.ndarray, Any]:
    """Return the points of an npy or npz file, and its array `index`; nothing is unpickled."""
    held = np.load(path, allow_pickle=False)
    if isinstance(held, np.ndarray):
        return held, None
    with held:
        arrays = {name: held[name] for name in held.files}
    numbers = arrays.pop(index, None) if index is not None else None
    if index is None and FACTUAL in arrays:
        raise InputError(
            f"has the array {FACTUAL!r}; counterfactual.index={FACTUAL} takes it for the factuals' numbers"
        )
    if POINTS not in arrays and len(arrays) != 1:
        raise InputError(f"has the arrays {', '.join(arrays) or '(none)'}; name the points {POINTS!r}")
    return arrays[POINTS] if POINTS in arrays else next(iter(arrays.values())), numbers


def _frame(path: str, space: Any) -> pd.DataFrame:
    if not isinstance(space, FeatureSpace):
        raise InputError("holds a table, and inputs have no named features; takes .npy or .npz")
    if path.endswith(".parquet"):
        frame = pd.read_parquet(path)
        if frame.index.names != [None] or not isinstance(frame.index, pd.RangeIndex):  # a named index is a column
            frame = frame.reset_index()
    else:
        head = pd.read_csv(path, nrows=0).columns
        words = {feature.name: str for feature in space.features if feature.categories}
        missing = {name: [""] if name in words else NO_NUMBER for name in head}
        frame = pd.read_csv(path, dtype=words, keep_default_na=False, na_values=missing)
    if not frame.columns.is_unique:
        raise InputError(f"has the column {frame.columns[frame.columns.duplicated()][0]!r} twice")
    return frame.rename(columns=str)


def _whole(numbers: Any, index: str) -> np.ndarray:
    """Return (m,) int64 factuals' numbers; InputError for numbers that are not whole."""
    values = pd.to_numeric(pd.Series(np.ravel(numbers)), errors="coerce").to_numpy(dtype=float)
    wrong = ~(np.isfinite(values) & (values == np.rint(values)) & (np.abs(values) < 2**53))
    if wrong.any():
        raise InputError(f"column {index!r}: {_first(wrong)} no whole number (rows count from 0)")
    return values.astype(np.int64)


def _encoded(frame: pd.DataFrame, space: FeatureSpace, units: str) -> np.ndarray:
    """Return the rows of a table in units of [0, 1]; values beyond a feature's range stay outside."""
    names = space.names if units == "original" else space.columns
    if absent := [name for name in names if name not in frame]:
        other = ""
        if set(space.columns if units == "original" else space.names) <= set(frame):
            other = f"; these columns are those of counterfactual.units={'unit' if units == 'original' else 'original'}"
        raise InputError(f"has no column {', '.join(map(repr, absent))}{other}")
    if FACTUAL in frame and FACTUAL not in names:
        raise InputError(
            f"has the column {FACTUAL!r}; counterfactual.index={FACTUAL} takes it for the factuals' numbers"
        )
    if extra := [name for name in frame if name not in names]:
        raise InputError(
            f"has the column {', '.join(map(repr, extra))}, no feature of the data set; take it out of the file"
        )
    features = space.features if units == "original" else [Feature(name=name, kind="continuous") for name in names]
    for feature in features:
        _check_column(feature, frame[feature.name])
    return (
        space.encode(frame, clip=False) if units == "original" else frame[names].to_numpy(dtype=np.float32, copy=True)
    )


def _check_column(feature: Feature, values: pd.Series) -> None:
    """Refuse values that a feature cannot take; name the column, the number of rows and the first row."""
    missing = values.isna().to_numpy()
    if missing.any():
        raise InputError(f"column {feature.name!r}: {_first(missing)} no value (rows count from 0)")
    if feature.categories:
        wrong = codes(values, feature.categories) < 0
        said = f"none of {', '.join(map(str, feature.categories))}"
    else:
        numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=float)
        wrong, said = ~np.isfinite(numbers), "no finite number"
    if wrong.any():
        raise InputError(
            f"column {feature.name!r}: {_first(wrong)} {said}, but {values[wrong].iloc[0]!r} (rows count from 0)"
        )


def _unit(points: np.ndarray, shape: Sequence[int], space: Any, units: str) -> np.ndarray:
    """Return an array (m, *shape) in [0, 1]; bytes of images are divided by 255."""
    if units == "original" and (isinstance(space, FeatureSpace) or points.dtype != np.uint8):
        takes = ".parquet or .csv" if isinstance(space, FeatureSpace) else "an array of bytes (uint8)"
        raise InputError(f"has an array of {points.dtype}; counterfactual.units=original takes {takes}")
    if points.dtype.kind not in "fiu" or (units == "unit" and points.dtype == np.uint8):
        raise InputError(f"has an array of {points.dtype}; counterfactual.units=unit takes numbers in [0, 1]")
    if points.shape[1:] != tuple(shape) or points.ndim < 2:
        raise InputError(f"has an array of shape {points.shape}; takes (rows, {', '.join(map(str, shape))})")
    wrong = ~np.isfinite(points.reshape(len(points), int(np.prod(shape))))
    if wrong.any():
        column = int(wrong.any(0).argmax())
        name = f"{column} ({space.columns[column]})" if isinstance(space, FeatureSpace) else str(column)
        raise InputError(f"column {name}: {_first(wrong[:, column])} no finite number (rows count from 0)")
    return points.astype(np.float32) / (GREYS if units == "original" else 1)


def _first(wrong: np.ndarray) -> str:
    many = int(wrong.sum())
    return f"{many} row{'s' * (many > 1)}, first row {int(wrong.argmax())}, {'have' if many > 1 else 'has'}"
