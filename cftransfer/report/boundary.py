"""The boundary picture: factuals, counterfactuals and both models' regions in two dimensions.

`python -m cftransfer.report.boundary JOB…` is the command (commands/boundary.py).
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from torch import Tensor

from cftransfer.data.dataset import Dataset
from cftransfer.models.prediction import Asked
from cftransfer.report.figures import legend
from cftransfer.report.knob import COLOURS, GREY
from cftransfer.report.projection import Plane

ROLES = ("base", "reference")
SIZE = (11.0, 7.0)  # inches
LETTERS = 180  # of a line of the caption, at this size
# One per class, in the order of COLOURS; light, so that markers stand out.
FILLS = ("#d5e6f4", "#f8dfcd", "#d3ecd9", "#e8dcef", "#ebe6c8", "#f4d3dd")
MARKERS = {True: ("o", "#111111", 26), False: ("X", "#ffd60a", 42)}  # black and yellow, for colour-blind readers


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """The drawn points of one job: n factuals and counterfactuals (n, columns), and the two models.

    classes: (n,), the base's classes of the factuals; transferred: (n,) bool; every: as transferred, for all found
    counterfactuals, drawn or not. otherwise: how many of all found each model puts in another class than the job's
    tables say; a retrained model may differ.
    """

    dataset: Dataset
    models: tuple[Asked, Asked]
    titles: tuple[str, str]
    factuals: Tensor
    counterfactuals: Tensor
    classes: np.ndarray
    transferred: np.ndarray
    every: np.ndarray
    otherwise: tuple[int, int]


def picture(shown: Drawn, where: Plane) -> Figure:
    """Return two panels, with the regions of the base and of the reference, and the same points in the same plane."""
    figure = Figure(figsize=SIZE, layout="constrained")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    regions = [where.regions(model) for model in shown.models]
    for axes, classes, title in zip(panels, regions, shown.titles, strict=True):
        _regions(axes, where, classes, names=shown.dataset.classes)
        _points(axes, shown, where)
        axes.set_title(title, loc="left", fontsize=9)
        axes.set_xlabel(where.labels[0], fontsize=9)
        axes.tick_params(labelsize=8)
    panels[0].set_ylabel(where.labels[1], fontsize=9)
    figure.suptitle(f"{shown.dataset.name}: counterfactuals of the base, and the reference's answers", fontsize=11)
    legend(figure, panels)
    _below(figure, caption(shown, where, crossed=[classes.min() < classes.max() for classes in regions]))
    return figure


def _below(figure: Figure, said: str) -> None:
    """Put a caption below the key; the layout engine, which would make them overlap, gets the space above."""
    lines = "\n".join(textwrap.wrap(said, LETTERS))
    text = figure.text(0.007, 0.01, lines, fontsize=8, color=GREY, va="bottom", linespacing=1.25, in_layout=False)
    (key,) = figure.legends
    key.set_in_layout(False)
    tall = [artist.get_window_extent().height / figure.bbox.height + 0.01 for artist in (text, key)]
    key.set_bbox_to_anchor((0, tall[0], 1, 1 - tall[0]), figure.transFigure)
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    engine.set(rect=(0, sum(tall), 1, 1 - sum(tall)))


def caption(shown: Drawn, where: Plane, *, crossed: Sequence[bool]) -> str:
    """Return how the plane and the regions were made, how far they can be trusted, and how many points there are.

    crossed: for base and reference, whether the picture contains its boundary.
    """
    shares = [100 * where.share(model, shown.counterfactuals) for model in shown.models]
    counts = {kind: f"{(shown.transferred == kind).sum()} of {(shown.every == kind).sum():,}" for kind in (True, False)}
    without = " and ".join(f"of the {role}" for role, is_there in zip(ROLES, crossed, strict=True) if not is_there)
    other = "{} (base) and {} (reference)".format(*shown.otherwise)
    return (
        f"{where.about}. {shares[0]:.0f} % (base) and {shares[1]:.0f} % (reference) of the counterfactuals drawn "
        f"{where.checked}. {f'The boundary {without} lies outside the picture. ' if without else ''}"
        f"Drawn are the first {counts[True]} that transferred and the first {counts[False]} that did not: "
        "the rate cannot be read from the picture."
        + (
            f" The models drawn differ from the job's: {other} of all found counterfactuals get another class."
            if any(shown.otherwise)
            else ""
        )
    )


def _regions(axes: Axes, where: Plane, classes: np.ndarray, *, names: Sequence[str]) -> None:
    fills = ListedColormap(FILLS[: len(names)])
    axes.imshow(classes, cmap=fills, vmin=0, vmax=len(names) - 1, extent=where.box, origin="lower", aspect="auto",
                interpolation="nearest", zorder=0)  # fmt: skip
    for number in np.unique(classes)[1:]:  # each class against the lower ones, so that every boundary is drawn once
        edge = np.where(classes > number, np.nan, classes == number)
        axes.contour(*where.centres(), edge, levels=[0.5], colors=GREY, linewidths=0.8, zorder=1)
    for number, name in enumerate(names):
        axes.scatter([], [], s=80, marker="s", color=FILLS[number], edgecolors=GREY, label=f"model's class: {name}")


def _points(axes: Axes, shown: Drawn, where: Plane) -> None:
    if len(where.others):
        x, y = where.others.T
        axes.scatter(x, y, s=8, color=GREY, alpha=0.35, linewidths=0, zorder=2, label="training row")
    joined = np.stack([where.factuals, where.counterfactuals], axis=1)
    axes.add_collection(LineCollection(list(joined), colors=GREY, linewidths=0.6, alpha=0.8, zorder=3), autolim=False)
    for number, name in enumerate(shown.dataset.classes):  # rings on top: close points both stay visible
        x, y = where.factuals[shown.classes == number].T
        axes.scatter(x, y, s=16, facecolors="none", edgecolors=COLOURS[number], linewidths=1.2, zorder=5,
                     label=f"factual, base's class: {name}")  # fmt: skip
    for transferred, (marker, colour, size) in MARKERS.items():
        x, y = where.counterfactuals[shown.transferred == transferred].T
        axes.scatter(x, y, s=size, marker=marker, c=colour, edgecolors="black", linewidths=0.6, zorder=4,
                     label=f"counterfactual, {'transferred' if transferred else 'did not transfer'}")  # fmt: skip


if __name__ == "__main__":
    from cftransfer.commands.boundary import command

    command()
