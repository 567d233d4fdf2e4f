"""Counterfactuals per second on COMPAS: the batched search against a loop over rows with the same settings.

python benchmarks/search.py          2,000 rows, MLP 4×64; the last line is `ratio X.X`

The loop is the search as one would write it for one row: torch.optim.Adam on x′, done at the first success. Both start
from the same rows and stop by the same rule, so found share and distance must agree.
"""

import time
from functools import partial
from pathlib import Path

import torch
from machine import describe
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

import cftransfer
from cftransfer.counterfactuals.gradient import gradient
from cftransfer.data.compas import compas
from cftransfer.data.dataset import Dataset
from cftransfer.models.prediction import logits, margin, predicted
from cftransfer.searching.constraint import constraint
from cftransfer.searching.descent import ROUNDING

ROWS, ITERATIONS, LR, WEIGHT, CONFIDENCE = 2000, 1000, 0.01, 0.1, 0.5
SHOWN = {"iterations": ITERATIONS, "lr": LR, "distance_weight": WEIGHT, "confidence": CONFIDENCE}


def by_row(model: nn.Module, x: Tensor, target: Tensor, *, lr: float = LR, weight: float = WEIGHT) -> Tensor:
    """x: (n, *input), target: (n,) → x′: (n, *input), one row after the other."""
    reached = []
    for row, wanted in zip(x, target.float(), strict=True):
        moving = row[None].clone().requires_grad_()
        adam = torch.optim.Adam([moving], lr=lr)
        for _ in range(ITERATIONS):
            logit = model(moving)
            if margin(logit.detach(), wanted[None]) >= ROUNDING:
                break
            loss = binary_cross_entropy_with_logits(logit, wanted[None]) + weight * (moving - row).square().sum()
            adam.zero_grad()
            loss.backward()
            adam.step()
            with torch.no_grad():
                moving.clamp_(0, 1)
        reached.append(moving.detach()[0])
    return torch.stack(reached)


def base(data: Dataset, *, seed: int = 0) -> nn.Module:
    """Return the model to search on, trained, without gradients of its weights."""
    (model,) = cftransfer.train(data, model="mlp", layers=4, width=64, seeds=[seed])
    assert isinstance(model, nn.Module)
    return model


def batched(model: nn.Module, x: Tensor, target: Tensor, *, data: Dataset) -> Tensor:
    """x: (n, *input), target: (n,) → x′: (n, *input), by the project's own search."""
    settings = {**SHOWN, "distance": "l2", "refine": "none", "batch_size": 256}
    return gradient(model, x, target, constraint=constraint("box", data.space), **settings).x  # type: ignore[arg-type]


def main() -> None:
    data = compas(Path("data"), test_share=0.2, split_seed=0)
    model = base(data)
    x = torch.cat([data.x_test, data.x_train])[:ROWS]
    target = 1 - predicted(logits(model, x))
    print(describe())
    print(f"COMPAS, {ROWS} rows, MLP 4×64, {SHOWN}")
    rates = {}
    for name, search in (("loop over rows", by_row), ("batched", partial(batched, data=data))):
        search(model, x[:20], target[:20])  # warm up
        start = time.perf_counter()
        reached = search(model, x, target)
        rates[name] = ROWS / (time.perf_counter() - start)
        found = margin(logits(model, reached), target) > 0
        distance = (reached - x)[found].norm(dim=1).mean()
        print(f"{name:15s} {rates[name]:9.0f} per second, found {found.float().mean():.4f}, mean L2 {distance:.4f}")
    print(f"ratio {rates['batched'] / rates['loop over rows']:.1f}")


if __name__ == "__main__":
    main()
