"""Columns of a table → features, by one rule for all files; docs/guides/your-table.md states it.

A column is left out if it is empty or has one value. It is refused, by name, if it holds dates, looks like an id, or
has more than MAX_LEVELS different words. Two different values of any type make a binary feature. Other numbers are
integer if all of them are whole, otherwise continuous. Other words are categorical; an ordered pandas category is
ordinal.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from cftransfer.data.cells import bad_cells, different_values, empty, numbers, plain_value, value_range
from cftransfer.data.feature import MOST_STEPS, Feature
from cftransfer.errors import InputError
from cftransfer.settings import check_keys

MAX_LEVELS = 100  # different words per column; each becomes an input column
ID_ROWS = 30  # with this many rows, a column of distinct values looks like an id
ID_SPREAD = 4  # times the rows; distinct whole numbers in so small a range number the rows
FEW = 10  # so few different whole numbers may be codes
SETTINGS = ("kind", "low", "high", "categories", "mutable", "direction", "scale")
DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}([ T].*)?|\d{1,2}[./]\d{1,2}[./]\d{2,4}")
DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")
THOUSANDS = re.compile(r"[-+]?\d{1,3}([.,])\d{3}(\1\d{3})*([.,]\d+)?")
LEADING_ZERO = re.compile(r"0\d+")  # of a code, for example a postal code


@dataclass(frozen=True)
class Inferred:
    """The features that were inferred from the columns of a table.

    features: with the ranges of the given rows. left_out: reasons, by column. remarks: by feature.
    """

    features: tuple[Feature, ...]
    left_out: Mapping[str, str]
    remarks: Mapping[str, str]

    def __str__(self) -> str:
        """One line per column, with its feature or the reason for leaving it out."""
        rows = [("feature", "kind", "values", "mutable", "direction", "remark")]
        for feature in self.features:
            words = (feature.kind, _values(feature), "yes" if feature.mutable else "no", feature.direction)
            rows.append((feature.name, *words, self.remarks.get(feature.name, "")))
        rows += [(name, "left out", reason, "", "", "") for name, reason in self.left_out.items()]
        widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
        lines = ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)) for row in rows]
        return "\n".join(line.rstrip() for line in lines)


def infer(table: pd.DataFrame, given: Mapping[str, Mapping[str, Any]] | Sequence[Feature] = ()) -> Inferred:
    """Return the features of a table's columns; given settings win over inferred ones.

    given: settings by column, such as {"age": {"mutable": False}}, or features. InputError, naming the column, for
    settings of unknown columns, unknown settings, and columns that cannot be features.
    """
    if not isinstance(given, Mapping) and not all(isinstance(feature, Feature) for feature in given):
        raise InputError("dataset.features: must be a YAML file, settings by column, or features")
    known = given if isinstance(given, Mapping) else {feature.name: settings_of(feature) for feature in given}
    for name, settings in known.items():
        if name not in table:
            close = difflib.get_close_matches(str(name), list(map(str, table.columns)), n=1)
            guess = f"did you mean {close[0]}?" if close else f"there are: {', '.join(map(str, table.columns))}"
            raise InputError(f"dataset.features.{name}: the table has no such column; {guess}")
        check_keys(f"dataset.features.{name}", settings, SETTINGS, required=())
    features, left_out, remarks = [], {}, {}
    for name in table.columns:
        settings = dict(known.get(name, {}))
        reason = _useless(table[name], settings)
        if reason:
            left_out[name] = reason
            continue
        feature = _feature(table[name], settings)
        features.append(feature)
        if remark := _remark(table[name], feature, settings):
            remarks[name] = remark
    if not features:
        raise InputError(f"table: has no column left that could be a feature ({_listed(left_out)})")
    return Inferred(tuple(features), left_out, remarks)


def settings_of(feature: Feature) -> dict[str, Any]:
    """Return the settings of a feature, in the form of `infer` and of a YAML file of features."""
    if feature.categories:
        own: dict[str, Any] = {"categories": list(feature.categories)}
    else:
        own = {"low": feature.low, "high": feature.high, "scale": feature.scale}
    return {"kind": feature.kind, **own, "mutable": feature.mutable, "direction": feature.direction}


def _useless(values: pd.Series, settings: Mapping[str, Any]) -> str:
    """Return why a column cannot distinguish rows, or ""."""
    if settings.get("categories") or {"low", "high"} <= set(settings):
        return ""
    if empty(values).all():
        return "empty throughout"
    if values.dtype == object and not values.map(pd.api.types.is_scalar).all():
        first = values[~values.map(pd.api.types.is_scalar)].iloc[0]
        raise InputError(f"column {values.name}: holds {type(first).__name__}s, not numbers or words; {_drop(values)}")
    different = pd.unique(values[~empty(values)])
    if len(different) == 1 or (len(different) < FEW and len(different_values(values)) == 1):
        return f"constant ({different[0]})"
    return ""


def _feature(values: pd.Series, settings: dict[str, Any]) -> Feature:
    name = str(values.name)
    kind: Any = settings.pop("kind", None) or _kind(values)  # checked by `Feature`
    if kind in ("continuous", "integer"):
        low, high = value_range(values)
        return Feature(name=name, kind=kind, **{"low": low, "high": high, **settings})
    categories = settings.pop("categories", None)
    if categories is None:
        in_order = [plain_value(level) for level in values.cat.categories] if _is_ordered(values) else []
        categories = in_order or different_values(values)
        if kind == "ordinal" and not in_order and any(isinstance(value, str) for value in categories):
            raise InputError(f"dataset.features.{name}: kind=ordinal takes categories=[…], its levels in their order")
    return Feature(name=name, kind=kind, categories=tuple(categories), **settings)


def _kind(values: pd.Series) -> str:
    """Return the kind of a column with at least two different values."""
    if _is_ordered(values):
        return "ordinal"
    filled = values[~empty(values)]
    if pd.api.types.is_datetime64_any_dtype(filled) or pd.api.types.is_timedelta64_dtype(filled):
        raise _dates(values, str(filled.iloc[0]))
    if len(pd.unique(filled.head(1000))) <= FEW and len(different_values(filled)) == 2:
        return "binary"
    codes = [value for value in pd.unique(filled.astype(object)) if isinstance(value, str)]
    found = pd.to_numeric(filled.astype(object), errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    if np.isnan(found).any() or any(LEADING_ZERO.fullmatch(word.strip()) for word in codes):
        return _kind_of_words(filled, found)
    whole = bool(np.isfinite(found).all() and (found == np.round(found)).all())
    many = len(found)
    if whole and many >= ID_ROWS and len(np.unique(found)) == many and np.ptp(found) < ID_SPREAD * many:
        way_out = f"{_drop(values)}, or keep it with kind: integer"
        raise InputError(f"column {values.name}: looks like an id, {many:,} different whole numbers; {way_out}")
    return "integer" if whole and np.ptp(found) <= MOST_STEPS else "continuous"


def _is_ordered(values: pd.Series) -> bool:
    return isinstance(values.dtype, pd.CategoricalDtype) and bool(values.dtype.ordered)


def _kind_of_words(filled: pd.Series, found: np.ndarray) -> str:
    words = filled.astype(object).map(str).str.strip()
    first = words.iloc[int(np.isnan(found).argmax())]
    strange = words[np.isnan(found)]
    if len(strange) and strange.map(lambda word: bool(THOUSANDS.fullmatch(word))).all():
        sign = "." if re.search(r"\d\.\d{3}(\D|$)", first) else ","
        named = f"column {filled.name}: has numbers with {sign} between thousands ({first})"
        other = " dataset.decimal=','" if sign == "." else ""
        raise InputError(f"{named}; dataset.thousands='{sign}'{other} reads them")
    if words.map(lambda word: bool(DATE.fullmatch(word))).mean() > 0.5:
        raise _dates(filled, first)
    if words.map(lambda word: bool(DECIMAL_COMMA.fullmatch(word))).mean() > 0.5:
        raise InputError(f"column {filled.name}: holds numbers with a decimal comma ({first}); dataset.decimal=','")
    if 0 < np.isnan(found).mean() < 0.5:
        way_out = f"dataset.missing_values=['{first}'] counts it as empty"
        raise bad_cells(filled, np.isnan(found), f"words between numbers, as {first!r}", way_out)
    levels = words.nunique()
    if levels == len(words) >= ID_ROWS:
        raise InputError(f"column {filled.name}: looks like an id, {levels:,} different words; {_drop(filled)}")
    if levels > MAX_LEVELS:
        way_out = f"group them, or {_drop(filled)}"
        raise InputError(f"column {filled.name}: has {levels:,} different words, more than {MAX_LEVELS}; {way_out}")
    return "categorical"


def _remark(values: pd.Series, feature: Feature, settings: Mapping[str, Any]) -> str:
    many = int(empty(values).sum())
    said = [f"{many:,} empty"] if many else []
    if feature.kind == "continuous" and "kind" not in settings and _wide(values, feature):
        said.append("whole numbers of a wide range: an id?")
    if feature.categories and len({str(one).lower() for one in feature.categories}) < len(feature.categories):
        said.append("levels that differ only in upper and lower case")
    if feature.kind == "integer" and "kind" not in settings and len(different_values(values.head(10_000))) <= FEW:
        said.append("codes? then kind: categorical")
    return "; ".join(said)


def _wide(values: pd.Series, feature: Feature) -> bool:
    found = numbers(values[~empty(values)])
    return feature.high - feature.low > MOST_STEPS and bool((found == np.round(found)).all())


def _dates(values: pd.Series, first: str) -> InputError:
    way_out = f"put a number in their place, such as days since a date, or {_drop(values)}"
    return InputError(f"column {values.name}: holds dates ({first}); {way_out}")


def _drop(values: pd.Series) -> str:
    return f"add {str(values.name)!r} to dataset.drop"


def _values(feature: Feature) -> str:
    if feature.categories:
        shown = ", ".join(map(str, feature.categories[:6]))
        return shown + (f", … ({len(feature.categories)})" if len(feature.categories) > 6 else "")
    return f"{feature.low:g} to {feature.high:g}" + (", log1p" if feature.scale == "log1p" else "")


def _listed(reasons: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
