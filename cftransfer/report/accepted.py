"""How many references accept the same counterfactual: a person meets one of them, not their mean."""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, PercentFormatter

from cftransfer.jobs.read import Job
from cftransfer.report.collect import Jobs
from cftransfer.report.dots import evenly
from cftransfer.report.knob import COLOURS, FAINT

NAMED = 10  # jobs with a colour and a name; if there are more, ten from the first to the last, and the rest are grey
MARKED = 30  # with more references, points have no marks
APART = 0.015  # of the x-axis, between the intervals of two jobs, which would otherwise overlap
TICKED = 20  # with more references, not every k has a tick
WIDE = 24  # letters; with longer names, the legend has two columns


def accepted(jobs: Jobs) -> Figure | None:
    """Return a line per job: the share of found counterfactuals that at least k references accept, against k.

    If jobs differ in their number of references, the x-axis is the share k/J. A job is left out if it found nothing, or
    if each base met one reference, which would give a single point; None if no job is left. Up to ten jobs have a
    colour, a name and, beside k = J, the interval of `rate_all`. If there are more jobs, ten have these, and the lines
    of the others are thin and grey.
    """
    named = [
        (f"{panel.title if len(jobs.panels) > 1 else ''} {panel.called(job)}".strip(), job)
        for panel in jobs.panels
        for job in panel.jobs
        if job.accepted is not None and len(job.accepted) > 1
    ]
    if not named:
        return None
    many = {len(job.accepted) for _, job in named if job.accepted is not None}
    columns = 2 if max(len(name) for name, _ in named) > WIDE else 4
    shown = evenly(len(named), NAMED)
    entries = len(shown) if len(named) > 1 else 0
    figure = Figure(figsize=(7.6, 4.2 + 0.19 * -(-entries // columns)), layout="constrained")
    axes = figure.subplots()
    for index, (name, job) in enumerate(named):
        if index not in shown:
            _line(axes, job, look=FAINT, whole=len(many) == 1)
            continue
        place = shown.index(index)
        marked = "o" if max(many) <= MARKED else ""
        look = {
            "color": COLOURS[place],
            "lw": 1.3,
            "marker": marked,
            "markersize": 4,
            "label": name if entries else None,
        }
        x = _line(axes, job, look=look, whole=len(many) == 1)
        aside = x + (APART * (place + 1) if entries else 0) * (max(many) if len(many) == 1 else 1)
        _interval(axes, job, aside, colour=COLOURS[place])
    _frame(axes, many)
    if entries:
        figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=8)
    return figure


def _line(axes: Axes, job: Job, *, look: Mapping[str, Any], whole: bool) -> float:
    """Draw a job's line and return its right end. whole: whether all jobs have the same number of references."""
    table = job.accepted
    assert table is not None
    x = table.k if whole else table.k / table.references
    axes.plot(x, table.share, "-", **look)
    return float(x.iloc[-1])


def _interval(axes: Axes, job: Job, x: float, *, colour: Any) -> None:
    """Draw the interval of the share that all references accept, if the job has one."""
    low, high = (job.metrics.get(f"rate_all_{end}") for end in ("low", "high"))
    if low is not None and high is not None:
        axes.plot([x, x], [low, high], "-", marker="_", color=colour, markersize=6, linewidth=1.1, clip_on=False)


def _frame(axes: Axes, many: set[int]) -> None:
    """Label the axes. many: the numbers of references of the jobs."""
    most = max(many)
    if len(many) == 1:
        axes.set_xlabel(f"k, of {most} references")
        axes.set_xlim(left=1 - 0.03 * most)
        ticks = FixedLocator([*range(1, most + 1)]) if most <= TICKED else MaxNLocator(integer=True)
        axes.xaxis.set_major_locator(ticks)
    else:
        axes.set_xlabel(f"k, as a share of the references ({min(many)} to {most} of them)")
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(FixedLocator([0, 0.2, 0.4, 0.6, 0.8, 1]))
        axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set_ylabel("share accepted by at least k")
    axes.set_ylim(-0.02, 1.02)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25)
