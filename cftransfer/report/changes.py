"""Rate against disagreement: every kind of change between two models on one axis."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from cftransfer.jobs.read import Job
from cftransfer.jobs.schema import EXTRA_EPOCHS
from cftransfer.measuring.severity import THIRDS, by_severity, fraction_lost
from cftransfer.report.collect import Jobs, experiment_of
from cftransfer.report.frontier import COLOURS, MARKERS

GREY = "#57646f"
KINDS = 2  # experiments that the figure needs


def changes(jobs: Jobs) -> Figure | None:
    """Return pairs (faint) and means of jobs by experiment, and a fitted curve; None without two of them and a rate."""
    known = [(experiment_of(job), job) for job in jobs.jobs if "disagreement" in job.metrics]
    kinds = list(dict.fromkeys(name for name, _ in known))
    if len(kinds) < KINDS:
        return None
    every = pd.concat([rated(job) for _, job in known], ignore_index=True)
    if every.empty:  # no job found anything
        return None
    figure = Figure(figsize=(9.2, 5.2), layout="constrained")
    axes = figure.subplots()
    for index, kind in enumerate(kinds):
        colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
        for place, job in enumerate(job for name, job in known if name == kind):
            pairs, metrics = rated(job), job.metrics
            axes.plot(pairs.disagreement, pairs.rate, marker, color=colour, alpha=0.25, markersize=4, mew=0)
            if metrics["rate"] is not None:
                ends = _ends(metrics, "rate", "rate"), _ends(metrics, "disagreement", "disagreement")
                style: dict[str, Any] = {
                    "fmt": marker,
                    "color": colour,
                    "markersize": 7,
                    "capsize": 2,
                    "elinewidth": 0.9,
                }
                label = kind or "jobs" if place == 0 else None
                axes.errorbar(
                    metrics["disagreement"], metrics["rate"], yerr=ends[0], xerr=ends[1], label=label, **style
                )
    _curve(axes, every)
    seeds = [job.metrics["rate"] for name, job in known if name == "seed" and job.metrics["rate"] is not None]
    if seeds:
        axes.axhline(float(np.mean(seeds)), color=GREY, linestyle="--", linewidth=0.9, label="another seed alone")
    axes.set_xlabel("disagreement of base and reference on the test split")
    axes.set_ylabel("transferability rate")
    axes.set_xlim(0, 1.1 * max(float(every.disagreement.max()), 1e-3))
    axes.set_ylim(-0.02, 1.02)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    _legend(figure, axes)
    return figure


def rated(job: Job) -> pd.DataFrame:
    """Return the pairs of a job that have a rate; for continued training, the pairs after the last epoch."""
    pairs = job.pairs.dropna(subset=["rate"])
    return pairs[pairs[EXTRA_EPOCHS] == pairs[EXTRA_EPOCHS].max()] if EXTRA_EPOCHS in pairs else pairs


def severities(jobs: Jobs) -> list[tuple[str, list[tuple[str, int, float, float]]]]:
    """Return for each experiment the thirds of its pairs by disagreement: name, pairs, disagreement, rate of each."""
    families: dict[str, list[pd.DataFrame]] = {}
    for job in jobs.jobs:
        if "disagreement" in job.pairs:
            families.setdefault(experiment_of(job), []).append(rated(job))
    whole = {name: pd.concat(some, ignore_index=True) for name, some in families.items()}
    return [
        (name, [tuple(row) for row in by_severity(pairs).itertuples(index=False)])
        for name, pairs in whole.items()
        if len(pairs) >= len(THIRDS)
    ]


def _legend(figure: Figure, axes: Axes) -> None:
    """Name the experiments by the rate of their first job, highest first as in the figure, then the lines."""
    marks = {str(bars.get_label()): bars[0] for bars in axes.containers if isinstance(bars, ErrorbarContainer)}
    every: dict[str, Any] = dict(sorted(marks.items(), key=lambda mark: -np.max(mark[1].get_ydata())))
    every |= {str(line.get_label()): line for line in axes.get_lines() if line not in marks.values()}
    every = {name: handle for name, handle in every.items() if not name.startswith("_")}
    figure.legend(handles=[*every.values()], labels=[*every], loc="outside right upper", frameon=False, fontsize=8)


def _curve(axes: Axes, pairs: pd.DataFrame) -> None:
    fitted = fraction_lost(pairs.disagreement.to_numpy(), pairs.rate.to_numpy())
    if fitted is not None:
        scale, exponent = fitted
        x = np.linspace(0, float(pairs.disagreement.max()), 100)
        label = f"1 − {scale:.2g} · disagreement^{exponent:.2g}"
        axes.plot(x, 1 - scale * x**exponent, color=GREY, linewidth=1.1, label=label)


def _ends(metrics: dict, mean: str, name: str) -> Sequence[Sequence[float]]:
    low, high = metrics.get(f"{name}_low"), metrics.get(f"{name}_high")
    if low is None or high is None:
        return [[0.0], [0.0]]
    return [[metrics[mean] - low], [high - metrics[mean]]]
