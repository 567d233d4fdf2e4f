"""Whether a `result.json`, read back, is one that a job has written: it may be of another version, damaged, or hostile.

Nothing heavy is imported here: a finished job is passed over before it costs anything.
"""

from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

from cftransfer.settings import flat

EXTRA_EPOCHS = "extra_epochs"  # the x-axis of continued training, whose jobs hold a whole curve each
MAX_NUMBER = 2**64  # of a number: no setting, count or measure is larger, and its square can still be computed with
PARTS = {"config": dict, "choices": dict, "overrides": list, "metrics": dict, "versions": dict}
COUNTS = ("pairs", "n_searched", "n_tried", "n_agreeing", "n_to_0", "n_to_1")
RATES = ("found", "agreement", "rate", "rate_conditional", "rate_end_to_end")
LOSSES = ("train_loss", "test_loss")  # train.py's, of a training that diverged, are finite and no more
INTERVAL_COLUMNS = ("rate_low", "rate_high")


def is_number(value: Any) -> bool:
    """Whether a value out of JSON is a number that can be computed with."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_NUMBER


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
        known = value is None or is_number(value) or (name in LOSSES and isinstance(value, float) and isfinite(value))
        if name != "interval" and not known:
            yield f"metrics.{name}"
    if "rate" not in metrics:  # train.py's
        return
    counts = [*COUNTS, *["n_found"] * ("found_as_bytes" in metrics)]
    yield from (f"metrics.{name}" for name in counts if not is_number(metrics.get(name)))
    yield from (f"metrics.{name}" for name in (*RATES, *INTERVAL_COLUMNS) if name not in metrics)
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
        known = {EXTRA_EPOCHS, "rate", *INTERVAL_COLUMNS} <= set(point) and is_number(point[EXTRA_EPOCHS])
        if not known or any(value is not None and not is_number(value) for value in point.values()):
            yield f"curve[{index}]"
