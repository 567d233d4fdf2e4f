"""Tables that the project has never seen, made from scikit-learn's: with words, truth values and empty cells."""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_wine


def cancer() -> pd.DataFrame:
    """569 rows, two classes, 12 empty cells."""
    data, random = load_breast_cancer(as_frame=True), np.random.default_rng(0)
    table = data.data.iloc[:, :8].assign(age=random.integers(25, 85, len(data.data)))
    table["site"] = random.choice(["north", "south", "east"], len(table))
    table["referred"] = random.choice([True, False], len(table))
    table.loc[random.choice(len(table), 12, replace=False), "mean texture"] = np.nan
    return table.assign(diagnosis=np.where(data.target == 1, "benign", "malignant"))


def put_cancer(folder: Path) -> None:
    """Write cancer.csv."""
    cancer().to_csv(folder / "cancer.csv", index=False)


def put_splits(folder: Path) -> None:
    """Write train.parquet, and test.parquet with its columns in another order."""
    table = cancer().dropna()
    table.iloc[:400].to_parquet(folder / "train.parquet")
    table.iloc[400:, ::-1].to_parquet(folder / "test.parquet")


def put_wine(folder: Path) -> None:
    """Write wine.csv: 178 rows, three classes."""
    data = load_wine(as_frame=True)
    table = data.data.iloc[:, :6].assign(bottled=np.arange(len(data.data)) % 2 == 0)
    table.assign(grape=[f"grape {number}" for number in data.target]).to_csv(folder / "wine.csv", index=False)


def put_large(folder: Path, rows: int = 200_000) -> None:
    """Write large.csv: `rows` × 30 columns, 24 of numbers, 3 of words, 3 of truth values; two classes."""
    random = np.random.default_rng(0)
    numbers = {f"n{place:02}": random.normal(size=rows).round(4) for place in range(24)}
    words = {f"w{place}": random.choice([f"level {level}" for level in range(8)], rows) for place in range(3)}
    flags = {f"f{place}": random.random(rows) > 0.5 for place in range(3)}
    score = sum(numbers[f"n{place:02}"] for place in range(6)) + 2 * flags["f0"] - 1
    label = np.where(score + random.normal(size=rows) > 0, "good", "bad")
    pd.DataFrame(numbers | words | flags | {"credit": label}).to_csv(folder / "large.csv", index=False)
