"""The pages of the paper's two studies: trends of the rate over what was swept, beside what the paper expected."""

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cftransfer import atomic
from cftransfer.jobs.read import Job
from cftransfer.measuring.trends import holm
from cftransfer.report.cells import PAGE, cells, curve
from cftransfer.report.collect import Line, judged
from cftransfer.report.figures import trend
from cftransfer.report.panels import Panel
from cftransfer.report.study_page import put_page
from cftransfer.report.study_running import Outcome, Study
from cftransfer.report.verdict_words import against_seed, decides, direction, margin, sentence, size

LEFT_OUT = ("to class 0", "to class 1", "base accuracy", "reference accuracy", "pairs")
COLUMNS = {head: metrics for head, metrics in PAGE.items() if head not in LEFT_OUT}


def write_trends(outcomes: Sequence[Outcome], path: Path, *, study: Study) -> None:
    """Write the page of a study into `path`, and a figure per command beside it."""
    found = [line for outcome in outcomes for line in outcome.lines]
    adjusted = iter(holm([line.trend.p for line in found]))  # words and titles go by the page's own p
    told = [
        _told(replace(outcome, lines=[judged(line, next(adjusted)) for line in outcome.lines]), path.parent)
        for outcome in outcomes
    ]
    put_page(
        path,
        outcomes,
        template="study.md.j2",
        study=study,
        name=path.stem,
        parts=[(part, [row for row in told if row["part"] == part]) for part in study.parts],
        told=told,
        trends=len(found),
        images=_about([job for outcome in outcomes for job in outcome.jobs.jobs]),
    )


def _about(every: Sequence[Job]) -> dict[str, str]:
    """Return what was taken of each data set that is read from atomic, in words."""
    told = {str(job.settings.get("dataset")): job.result.data.get("about", "") for job in every}
    return {dataset: about for dataset, about in told.items() if about}


def _told(outcome: Outcome, out: Path) -> dict[str, Any]:
    """Return what the page says of one outcome, and put its figure beside the page."""
    (panel,) = outcome.jobs.panels
    name = f"{outcome.dataset.replace(',', '-')}-{outcome.part.name}"
    picture = io.BytesIO()
    trend(outcome.jobs, outcome.lines).savefig(picture, format="png", dpi=110)
    atomic.write(out / "figures" / f"{name}.png", picture.getvalue())
    heads, rows = cells(panel, COLUMNS)
    aged = [curve(job) for job in panel.jobs if job.result.curve]
    return {
        "part": outcome.part,
        "dataset": outcome.dataset,
        "command": outcome.command,
        "figure": f"figures/{name}.png",
        "heads": heads,
        "rows": _plain(rows),
        "curves": [(heads, _plain(points)) for heads, points in aged],
        "series": [_series(outcome, panel, label) for label in panel.groups()],
        "found": [job.metrics["found"] for job in panel.jobs],
        "minus_seed": [words for words in against_seed(panel.jobs) if words != "—"],
        "seconds": outcome.seconds,
        "passes": outcome.passes,
        "searches": outcome.searches,
    }


def _series(outcome: Outcome, panel: Panel, label: str) -> dict[str, Any]:
    """Return what the page says of one line of the figure: the data set it is of, its ends, its trend."""
    line = next((line for line in outcome.lines if line.label == label), None)
    return {
        "dataset": label.removeprefix("dataset=") or outcome.dataset,
        "sentence": sentence(line) if line else "no trend",
        "line": line,
        "answer": answer(line, outcome.part.expected),
        "change": size(line.verdict) if line else "",
        "direction": direction(line.verdict) if line else "",
        "verdict": verdict(line, outcome.part.expected),
        "rates": [(point.x, float(np.nanmean(point.rates))) for point in panel.groups()[label]],
    }


def answer(line: Line | None, expected: int) -> str:
    """Return in a sentence whether a trend is as it was expected, how large it is, and what would decide it."""
    if line is None:
        return "there is no trend to judge"
    of, many = line.verdict, f"from {line.points[0].x:g} to {line.points[-1].x:g} {line.panel.knob}"
    said = {
        "as expected": f"yes, the rate {of.direction}",
        "the opposite": f"no, the rate {of.direction}",
        "flat": f"no, the rate is flat, within ±{margin(of)}",
        "undecided": "undecided",
    }[verdict(line, expected)]
    return f"{said}: {size(of)} {many}{decides(of)}"


def _plain(rows: Sequence[Sequence[tuple[str, str]]]) -> list[list[str]]:
    return [[f"{number} ({of})" if of else number for number, of in row] for row in rows]


def verdict(line: Line | None, expected: int) -> str:
    """Return how the trend that was found stands to the one that was expected: +1 for rising, -1 for falling."""
    if line is None:
        return "no trend"
    if line.verdict.direction in ("flat", "undecided"):
        return line.verdict.direction
    return "as expected" if line.trend.slope * expected > 0 else "the opposite"
