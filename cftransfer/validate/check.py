"""One line of the table: what is expected, what was measured, and whether they agree."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from cftransfer.errors import InputError


@dataclass(frozen=True)
class Row:
    """What a check measured.

    detail: which part of the check; "" where it has one. sense: whether `measured` has to equal `expected` up to
    `tolerance`, or to be at least, or at most, `expected`. A measurement that is not a number fails.
    """

    detail: str
    expected: float
    measured: float
    tolerance: float = 0.0
    sense: Literal["=", "≥", "≤"] = "="

    @property
    def passed(self) -> bool:
        """Whether the measurement is as expected."""
        if self.sense == "=":
            return abs(self.measured - self.expected) <= self.tolerance
        return self.measured >= self.expected if self.sense == "≥" else self.measured <= self.expected


def equal(detail: str, expected: float, measured: float, tolerance: float = 0.0) -> Row:
    """Return a row that passes where both numbers differ by `tolerance` at most."""
    return Row(detail, float(expected), float(measured), tolerance)


def at_least(detail: str, bound: float, measured: float) -> Row:
    """Return a row that passes where the measurement is not below the bound."""
    return Row(detail, float(bound), float(measured), sense="≥")


def at_most(detail: str, bound: float, measured: float) -> Row:
    """Return a row that passes where the measurement is not above the bound."""
    return Row(detail, float(bound), float(measured), sense="≤")


def refused(detail: str, call: Callable[[], Any]) -> Row:
    """Return a row that passes where a call ends in one line that says why, an `InputError`."""
    try:
        call()
    except InputError:
        return equal(f"refused: {detail}", 1, 1)
    return equal(f"refused: {detail}", 1, 0)
