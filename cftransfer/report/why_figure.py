"""The rate against the base's margin and against the distance: a line per job, in bins of equally many."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cftransfer.report.frontier import COLOURS, MARKERS

LABELS = {"margin": "base's margin at x′ (mean of a bin)", "distance_l2": "distance L2 (mean of a bin)"}


@dataclass(frozen=True)
class Curves:
    """One job's curves by the column on their x-axis. part: its experiment; seed: whether its experiment is `seed`."""

    part: str
    name: str
    seed: bool
    tables: dict[str, pd.DataFrame]


def why_figure(curves: Sequence[Curves]) -> Figure:
    """Return a panel per column; a colour per experiment, a marker per job of it, an interval for the seed job."""
    axes_of = list(curves[0].tables)
    figure = Figure(figsize=(10.4, 5.0 + 0.17 * -(-len(curves) // 4)), layout="constrained")
    places = figure.subplots(1, len(axes_of), sharey=True, squeeze=False).flatten()
    parts = list(dict.fromkeys(one.part for one in curves))
    for axes, column in zip(places, axes_of, strict=True):
        for one in sorted(curves, key=lambda one: one.seed):
            which = [other.name for other in curves if other.part == one.part].index(one.name)
            colour = COLOURS[parts.index(one.part) % len(COLOURS)]
            _line(axes, one, column, colour=colour, marker=MARKERS[which % len(MARKERS)])
        axes.set_xlabel(LABELS.get(column, column))
        axes.set_xscale("log")
        axes.set_ylim(-0.02, 1.03)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    places[0].set_ylabel("transferability rate")
    handles = dict(zip(*places[0].get_legend_handles_labels()[::-1], strict=True))
    figure.legend(
        [handles[one.name] for one in curves],
        [one.name for one in curves],
        loc="outside lower center",
        ncols=4,
        frameon=False,
        fontsize=8,
    )
    return figure


def _line(axes: Axes, one: Curves, column: str, *, colour: str, marker: str) -> None:
    table = one.tables[column]
    table = table[table.x > 0]  # the axis is logarithmic
    style: dict[str, Any] = {
        "color": "black" if one.seed else colour,
        "marker": marker,
        "markersize": 4.5 if one.seed else 3.5,
    }
    width = 2.0 if one.seed else 1.0
    axes.plot(table.x, table.rate, "-", lw=width, label=one.name, alpha=1 if one.seed else 0.8, **style)
    if one.seed:
        axes.fill_between(table.x, table.rate_low, table.rate_high, color="black", alpha=0.12, linewidth=0)
