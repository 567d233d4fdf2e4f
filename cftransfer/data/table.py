"""dataset=table: a table in the user's file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cftransfer.data import own_data
from cftransfer.data.dataset import Dataset


def table(
    folder: Path,
    *,
    path: str,
    label: str,
    positive: Any = None,
    test_path: str | None = None,
    test_share: float = 0.2,
    split_seed: int = 0,
    drop: Sequence[str] = (),
    weight: str | None = None,
    features: str | Mapping[str, Any] | None = None,
    missing: str = "refuse",
    unseen: str = "refuse",
    max_rows: int | None = None,
    separator: str | None = None,
    decimal: str = ".",
    thousands: str | None = None,
    encoding: str = "utf-8",
    missing_values: Sequence[str] = (),
) -> Dataset:
    """Return the data set of a file; settings as in `own_data.table`.

    Paths are relative to the current folder, or otherwise to `folder` (`paths.data`).
    """
    return own_data.table(
        found_file(path, folder),
        label=str(label),
        positive=positive,
        test=None if test_path is None else found_file(test_path, folder),
        test_share=test_share,
        split_seed=split_seed,
        drop=[drop] if isinstance(drop, str) else drop,
        weight=weight,
        features=found_file(features, folder) if isinstance(features, str) else features or (),
        missing=missing,
        unseen=unseen,
        max_rows=max_rows,
        separator=separator,
        decimal=decimal,
        thousands=thousands,
        encoding=encoding,
        missing_values=[missing_values] if isinstance(missing_values, str) else missing_values,
    )


def found_file(path: str, folder: Path) -> Path:
    """Return the path of a file, relative to the current folder or otherwise to `folder`."""
    here = Path(str(path)).expanduser()
    return here if here.exists() or not (folder / here).exists() else folder / here
