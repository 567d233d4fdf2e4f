"""The ends of an interval as text."""

import math

from hypothesis import given
from hypothesis import strategies as st

from cftransfer.measuring.interval_ends import interval_ends
from cftransfer.measuring.statistics import NONE, Interval
from cftransfer.report.why_words import cell

shares = st.floats(0, 1)


def test_ends_that_differ_are_rounded_to_the_nearest():
    assert interval_ends(0.6561, 0.7569) == ("0.656", "0.757")
    assert interval_ends(0.9985, 1, 2) == ("0.99", "1.00")


def test_an_unknown_interval_has_no_ends_to_round():
    assert interval_ends(math.nan, math.nan) == ("nan", "nan")
    assert cell(Interval(0.25, *NONE, "")) == "0.250"


def test_differences_have_signs_and_a_width_too():
    assert interval_ends(-0.0104, 0.0656, signed=True) == ("-0.010", "+0.066")
    assert interval_ends(0.0012, 0.0014, signed=True) == ("+0.001", "+0.002")
    assert interval_ends(-0.0001, 0.0001, signed=True) == ("-0.001", "+0.001")


@given(shares, shares, st.sampled_from([2, 3]))
def test_an_interval_with_a_width_never_looks_like_a_point(one, other, decimals):
    low, high = sorted((one, other))
    ends = interval_ends(low, high, decimals)
    assert (ends[0] == ends[1]) == (low == high)
    unit = 10**-decimals
    assert all(abs(float(end) - exact) < unit + 1e-12 for end, exact in zip(ends, (low, high), strict=True))
    if low < high and f"{low:.{decimals}f}" == f"{high:.{decimals}f}":
        assert float(ends[0]) <= low + 1e-12
        assert float(ends[1]) >= high - 1e-12
