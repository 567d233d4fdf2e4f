"""The rates of jobs without a knob: a row per job, with its name on the left, its rate and interval on a line."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes

from cftransfer.measuring.trends import reference_means
from cftransfer.report.cells import rate_of
from cftransfer.report.panels import Panel, Point
from cftransfer.report.svg import says

GREY = "#57646f"
COLOUR = "#0b6fb8"
CONTROLS = {
    "rate_seed": ("same architecture, other seeds", "d"),
    "control_nearest": ("nearest training row", "x"),
    "control_prior": ("coin with the reference's prior", "|"),
    "control_random": ("random direction", "+"),
}  # column of `pairs`: its name and its mark
NAMED = 60  # most rows with a name; if there are more rows, every second, third, … has one
LONGEST = 60  # letters of a name


def dots(axes: Axes, panel: Panel) -> None:
    """Draw the jobs of a panel without a knob, from the top: rate with 95 % interval, references, controls."""
    keys, named = panel.rows()
    for row, (name, point) in enumerate(named):
        _controls(axes, point, row)
        if point.rated:
            _rate(axes, point, row, label="transferability rate" if row == 0 else None)
            says(axes, float(np.nanmean(point.rates)), row, f"{name}: {rate_of(point)}")
        else:
            axes.text(0.5, row, "no counterfactuals found", ha="center", va="center", fontsize="small", color=GREY)
    for control, (label, mark) in CONTROLS.items():
        if any(control in point.controls for _, point in named):
            axes.plot([], [], mark, color=GREY, markersize=5, label=label)
    _frame(axes, keys, [name for name, _ in named])


def height(panel: Panel) -> float:
    """Return the height in inches of all rows of a panel."""
    many = len(panel.rows()[1])
    return 1.3 + 0.28 * min(many, NAMED) + 0.04 * max(0, many - NAMED)


def _rate(axes: Axes, point: Point, row: int, *, label: str | None) -> None:
    references = reference_means(point.rates)
    aside = row + np.linspace(-0.12, 0.12, len(references))
    axes.plot(references, aside, "o", color=COLOUR, alpha=0.3, markersize=3.5, mew=0)
    rate = float(np.nanmean(point.rates))
    ends = [[0.0], [0.0]] if math.isnan(point.low) else [[abs(rate - point.low)], [abs(point.high - rate)]]
    axes.errorbar([rate], [row], xerr=ends, fmt="o", color=COLOUR, capsize=3, markersize=6, label=label)


def _controls(axes: Axes, point: Point, row: int) -> None:
    for name, (_, mark) in CONTROLS.items():
        if name in point.controls:
            axes.plot([point.controls[name]], [row], mark, color=GREY, markersize=5, alpha=0.9)


def _frame(axes: Axes, keys: str, names: Sequence[str]) -> None:
    named = range(0, len(names), every(len(names)))
    axes.set_yticks(named, [shortened(names[row]) for row in named])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_ylabel(keys)
    axes.set_xlabel("transferability rate")
    axes.set_xlim(-0.02, 1.02)
    bare(axes, grid="x")
    axes.grid(axis="y", alpha=0.12)
    axes.tick_params("y", length=0)


def bare(axes: Axes, *, grid: Literal["x", "y"] = "y") -> None:
    """Leave out the frame's upper and right side, and draw thin lines across the values."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, alpha=0.25)


def every(many: int) -> int:
    """Return n if every n-th row has a name, so that names stay readable with any number of jobs."""
    return -(-many // NAMED)


def shortened(name: str) -> str:
    """Return a name, shortened to the room in a figure."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def evenly(many: int, most: int) -> Sequence[int]:
    """Return at most `most` of `many` places, evenly from the first to the last."""
    return list(range(many)) if many <= most else sorted({round(place) for place in np.linspace(0, many - 1, most)})
