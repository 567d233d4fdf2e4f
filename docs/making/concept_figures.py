"""The figures of docs/concepts.md, from two small networks on two moons.

python docs/making/concept_figures.py      half a minute; writes docs/concepts/*.png
"""

from pathlib import Path
from typing import Any

import matplotlib
import torch
from matplotlib import pyplot as plt

import cftransfer as cft

matplotlib.use("Agg")
FOLDER = Path(__file__).parents[1] / "concepts"
BASE, REFERENCE, GREY = "#1f5fa8", "#c8553d", "#777777"
CLASSES = ("#dfe9f5", "#f7efe2")
SPAN = torch.linspace(-0.02, 1.02, 260)


def main() -> None:
    """Train, search and draw."""
    data = cft.dataset("moons", rows=300, noise=0.3, test_share=0.4)
    bases = cft.train(data, layers=2, width=24, epochs=60, lr=0.002, seeds=range(3))
    references = cft.train(data, layers=2, width=24, epochs=60, lr=0.002, seeds=range(1000, 1004))
    base, reference = bases[0], references[0]
    found = cft.search(base, data.x_test, space=data.space)
    FOLDER.mkdir(exist_ok=True)
    boundary(data, base, reference, found)
    search(data, base)
    agreement(data, base, reference)
    rate(base, reference, found)
    pair(cft.measure(bases, references, data.x_test, space=data.space))
    control(base, reference, found)
    margin(base, reference, found)


def boundary(data: Any, base: Any, reference: Any, found: Any) -> None:
    """Two decision boundaries, and a counterfactual that ends between them."""
    axes = _plane(base, reference, shade=True)
    colours = ["#8aa9cc" if y < 0.5 else "#d9b27c" for y in data.y_train]
    axes.scatter(*data.x_train.T, s=5, c=colours, linewidths=0)
    fails = _rows(reference, found, holds=False)[0]
    holds = _rows(reference, found, holds=True)
    far = (found.counterfactual[holds] - found.counterfactual[fails]).norm(dim=1).argmax()
    for row, name in ((fails, "fails on the reference"), (holds[int(far)], "holds")):
        _arrow(axes, found.factual[row], found.counterfactual[row], name)
    _save(axes, "boundary")


def search(data: Any, base: Any) -> None:
    """Found and not found: a search with few steps does not always reach the other side."""
    short = cft.search(base, data.x_test[:40], space=data.space, iterations=20)
    axes = _plane(base, shade=True)
    for row in range(40):
        if short.found[row]:
            axes.annotate("", short.counterfactual[row].tolist(), short.factual[row].tolist(), arrowprops=_line(BASE))
    done = torch.as_tensor(short.found)
    axes.scatter(*short.factual[done].T, s=16, color=BASE, label=f"found: {int(done.sum())} of 40", zorder=3)
    axes.scatter(*short.factual[~done].T, s=18, marker="x", color="black", label="not found in 20 steps", zorder=3)
    _save(axes, "found")


def agreement(data: Any, base: Any, reference: Any) -> None:
    """Factuals on which both models agree, and those on which they do not."""
    axes = _plane(base, reference)
    with torch.no_grad():
        same = (base(data.x_test) > 0) == (reference(data.x_test) > 0)
    axes.scatter(*data.x_test[same].T, s=12, color=GREY, label=f"same class: {same.float().mean():.2f}")
    axes.scatter(*data.x_test[~same].T, s=26, marker="D", color="black", label="different class")
    _save(axes, "agreement")


def rate(base: Any, reference: Any, found: Any) -> None:
    """Counterfactuals that the reference accepts, and those that it rejects."""
    axes = _plane(base, reference)
    holds, fails = _rows(reference, found, holds=True), _rows(reference, found, holds=False)
    holds, fails = [row for row in holds if row < 40], [row for row in fails if row < 40]
    for row in holds + fails:
        axes.annotate("", found.counterfactual[row].tolist(), found.factual[row].tolist(), arrowprops=_line("#bbbbbb"))
    share = len(holds) / (len(holds) + len(fails))
    axes.scatter(*found.counterfactual[holds].T, s=14, color="#2e8b57", label=f"hold: rate {share:.2f}", zorder=3)
    axes.scatter(*found.counterfactual[fails].T, s=18, marker="x", color="black", label="fail", zorder=3)
    _save(axes, "rate")


def pair(result: Any) -> None:
    """The rates of all pairs: a row for each base, a column for each reference."""
    matrix = result.pairs.pivot_table(index="base", columns="reference", values="rate")
    _, axes = plt.subplots(figsize=(4.4, 3.2), layout="constrained")
    axes.imshow(matrix, cmap="Blues", vmin=0, vmax=1)
    for i, row in enumerate(matrix.to_numpy()):
        for j, value in enumerate(row):
            axes.text(j, i, f"{value:.2f}", ha="center", va="center", color="white" if value > 0.6 else "black")
    axes.set_xticks(range(matrix.shape[1]), [f"reference {j}" for j in range(matrix.shape[1])], fontsize=8)
    axes.set_yticks(range(matrix.shape[0]), [f"base {i}" for i in range(matrix.shape[0])], fontsize=8)
    interval = result.interval()
    axes.set_title(f"mean {result.rate:.2f} ({interval.low:.2f} to {interval.high:.2f} over models)", fontsize=9)
    _save(axes, "pair", legend=False)


def control(base: Any, reference: Any, found: Any) -> None:
    """Random steps of the counterfactual's length from the same factual."""
    axes = _plane(base, reference, shade=True, shaded=reference)
    lengths = (found.counterfactual - found.factual).norm(dim=1)
    holds = torch.tensor(_rows(reference, found, holds=True))
    row = holds[(lengths[holds] - 0.22).abs().argmin()]
    x, point = found.factual[row], found.counterfactual[row]
    angles = torch.arange(12) * (2 * torch.pi / 12) + 0.2
    steps = x + lengths[row] * torch.stack([angles.cos(), angles.sin()], 1)
    for step in steps:
        axes.annotate("", step.tolist(), x.tolist(), arrowprops=_line(GREY))
    _arrow(axes, x, point, "counterfactual")
    axes.plot([], [], color=GREY, label="random steps of its length")
    _save(axes, "control")


def margin(base: Any, reference: Any, found: Any) -> None:
    """Both models' logits on the way from the factual to its counterfactual, and beyond."""
    row = _rows(reference, found, holds=False)[0]
    x, point = found.factual[row], found.counterfactual[row]
    way = torch.linspace(0, 1.8, 200)
    points = x + way[:, None] * (point - x)
    _, axes = plt.subplots(figsize=(4.4, 3.2), layout="constrained")
    with torch.no_grad():
        sign = 1 if base(point[None]) > 0 else -1
        for model, colour, name in ((base, BASE, "base"), (reference, REFERENCE, "reference")):
            axes.plot(way, sign * model(points), color=colour, label=name)
            here = float(sign * model(point[None]))
            axes.plot([1], [here], "o", color=colour)
            axes.annotate(
                f"{here:+.2f}",
                (1, here),
                (-44, 6) if model is base else (8, -12),
                textcoords="offset points",
                color=colour,
            )
    axes.axhline(0, color=GREY, lw=0.8)
    axes.axvline(1, color=GREY, lw=0.8, ls=":")
    axes.set_xticks([0, 1], ["factual", "counterfactual"], fontsize=8)
    axes.tick_params(labelsize=8)
    axes.set_ylabel("margin: logit of the target", fontsize=9)
    _save(axes, "margin")


def _plane(base: Any, reference: Any = None, *, shade: bool = False, shaded: Any = None) -> Any:
    """Return axes with the boundaries of one or two models, and the regions of one of them."""
    _, axes = plt.subplots(figsize=(4.4, 3.2), layout="constrained")
    across, up = torch.meshgrid(SPAN, SPAN, indexing="xy")
    points = torch.stack([across.flatten(), up.flatten()], 1)
    with torch.no_grad():
        if shade:
            inside = (shaded or base)(points).view_as(across)
            axes.contourf(across, up, inside, levels=[-1e9, 0, 1e9], colors=CLASSES)
        for model, colour, style, name in ((base, BASE, "-", "base"), (reference, REFERENCE, "--", "reference")):
            if model is not None:
                axes.contour(across, up, model(points).view_as(across), levels=[0], colors=colour, linestyles=style)
                axes.plot([], [], color=colour, ls=style, label=f"boundary of the {name}")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xticks=[], yticks=[])
    return axes


def _rows(reference: Any, found: Any, *, holds: bool) -> list[int]:
    """Return the found counterfactuals that the reference accepts, or rejects, the surest ones first."""
    with torch.no_grad():
        margins = reference(found.counterfactual) * (2 * torch.as_tensor(found.target) - 1)
    surest = margins.abs().argsort(descending=True).tolist()
    return [row for row in surest if found.found[row] and bool(margins[row] > 0) == holds]


def _arrow(axes: Any, x: torch.Tensor, point: torch.Tensor, name: str) -> None:
    axes.annotate("", point.tolist(), x.tolist(), arrowprops=_line("black") | {"lw": 1.4})
    axes.plot(*x.tolist(), "o", color="black", ms=5)
    white = {"boxstyle": "round,pad=.15", "fc": "white", "ec": "none", "alpha": 0.85}
    side = "right" if point[0] > 0.5 else "left"
    axes.annotate(name, point.tolist(), (0, 8), textcoords="offset points", fontsize=8, ha=side, bbox=white)


def _line(colour: str) -> dict[str, Any]:
    return {"arrowstyle": "->", "color": colour, "lw": 0.8, "shrinkA": 0, "shrinkB": 0}


def _save(axes: Any, name: str, *, legend: bool = True) -> None:
    if legend:
        axes.legend(fontsize=7, loc="best", framealpha=0.9)
    axes.figure.savefig(FOLDER / f"{name}.png", dpi=150)
    plt.close(axes.figure)


if __name__ == "__main__":
    main()
