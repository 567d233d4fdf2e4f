"""Checks of settings: each raises an InputError that names the key and the allowed values."""

import json
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from cftransfer.errors import InputError

# Ranges of whole numbers, and choices of other settings. No function accepts more, so commands refuse other values at
# once. A function may accept less, and has to check null itself.
WHOLE: dict[str, tuple[int, int | None]] = {
    "seed": (0, 10**12),  # a model's seed has 63 bits
    "samples": (1, None),
    "replicates.bases": (1, 1000),
    "replicates.references": (1, 1000),
    "replicates.splits": (1, 100),  # more are not needed to know the variance between them
    "execution.draws": (1, 1000),
    "population.size": (1, 1000),
    "trainer.threads": (1, 1024),  # a process is seldom allowed more, and no machine has as many cores
    "training.epochs": (1, None),
    "training.batch_size": (1, None),
    "rows.count": (0, None),
    "rows.draw": (0, None),
    "model.layers": (1, None),
    "model.width": (1, None),
    "model.n_estimators": (1, None),
    "model.n_neighbors": (1, None),
    "model.min_samples_leaf": (1, None),
    "model.max_depth": (1, None),
    "counterfactual.iterations": (0, None),
    "counterfactual.batch_size": (1, None),
    "counterfactual.draws": (1, None),
    "counterfactual.models": (1, 64),
    "counterfactual.patience": (1, None),
    "counterfactual.points": (1, None),
    "counterfactual.steps": (0, None),
    "dataset.max_rows": (1, None),
    "dataset.rows": (20, None),
    "dataset.size": (8, 4096),
    "dataset.split_seed": (0, None),
    "dataset.version": (1, None),
}
CHOICES: dict[str, tuple[Any, ...]] = {
    "reference.seeds": ("reference", "base"),
    "plausibility": (True, False),
    "population.pool": ("base", "reference"),
    "training.optimizer": ("adam", "sgd"),
    "perturbation.norm": ("linf", "relative"),
    "trainer.accelerator": ("cpu", "gpu"),
    "trainer.stacked": (None, True, False),
    "counterfactual.constraints": ("none", "box", "possible", "actionable"),
    "counterfactual.distance": ("l1", "l2", "mad"),
    "counterfactual.refine": ("none", "bisect"),
    "counterfactual.sparse": (True, False),
    "counterfactual.units": ("original", "unit"),
    "dataset.corrupt": ("refuse", "skip"),
    "dataset.horizon": ("1-Year", "5-Year"),
    "dataset.missing": ("refuse", "drop_rows", "impute_median", "category"),
    "dataset.unseen": ("refuse", "drop_rows"),
}


def check_keys(part: str, settings: Any, names: Sequence[str], *, required: Sequence[str] | None = None) -> None:
    """Raise an InputError unless `settings` is a mapping with only the keys `names`.

    required: the keys that it must have; all by default.
    """
    if not isinstance(settings, Mapping):
        raise InputError(f"{part}={settings}: takes the keys {', '.join(names)}")
    for name in map(str, settings):
        if name not in names:
            raise InputError(f"{part}.{name}: no such key; {part} has: {', '.join(names)}")
    for name in names if required is None else required:
        if name not in settings:
            raise InputError(f"{part}.{name}: is missing")


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """{"model": {"layers": 4}} → {"model.layers": 4}."""
    if not isinstance(config, dict) or not config:
        return {prefix: config}
    parts = [flat(value, f"{prefix}.{name}" if prefix else str(name)) for name, value in config.items()]
    return {name: value for part in parts for name, value in part.items()}


def check_int(name: str, value: Any, *, least: int | None = None, most: int | None = None) -> int:
    """Return `value` if it is a whole number in [least, most], otherwise raise an InputError that names the key.

    least, most: by default from `WHOLE`.
    """
    known = WHOLE.get(name, (0, None))
    least, most = known[0] if least is None else least, known[1] if most is None else most
    if (
        isinstance(value, bool)
        or not isinstance(value, Integral)
        or value < least
        or (most is not None and int(value) > most)
    ):
        limits = f"≥ {least}" if most is None else f"from {least} to {most}"
        raise InputError(f"{name}={value}: must be a whole number {limits}")
    return int(value)


def check_float(name: str, value: Any, *, inside: str, among: Callable[[float], bool]) -> float:
    """Return `value` if it is a number with among(value), otherwise raise an InputError that says `inside`."""
    if isinstance(value, bool) or not isinstance(value, Real) or not among(float(value)):
        raise InputError(f"{name}={value}: must be a number {inside}")
    return float(value)


def check_choice(name: str, value: Any, choices: Sequence[Any] | None = None) -> Any:
    """Return `value` if it is one of `choices`, otherwise raise an InputError that lists them in YAML's spelling.

    choices: by default from `CHOICES`.
    """
    choices = CHOICES[name] if choices is None else choices
    if not any(value is choice or (isinstance(choice, str) and value == choice) for choice in choices):
        listed = ", ".join(choice if isinstance(choice, str) else json.dumps(choice) for choice in choices)
        raise InputError(f"{name}={value}: must be one of {listed}")
    return value
