"""The closest point on the other side, against foolbox: rows per second and L2 on COMPAS, MLP 4×64, in one process.

make peers          2,000 rows; the last line is `ratio X.X`, rows found per second of `minimal` against DDN

foolbox 3.3.4 lives in an environment of its own (.venv-peers). It wants two logits, so that it gets [−z/2, z/2]: the
same boundary and, as softmax, the same probabilities. Found is judged by one fresh forward pass of ours over what a
method returned, clamped to the box, in which foolbox's sums may miss it by a rounding error. Our methods ask for 1e-5
of a logit beyond the boundary, foolbox's for none. --seed trains another base, --repetitions changes the number of
timed runs, of which the median counts.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

import foolbox
import torch
from foolbox.attacks import DDNAttack, L2DeepFoolAttack, L2FMNAttack
from machine import describe
from search import CONFIDENCE, ITERATIONS, LR, MODEL, ROWS, WEIGHT
from torch import Tensor, nn

from cftransfer.counterfactuals.constraint import constraint
from cftransfer.counterfactuals.gradient import gradient
from cftransfer.counterfactuals.minimal import minimal
from cftransfer.data.compas import compas
from cftransfer.data.dataset import Dataset
from cftransfer.models.population import Population, fit
from cftransfer.models.prediction import build, logits, margin, predicted

THREADS, STEPS, DEEPFOOL_STEPS = 2, 1000, 50
Search = Callable[[Tensor, Tensor], Tensor]  # x: (n, *input), target: (n,) → x′: (n, *input)


class Score(NamedTuple):
    """rate: rows found per second. found: (n,) bool. length: (n,) L2."""

    rate: float
    found: Tensor
    length: Tensor


class TwoLogits(nn.Module):
    """The binary classifier as foolbox wants it: (n, *input) → (n, 2)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """x: (n, *input) → (n, 2)."""
        half = self.model(x) / 2
        return torch.stack([-half, half], 1)


def ours(model: nn.Module, data: Dataset) -> dict[str, Search]:
    common = {"constraint": constraint("box", data.space), "iterations": ITERATIONS, "lr": LR, "confidence": CONFIDENCE}
    descent = {"distance": "l2", "distance_weight": WEIGHT, "refine": "none", "batch_size": 256, "dataset": data}

    def closest(x: Tensor, target: Tensor) -> Tensor:
        return minimal(model, x, target, batch_size=512, **common).x  # type: ignore[arg-type]

    def descended(x: Tensor, target: Tensor) -> Tensor:
        return gradient(model, x, target, **common, **descent).x  # type: ignore[arg-type]

    return {"minimal": closest, "gradient": descended}


def theirs(model: nn.Module) -> dict[str, Search]:
    wrapped = foolbox.PyTorchModel(TwoLogits(model).eval(), bounds=(0, 1), device="cpu")

    def asked(attack: foolbox.attacks.base.MinimizationAttack, *, targeted: bool = True) -> Search:
        def search(x: Tensor, target: Tensor) -> Tensor:
            # DeepFool knows no targets; of two classes, the other one is the target.
            wanted = (
                foolbox.criteria.TargetedMisclassification(target)
                if targeted
                else foolbox.criteria.Misclassification(1 - target)
            )
            return attack.run(wrapped, x, wanted).detach()

        return search

    return {
        f"DDN {STEPS}": asked(DDNAttack(steps=STEPS)),
        f"DeepFool {DEEPFOOL_STEPS}": asked(L2DeepFoolAttack(steps=DEEPFOOL_STEPS), targeted=False),
        f"FMN {STEPS}": asked(L2FMNAttack(steps=STEPS)),
    }


def trained(data: Dataset, *, seed: int) -> nn.Module:
    splits = {name: getattr(data, name) for name in ("x_train", "y_train", "x_test", "y_test")}
    network = build(MODEL, input_shape=data.input_shape, seed=seed)
    population = Population([network], splits=splits, seeds=[seed], lr=0.001, batch_size=64)
    fit(population, epochs=10, accelerator="cpu")
    weights = {name: stack.detach()[0] for name, stack in zip(population.names, population.weights, strict=True)}
    model = build(MODEL, input_shape=data.input_shape, seed=seed)
    model.load_state_dict(weights)
    return model.requires_grad_(False).eval()


def scored(name: str, search: Search, model: nn.Module, x: Tensor, target: Tensor, *, repetitions: int) -> Score:
    search(x[:20], target[:20])  # warm up
    seconds = []
    for _ in range(repetitions):
        start = time.perf_counter()
        reached = search(x, target)
        seconds.append(time.perf_counter() - start)
    reached = reached.clamp(0, 1)
    found, length = margin(logits(model, reached), target) > 0, (reached - x).norm(dim=1)
    rates = [len(x) / each for each in seconds]
    print(
        f"{name:12s} {median(rates):9.0f} rows per second (from {min(rates):.0f} to {max(rates):.0f}), "
        f"found {found.float().mean():.4f}, mean L2 {length[found].mean():.4f}",
        flush=True,
    )
    return Score(int(found.sum()) / median(seconds), found, length)


def main() -> None:
    parser = argparse.ArgumentParser(description="Rows per second and L2, against foolbox.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    data = compas(Path("data"), test_share=0.2, split_seed=0)
    model = trained(data, seed=options.seed)
    x = torch.cat([data.x_test, data.x_train])[:ROWS]
    target = 1 - predicted(logits(model, x))
    print(f"{describe()}, foolbox {foolbox.__version__}")
    print(f"COMPAS, {ROWS} rows, MLP 4×64 of seed {options.seed}, box, median of {options.repetitions} runs")
    scores = {
        name: scored(name, search, model, x, target, repetitions=options.repetitions)
        for name, search in {**ours(model, data), **theirs(model)}.items()
    }
    near, ddn, deepfool = scores["minimal"], scores[f"DDN {STEPS}"], scores[f"DeepFool {DEEPFOOL_STEPS}"]
    both = near.found & ddn.found
    print(f"gradient finds {scores['gradient'].rate / deepfool.rate:.1f} times as many per second as DeepFool")
    print(f"mean L2, minimal / DDN, where both found one: {near.length[both].mean() / ddn.length[both].mean():.4f}")
    print(f"ratio {near.rate / ddn.rate:.1f}")


if __name__ == "__main__":
    main()
