"""A file of a table → a DataFrame: CSV, TSV or Parquet, plain or compressed."""

import bz2
import csv
import gzip
import lzma
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cftransfer.errors import InputError

HEADER = 2**24  # most letters: room for a million names
SEPARATORS = (",", ";", "\t", "|")
OPENED: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
READABLE = (".csv", ".tsv", ".txt", ".data", ".parquet", ".pq")


def read_table(
    path: Path,
    *,
    separator: str | None = None,
    decimal: str = ".",
    thousands: str | None = None,
    encoding: str = "utf-8",
    missing_values: Sequence[str] = (),
) -> pd.DataFrame:
    """Return the rows of a file, column names stripped of blanks; InputError, naming the file, if it cannot be read.

    separator: between two cells of a CSV, a character or a regular expression; None for the one of , ; tab | that is
    most frequent in the first line. decimal: the sign in 2.5. thousands: the sign in 1,000; None means "." if the
    decimal sign is ",", otherwise no sign. encoding: of the text; a byte order mark is skipped. missing_values: words
    that mean an empty cell, in addition to pandas' own ("", NA, NaN, null, …).
    """
    suffixes = [suffix for suffix in path.suffixes if suffix.lower() not in OPENED]
    if not suffixes or suffixes[-1].lower() not in READABLE:
        raise InputError(f"{path}: is not a known kind of table; takes {', '.join(READABLE)}, also with .gz")
    if not path.is_file():
        raise InputError(f"{path}: no such file; a path is relative to the folder in which the command runs")
    try:
        if suffixes[-1].lower() in (".parquet", ".pq"):
            table = pd.read_parquet(path)
            table = table.reset_index(drop=table.index.names == [None])  # a named index is a column
        else:
            with OPENED.get(path.suffix.lower(), open)(path, "rt", encoding=_encoding(encoding), newline="") as file:
                line = file.readline(HEADER)
            if len(line) == HEADER:
                raise ValueError(f"its first line has {HEADER:,} letters or more")
            chosen = separator or _separator(line, suffixes[-1].lower())
            names = (
                next(csv.reader([line], delimiter=chosen), []) if len(chosen) == 1 else re.split(chosen, line.strip())
            )
            _check_header(path, names)
            reading: dict[str, Any] = {"low_memory": False} if len(chosen) == 1 else {"engine": "python"}
            table = pd.read_csv(
                path,
                sep=chosen,
                decimal=decimal,
                thousands=thousands or ("." if decimal == "," else None),
                encoding=_encoding(encoding),
                na_values=list(missing_values),
                skipinitialspace=True,
                **reading,
            )
    except UnicodeDecodeError as error:
        way_out = "dataset.encoding names another, as in dataset.encoding=latin-1"
        raise InputError(
            f"{path}: cannot be read as {encoding} text ({error.reason} at byte {error.start}); {way_out}"
        ) from error
    except LookupError as error:
        raise InputError(f"dataset.encoding={encoding}: no such encoding; utf-8 and latin-1 are usual") from error
    except (ValueError, OSError, EOFError) as error:  # includes pandas' and pyarrow's own errors
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read as a table ({reason}); check it, and dataset.separator") from error
    if not table.index.equals(pd.RangeIndex(len(table))):  # pandas took the first cells as row names
        raise InputError(f"{path}: has rows with more cells than the first line has names; name every column")
    table.columns = [str(name).strip() for name in table.columns]
    if not len(table):
        raise InputError(f"{path}: has no rows below its header; add some")
    return without_words(table, missing_values) if suffixes[-1].lower() in (".parquet", ".pq") else table


def without_words(table: pd.DataFrame, missing_values: Sequence[str]) -> pd.DataFrame:
    """Return the table with empty cells in place of `missing_values`, which may have blanks around them."""
    if not missing_values:
        return table
    meant = {word.strip() for word in missing_values}

    def emptied(values: pd.Series) -> pd.Series:
        if values.dtype.kind in "biufM":
            return values
        words = values.astype(object)
        return words.mask(words.map(lambda word: isinstance(word, str) and word.strip() in meant).to_numpy(bool), None)

    return table.apply(emptied)


def _encoding(name: str) -> str:
    return "utf-8-sig" if name.lower().replace("_", "-") in ("utf-8", "utf8") else name


def _separator(line: str, suffix: str) -> str:
    counts = {sign: line.count(sign) for sign in SEPARATORS}
    most = max(counts, key=lambda sign: counts[sign])
    return most if counts[most] else "\t" if suffix == ".tsv" else ","


def _check_header(path: Path, names: Sequence[str]) -> None:
    """Refuse a header with a repeated name, which pandas would rename."""
    stripped = [name.strip() for name in names]
    if twice := [name for place, name in enumerate(stripped) if name in stripped[:place]]:
        raise InputError(f"{path}: has the column {twice[0]!r} twice; give each its own name")
