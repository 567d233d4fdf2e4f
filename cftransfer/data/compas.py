"""COMPAS: two-year recidivism in Broward County, Florida (ProPublica 2016); COMPAS.md has the origin."""

from importlib.resources import as_file, files
from pathlib import Path

import pandas as pd

from cftransfer.data.dataset import Dataset, from_table
from cftransfer.data.feature import Feature

FEATURES = (
    Feature(name="age", kind="integer", mutable=False),
    Feature(name="priors_count", kind="integer"),
    Feature(name="juv_fel_count", kind="integer"),
    Feature(name="juv_misd_count", kind="integer"),
    Feature(name="juv_other_count", kind="integer"),
    Feature(name="length_of_stay", kind="integer", scale="log1p"),
    Feature(name="c_charge_degree", kind="binary", categories=("M", "F")),
    Feature(name="sex", kind="binary", categories=("Female", "Male"), mutable=False),
    Feature(
        name="race",
        kind="categorical",
        categories=("African-American", "Asian", "Caucasian", "Hispanic", "Native American", "Other"),
        mutable=False,
    ),
)


def rows() -> pd.DataFrame:
    """Return the 6,172 rows that pass ProPublica's own filter, in original units; 45.51 % have label 1."""
    with as_file(files("cftransfer.data") / "compas.csv.gz") as path:
        table = pd.read_csv(
            path, keep_default_na=False, na_values={"days_b_screening_arrest": "", "length_of_stay": ""}
        )
    kept = table[
        table.days_b_screening_arrest.abs().le(30)
        & table.is_recid.ne(-1)
        & table.c_charge_degree.ne("O")
        & table.score_text.ne("N/A")
    ]
    return kept.assign(length_of_stay=kept.length_of_stay.clip(lower=0)).reset_index(drop=True)


def compas(
    folder: Path,  # noqa: ARG001 (the contract of all data sets; this data set is shipped inside the package)
    *,
    test_share: float = 0.2,
    split_seed: int = 0,
) -> Dataset:
    """Nine features in 14 columns; class 1 is a new charge within two years (`two_year_recid`)."""
    table = rows()
    return from_table(
        "compas",
        table,
        table.two_year_recid.to_numpy(),
        features=FEATURES,
        classes=("no new charge", "new charge within two years"),
        test_share=test_share,
        split_seed=split_seed,
        from_files=False,
    )
