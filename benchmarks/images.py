"""Images: seconds per epoch and counterfactuals per second, against the same network in a plain loop.

python benchmarks/images.py          10,000 images of CIFAR-10 (paths.data/cifar10.npz), CNN 4×16; last line `ratio X.X`

The plain loops are those of introductions: a DataLoader that hands over one float image after another to be collated,
and a search by torch.optim.Adam on one image at a time, done at the first success. Both searches start from the same
images and stop by the same rule, so found share and distance must agree. Populations are timed stacked (one pass by
vmap) and member by member: `training.faster_stacked` goes by these figures.
"""

import argparse
import time
from pathlib import Path

import torch
from machine import describe
from search import by_row
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader, TensorDataset

from cftransfer.counterfactuals.gradient import gradient
from cftransfer.data.cifar10_airplane import cifar10_airplane
from cftransfer.data.dataset import Dataset
from cftransfer.data.pixels import unit
from cftransfer.models.build import build
from cftransfer.models.population import Population, fit
from cftransfer.models.prediction import logits, margin, predicted
from cftransfer.searching.constraint import constraint

MODEL = {"_target_": "cnn", "layers": 4, "width": 16}
BATCH, LR, MEMBERS = 64, 0.0005, 4
SEARCH = {"iterations": 1000, "lr": 0.0005, "distance_weight": 0.001, "confidence": 0.5}


def plain_epoch(data: Dataset) -> tuple[float, nn.Module]:
    """Seconds of one epoch of one model in the usual loop, and the model."""
    model = build(MODEL, input_shape=data.input_shape, seed=0)
    adam = torch.optim.Adam(model.parameters(), lr=LR)
    loader = DataLoader(TensorDataset(unit(data.x_train), data.y_train), batch_size=BATCH, shuffle=True)
    start = time.perf_counter()
    for x, y in loader:
        adam.zero_grad()
        binary_cross_entropy_with_logits(model(x), y).backward()
        adam.step()
    return time.perf_counter() - start, model


def population_epoch(data: Dataset, *, members: int, accelerator: str) -> float:
    """Seconds per model of one epoch of a population, with accuracy and AUROC of every member on the test split."""
    splits = {name: getattr(data, name) for name in ("x_train", "y_train", "x_test", "y_test")}
    models = [build(MODEL, input_shape=data.input_shape, seed=seed) for seed in range(members)]
    together = Population(models, splits=splits, seeds=range(members), lr=LR, batch_size=BATCH)
    start = time.perf_counter()
    fit(together, epochs=1, accelerator=accelerator)
    return (time.perf_counter() - start) / members


def per_second(name: str, model: nn.Module, x: Tensor, search: object) -> float:
    """Counterfactuals per second of a search, printed with the share that it found."""
    target = 1 - predicted(logits(model, x))
    search(model, x[:8], target[:8])  # type: ignore[operator]
    start = time.perf_counter()
    reached = search(model, x, target)  # type: ignore[operator]
    rate = len(x) / (time.perf_counter() - start)
    found = margin(logits(model, reached.cpu()), target) > 0
    distance = (reached.cpu() - x)[found].flatten(1).norm(dim=1).mean()
    print(f"search, {name:24s} {rate:8.1f} per second, found {found.float().mean():.4f}, mean L2 {distance:.4f}")
    return rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder that holds cifar10.npz")
    parser.add_argument("--images", type=int, default=1000, help="factuals for the searches; a job has 1,000")
    parser.add_argument("--accelerator", choices=("cpu", "gpu"), default="cpu")
    options = parser.parse_args()
    data, place = cifar10_airplane(options.data, split_seed=0), "cuda" if options.accelerator == "gpu" else "cpu"
    print(describe() + (f", {torch.cuda.get_device_name()}" if place == "cuda" else ""))
    print(f"{len(data.x_train):,} images of 32 × 32, CNN 4×16, batch {BATCH}; searches of {options.images}, {SEARCH}")
    seconds, model = plain_epoch(data)
    print(f"epoch, DataLoader, one model          {seconds:7.2f} s")
    for name, members in (("one model", 1), (f"{MEMBERS} stacked, per model", MEMBERS)):
        took = population_epoch(data, members=members, accelerator=options.accelerator)
        print(f"epoch, ours, {name:24s} {took:7.2f} s, {seconds / took:.2f} times as fast")
    model = model.requires_grad_(False).eval()
    x = unit(data.x_test[: options.images])

    def ours(model: nn.Module, x: Tensor, target: Tensor) -> Tensor:
        box = constraint("box", data.space)
        settings = {**SEARCH, "distance": "l2", "refine": "none", "batch_size": 32, "constraint": box}
        return gradient(model, x.to(place), target.to(place), **settings).x  # type: ignore[arg-type]

    def plain(model: nn.Module, x: Tensor, target: Tensor) -> Tensor:
        return by_row(model, x, target, lr=SEARCH["lr"], weight=SEARCH["distance_weight"])

    theirs = per_second("one image at a time", model, x, plain)
    print(f"ratio {per_second('ours', model.to(place), x, ours) / theirs:.1f}")


if __name__ == "__main__":
    main()
