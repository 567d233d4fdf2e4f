"""The ends of an interval as text."""

from math import ceil, floor


def interval_ends(low: float, high: float, decimals: int = 3) -> tuple[str, str]:
    """Return both ends with so many decimals, rounded outwards if they would look the same otherwise.

    An interval from 0.9985 to 0.9999 is narrow but not a point: with two decimals it ends at 0.99 and 1.00.

    >>> interval_ends(0.656, 0.757, 2), interval_ends(0.9985, 0.9999, 2)
    (('0.66', '0.76'), ('0.99', '1.00'))
    """
    ends = f"{low:.{decimals}f}", f"{high:.{decimals}f}"
    if ends[0] != ends[1] or low == high:
        return ends
    unit = 10**decimals
    return f"{floor(low * unit) / unit:.{decimals}f}", f"{ceil(high * unit) / unit:.{decimals}f}"
