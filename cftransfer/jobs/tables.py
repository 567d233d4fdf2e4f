"""Checks of a job's tables before a report reads them; a failed check names the fault, and excludes that job alone."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cftransfer.columns import CONTROLS, PAIR, SPLIT
from cftransfer.jobs.schema import EXTRA_EPOCHS, INTERVAL_COLUMNS, MAX_NUMBER

CELLS = 2**25  # most values of a table: 1,000 × 1,000 pairs have 1.2 × 10⁷
CELL = 8  # bytes of a number; a word that repeats takes fewer
# Numeric columns that a report reads of each table; the card of a table's example has more.
NUMBERS = {
    "pairs": (*PAIR, "found", "agreement", "rate", *CONTROLS),
    "survivorship": ("cap", "found", *("rate", *INTERVAL_COLUMNS)),
    "curves": ("epoch", "test_accuracy", "test_loss"),
    "examples": ("example",),
    "holds": ("base", "factual", "n_references", "share"),
    "extremes": ("example", "n_references", "share", "low", "base_factual", "base_counterfactual"),
}
CARD = tuple(f"{role}_{of}" for role in ("base", "reference") for of in ("factual", "counterfactual"))
WHOLE = (
    "base",
    "reference",
    "factual",
    EXTRA_EPOCHS,
    SPLIT,
    "cap",
    "epoch",
    "example",
    "n_references",
)  # numbers that count or name something
UNBOUNDED = ("test_loss",)  # may be huge after a training that diverged


def check_table(name: str, table: pd.DataFrame) -> None:
    """Refuse a table that differs from the tables that jobs write: KeyError or ValueError, naming the column."""
    if not table.columns.is_unique:
        raise ValueError("two columns have the same name")
    numbers = [*NUMBERS[name], *(more for more in (SPLIT, EXTRA_EPOCHS, "rate_seed") if more in table)]
    if name == "examples" and "feature" in table:
        numbers += [*CARD]
    for column in numbers:
        if column not in table:
            raise KeyError(f"no {column}")
        kind = table[column].dtype
        if not isinstance(kind, np.dtype) or kind.kind not in ("iu" if column in WHOLE else "iuf"):
            raise ValueError(f"{column} holds {kind}, not {'whole ' if column in WHOLE else ''}numbers")
        if column not in UNBOUNDED and (table[column].abs() > MAX_NUMBER).any():
            raise ValueError(f"{column} holds a number above {MAX_NUMBER:.0e}")
    if name == "curves" and not pd.api.types.is_string_dtype(table.role):
        raise ValueError("role does not hold words")
    if name == "extremes" and not table[["share", "low"]].map(lambda share: 0 <= share <= 1).all(axis=None):
        raise ValueError("share or low is not between 0 and 1")
    if name == "holds" and not (table.share.between(0, 1) & (table.n_references >= 1)).all():
        raise ValueError("share is not between 0 and 1, or n_references is below 1")
    if name == "examples" and table.transferred.dtype != np.dtype(bool):
        raise ValueError("transferred holds values other than true and false")


def check_pairs(pairs: pd.DataFrame, curve: Sequence[Mapping[str, Any]] | None) -> None:
    """Refuse pairs that are incomplete: ValueError.

    At each number of extra epochs, each base meets each reference, or (nested) its own. This holds for every split.
    """
    if SPLIT in pairs and len(pairs):
        parts = [part.drop(columns=SPLIT) for _, part in pairs.groupby(SPLIT)]
        if len({len(part) for part in parts}) > 1:
            raise ValueError("not the same pairs on each split")
        for part in parts:
            check_pairs(part, curve)
        return
    ages = pairs[EXTRA_EPOCHS] if EXTRA_EPOCHS in pairs else pd.Series(0, pairs.index)
    nested = bool((pairs.base == pairs.reference).all())
    whole = ages.nunique() * pairs.base.nunique() * (1 if nested else pairs.reference.nunique())
    if pairs.empty or len(pairs) != whole or pairs.assign(age=ages).duplicated(["age", "base", "reference"]).any():
        raise ValueError("not each base with each reference, once")
    if curve is not None and (
        EXTRA_EPOCHS not in pairs or sorted(set(ages)) != [point[EXTRA_EPOCHS] for point in curve]
    ):
        raise ValueError(f"{EXTRA_EPOCHS} are not those of the curve")


def parquet(content: bytes, cells: int = CELLS) -> pd.DataFrame:
    """Return the table in a Parquet file; ValueError, before it is unpacked, if it is larger than any job's.

    Repeated values and compressed words let a few bytes stand for many, so a small file may need much memory.
    """
    from pyarrow import parquet

    about = parquet.read_metadata(io.BytesIO(content))
    groups = [about.row_group(index) for index in range(about.num_row_groups)]
    parts = [(group, group.column(column)) for group in groups for column in range(about.num_columns)]
    if (many := sum(max(group.num_rows, part.num_values) for group, part in parts)) > cells:
        raise ValueError(f"it has {many:,} values, more than {cells:,}")
    if (many := sum(part.total_uncompressed_size for _, part in parts)) > CELL * cells:
        raise ValueError(f"it has {many:,} bytes when unpacked, more than {CELL * cells:,}")
    words = {part.path_in_schema for _, part in parts if part.physical_type.endswith("BYTE_ARRAY")}
    fixed = {part.path_in_schema for _, part in parts if part.physical_type == "FIXED_LEN_BYTE_ARRAY"}
    # Words in lists, and bytes of one length, may also stand for many values, but could not be counted.
    if strange := sorted(fixed | {name for name in words if "." in name}):
        raise ValueError(f"{strange[0]} holds words in lists, or bytes of one length, which jobs do not write")
    table = pd.read_parquet(io.BytesIO(content), read_dictionary=sorted(words))
    for name in words & set(table.columns):
        table[name] = _unfolded(table[name], CELL * cells)
    return table


def _unfolded(column: pd.Series, most: int) -> pd.Series:
    """Return a column of dictionary-encoded words with every word in its place."""
    if not isinstance(column.dtype, pd.CategoricalDtype):
        return column
    words = column.cat.categories
    letters = column.cat.codes.map({code: len(word) for code, word in enumerate(words)}).sum()
    if letters > most:
        raise ValueError(f"{column.name} has {int(letters):,} letters, more than {most:,}")
    return column.astype(words.dtype)
