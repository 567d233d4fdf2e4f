"""The first sentence of a report: how many counterfactuals held, with the interval and the control beside it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cftransfer.jobs.read import Job
from cftransfer.measuring.differences import after_choice
from cftransfer.measuring.interval_ends import interval_ends
from cftransfer.measuring.statistics import ROUNDING
from cftransfer.report.collect import Line
from cftransfer.report.panels import Panel, Point
from cftransfer.report.shared_models import models_of
from cftransfer.report.swept import is_size
from cftransfer.report.verdict_words import against_seed, bend, decides, margin, size, two_rates

RANDOM = "control_random"
REPLICATED = frozenset({"replicates"})  # the models of pooled jobs: their i-th replicates share a seed


@dataclass(frozen=True, eq=False)
class Rate:
    """A rate of the report, with its interval (NaN without one), and the control in random directions.

    over: the unit of the interval, "over replicates " for example; "" if it is models. pairs: rates of pairs of models
    or of replicates, (I, J) or (S, I, J). models: names of the models or replicates, as in `measuring.differences`.
    """

    name: str
    mean: float
    low: float
    high: float
    random: float
    over: str
    pairs: np.ndarray
    models: frozenset[str]


def answer(panel: Panel, lines: Sequence[Line]) -> str:
    """Return the result of a panel in one or two sentences. lines: the trends of the panel."""
    rates = _rates(panel)
    if not rates:
        return "No counterfactual was found, so none can have held."
    return _told(panel, lines, rates) + _nothing_found(panel)


def lowest_and_highest(panel: Panel) -> str:
    """Return the names of a panel's lowest and highest rate, and whether they differ; "" without such a difference."""
    rates = _rates(panel)
    apart = _of_difference(panel, rates) if rates else ""
    return f"lowest and highest rate ({', '.join(rate.name for rate in _extremes(rates))}): {apart}" if apart else ""


def _told(panel: Panel, lines: Sequence[Line], rates: Sequence[Rate]) -> str:
    if len(lines) == 1:
        return f"{_of_trend(lines[0])}{_random_points(rates)}."
    if len(rates) > 1:
        apart = _of_difference(panel, rates)
        sentence = f" {apart[0].upper()}{apart[1:]}." if apart else ""
        return f"{_of_extremes(rates)}{_random_points(rates)}.{sentence}{_of_trends(lines)}"
    (rate,) = rates
    told = f"{percent(rate.mean)}{_interval(rate)} of the counterfactuals held{_random_points(rates)}."
    return told + (_beside(panel.jobs[0]) if len(panel.jobs) == 1 else "")


def percent(share: float) -> str:
    """Return a share in percent, such as 69 %; none and all (0 % and 100 %) are said only of these, up to rounding."""
    whole, tenths = f"{100 * share:.0f}", f"{100 * share:.1f}"
    if whole not in ("0", "100") or abs(share - round(share)) < ROUNDING:
        return f"{whole} %"
    return {"0.0": "below 0.1 %", "100.0": "over 99.9 %"}.get(tenths, f"{tenths} %")


def _rates(panel: Panel) -> list[Rate]:
    """Return the rate of each job that has one; jobs that differ only in their seeds are pooled."""
    _, rows = panel.rows()
    alone = replace(panel, replicates=()) if len(rows) < len(panel.jobs) else panel
    pooled = alone is not panel
    return [_rate(alone.called(point.job), point, pooled=pooled) for _, point in rows if point.rated]


def _rate(name: str, point: Point, *, pooled: bool) -> Rate:
    of_pair = "over the counterfactuals of one pair of models " if point.job.metrics["pairs"] == 1 else ""
    over = f"over {point.over} " if pooled else of_pair
    mean, random = float(np.nanmean(point.rates)), point.controls.get(RANDOM, math.nan)
    models = REPLICATED if pooled else models_of(point.job)
    return Rate(name, mean, point.low, point.high, random, over, point.rates, models)


def _of_trend(line: Line) -> str:
    """Return in words the rates at both ends of a trend, and the verdict on it."""
    first, last = line.points[0], line.points[-1]
    ends = [percent(float(np.nanmean(point.rates))) for point in (first, last)]
    at = [f"{line.panel.knob} at {point.x:g}" for point in (first, last)]
    said = f"{ends[0]} of the counterfactuals held with {at[0]}, and {ends[1]} with {at[1]}: {_word(line)}"
    return f"{said}, {size(line.verdict)}{bend(line)}{decides(line)}"


def _word(line: Line) -> str:
    if np.isnan(line.verdict.change.low):
        return "without an interval, they are not shown to differ"
    return {
        "falls": "the rate falls",
        "rises": "the rate rises",
        "flat": f"the rate is flat, less than ±{margin(line.verdict)} either way",
        "undecided": "not shown to differ",
    }[line.verdict.direction]


def _of_extremes(rates: Sequence[Rate]) -> str:
    least, most = _extremes(rates)
    if least.mean == most.mean:
        return f"{percent(least.mean)} of the counterfactuals held in each job"
    ends = [f"{percent(rate.mean)} ({_named(rate)})" for rate in (least, most)]
    return f"From {ends[0]} to {ends[1]} of the counterfactuals held"


def _of_difference(panel: Panel, rates: Sequence[Rate]) -> str:
    """Return in words whether the highest and the lowest rate differ.

    "" if all are equal, or if the jobs differ only in the size of the measurement, which does not move the true rate.
    """
    least, most = _extremes(rates)
    compared = [name for name in panel.settings if name not in panel.replicates]
    if least.mean == most.mean or (compared and all(map(is_size, compared))):
        return ""
    replicates = panel.replicates if rates[0].models >= REPLICATED else ()
    places = rates.index(most), rates.index(least)
    of, p = after_choice([rate.pairs for rate in rates], [rate.models for rate in rates], *places)
    return two_rates(of, p, len(rates), replicates)


def _extremes(rates: Sequence[Rate]) -> tuple[Rate, Rate]:
    return min(rates, key=lambda rate: rate.mean), max(rates, key=lambda rate: rate.mean)


def _named(rate: Rate) -> str:
    ends = "" if math.isnan(rate.low) else f"; 95 % interval {_ends(rate)}"
    return f"{rate.name}{ends}"


def _of_trends(lines: Sequence[Line]) -> str:
    """Return in words how many of several trends fall, rise, are flat, or are undecided."""
    if not lines:
        return ""
    words = {"falls": "falls", "rises": "rises", "flat": "is flat", "undecided": "is not shown to change"}
    counts = {word: sum(line.verdict.direction == name for line in lines) for name, word in words.items()}
    said = ", ".join(f"{word} in {many}" for word, many in counts.items() if many)
    return f" Over {lines[0].panel.knob}, the rate {said} of {len(lines)} series."


def _interval(rate: Rate) -> str:
    """Return the interval of a panel's only rate, with its unit if that is not models."""
    return "" if math.isnan(rate.low) else f" (95 % interval {rate.over}{_ends(rate)})"


def _nothing_found(panel: Panel) -> str:
    """Return in words how many jobs found no counterfactual; they have no rate, so the other numbers are without."""
    many = sum(not panel.points(job)[-1].rated for job in panel.jobs)
    return f" In {many} of {len(panel.jobs)} jobs, no counterfactual was found." if many else ""


def _ends(rate: Rate) -> str:
    return " to ".join(percent_ends(rate.low, rate.high))


def percent_ends(low: float, high: float) -> tuple[str, str]:
    """Return both ends of an interval in percent, without the sign; with decimals if they would look the same."""
    first, last = (percent(end).removesuffix(" %") for end in (low, high))
    if first != last or low == high:
        return first, last
    decimals = 1 if f"{100 * low:.1f}" != f"{100 * high:.1f}" else 2
    return interval_ends(100 * low, 100 * high, decimals)


def _random_points(rates: Iterable[Rate]) -> str:
    known = sorted(rate.random for rate in rates if not math.isnan(rate.random))
    if not known:
        return ""
    least, most = percent(known[0]), percent(known[-1])
    many = most if least == most else f"{least.removesuffix(' %')} to {most}"
    return f"; of random points at the same distance, {many}"


def _beside(job: Job) -> str:
    """Return further sentences on a single job: failed searches, and references of other seeds."""
    found: Any = job.metrics["found"]
    said = f" {percent(found)} of the searches found a counterfactual." if found < 1 else ""
    (word,) = against_seed([job])
    against = {"undecided": "not shown to differ"}.get(word, word)
    return said if against == "—" else f"{said} Against references that differ in their seed alone: {against}."
