"""python -m cftransfer.report.boundary JOB…: factuals, counterfactuals and both models' regions in two dimensions."""

import argparse
import logging
import os
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from cftransfer.errors import InputError, as_command, plain
from cftransfer.jobs.read import Job
from cftransfer.report.boundary_data import ROLES, Drawn, drawn
from cftransfer.report.collect import jobs
from cftransfer.report.figures import COLOURS, GREY, legend, written
from cftransfer.report.projection import Plane, plane

SIZE = (11.0, 7.0)  # inches
LETTERS = 180  # of the caption, on a line of this width
FILLS = ListedColormap(["#d5e6f4", "#f8dfcd"])  # class 0 and 1, light, so that markers stand out
MARKERS = {True: ("o", "#111111", 26), False: ("X", "#ffd60a", 42)}  # black and yellow differ to every eye


def command() -> None:
    """Parse the jobs, draw each; a mistake of the user is one line, and exit status 1."""
    parser = argparse.ArgumentParser(prog="python -m cftransfer.report.boundary", description=__doc__)
    parser.add_argument("job", nargs="+", type=Path, help="job folders of transfer.py, or folders that hold some")
    parser.add_argument("--projection", choices=("pca", "tsne"), default="pca", help="default: pca")
    parser.add_argument("--base", type=int, default=0, help="number of the base model; default: 0")
    parser.add_argument("--reference", type=int, help="number of the reference; default: the first that the base met")
    parser.add_argument("--out", type=Path, help="where the pictures go; default: beside each job")
    options = parser.parse_args()
    logging.basicConfig(format="%(message)s")
    logging.getLogger("cftransfer").setLevel(logging.INFO)
    with as_command("cftransfer.report.boundary"):
        collected = jobs(options.job)
    failures = [f"{folder}: {reason}" for folder, reason in collected.failed.items()]
    for job, place in zip(collected.jobs, _places(collected.jobs, options.out), strict=True):
        try:
            print(plain(f"boundary picture: {_draw(job, options, place)}"))
        except InputError as error:
            failures.append(f"{job.folder}: {error}")
    for failure in failures:
        print(plain(f"cftransfer.report.boundary: {failure}"), file=sys.stderr)
    sys.exit(1 if failures else 0)


def _draw(job: Job, options: argparse.Namespace, place: Path) -> str:
    """Write the picture of one job, its name starting with `place`; return the names of both files."""
    shown = drawn(job, base=options.base, reference=options.reference)
    where = plane(options.projection, shown.dataset, factuals=shown.factuals, counterfactuals=shown.counterfactuals)
    path = place.with_name(f"{place.name}-{where.name}")
    written(picture(shown, where), path)
    return f"{path}.png, {path.name}.svg"


def picture(shown: Drawn, where: Plane) -> Figure:
    """Return two panels, the base's regions and the reference's, with the same points in the same plane."""
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
    figure.suptitle(f"{shown.dataset.name}: what the base finds, and what the reference says of it", fontsize=11)
    legend(figure, panels)
    _below(figure, caption(shown, where, crossed=[classes.min() < classes.max() for classes in regions]))
    return figure


def _below(figure: Figure, said: str) -> None:
    """Put a caption below the key; the layout engine, which would put them over each other, gets what is left."""
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

    crossed: of base and reference, whether its boundary is in the picture.
    """
    shares = [100 * where.share(model, shown.counterfactuals) for model in shown.models]
    counts = {kind: f"{(shown.transferred == kind).sum()} of {(shown.every == kind).sum():,}" for kind in (True, False)}
    without = " and ".join(f"of the {role}" for role, is_there in zip(ROLES, crossed, strict=True) if not is_there)
    other = "{} (base) and {} (reference)".format(*shown.otherwise)
    return (
        f"{where.about}. Of the counterfactuals drawn, {shares[0]:.0f} % (base) and {shares[1]:.0f} % (reference) "
        f"{where.checked}. {f'The boundary {without} does not cross the picture. ' if without else ''}"
        f"Drawn are the first {counts[True]} that transferred and the first {counts[False]} that did not: "
        "the rate cannot be read from the picture."
        + (
            f" These models are not quite the job's: {other} of all found have another class."
            if any(shown.otherwise)
            else ""
        )
    )


def _regions(axes: Axes, where: Plane, classes: np.ndarray, *, names: tuple[str, str]) -> None:
    axes.imshow(classes, cmap=FILLS, vmin=0, vmax=1, extent=where.box, origin="lower", aspect="auto",
                interpolation="nearest", zorder=0)  # fmt: skip
    if classes.min() < classes.max():  # else there is no boundary here
        axes.contour(*where.centres(), classes, levels=[0.5], colors=GREY, linewidths=0.8, zorder=1)
    for number, name in enumerate(names):
        axes.scatter([], [], s=80, marker="s", color=FILLS(number), edgecolors=GREY, label=f"model's class: {name}")


def _points(axes: Axes, shown: Drawn, where: Plane) -> None:
    if len(where.others):
        x, y = where.others.T
        axes.scatter(x, y, s=8, color=GREY, alpha=0.35, linewidths=0, zorder=2, label="training row")
    joined = np.stack([where.factuals, where.counterfactuals], axis=1)
    axes.add_collection(LineCollection(list(joined), colors=GREY, linewidths=0.6, alpha=0.8, zorder=3), autolim=False)
    for number, name in enumerate(shown.dataset.classes):  # rings on top: where little has changed, both are seen
        x, y = where.factuals[shown.classes == number].T
        axes.scatter(x, y, s=16, facecolors="none", edgecolors=COLOURS[number], linewidths=1.2, zorder=5,
                     label=f"factual, base's class: {name}")  # fmt: skip
    for transferred, (marker, colour, size) in MARKERS.items():
        x, y = where.counterfactuals[shown.transferred == transferred].T
        axes.scatter(x, y, s=size, marker=marker, c=colour, edgecolors="black", linewidths=0.6, zorder=4,
                     label=f"counterfactual, {'transferred' if transferred else 'did not transfer'}")  # fmt: skip


def _places(some: Sequence[Job], out: Path | None) -> list[Path]:
    """Return the folder and the first part of the name of each job's picture: named by the job if there are several."""
    if out is None:
        return [job.folder / "boundary" for job in some]
    if len(some) == 1:
        return [out / "boundary"]
    folders = [job.folder.resolve() for job in some]
    shared = os.path.commonpath(folders)
    return [out / "-".join(["boundary", *folder.relative_to(shared).parts]) for folder in folders]


if __name__ == "__main__":
    command()
