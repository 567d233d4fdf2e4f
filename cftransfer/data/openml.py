"""dataset=openml: a table from openml.org, downloaded once."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from cftransfer.data.dataset import Dataset
from cftransfer.data.own_data import table
from cftransfer.errors import InputError
from cftransfer.settings import check_int


def openml(
    folder: Path,
    *,
    name: str,
    version: int = 1,
    label: str | None = None,
    positive: Any = None,
    drop: Sequence[str] = (),
    features: Mapping[str, Any] | None = None,
    missing: str = "refuse",
    unseen: str = "refuse",
    max_rows: int | None = None,
    test_share: float = 0.2,
    split_seed: int = 0,
) -> Dataset:
    """Return the data set of a name and version on OpenML; its file is kept in `folder` / openml.

    label: the column of classes; None for OpenML's own choice. The other settings are as in `own_data.table`.
    InputError, saying where to put a file by hand, if OpenML cannot be reached.
    """
    check_int("dataset.version", version)
    rows, target = _downloaded(folder / "openml", str(name), version)
    if label is None and target is None:
        raise InputError(
            f"dataset.label: OpenML names no label for {name}; give one of {', '.join(map(str, rows.columns))}"
        )
    data = table(
        rows,
        label=str(label or target),
        positive=positive,
        drop=drop,
        features=features or (),
        missing=missing,
        unseen=unseen,
        max_rows=max_rows,
        test_share=test_share,
        split_seed=split_seed,
    )
    return replace(data, name=str(name))


def _downloaded(folder: Path, name: str, version: int) -> tuple[pd.DataFrame, str | None]:
    """Return the rows and OpenML's label (None for a file put there by hand); scikit-learn caches the download."""
    by_hand = folder / f"{name}-{version}.csv"
    if by_hand.is_file():
        return pd.read_csv(by_hand, skipinitialspace=True), None
    from sklearn.datasets import fetch_openml

    try:
        bunch = fetch_openml(name, version=version, data_home=str(folder), as_frame=True, parser="auto")
    except (OSError, ValueError) as error:  # a URLError is an OSError
        reason = " ".join(str(getattr(error, "reason", error)).split())
        way_out = f"or download it by hand as {by_hand}, with dataset.label=…"
        raise InputError(
            f"dataset.name={name} dataset.version={version}: OpenML cannot be read ({reason}); {way_out}"
        ) from error
    target = bunch.target_names[0] if bunch.target_names else None
    return bunch.frame, target
