"""Tables of a report as text: metrics in columns, with their intervals."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cftransfer.jobs.read import Job
from cftransfer.jobs.schema import EXTRA_EPOCHS
from cftransfer.measuring.interval_ends import in_brackets, interval_ends, short
from cftransfer.measuring.statistics import Interval
from cftransfer.report.panels import Panel, Point
from cftransfer.report.verdict_words import than_seed_alone

# Column heads, each with its metric, and with the count of the rows that the share is taken of.
PRINTED = {
    "found": ("found", ""),
    "agreement": ("agreement", ""),
    "rate (95 % interval)": ("rate", ""),
    "conditional": ("rate_conditional", ""),
    "end-to-end": ("rate_end_to_end", ""),
}
SEED = {"− seed": ("rate_minus_seed", "n_tried")}
PAGE = {
    "found": ("found", "n_searched"),
    "agreement": ("agreement", "n_tried"),
    "rate": ("rate", "n_tried"),
    "conditional": ("rate_conditional", "n_agreeing"),
    "end-to-end": ("rate_end_to_end", "n_searched"),
    **SEED,
    "− random": ("rate_minus_random", "n_tried"),
    "random": ("control_random", "n_tried"),
    "nearest": ("control_nearest", "n_tried"),
    "prior": ("control_prior", "n_tried"),
    "to class 0": ("rate_to_0", "n_to_0"),  # further classes get their own columns (`by_class`)
    "to class 1": ("rate_to_1", "n_to_1"),
    "distance L2": ("distance_l2", ""),
    "found before": ("found_relaxed", "n_searched"),
    "L2 before": ("distance_l2_relaxed", ""),
    "rate before": ("rate_relaxed", ""),
    "L2 per pixel": ("pixel_l2", ""),
    "L∞": ("pixel_linf", ""),
    "found as bytes": ("found_as_bytes", "n_found"),
    "base accuracy": ("base_accuracy", ""),
    "reference accuracy": ("reference_accuracy", ""),
    "disagreement": ("disagreement", ""),
    "|Δp|": ("prob_difference", ""),
    "accepted by all": ("rate_all", ""),
    "least rate": ("rate_min", ""),
    "lost to noise": ("invalidation", ""),
    "lost on the base": ("invalidation_base", ""),
    "5 nearest: L2": ("knn_distance", ""),
    "5 nearest: of the class": ("knn_share", ""),
    "LOF": ("lof", ""),
    "pairs": ("pairs", ""),
    "splits": ("splits", ""),
}


def curve(job: Job) -> tuple[list[str], list[list[tuple[str, str]]]]:
    """Return heads and rows of a job's curve, one row per number of extra epochs, as `cells` does for jobs."""
    columns = {head: PAGE[head] for head in ("rate", "agreement", "conditional", "found", "reference accuracy")}
    pairs = job.pairs.assign(agreeing=job.pairs.found * job.pairs.agreement)
    tried = pairs.groupby(EXTRA_EPOCHS)[["found", "agreeing"]].sum().round().astype(int)
    rows = []
    for point in job.result.curve:
        many, agreeing = tried.loc[point[EXTRA_EPOCHS]]
        counts = {"n_searched": job.metrics["n_searched"], "n_tried": many, "n_agreeing": agreeing}
        rows.append(
            [(text_of(point[EXTRA_EPOCHS]), "")] + [_cell(point | counts, *metrics) for metrics in columns.values()]
        )
    return [EXTRA_EPOCHS, *columns], rows


def cells(panel: Panel, columns: Mapping[str, tuple[str, str]]) -> tuple[list[str], list[list[tuple[str, str]]]]:
    """Return heads, and rows of (text, denominator), with the settings that differ first.

    Columns without any numbers are left out. The verdict on the difference from the seed alone comes last.
    """
    settings = [name for name in (panel.knob, *panel.series, *panel.replicates) if name]
    settings = [name for name in settings if any(name in job.settings for job in panel.jobs)]
    had = {head: names for head, names in columns.items() if any(names[0] in job.metrics for job in panel.jobs)}
    compared = any("rate_seed" in job.pairs for job in panel.jobs)
    rows = [
        [(text_of(job.settings.get(name, "—")), "") for name in dict.fromkeys(settings)]
        + [_cell(job.metrics, *names) for names in had.values()]
        + [(words, "")] * compared
        for job, words in zip(panel.jobs, than_seed_alone(panel.jobs), strict=True)
    ]
    return [*dict.fromkeys(settings), *had, *["than seed alone"] * compared], rows


def printed_columns(panel: Panel) -> dict[str, tuple[str, str]]:
    """Return the columns of the terminal, without the end-to-end rate if no search failed: it then equals the rate."""
    everywhere = all(job.metrics["found"] == 1 for job in panel.jobs)
    return {head: names for head, names in (PRINTED | SEED).items() if not (everywhere and head == "end-to-end")}


def by_class(panel: Panel) -> dict[str, tuple[str, str]]:
    """Return PAGE with a column for each target class, with the class's name if there are more than two classes."""
    known = [job.result.data.get("classes", []) for job in panel.jobs]
    shared = known[0] if all(classes == known[0] for classes in known) else []
    most = max([2, *map(len, known)])
    columns: dict[str, tuple[str, str]] = {}
    for head, metrics in PAGE.items():
        columns[_to_class(int(head[-1]), shared) if head.startswith("to class") else head] = metrics
        if head == "to class 1":
            columns |= {_to_class(k, shared): (f"rate_to_{k}", f"n_to_{k}") for k in range(2, most)}
    return columns


def _to_class(number: int, classes: Sequence[str]) -> str:
    return f"to class {number}" + (f" ({classes[number]})" if len(classes) > 2 else "")


def _cell(metrics: Mapping[str, Any], name: str, counted: str) -> tuple[str, str]:
    """Return a metric, with its 95 % interval if it has one, and its denominator."""
    value, signed = metrics.get(name), "minus" in name
    of = f"of {metrics[counted]:,}" if counted and value is not None else ""
    return f"{number(value, signed=signed)}{_interval(metrics, name, signed=signed)}", of


def change_of(change: Interval) -> str:
    """Return a difference of two rates with its interval: +0.060 (-.010 to +.130)."""
    ends = {} if math.isnan(change.low) else {"change_low": change.low, "change_high": change.high}
    return f"{number(change.mean, signed=True)}{_interval(ends, 'change', signed=True)}"


def _interval(metrics: Mapping[str, Any], name: str, *, signed: bool) -> str:
    """Return an interval to follow its mean, such as (.656–.757) or (−.010 to +.066); "" without one."""
    low, high = (metrics.get(f"{name}_{end}") for end in ("low", "high"))
    if low is None or high is None:
        return ""
    if signed:  # a difference of two shares
        ends = interval_ends(max(float(low), -1.0), min(float(high), 1.0), signed=True)
        return f" ({' to '.join(map(short, ends))})"
    return in_brackets(low, high)


def rate_of(point: Point) -> str:
    """Return the mean rate of a point with its 95 % interval: 0.709 (.656–.757); "—" if nothing was found."""
    if not point.rated:
        return "—"
    return f"{np.nanmean(point.rates):.3f}{in_brackets(point.low, point.high)}"


def or_dash(value: float, form: str) -> str:
    """Return a number in a form of `format`; a dash for NaN."""
    return "—" if math.isnan(value) else format(value, form)


def text_of(value: Any) -> str:
    """Return a setting as text."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def number(value: Any, *, signed: bool = False) -> str:
    """Return a metric as text, with a thousands separator if it is a count; a dash for None."""
    if value is None:
        return "—"
    return f"{value:{'+z' if signed else ''}.3f}" if isinstance(value, float) else f"{value:,}"
