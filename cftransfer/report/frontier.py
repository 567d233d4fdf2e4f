"""The price of transfer: the rate against the distance, for every method and strength."""

import json
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from cftransfer.jobs.read import Job
from cftransfer.report.collect import Jobs
from cftransfer.report.svg import says

COLOURS = (
    "#0b6fb8", "#c4500e", "#2c8a4b", "#8a4fa8", "#7a6a00", "#a61c4b", "#2b8f96", "#57646f",
    "#1f3f8f", "#d98200", "#6b8e23", "#d0489c", "#7b4a2d", "#000000",
)  # fmt: skip
MARKERS = "oDs^vPX*<>pdhH"
SMALL = 6  # inches
LONGEST = 60  # letters of strengths in the legend
FACTOR = 3  # with a larger ratio of the largest distance to the smallest, the axis is logarithmic
FOUND = 0.95  # below this found share a point is hollow: its rate covers only the easier factuals


def frontier(jobs: Jobs, *, width: float | None = None) -> Figure | None:
    """Return a panel per data set, a point per job with 95 % intervals on both axes; None if all jobs search alike.

    width: in inches; by default the width of a picture in a text. Below `SMALL`, data sets are stacked.
    """
    rated = [job for job in jobs.jobs if job.metrics["rate"] is not None and "distance_l2_low" in job.metrics]
    rated = [job for job in rated if "_target_" in job.result.config.get("counterfactual", {})]
    kinds = {json.dumps(job.result.config["counterfactual"]) for job in rated}
    if len(kinds) < 2:
        return None
    datasets = list(dict.fromkeys(str(job.settings.get("dataset")) for job in rated))
    many = (len(datasets), 1) if width is not None and width < SMALL else (1, len(datasets))
    size = (width or (7.6 if len(datasets) == 1 else 5.6 * len(datasets)), 5.6 * many[0])
    figure = Figure(figsize=size, layout="constrained")
    methods = list(dict.fromkeys(method(job) for job in rated))
    places = figure.subplots(*many, squeeze=False, sharey=True).flatten()
    for axes, dataset in zip(places, datasets, strict=True):
        there = [job for job in rated if str(job.settings.get("dataset")) == dataset]
        for index, name in enumerate(methods):
            if some := [job for job in there if method(job) == name]:
                _curve(axes, some, name=name, index=index)
        _distances(axes)
        axes.set_title(dataset, loc="left", fontsize=10, fontweight="bold")
        axes.set_xlabel("mean distance L2, in units of a feature's range")
        least = min(
            number for job in rated for number in (job.metrics["rate"], job.metrics["rate_low"]) if number is not None
        )
        axes.set_ylim(max(least - 0.1, -0.02), 1.02)
        axes.set_yticks(_ticks(least))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    places[0].set_ylabel("transferability rate")
    handles = {
        label: handle for axes in places for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    legend = {"handles": list(handles.values()), "labels": list(handles)}
    columns = max(1, int(size[0] / (0.085 * max(map(len, handles)) + 0.6)))
    figure.legend(**legend, loc="outside lower center", ncols=columns, frameon=False, fontsize=8)
    return figure


def _ticks(least: float) -> list[float]:
    """Return ticks from about the lowest rate to 1, closer together if all rates are high."""
    step = 1 if least > 0.5 else 2  # tenths
    return [tenth / 10 for tenth in range(10, -1, -step) if tenth / 10 >= least - 0.1]


def method(job: Job) -> str:
    """Return the name of the method that a job searched with."""
    return str(job.result.config["counterfactual"]["_target_"]).rpartition(".")[2]


def _curve(axes: Axes, some: Sequence[Job], *, name: str, index: int) -> None:
    """Draw the jobs of one method, joined in the order of their distance; the legend lists their strengths."""
    colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
    some = sorted(some, key=lambda job: job.metrics["distance_l2"])
    at = np.array([[job.metrics["distance_l2"], job.metrics["rate"]] for job in some]).reshape(-1, 2)
    axes.plot(*at.T, "-", color=colour, linewidth=0.9, alpha=0.6)
    axes.plot([], [], marker, color=colour, label=f"{name} {_strengths(some)}".strip())
    for job, (x, y) in zip(some, at, strict=True):
        reach = [
            [abs(middle - job.metrics[end]) if job.metrics[end] is not None else 0.0] for middle, end in _ends(x, y)
        ]
        axes.errorbar(
            [x],
            [y],
            xerr=reach[:2],
            yerr=reach[2:],
            fmt=marker,
            color=colour,
            markerfacecolor=colour if job.metrics["found"] >= FOUND else "white",
            markersize=6,
            elinewidth=0.9,
        )
        told = f"rate {job.metrics['rate']:.3f} at distance {x:.3f}, found {job.metrics['found']:.3f}"
        says(axes, x, y, f"{job.settings.get('counterfactual', name)}: {told}")


def _ends(x: float, y: float) -> list[tuple[float, str]]:
    return [(x, "distance_l2_low"), (x, "distance_l2_high"), (y, "rate_low"), (y, "rate_high")]


def _distances(axes: Axes) -> None:
    """Scale the x-axis: logarithmic if distances differ much, so that near points stay apart; otherwise from 0."""
    there = np.concatenate([np.asarray(line.get_xdata(), dtype=float) for line in axes.get_lines()])
    if there.min() > 0 and there.max() > FACTOR * there.min():
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xlim(left=0)


def _strengths(some: Sequence[Job]) -> str:
    """Return the values of a method's settings that differ between its jobs, in their order; "" for a single job."""
    settings = [job.result.config["counterfactual"] for job in some]
    names = [name for name in settings[0] if len({str(each.get(name)) for each in settings}) > 1]
    short = {"confidence": "p", "radius": "ε", "stability": "τ", "models": "k", "agree": "q", "delta": "δ"}
    short |= {"invalidation": "r", "loss_share": "ε"}
    if len(names) == 1:
        values = ", ".join(dict.fromkeys(str(each.get(names[0])) for each in settings))
        return f"({short.get(names[0], names[0])} = {values})"
    told = [" ".join(f"{short.get(name, name)} = {each.get(name)}" for name in names) for each in settings]
    said = f"({', '.join(dict.fromkeys(told))})" if names else ""
    return said if len(said) <= LONGEST else f"({len(set(told))} settings of {', '.join(names)})"
