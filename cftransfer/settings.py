"""Checks of settings: each raises an InputError that names the key, and says which values it takes."""

import json
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from cftransfer.errors import InputError


def check_keys(part: str, settings: Any, names: Sequence[str], *, required: Sequence[str] | None = None) -> None:
    """Raise an InputError unless `settings` is a mapping with exactly the keys `names`: others are mistakes.

    required: those that it must have; all by default.
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


def check_int(name: str, value: Any, *, least: int, most: int | None = None) -> int:
    """Return `value` if it is a whole number in [least, most], else raise an InputError that names the key."""
    if (
        isinstance(value, bool)
        or not isinstance(value, Integral)
        or value < least
        or (most is not None and int(value) > most)
    ):
        limits = f"≥ {least}" if most is None else f"from {least} to {most}"
        raise InputError(f"{name}={value}: takes a whole number {limits}")
    return int(value)


def check_float(name: str, value: Any, *, inside: str, among: Callable[[float], bool]) -> float:
    """Return `value` if it is a number for which `among` holds, else raise an InputError that says `inside`."""
    if isinstance(value, bool) or not isinstance(value, Real) or not among(float(value)):
        raise InputError(f"{name}={value}: takes a number {inside}")
    return float(value)


def check_choice(name: str, value: Any, choices: Sequence[Any]) -> Any:
    """Return `value` if it is one of `choices`, else raise an InputError that lists them as YAML would."""
    if not any(value is choice or (isinstance(choice, str) and value == choice) for choice in choices):
        listed = ", ".join(choice if isinstance(choice, str) else json.dumps(choice) for choice in choices)
        raise InputError(f"{name}={value}: takes one of {listed}")
    return value
