"""All checks, by family, in the order in which they run."""

import importlib
from collections.abc import Callable, Iterable, Iterator

from cftransfer.errors import InputError
from cftransfer.validate.check import Row

FAMILIES = {
    "identities": "identities",
    "closed forms": "closed_forms",
    "traps of searches": "search_traps",
    "traps of measures": "measuring_traps",
    "error rates": "error_rates",
    "published numbers": "published",
}
QUICK = tuple(FAMILIES)[:4]  # seconds in all

Check = tuple[str, str, Callable[[], Iterable[Row]]]  # family, name, function that measures


def checks(only: str = "") -> list[Check]:
    """Return the checks with a word in their family or name, in any case; InputError if no check has it."""
    every = [
        (family, name, measure)
        for family, module in FAMILIES.items()
        for name, measure in importlib.import_module(f"cftransfer.validate.{module}").CHECKS.items()
    ]
    chosen = [one for one in every if only.lower() in f"{one[0]}: {one[1]}".lower()]
    if not chosen:
        raise InputError(f"--only={only}: no check has this word; the families are {', '.join(FAMILIES)}")
    return chosen


def rows(name: str, measure: Callable[[], Iterable[Row]]) -> Iterator[tuple[str, Row]]:
    """Yield the rows of one check under its full name; an exception becomes a failed row and ends the check."""
    try:
        for row in measure():
            yield f"{name}: {row.detail}" if row.detail else name, row
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        yield f"{name}: ended in {type(error).__name__}: {reason}", Row("", float("nan"), float("nan"))
