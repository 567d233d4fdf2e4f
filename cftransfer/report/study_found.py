"""The findings of a study in one table: for each kind of reference, the rate on every data set under every search."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cftransfer import atomic
from cftransfer.errors import InputError
from cftransfer.report.answer import percent, percent_ends
from cftransfer.report.panels import Point
from cftransfer.report.study_answers import Series
from cftransfer.report.study_running import Part

BLOCK = re.compile(r"(<!-- found: .*? -->\n).*?(<!-- end of found -->)", re.DOTALL)
RANDOM = "the same, random points at the same distance"


def found_table(told: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return the heads and rows of the table: a row for each part that has a name for its reference.

    told: of each outcome its `part` and its `series`. The rates are those at the part's `overall_at`, or at the last
    value that was swept, as 59 % (54–63). Random points at the same distance, with their interval, follow the part that
    answers the study's overall question.
    """
    rows: dict[str, dict[str, str]] = {}
    for one in told:
        part: Part = one["part"]
        if not part.reference:
            continue
        for series in one["series"]:
            column, point = f"{series.dataset}, {series.search}", _point(part, series)
            rows.setdefault(part.reference, {})[column] = _rate(point)
            if part.overall_at is not None:
                random = (point.job.metrics.get(f"control_random{end}") for end in ("", "_low", "_high"))
                rows.setdefault(RANDOM, {})[column] = _with_interval(*random)
    heads = list(dict.fromkeys(column for row in rows.values() for column in row))
    return ["reference", *heads], [[name, *(row.get(head, "—") for head in heads)] for name, row in rows.items()]


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return the table in Markdown."""
    lines = [f"| {' | '.join(row)} |" for row in (heads, *rows)]
    return "\n".join([lines[0], f"|{'---|' * len(heads)}", *lines[1:], ""])


def put_found(readme: Path, table: str) -> None:
    """Replace the table between the comments `found` and `end of found` of a page.

    Raises:
        InputError: for a page that cannot be read or has no such comments.
    """
    with atomic.disk(readme):
        text = readme.read_text(encoding="utf-8")
    if not BLOCK.search(text):
        raise InputError(f"--readme {readme}: has no comments <!-- found: … --> and <!-- end of found -->; add them")
    new = BLOCK.sub(lambda match: f"{match[1]}\n{table}\n{match[2]}", text)
    atomic.write(readme, new.encode())


def _point(part: Part, series: Series) -> Point:
    if part.overall_at is None:
        return series.points[-1]
    return min(series.points, key=lambda point: abs(point.x - (part.overall_at or 0.0)))


def _rate(point: Point) -> str:
    return _with_interval(float(np.nanmean(point.rates)) if point.rated else None, point.low, point.high)


def _with_interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None or np.isnan(value):
        return "—"
    if low is None or high is None or np.isnan(low):
        return percent(value)
    return f"{percent(value)} ({'–'.join(percent_ends(low, high))})"
