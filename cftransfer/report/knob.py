"""The rates of jobs against the swept number: points with intervals, references, controls, fitted lines."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any, Literal, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from cftransfer.measuring.trends import band, reference_means
from cftransfer.report.cells import rate_of
from cftransfer.report.collect import Line
from cftransfer.report.dots import bare, evenly
from cftransfer.report.panels import Panel, Point
from cftransfer.report.svg import says

LineStyle: TypeAlias = Literal["-", "--", "-.", ":"]
GREY = "#57646f"
COLOURS = (
    "#0b6fb8", "#c4500e", "#2c8a4b", "#8a4fa8", "#7a6a00", "#a61c4b", "#2b8f96", "#57646f", "#1f3f8f", "#d98200",
)  # fmt: skip
FAINT: dict[str, Any] = {"color": "#aab4bf", "lw": 0.7, "alpha": 0.8, "zorder": 0}  # of lines without a name
CONTROLS: dict[str, tuple[str, LineStyle]] = {
    "rate_seed": ("same architecture, other seeds", "-"),
    "control_nearest": ("nearest training row", "-."),
    "control_prior": ("coin with the reference's prior", ":"),
    "control_random": ("random direction", "--"),
}  # column of `pairs`: its name and its line style
LISTED = 10  # series or jobs with a colour and a name in a figure; the others are thin, and named in the tables
DENSE = 10  # with more places on an x-axis, intervals are drawn as a band instead of bars


def against_knob(
    axes: Axes, panel: Panel, lines: Sequence[Line], *, names: Mapping[str, str] | None = None, unit: str = ""
) -> None:
    """Draw the series of a knob; if there are more than ten, ten evenly chosen ones, and the means of the others.

    names: the legend's names of series, instead of their labels; unit: the name of the x-axis, instead of its key.
    """
    groups = {
        label: [replace(point, x=panel.along(point.x)) for point in points] for label, points in panel.groups().items()
    }
    every = [point for points in groups.values() for point in points]
    span = float(np.ptp([point.x for point in every])) or 1.0
    shown = [list(groups)[place] for place in evenly(len(groups), LISTED)]
    aside = (np.arange(len(shown)) - (len(shown) - 1) / 2) * 0.02 * span  # so that the bars of series do not overlap
    for label, points in groups.items():
        if label not in shown:
            rated = [point for point in points if point.rated]
            axes.plot([point.x for point in rated], [np.nanmean(point.rates) for point in rated], "-", **FAINT)
    for index, label in enumerate(shown):
        points, colour = groups[label], COLOURS[index % len(COLOURS)]
        rated = [point for point in points if point.rated]
        _controls(axes, rated, colour=colour if len(shown) > 1 else GREY, span=span)
        draw = _dense if len(points) > DENSE else _bars
        draw(
            axes,
            rated,
            colour=colour,
            label=(names or {}).get(label) or label or "transferability rate",
            aside=aside[index],
            span=span,
        )
        for point in rated:
            at = f"{panel.knob} {2**point.x if panel.doubling else point.x:g}"
            told = f"{label} {at}: {rate_of(point)}".strip()
            says(axes, point.x + aside[index], float(np.nanmean(point.rates)), told)
    for line in lines:
        if line.label in shown:
            _line(axes, line, COLOURS[shown.index(line.label) % len(COLOURS)])
    _frame(axes, panel, every)
    if unit:
        axes.set_xlabel(f"{unit} (log2 scale)" if panel.doubling else unit)


def _bars(axes: Axes, points: list[Point], *, colour: str, label: str, aside: float, span: float) -> None:
    for point in points:
        references = reference_means(point.rates)
        spread = point.x + aside + np.linspace(-0.008, 0.008, len(references)) * span
        axes.plot(spread, references, "o", color=colour, alpha=0.35, markersize=4, mew=0)
    rate = np.array([np.nanmean(point.rates) for point in points])
    ends = np.array([[point.low, point.high] for point in points]).reshape(-1, 2).T
    x = [point.x + aside for point in points]
    axes.errorbar(x, rate, yerr=np.abs(ends - rate), fmt="o", color=colour, capsize=4, markersize=6, label=label)


def _dense(axes: Axes, points: list[Point], *, colour: str, label: str, aside: float, span: float) -> None:  # noqa: ARG001 (as _bars)
    x = [point.x for point in points]
    means = [reference_means(point.rates) for point in points]
    every = np.array(list(zip_longest(*means, fillvalue=np.nan)))  # jobs may differ in their numbers of pairs
    axes.plot(x, every.T, "-", color=colour, alpha=0.25, linewidth=0.8)
    axes.fill_between(x, [p.low for p in points], [p.high for p in points], color=colour, alpha=0.12, linewidth=0)
    axes.plot(x, [np.nanmean(point.rates) for point in points], "o-", color=colour, markersize=4, label=label)


def _controls(axes: Axes, points: list[Point], *, colour: str, span: float) -> None:
    for name, (label, style) in CONTROLS.items():
        if any(name in point.controls for point in points):
            axes.plot([], [], linestyle=style, color=GREY, linewidth=0.9, label=label)  # one legend for all series
        x = np.array([point.x for point in points if name in point.controls])
        y = [point.controls[name] for point in points if name in point.controls]
        if len(set(x)) > 1:
            axes.plot(x, y, linestyle=style, color=colour, linewidth=0.9)
        elif len(x):
            half = 0.2 * span
            axes.hlines(y, x - half, x + half, linestyles=style, colors=colour, linewidth=0.9)


def _line(axes: Axes, line: Line, colour: str) -> None:
    at, rates = [line.panel.along(point.x) for point in line.points], [point.rates for point in line.points]
    x = np.linspace(min(at), max(at), 50)
    axes.plot(x, line.trend.intercept + line.trend.slope * x, "-", color=colour, linewidth=1.2, alpha=0.8)
    ends = band(at, rates, x.tolist(), sharing=line.sharing)
    axes.fill_between(x, [end.low for end in ends], [end.high for end in ends], color=colour, alpha=0.12, linewidth=0)


def _frame(axes: Axes, panel: Panel, points: Sequence[Point]) -> None:
    axes.set_ylabel("rate")
    axes.set_ylim(-0.02, 1.02)
    if not any(point.rated for point in points):
        axes.text(0.5, 0.5, "no counterfactuals found", transform=axes.transAxes, ha="center")
    axes.set_xlabel(str(panel.knob))
    ticks = sorted({point.x for point in points})
    if len(ticks) <= DENSE:
        axes.set_xticks(ticks, [f"{2**tick if panel.doubling else tick:g}" for tick in ticks])
    elif all(tick.is_integer() for tick in ticks):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    bare(axes)
