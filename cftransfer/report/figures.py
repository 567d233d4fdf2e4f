"""The figures of a report: the rate against what was swept, survivorship, and training curves."""

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from matplotlib import colormaps, rc_context, rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cftransfer import atomic
from cftransfer.jobs.read import Job
from cftransfer.measuring.trends import band, reference_means
from cftransfer.report.accepted import accepted
from cftransfer.report.changes import changes
from cftransfer.report.collect import Jobs, Line
from cftransfer.report.frontier import frontier
from cftransfer.report.matrix import matrix
from cftransfer.report.panels import Panel, Point
from cftransfer.report.place import FIGURES
from cftransfer.report.verdict_words import sentence

rcParams["text.parse_math"] = False  # names of data and settings may hold dollars, and none of ours are formulas
LineStyle: TypeAlias = Literal["-", "--", "-.", ":"]
GREY = "#57646f"
COLOURS = ("#0b6fb8", "#c4500e", "#2c8a4b", "#8a4fa8", "#7a6a00", "#a61c4b")
CONTROLS: dict[str, tuple[str, LineStyle]] = {
    "rate_seed": ("same architecture, other seeds", "-"),
    "control_nearest": ("nearest training row", "-."),
    "control_prior": ("coin with the reference's prior", ":"),
    "control_random": ("random direction", "--"),
}  # what `pairs` calls it: its name and its line
LISTED = 40  # jobs that a figure names; of more, every second, third, …
DENSE = 10  # places on an x-axis from which on intervals are drawn as a band instead of bars


def pictures(jobs: Jobs, lines: Sequence[Line]) -> dict[str, dict[str, bytes]]:
    """Return each figure by its name, as {"png": …, "svg": …}."""
    figures = {"trend": trend(jobs, lines), "survivorship": survivorship(jobs), "training": training(jobs)}
    for name, draw in (("frontier", frontier), ("matrix", matrix), ("changes", changes), ("accepted", accepted)):
        if made := draw(jobs):
            figures[name] = made
    return {name: _pictured(figure, name) for name, figure in figures.items()}


def save(figures: Mapping[str, Mapping[str, bytes]], folder: Path) -> None:
    """Write the pictures of each figure into `folder`, and remove those of an earlier report on other jobs."""
    for name in FIGURES:
        for kind in ("png", "svg"):
            path = folder / f"{name}.{kind}"
            if name in figures:
                atomic.write(path, figures[name][kind])
            else:
                with atomic.disk(path):
                    path.unlink(missing_ok=True)


def written(figure: Figure, path: Path) -> None:
    """Write the figure as `path`.png and `path`.svg."""
    for kind, content in _pictured(figure, path.name).items():
        atomic.write(path.with_name(f"{path.name}.{kind}"), content)


def _pictured(figure: Figure, name: str) -> dict[str, bytes]:
    pictures = {}
    for kind, metadata in (("png", {}), ("svg", {"Date": None})):
        buffer = io.BytesIO()
        with rc_context({"svg.hashsalt": name}):  # the same jobs give the same file
            figure.savefig(buffer, format=kind, dpi=160, metadata=metadata)
        figure.set_layout_engine("none")  # it is laid out once; the second picture is the first in another format
        pictures[kind] = buffer.getvalue()
    return pictures


def trend(jobs: Jobs, lines: Sequence[Line], *, names: Mapping[str, str] | None = None, unit: str = "") -> Figure:
    """Return a panel per experiment: rates with 95 % intervals, a dot per reference, controls, the fitted line.

    names: what the legend calls a series instead of its label; unit: what the x-axis is called instead of its key.
    """
    columns = min(len(jobs.panels), 2)
    rows = -(-len(jobs.panels) // columns)
    crowd = max((len(panel.jobs) for panel in jobs.panels if not panel.knob), default=0)
    size = (min(max(7.2, 0.55 * crowd), 16.0), 4.6) if columns == 1 else (11.0, 4.4 * rows)
    figure = Figure(figsize=size, layout="constrained")
    places = figure.subplots(rows, columns, squeeze=False, sharey=True).flatten()
    for axes, panel in zip(places, jobs.panels, strict=False):
        _panel(axes, panel, [line for line in lines if line.panel is panel], names or {})
        if unit and panel.knob:
            axes.set_xlabel(f"{unit} (log2 scale)" if panel.doubling else unit)
        if len(jobs.panels) > 1:
            axes.set_title(panel.experiment, loc="left", fontweight="bold", fontsize=10)
    if len(jobs.panels) == 1 and len(lines) == 1:
        places[0].set_title(sentence(lines[0]).replace(": ", "\n", 1), loc="left", fontsize=8)
    for axes in places[len(jobs.panels) :]:
        axes.remove()
    legend(figure, places[: len(jobs.panels)])
    return figure


def survivorship(jobs: Jobs) -> Figure:
    """Return found share and rate as they would be had every search been ended after fewer iterations."""
    return _by_job(
        jobs,
        lambda job: job.survivorship,
        x=("cap", "iterations allowed"),
        columns={"found": "found share", "rate": "rate of those found"},
        logarithmic=True,
    )


def training(jobs: Jobs) -> Figure:
    """Return the mean training curves of bases (solid) and references (dashed)."""
    return _by_job(
        jobs,
        lambda job: job.curves.groupby(["role", "epoch"], as_index=False)[["test_accuracy", "test_loss"]].mean(),
        x=("epoch", "epoch"),
        columns={"test_accuracy": "test accuracy", "test_loss": "test loss"},
        logarithmic=False,
    )


def _by_job(
    jobs: Jobs,
    table: Callable[[Job], pd.DataFrame],
    *,
    x: tuple[str, str],
    columns: Mapping[str, str],
    logarithmic: bool,
) -> Figure:
    """Return one panel per column of the jobs' tables, in which every job is a line, or one per role of its models."""
    named = [(panel, job) for panel in jobs.panels for job in panel.jobs]
    figure = Figure(figsize=(9.6, 3.6 + 0.09 * min(len(named), LISTED)), layout="constrained")
    places = figure.subplots(1, len(columns))
    last = max(table(job)[x[0]].max() for _, job in named)
    for index, (panel, job) in enumerate(named):
        rows, colour = table(job), _shade(index, len(named))
        label = f"{panel.experiment if len(jobs.panels) > 1 else ''} {panel.place(job)}".strip()
        named_here = index % _every(len(named)) == 0
        parts = [part for _, part in rows.groupby("role")] if "role" in rows else [rows]
        for axes, column in zip(places, columns, strict=True):
            for style, part in zip(("-", "--"), parts, strict=False):
                axes.plot(
                    part[x[0]],
                    part[column],
                    style,
                    color=colour,
                    lw=1.3,
                    label=label if style == "-" and named_here else None,
                )
                if f"{column}_low" in part:
                    ends = part[f"{column}_low"], part[f"{column}_high"]
                    axes.fill_between(part[x[0]], *ends, color=colour, alpha=0.1, linewidth=0)
    for axes, title in zip(places, columns.values(), strict=True):
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlabel(x[1])
        _bare(axes)
        if logarithmic and last >= 1:
            axes.set_xscale("log")
            axes.set_xlim(0.9, 1.1 * last)  # also where there is nothing to draw
            axes.xaxis.set_major_formatter("{x:g}")
        if logarithmic:
            axes.set_ylim(-0.02, 1.02)
    legend(figure, places)
    return figure


def _every(many: int) -> int:
    """Return how many jobs stand for one name, so that names can be read however many jobs there are."""
    return -(-many // LISTED)


def _shade(index: int, many: int) -> Any:
    """Return a colour per job: of the palette while it lasts, else along a scale."""
    return COLOURS[index] if many <= len(COLOURS) else colormaps["viridis"](index / (many - 1) * 0.9)


def _panel(axes: Axes, panel: Panel, lines: Sequence[Line], names: Mapping[str, str]) -> None:
    groups = {
        label: [replace(point, x=panel.along(point.x)) for point in points] for label, points in panel.groups().items()
    }
    every = [point for points in groups.values() for point in points]
    span = float(np.ptp([point.x for point in every])) or 1.0
    aside = (np.arange(len(groups)) - (len(groups) - 1) / 2) * 0.02 * span  # else the bars of series hide each other
    for index, (label, points) in enumerate(groups.items()):
        colour = COLOURS[index % len(COLOURS)]
        rated = [point for point in points if point.rated]
        _controls(axes, panel, rated, colour=colour if len(groups) > 1 else GREY, span=span)
        draw = _dense if panel.knob and len(points) > DENSE else _bars
        name = names.get(label) or label or "transferability rate"
        draw(axes, rated, colour=colour, label=name, aside=aside[index], span=span)
    for line in lines:
        _line(axes, line, COLOURS[list(groups).index(line.label) % len(COLOURS)])
    _frame(axes, panel, every)


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
    every = np.array(list(zip_longest(*means, fillvalue=np.nan)))  # jobs may have other numbers of pairs
    axes.plot(x, every.T, "-", color=colour, alpha=0.25, linewidth=0.8)
    axes.fill_between(x, [p.low for p in points], [p.high for p in points], color=colour, alpha=0.12, linewidth=0)
    axes.plot(x, [np.nanmean(point.rates) for point in points], "o-", color=colour, markersize=4, label=label)


def _controls(axes: Axes, panel: Panel, points: list[Point], *, colour: str, span: float) -> None:
    for name, (label, style) in CONTROLS.items():
        if any(name in point.controls for point in points):
            axes.plot([], [], linestyle=style, color=GREY, linewidth=0.9, label=label)  # one legend for all series
        x = np.array([point.x for point in points if name in point.controls])
        y = [point.controls[name] for point in points if name in point.controls]
        if panel.knob and len(set(x)) > 1:
            axes.plot(x, y, linestyle=style, color=colour, linewidth=0.9)
        elif len(x):
            half = 0.2 * span if panel.knob else 0.35  # without a knob, jobs stand one apart
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
    if panel.knob:
        axes.set_xlabel(panel.knob)
        ticks = sorted({point.x for point in points})
        if len(ticks) <= DENSE:
            axes.set_xticks(ticks, [f"{2**tick if panel.doubling else tick:g}" for tick in ticks])
        elif all(tick.is_integer() for tick in ticks):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    else:
        labels = [panel.place(job) for job in panel.jobs]
        crowded = len(labels) > 1 and max(map(len, labels)) > 12
        named = range(0, len(labels), _every(len(labels)))
        axes.set_xticks(named, [labels[place] for place in named])
        turned = (90.0, "small") if len(labels) > DENSE else (20.0 if crowded else 0.0, "medium")
        axes.tick_params("x", labelrotation=turned[0], labelsize=turned[1])
        if 0 < turned[0] < 90:  # else a turned label lies over its neighbour's place
            for label in axes.get_xticklabels():
                label.set(ha="right", rotation_mode="anchor")
        axes.margins(x=0.02 if len(labels) > LISTED else 0.2)
    _bare(axes)


def _bare(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25)


def legend(figure: Figure, places: Iterable[Axes]) -> None:
    """One legend below all panels: what stands in several of them is said once."""
    named: dict[str, Any] = {}
    for axes in places:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            named.setdefault(label, handle)
    if named:
        fitting = max(
            1, min(3, int(figure.get_figwidth() * 13 / max(map(len, named))))
        )  # 13 letters of this size an inch
        handles = {"handles": list(named.values()), "labels": list(named)}
        figure.legend(**handles, loc="outside lower center", ncols=fitting, frameon=False, fontsize=8)
