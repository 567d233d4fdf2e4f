"""The trend: the swept knob against the transferability rate, with intervals and the fitted line."""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cftransfer import store
from cftransfer.report.collect import Job, Jobs
from cftransfer.statistics import Trend

COLOURS = ("#0b6fb8", "#c4500e", "#2c8a4b", "#8a4fa8", "#7a6a00", "#a61c4b")


def save(jobs: Jobs, trends: Mapping[str, Trend], folder: Path) -> str:
    """Write `trend.png` and `trend.svg` into `folder`; return the SVG's text."""
    figure = draw(jobs, trends)
    pictures = {}
    for kind, metadata in (("png", {}), ("svg", {"Date": None})):
        buffer = io.BytesIO()
        with rc_context({"svg.hashsalt": "cftransfer"}):  # the same jobs give the same file
            figure.savefig(buffer, format=kind, dpi=160, metadata=metadata)
        pictures[kind] = buffer.getvalue()
        store.write(folder / f"trend.{kind}", pictures[kind])
    return pictures["svg"].decode()


def draw(jobs: Jobs, trends: Mapping[str, Trend]) -> Figure:
    """Return the figure: a bar per job (95 % interval), a dot per reference model, a line per series."""
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    axes = figure.add_subplot()
    groups = jobs.groups()
    span = float(np.ptp([jobs.x(job) for job in jobs.jobs])) or 1.0
    aside = (np.arange(len(groups)) - (len(groups) - 1) / 2) * 0.02 * span  # else the bars of series hide each other
    for index, (label, group) in enumerate(groups.items()):
        colour = COLOURS[index % len(COLOURS)]
        _points(axes, jobs, [job for job in group if job.rated], label=label, colour=colour, aside=aside[index])
        if label in trends:
            _line(axes, [jobs.x(job) for job in group], trends[label], colour)
    _frame(axes, jobs)
    if len(groups) > 1:
        axes.legend(frameon=False)
    elif trends:
        axes.set_title(sentence(next(iter(trends.values())), str(jobs.knob)), fontsize=8.5, loc="left")
    return figure


def sentence(line: Trend, knob: str) -> str:
    """Return the trend in words."""
    slope = f"slope {line.slope:+.4f} per unit of {knob}"
    if np.isnan(line.low):
        return f"{slope}, no interval from two jobs of one rate each"
    return (
        f"{slope}, 95 % interval {line.low:+.4f} to {line.high:+.4f}, p = {line.p:.2g}, Spearman's ρ = {line.rho:+.2f}"
    )


def _points(axes: Axes, jobs: Jobs, group: list[Job], *, label: str, colour: str, aside: float) -> None:
    span = float(np.ptp([jobs.x(job) for job in jobs.jobs])) or 1.0
    for job in group:
        references = np.nanmean(job.rates, axis=0)
        spread = jobs.x(job) + aside + np.linspace(-0.008, 0.008, len(references)) * span
        axes.plot(spread, references, "o", color=colour, alpha=0.35, markersize=4, mew=0)
    metrics = [job.result["metrics"] for job in group]
    rate = np.array([metric["rate"] for metric in metrics], dtype=float)
    ends = np.array([[metric["rate_low"], metric["rate_high"]] for metric in metrics], dtype=float).reshape(-1, 2).T
    x = [jobs.x(job) + aside for job in group]
    axes.errorbar(x, rate, yerr=np.abs(ends - rate), fmt="o", color=colour, capsize=4, markersize=6, label=label)


def _line(axes: Axes, x: list[float], line: Trend, colour: str) -> None:
    ends = np.array([min(x), max(x)])
    axes.plot(ends, line.intercept + line.slope * ends, "-", color=colour, linewidth=1.2, alpha=0.8)


def _frame(axes: Axes, jobs: Jobs) -> None:
    axes.set_ylabel("transferability rate")
    axes.set_ylim(-0.02, 1.02)
    if not any(job.rated for job in jobs.jobs):
        axes.text(0.5, 0.5, "no counterfactuals found", transform=axes.transAxes, ha="center")
    if jobs.knob:
        axes.set_xlabel(jobs.knob)
        ticks = sorted({jobs.x(job) for job in jobs.jobs})
        if len(ticks) <= 12:
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    else:
        labels = [jobs.label(job) or job.folder.name for job in jobs.jobs]
        axes.set_xticks(range(len(labels)), labels, rotation=20 if max(map(len, labels)) > 12 else 0)
        axes.margins(x=0.2)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25)
