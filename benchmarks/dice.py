"""DiCE on an exported model: factuals → counterfactuals in original units, as a file. It does not need cftransfer.

python train.py export=exported
python benchmarks/dice.py exported dice.parquet --rows 50 --method genetic

The file has the features' columns and `factual`, the number of the row in the test split. A factual for which DiCE
finds nothing has no row.
"""

import argparse
import importlib.util
import random
import time
from pathlib import Path
from types import ModuleType

import dice_ml
import numpy as np
import pandas as pd
from raiutils.exceptions import UserConfigValidationException


def loader(folder: Path) -> ModuleType:
    """Return the load.py of an exported folder."""
    spec = importlib.util.spec_from_file_location("load", folder / "load.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def explained(folder: Path, *, rows: int, method: str) -> pd.DataFrame:
    """Return at most one counterfactual per factual, for the first `rows` of the test split."""
    load = loader(folder)
    features = load.space()["features"]
    names, numbers = [one["name"] for one in features], [one["name"] for one in features if not one["categories"]]
    training = pd.read_parquet(folder / "training.parquet")
    factuals = pd.read_parquet(folder / "factuals.parquet").set_index("factual")[names].head(rows)
    data = dice_ml.Data(dataframe=training, continuous_features=numbers, outcome_name="label")
    explainer = dice_ml.Dice(data, dice_ml.Model(model=load.Classifier(), backend="sklearn"), method=method)
    random.seed(0)
    np.random.seed(0)
    found = {}
    for number in factuals.index:
        try:
            (answer,) = explainer.generate_counterfactuals(factuals.loc[[number]], total_CFs=1).cf_examples_list
        except UserConfigValidationException:  # DiCE's way to say that it found none for any row
            continue
        if answer.final_cfs_df is not None and len(answer.final_cfs_df):
            found[number] = answer.final_cfs_df[names].iloc[0].tolist()
    table = pd.DataFrame.from_dict(found, orient="index", columns=names).astype(dict.fromkeys(numbers, float))
    return table.rename_axis("factual").reset_index()


def main() -> None:
    parser = argparse.ArgumentParser(description="DiCE on an exported model")
    parser.add_argument("exported", type=Path, help="folder that train.py export=… wrote")
    parser.add_argument("file", type=Path, help="Parquet file to write")
    parser.add_argument("--rows", type=int, default=50, help="of the test split, the first")
    parser.add_argument("--method", default="genetic", choices=("genetic", "random"))
    options = parser.parse_args()
    start = time.perf_counter()
    table = explained(options.exported, rows=options.rows, method=options.method)
    options.file.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(options.file, index=False)
    seconds = time.perf_counter() - start
    print(f"DiCE {options.method}: {len(table)} of {options.rows} in {seconds:.0f} s, in {options.file}")


if __name__ == "__main__":
    main()
