"""Intervals as text."""

import re
from math import ceil, floor, isnan

WHOLE_ZERO = re.compile(r"^([+-]?)0\.")  # matches 0.431, not 10.431


def interval_ends(low: float, high: float, decimals: int = 3, *, signed: bool = False) -> tuple[str, str]:
    """Return both ends with so many decimals, rounded outwards if they would look the same otherwise.

    An interval from 0.9985 to 0.9999 is narrow but not a point: with two decimals it ends at 0.99 and 1.00. signed:
    with a plus before positive numbers, for differences. Ends that are NaN stay "nan".

    >>> interval_ends(0.656, 0.757, 2), interval_ends(0.9985, 0.9999, 2)
    (('0.66', '0.76'), ('0.99', '1.00'))
    """
    form, unit = f"{'+' * signed}.{decimals}f", 10**decimals
    ends = format(low, form), format(high, form)
    if float(ends[0]) != float(ends[1]) or low == high:
        return ends
    return format(floor(low * unit) / unit, form), format(ceil(high * unit) / unit, form)


def in_brackets(low: float, high: float, decimals: int = 3) -> str:
    """Return an interval to follow its mean, after a space; "" if its ends are NaN.

    >>> f"{0.709:.3f}{in_brackets(0.656, 0.757)}"
    '0.709 (.656–.757)'
    """
    if isnan(low) or isnan(high):
        return ""
    return f" ({'–'.join(map(short, interval_ends(low, high, decimals)))})"


def short(end: str) -> str:
    """Return a number without the zero before its point: .431, +.020."""
    return WHOLE_ZERO.sub(r"\1.", end)
