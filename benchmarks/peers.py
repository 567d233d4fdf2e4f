"""The closest point on the other side on COMPAS, per second: cftransfer against foolbox, in one run and one process.

make peers                             2,000 rows, MLP 4×64, box [0, 1]; the last line is `ratio X.X`
.venv-peers/bin/python benchmarks/peers.py --seed 1 --batch-size 256

foolbox gets all rows at once, two logits (0, z), bounds (0, 1), and the base's predictions as labels; its attacks are
called without the check that follows them. A point counts as found where one fresh pass of the base, here, puts it on
the target's side. Times are medians of three.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import foolbox
import torch
from machine import describe
from search import ITERATIONS, LR, ROWS, base, batched
from torch import Tensor, nn

from cftransfer.counterfactuals.minimal import minimal
from cftransfer.data.compas import compas
from cftransfer.data.dataset import Dataset
from cftransfer.models.prediction import logits, margin, predicted
from cftransfer.searching.constraint import constraint

Method = Callable[[nn.Module, Tensor, Tensor], Tensor]  # of model, x, target → x′
REPEATS, WARM_UP = 3, 20
OUTSIDE = 1e-6  # of the box, by rounding: foolbox adds x and x′ − x
# Without L2FMNAttack: on this model it returned the same far points (mean L2 .81) after 10 steps and after 1,000.
ATTACKS = {
    "foolbox DDN": foolbox.attacks.DDNAttack(steps=ITERATIONS),
    "foolbox DeepFool": foolbox.attacks.L2DeepFoolAttack(),
}


class Result(NamedTuple):
    """rate: found per second. found: (n,) bool. length: (n,) L2 distances of all."""

    rate: float
    found: Tensor
    length: Tensor


class TwoLogits(nn.Module):
    """One logit z of class 1 as two, (0, z): the same probabilities, and exactly the same classes."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """x: (n, *input) → (n, 2) logits."""
        logit = self.model(x)
        return torch.stack([torch.zeros_like(logit), logit], dim=1)


def attack(name: str, model: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    return ATTACKS[name].run(foolbox.PyTorchModel(TwoLogits(model).eval(), bounds=(0, 1)), x, 1 - target)


def closest(model: nn.Module, x: Tensor, target: Tensor, *, data: Dataset, batch_size: int) -> Tensor:
    box = constraint("box", data.space)
    search = {"iterations": ITERATIONS, "lr": LR, "confidence": 0.5, "batch_size": batch_size}
    return minimal(model, x, target, constraint=box, **search).x  # type: ignore[arg-type]


def judged(model: nn.Module, target: Tensor, reached: Tensor) -> Tensor:
    """Return (n,) whether a point is in the box and on the target's side, whatever its method says."""
    inside = ((reached >= -OUTSIDE) & (reached <= 1 + OUTSIDE)).flatten(1).all(1)
    return inside & (margin(logits(model, reached), target) > 0)


def timed(method: Method, model: nn.Module, x: Tensor, target: Tensor) -> Result:
    method(model, x[:WARM_UP], target[:WARM_UP])
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        reached = method(model, x, target)
        seconds.append(time.perf_counter() - start)
    found = judged(model, target, reached)
    return Result(found.sum().item() / median(seconds), found, (reached - x).flatten(1).norm(dim=1))


def main() -> None:
    parser = argparse.ArgumentParser(description="cftransfer against foolbox on COMPAS")
    parser.add_argument("--seed", type=int, default=0, help="of the base model")
    parser.add_argument("--batch-size", type=int, default=ROWS, help="of minimal, in rows")
    # On busy cores threads wait for each other, and an attack of many small steps suffers most: compare with 1.
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)  # DDN draws a direction where a gradient vanishes
    data = compas(Path("data"), test_share=0.2, split_seed=0)
    model = base(data, seed=options.seed)
    x = torch.cat([data.x_test, data.x_train])[:ROWS]
    target = 1 - predicted(logits(model, x))
    methods: dict[str, Method] = {
        "minimal": partial(closest, data=data, batch_size=options.batch_size),
        "gradient": partial(batched, data=data),
        **{name: partial(attack, name) for name in ATTACKS},
    }

    print(f"{describe()}, foolbox {foolbox.__version__}")
    print(f"COMPAS, {len(x)} rows, MLP 4×64 of seed {options.seed}, minimal in passes of {options.batch_size} rows")
    results = {}
    for name, method in methods.items():
        result = results[name] = timed(method, model, x, target)
        share, length = result.found.float().mean(), result.length[result.found].mean()
        print(f"{name:16s} {result.rate:9.0f} found per second, found {share:.4f}, mean L2 {length:.4f}", flush=True)
    ours, ddn = results["minimal"], results["foolbox DDN"]
    both = ours.found & ddn.found
    nearness = ours.length[both].mean() / ddn.length[both].mean()
    print(f"mean L2 of minimal against DDN on rows both found: {nearness:.3f}")
    times = results["gradient"].rate / results["foolbox DeepFool"].rate
    print(f"gradient finds {times:.1f} times as many per second as DeepFool")
    print(f"ratio {ours.rate / ddn.rate:.1f}")


if __name__ == "__main__":
    main()
