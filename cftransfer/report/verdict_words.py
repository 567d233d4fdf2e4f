"""Verdicts in words, for the terminal, the page, W&B and the results pages."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cftransfer.columns import matrix
from cftransfer.jobs.read import Job
from cftransfer.measuring.differences import from_first
from cftransfer.measuring.interval_ends import interval_ends
from cftransfer.measuring.over_splits import spread_of
from cftransfer.measuring.statistics import LEVEL, Spread, change_interval
from cftransfer.measuring.trends import holm
from cftransfer.measuring.verdicts import Direction, Verdict, verdict
from cftransfer.report.collect import Line
from cftransfer.report.panels import Panel, Point
from cftransfer.report.shared_models import models_of

DIFFERENCE: dict[Direction, str] = {"falls": "lower", "rises": "higher", "flat": "alike", "undecided": "undecided"}


def sentence(line: Line) -> str:
    """Return a trend in words: verdict, change over the swept range with its interval, and models that would decide."""
    first, last = (f"{point.x:g}" for point in (line.points[0], line.points[-1]))
    change = f"{size(line.verdict)} from {first} to {last} {line.panel.knob}"
    if np.isnan(line.verdict.change.low):
        return f"{change}, no interval ({line.trend.method})"
    return f"{direction(line.verdict)}: {change}{bend(line)}{decides(line)}"


def direction(of: Verdict) -> str:
    """Return the verdict on a trend, with the margin if it depends on it."""
    return f"flat, less than ±{margin(of)} either way" if of.direction == "flat" else of.direction


def difference(of: Verdict) -> str:
    """Return the verdict on a difference of two rates, with the models that would decide an undecided one."""
    word = DIFFERENCE[of.direction]
    return f"alike, less than ±{margin(of)} apart" if word == "alike" else f"{word}{_would_decide(of)}"


def pooled(panel: Panel) -> list[str]:
    """Return in words the pooled rates of jobs that were repeated with other seeds."""
    over = " and ".join(panel.replicates)
    return [f"{f'{where}: ' if where else ''}{_replicates(point, over)}" for where, point in panel.pooled().items()]


def _replicates(point: Point, over: str) -> str:
    """Return in words how many replicates have a rate, and their mean with its interval, if there is one."""
    if not point.rated:
        return f"replicates over {over} found nothing"
    many, mean = point.replicates, float(np.nanmean(point.rates))
    said = f"{many} replicate{'s' * (many > 1)} over {over}, rate {mean:.3f}"
    if np.isnan(point.low):
        return f"{said}, no interval (one replicate)"
    ends = " to ".join(interval_ends(point.low, point.high))
    return f"{said} ({LEVEL:.0%} interval over {point.over} {ends})".replace("%", " %")


def against_seed(some: Sequence[Job]) -> list[str]:
    """Return the verdicts of `than_seed_alone`, without the models that would decide."""
    return [said.partition(";")[0] for said in than_seed_alone(some)]


def than_seed_alone(some: Sequence[Job]) -> list[str]:
    """Return for each job the verdict on its rate minus the rate on references that differ only in their seed.

    "—" for a job without such references, or without a rate. p is adjusted for the jobs of the table (Holm).
    """
    apart = [_minus_seed(job) for job in some]
    adjusted = holm([np.nan if one is None else change_interval(one).p for one in apart])
    return [
        "—" if one is None else difference(verdict(one, p=None if np.isnan(p) else p))
        for one, p in zip(apart, adjusted, strict=True)
    ]


def _minus_seed(job: Job) -> Spread | None:
    if "rate_seed" not in job.pairs:
        return None
    apart = matrix(job.pairs) - matrix(job.pairs, "rate_seed")
    return None if np.isnan(apart).all() else spread_of(apart)


def against_first(panel: Panel) -> list[Verdict | None]:
    """Return for each job the verdict on its rate minus the first job's; None for the first and for jobs without rates.

    [] if there is nothing to compare: a panel along a knob has trends, replicates are pooled, and the first job may
    have found nothing.
    """
    points = [panel.points(job)[-1] for job in panel.jobs]
    rated = [point for point in points if point.rated]
    if panel.knob or panel.replicates or not points[0].rated or len(rated) < 2:
        return []
    judged = iter(from_first([point.rates for point in rated], [models_of(point.job) for point in rated]))
    return [next(judged) if point.rated and place else None for place, point in enumerate(points)]


def size(of: Verdict) -> str:
    """Return the change with its interval."""
    change = of.change
    if np.isnan(change.low):
        return f"{change.mean:+z.3f}"
    ends = " to ".join(interval_ends(change.low, change.high, signed=True))
    return f"{change.mean:+z.3f} ({LEVEL:.0%} interval {ends})".replace("%", " %")


def decides(line: Line) -> str:
    """Return how many models or replicates would decide an undecided trend; "" for other verdicts."""
    return _would_decide(line.verdict, line.panel.replicates)


def _would_decide(of: Verdict, replicates: Sequence[str] = ()) -> str:
    if of.direction != "undecided":
        return ""
    if of.needed is None:
        more = "replicates" if replicates else "splits" if of.change.method.startswith("splits") else "models"
        return f"; more {more} would decide" if not np.isnan(of.change.low) else ""
    rows, columns = of.needed  # bases and references, or the values of two seeds that were swept
    if replicates:
        over = " × ".join(replicates[:2])  # further ones are averaged
        some = f"{rows} replicates" if columns == 1 else f"{rows} × {columns} replicates ({over})"
    else:
        some = f"{rows} bases" if columns == 1 else f"{rows} bases × {columns} references"
    return f"; about {some} would decide"


def two_rates(of: Verdict, p: float, jobs: int, replicates: Sequence[str] = ()) -> str:
    """Return in words whether two rates differ that were chosen from those of `jobs` jobs, by how much, and p.

    of: the verdict on the higher rate minus the lower; p: adjusted for all differences between two of the jobs.
    """
    if np.isnan(of.change.low):
        return "the two rates are not shown to differ, since their difference has no interval"
    shown = "p below 0.001" if p < 0.001 else f"p = {p:.2g}"
    adjusted = f", adjusted for {jobs * (jobs - 1) // 2} differences" if jobs > 2 else ""
    cut = replace(of.change, low=max(of.change.low, -1.0), high=min(of.change.high, 1.0))  # rates differ by at most 1
    by = f"{size(replace(of, change=cut)).removesuffix(')')}; {shown}{adjusted})"
    if of.direction == "flat":
        return f"the two rates differ by less than {margin(of)}: {by}"
    if of.direction == "undecided":
        return f"the two rates are not shown to differ: {by}{_would_decide(of, replicates)}"
    return f"the two rates differ by {by}"


def bend(line: Line) -> str:
    """Return a warning if the rates do not follow a line."""
    p = line.trend.p_bend
    return f"; it bends (p = {p:.2g}), so read the points" if p < 1 - LEVEL else ""


def margin(of: Verdict) -> str:
    """Return the margin as text: .05."""
    return f"{of.margin:.3g}".removeprefix("0")
