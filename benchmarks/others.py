"""Counterfactuals that DiCE found, rated beside our own: the same base, factuals and references.

make others                                             50 rows of COMPAS, one base, 10 references; prints a table
python benchmarks/others.py exported dice.parquet …     files as benchmarks/dice.py writes them

The base is the exported model itself. The references have other seeds; they are those of `transfer.py`.
"""

import argparse
from pathlib import Path

import pandas as pd
from dice import loader
from machine import describe

import cftransfer as cft
from cftransfer.errors import InputError

REFERENCES = range(1000, 1010)  # the seeds of transfer.py's references
COLUMNS = ("search", "found", "L2", "margin", "rate", "interval", "agreement")


def proposals(file: Path, factuals: pd.DataFrame) -> pd.DataFrame:
    """Return x′ of every factual, in original units; a factual that the file lacks is its own x′, and so not found."""
    table = pd.read_parquet(file).set_index("factual")
    if strange := sorted({*table.index} - {*factuals.index}):
        raise InputError(f"{file}: has the factual {strange[0]}, and {len(factuals)} are rated; set --rows as it was")
    return table.combine_first(factuals).loc[factuals.index]


def line(name: str, result: cft.Result) -> tuple[str, ...]:
    """Return one row of the table: distances and margins are means over found counterfactuals."""
    found = result.counterfactuals[result.counterfactuals.found]
    summary, interval = result.summary.iloc[0], result.interval()
    assert not isinstance(interval, dict)
    return (
        name,
        f"{result.found:.2f}",
        f"{found.distance_l2.mean():.2f}",
        f"{found.margin.mean():.2f}",
        f"{result.rate:.2f}",
        f"{interval.low:.2f}–{interval.high:.2f}",
        f"{summary.agreement:.2f}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="counterfactuals of DiCE beside our own, on COMPAS")
    parser.add_argument("exported", type=Path, help="folder that train.py export=… wrote: COMPAS, base 0")
    parser.add_argument("files", type=Path, nargs="+", help="counterfactuals that benchmarks/dice.py wrote")
    parser.add_argument("--rows", type=int, default=50, help="of the test split, the first")
    options = parser.parse_args()
    data = cft.dataset("compas")
    base = loader(options.exported).load()
    references = cft.train(data, layers=4, width=64, seeds=REFERENCES)
    factuals = pd.read_parquet(options.exported / "factuals.parquet").set_index("factual").drop(columns="label")
    x = factuals.head(options.rows)
    results = {
        file.stem: cft.measure(base, references, x, counterfactuals=proposals(file, x), space=data.space)
        for file in options.files
    }
    results |= {
        method: cft.measure(base, references, x, space=data.space, method=method) for method in ("minimal", "gradient")
    }
    print(describe())
    print(f"COMPAS, {len(x)} factuals, MLP 4×64, 1 base, {len(references)} references, constraints=possible")
    rows = [COLUMNS, *(line(name, result) for name, result in results.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)))
    print(f"intervals: {next(iter(results.values())).summary.over.iloc[0]}")


if __name__ == "__main__":
    main()
