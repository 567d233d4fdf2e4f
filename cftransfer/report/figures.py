"""The figures of a report: the rate against the swept setting, survivorship, training curves, and others."""

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cftransfer import atomic
from cftransfer.jobs.read import Job
from cftransfer.report import dots
from cftransfer.report.accepted import accepted
from cftransfer.report.changes import changes
from cftransfer.report.collect import Jobs, Line
from cftransfer.report.frontier import frontier
from cftransfer.report.knob import COLOURS, FAINT, LISTED, against_knob
from cftransfer.report.matrix import matrix
from cftransfer.report.place import FIGURES
from cftransfer.report.svg import svg
from cftransfer.report.verdict_words import sentence

rcParams["text.parse_math"] = False  # names of data and settings may hold dollar signs; no text is a formula
TITLES = {
    "trend": "Transferability rate of each job, with 95 % intervals and controls",
    "survivorship": "Found share and rate if searches had ended earlier",
    "training": "Training curves of bases and references",
    "frontier": "Transferability rate against distance",
    "matrix": "Transferability rate of bases by references",
    "changes": "Transferability rate against disagreement",
    "accepted": "Share of counterfactuals that at least k references accept",
}


def pictures(jobs: Jobs, lines: Sequence[Line]) -> dict[str, dict[str, bytes]]:
    """Return each figure by name, as {"png": …, "svg": …}."""
    figures = {"trend": trend(jobs, lines), "survivorship": survivorship(jobs), "training": training(jobs)}
    for name, draw in (("frontier", frontier), ("matrix", matrix), ("changes", changes), ("accepted", accepted)):
        if made := draw(jobs):
            figures[name] = made
    return {name: _pictured(figure, name) for name, figure in figures.items()}


def save(figures: Mapping[str, Mapping[str, bytes]], folder: Path) -> None:
    """Write the pictures of each figure into `folder`, and remove pictures that an earlier report left."""
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
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160)
    figure.set_layout_engine("none")  # the layout is computed once, so that both formats show the same picture
    return {"png": buffer.getvalue(), "svg": svg(figure, name, title=TITLES.get(name, name))}


def trend(
    jobs: Jobs,
    lines: Sequence[Line],
    *,
    width: float | None = None,
    names: Mapping[str, str] | None = None,
    unit: str = "",
) -> Figure:
    """Return a panel per experiment: rates with 95 % intervals, a dot per reference, controls, the fitted line.

    Jobs without a knob have a row each. width: in inches; by default the width of a picture in a text. names: the
    legend's names of series, instead of their labels; unit: the name of the x-axis, instead of its key.
    """
    columns = min(len(jobs.panels), 2) if width is None else 1
    rows = -(-len(jobs.panels) // columns)
    heights = [4.4 if panel.knob else dots.height(panel) for panel in jobs.panels]
    tall = [max(heights[row * columns : (row + 1) * columns]) for row in range(rows)]
    size = (width or (7.2 if columns == 1 else 11.0), sum(tall) + 0.2)
    figure = Figure(figsize=size, layout="constrained")
    places = figure.subplots(rows, columns, squeeze=False, height_ratios=tall).flatten()
    for axes, panel in zip(places, jobs.panels, strict=False):
        if panel.knob:
            against_knob(axes, panel, [line for line in lines if line.panel is panel], names=names or {}, unit=unit)
        else:
            dots.dots(axes, panel)
        if len(jobs.panels) > 1:
            axes.set_title(panel.title, loc="left", fontweight="bold", fontsize=10)
    if width is None and len(jobs.panels) == 1 and len(lines) == 1:
        places[0].set_title(sentence(lines[0]).replace(": ", "\n", 1), loc="left", fontsize=8)
    for axes in places[len(jobs.panels) :]:
        axes.remove()
    legend(figure, places[: len(jobs.panels)])
    return figure


def survivorship(jobs: Jobs) -> Figure:
    """Return found share and rate as if every search had ended after fewer iterations."""
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
    """Return one panel per column of the jobs' tables, with one line per job, or one per role of its models."""
    named = [(panel, job) for panel in jobs.panels for job in panel.jobs]
    figure = Figure(figsize=(6.4, 5.8 + 0.12 * min(len(named), LISTED)), layout="constrained")
    places = figure.subplots(len(columns), 1)
    last = max(table(job)[x[0]].max() for _, job in named)
    coloured = dots.evenly(len(named), LISTED)
    for index, (panel, job) in sorted(enumerate(named), key=lambda one: one[0] in coloured):
        rows, has_colour = table(job), index in coloured
        look = {"color": COLOURS[coloured.index(index)], "lw": 1.3} if has_colour else FAINT
        label = f"{panel.title if len(jobs.panels) > 1 else ''} {panel.called(job)}".strip()
        parts = [part for _, part in rows.groupby("role")] if "role" in rows else [rows]
        for axes, column in zip(places, columns, strict=True):
            for style, part in zip(("-", "--"), parts, strict=False):
                named_here = label if style == "-" and has_colour else None
                axes.plot(part[x[0]], part[column], style, **look, label=named_here)
                if f"{column}_low" in part and has_colour:
                    ends = part[f"{column}_low"], part[f"{column}_high"]
                    axes.fill_between(part[x[0]], *ends, color=look["color"], alpha=0.1, linewidth=0)
    for axes, title in zip(places, columns.values(), strict=True):
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlabel(x[1])
        dots.bare(axes)
        if logarithmic and last >= 1:
            axes.set_xscale("log")
            axes.set_xlim(0.9, 1.1 * last)  # also if there is nothing to draw
            axes.xaxis.set_major_formatter("{x:g}")
        if logarithmic:
            axes.set_ylim(-0.02, 1.02)
    legend(figure, places)
    return figure


def legend(figure: Figure, places: Iterable[Axes]) -> None:
    """Add one legend below all panels; an entry that several panels share appears once."""
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
