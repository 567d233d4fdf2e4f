"""One line of the table: expected value, measurement, and verdict."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from cftransfer.errors import InputError


@dataclass(frozen=True)
class Row:
    """One measurement of a check.

    detail: the part of the check; "" if it has only one. sense: whether `measured` must equal `expected` up to
    `tolerance`, or be at least, or at most, `expected`. NaN fails.
    """

    detail: str
    expected: float
    measured: float
    tolerance: float = 0.0
    sense: Literal["=", "≥", "≤"] = "="

    @property
    def passed(self) -> bool:
        """Whether the measurement meets the expectation."""
        if self.sense == "=":
            return abs(self.measured - self.expected) <= self.tolerance
        return self.measured >= self.expected if self.sense == "≥" else self.measured <= self.expected


def equal(detail: str, expected: float, measured: float, tolerance: float = 0.0) -> Row:
    """Return a row that passes if the numbers differ by at most `tolerance`."""
    return Row(detail, float(expected), float(measured), tolerance)


def at_least(detail: str, bound: float, measured: float) -> Row:
    """Return a row that passes if the measurement is not below the bound."""
    return Row(detail, float(bound), float(measured), sense="≥")


def at_most(detail: str, bound: float, measured: float) -> Row:
    """Return a row that passes if the measurement is not above the bound."""
    return Row(detail, float(bound), float(measured), sense="≤")


def refused(detail: str, call: Callable[[], Any], *, says: str) -> Row:
    """Return a row that passes if a call raises an `InputError` with the words `says` in its message."""
    try:
        call()
    except InputError as error:
        return equal(f"refused: {detail}", 1, says in str(error))
    return equal(f"refused: {detail}", 1, 0)
