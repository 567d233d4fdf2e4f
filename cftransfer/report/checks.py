"""What a job's files have to hold for a report; what is otherwise is named, and fails that job alone."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cftransfer.spec import flat
from cftransfer.tables import CONTROLS, MOST, PAIR

AGE = "extra_epochs"  # the x-axis of continued training, whose jobs hold a whole curve each
CELLS = 2**25  # of a table: 1,000 × 1,000 pairs have 1.2 × 10⁷
PARTS = {"config": dict, "choices": dict, "overrides": list, "metrics": dict, "versions": dict}
COUNTS = ("pairs", "n_searched", "n_tried", "n_agreeing", "n_to_0", "n_to_1")
RATES = ("found", "agreement", "rate", "rate_conditional", "rate_end_to_end")
ENDS = ("rate_low", "rate_high")
# Numbers that a report reads of each table; of examples, a card has more.
NUMBERS = {
    "pairs": (*PAIR, "found", "agreement", "rate", *CONTROLS),
    "survivorship": ("cap", "found", *("rate", *ENDS)),
    "curves": ("epoch", "test_accuracy", "test_loss"),
    "examples": ("example",),
}
CARD = tuple(f"{role}_{of}" for role in ("base", "reference") for of in ("factual", "counterfactual"))
WHOLE = ("base", "reference", AGE, "cap", "epoch", "example")  # numbers that count or name something
UNBOUNDED = ("test_loss",)  # of a training that diverged


def is_number(value: Any) -> bool:
    """Whether a value out of JSON is a number that can be computed with."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MOST


def check_result(result: Any) -> None:
    """Refuse a result.json, as read, that is not as jobs write it: KeyError or ValueError, naming the parts."""
    lacking = {*PARTS, "git"} - set(result or ())
    if lacking:
        raise KeyError(f"no {', '.join(sorted(lacking))}")
    wrong = [name for name, kind in PARTS.items() if not isinstance(result[name], kind)]
    if not wrong:
        wrong = [*_wrong_in_settings(result), *_wrong_in_metrics(result["metrics"])]
        wrong += [*_wrong_in_curve(result["curve"])] if "curve" in result else []
    if wrong:
        raise ValueError(f"{', '.join(wrong[:3])}: of another kind than is written there")


def _wrong_in_settings(result: Mapping[str, Any]) -> Iterator[str]:
    config, git = result["config"], result["git"]
    for name, value in flat(config).items():
        if isinstance(value, int | float) and not isinstance(value, bool) and not is_number(value):
            yield f"config.{name}"
    if not is_number(config.get("seed", 0)):
        yield "config.seed"
    for name in ("reference", "counterfactual", "wandb"):
        if not isinstance(config.get(name, {}), dict):
            yield f"config.{name}"
        elif not isinstance(config.get(name, {}).get("_target_", ""), str):
            yield f"config.{name}._target_"
    for name, option in result["choices"].items():
        if not isinstance(option, str) and (option is not None or name == "experiment"):
            yield f"choices.{name}"
    if any(not isinstance(word, str) for word in result["overrides"]):
        yield "overrides"
    if git is not None and not (isinstance(git, dict) and isinstance(git.get("commit"), str) and "dirty" in git):
        yield "git"
    if not isinstance(data := result.get("data", {}), dict) or not isinstance(data.get("about", ""), str):
        yield "data"


def _wrong_in_metrics(metrics: Mapping[str, Any]) -> Iterator[str]:
    for name, value in metrics.items():
        if name != "interval" and value is not None and not is_number(value):
            yield f"metrics.{name}"
    if "rate" not in metrics:  # train.py's
        return
    counts = [*COUNTS, *["n_found"] * ("found_as_bytes" in metrics)]
    yield from (f"metrics.{name}" for name in counts if not is_number(metrics.get(name)))
    yield from (f"metrics.{name}" for name in (*RATES, *ENDS) if name not in metrics)
    if not isinstance(metrics.get("interval"), str):
        yield "metrics.interval"
    if metrics["rate"] is not None:  # something was found, and at some distance
        yield from (f"metrics.{name}" for name in ("found", "distance_l2") if metrics.get(name) is None)
    ended = [name for name in metrics if name.endswith("_low")]
    ended += ["rate_minus_seed_low"] * ("rate_minus_seed" in metrics)
    for low in ended:
        high = f"{low.removesuffix('_low')}_high"
        if low not in metrics or high not in metrics or (metrics[low] is None) != (metrics[high] is None):
            yield f"metrics.{high}"


def _wrong_in_curve(curve: Any) -> Iterator[str]:
    if not isinstance(curve, list) or not curve or not all(isinstance(point, dict) for point in curve):
        yield "curve"
        return
    for index, point in enumerate(curve):
        known = {AGE, "rate", *ENDS} <= set(point) and is_number(point[AGE])
        if not known or any(value is not None and not is_number(value) for value in point.values()):
            yield f"curve[{index}]"


def check_table(name: str, table: pd.DataFrame) -> None:
    """Refuse a table that is not as jobs write it: KeyError or ValueError, naming the column."""
    if not table.columns.is_unique:
        raise ValueError("a column stands in it twice")
    numbers = [*NUMBERS[name], *(more for more in (AGE, "rate_seed") if more in table)]
    if name == "examples" and "feature" in table:
        numbers += [*CARD]
    for column in numbers:
        if column not in table:
            raise KeyError(f"no {column}")
        kind = table[column].dtype
        if not isinstance(kind, np.dtype) or kind.kind not in ("iu" if column in WHOLE else "iuf"):
            raise ValueError(f"{column} holds {kind}, not {'whole ' if column in WHOLE else ''}numbers")
        if column not in UNBOUNDED and (table[column].abs() > MOST).any():
            raise ValueError(f"{column} holds a number above {MOST:.0e}")
    if name == "curves" and not pd.api.types.is_string_dtype(table.role):
        raise ValueError("role holds no words")
    if name == "examples" and table.transferred.dtype != np.dtype(bool):
        raise ValueError("transferred holds something else than true and false")


def check_pairs(pairs: pd.DataFrame, curve: Sequence[Mapping[str, Any]] | None) -> None:
    """Refuse pairs that are not each base with each reference, or its own, at every age of the curve: ValueError."""
    ages = pairs[AGE] if AGE in pairs else pd.Series(0, pairs.index)
    nested = bool((pairs.base == pairs.reference).all())
    whole = ages.nunique() * pairs.base.nunique() * (1 if nested else pairs.reference.nunique())
    if pairs.empty or len(pairs) != whole or pairs.assign(age=ages).duplicated(["age", "base", "reference"]).any():
        raise ValueError("not each base with each reference, once")
    if curve is not None and (AGE not in pairs or sorted(set(ages)) != [point[AGE] for point in curve]):
        raise ValueError(f"{AGE} are not those of the curve")


def check_size(path: Path, cells: int = CELLS) -> None:
    """Refuse a Parquet file of more values than any job's, before they are read: ValueError."""
    from pyarrow import parquet

    about = parquet.read_metadata(path)
    groups = [about.row_group(index) for index in range(about.num_row_groups)]
    columns = range(about.num_columns)
    many = sum(max(group.num_rows, group.column(column).num_values) for group in groups for column in columns)
    if many > cells:
        raise ValueError(f"it has {many:,} values, more than {cells:,}")
