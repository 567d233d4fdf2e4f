"""Transferability between kinds of models (after Papernot, McDaniel, Goodfellow 2016, figure 3)."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cftransfer.jobs.read import Job
from cftransfer.measuring.interval_ends import interval_ends
from cftransfer.report.collect import Jobs

REFERENCE = "reference.model"  # the key of the reference's model among a job's settings
DARK = 0.55  # letters are white from this rate on


def matrix(jobs: Jobs) -> Figure | None:
    """Return a heat map per data set, bases by references, with intervals in the cells; None with fewer than 2 × 2."""
    crossed = [job for job in jobs.jobs if job.settings.get(REFERENCE) is not None]
    bases, references = (_named(crossed, name) for name in ("model", REFERENCE))
    if min(len(bases), len(references)) < 2:
        return None
    datasets = _named(crossed, "dataset")
    size = (2.2 + 1.15 * len(references), 1.9 + 0.72 * len(bases))
    figure = Figure(figsize=(size[0] * len(datasets), size[1]), layout="constrained")
    places = figure.subplots(1, len(datasets), squeeze=False).flatten()
    for axes, dataset in zip(places, datasets, strict=True):
        _heat(axes, [job for job in crossed if job.settings.get("dataset") == dataset], bases, references)
        axes.set_title(f"{dataset}: transferability rate, 95 % interval", loc="left", fontsize=10)
    return figure


def _named(some: Sequence[Job], name: str) -> list[str]:
    return list(dict.fromkeys(str(job.settings.get(name)) for job in some))


def _heat(axes: Axes, some: Sequence[Job], bases: Sequence[str], references: Sequence[str]) -> None:
    rates = np.full((len(bases), len(references)), np.nan)
    for job in some:
        row, column = bases.index(str(job.settings.get("model"))), references.index(str(job.settings[REFERENCE]))
        if job.metrics["rate"] is None:
            axes.text(column, row, "none\nfound", ha="center", va="center", fontsize=8)
            continue
        rates[row, column] = job.metrics["rate"]
        low, high = (job.metrics[end] for end in ("rate_low", "rate_high"))
        between = "" if low is None or high is None else "–".join(interval_ends(low, high, 2))
        told = f"{rates[row, column]:.2f}\n{between}".strip()
        colour = "white" if rates[row, column] >= DARK else "black"
        axes.text(column, row, told, ha="center", va="center", fontsize=8, color=colour)
    axes.imshow(rates, vmin=0, vmax=1, cmap=colormaps["Blues"], aspect="auto")
    axes.set_xticks(range(len(references)), [name.replace("_", "\n") for name in references], fontsize=8)
    axes.set_yticks(range(len(bases)), [name.replace("_", " ") for name in bases], fontsize=8)
    axes.set_xlabel("reference: asked about the counterfactuals")
    axes.set_ylabel("base: they were found on it")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
