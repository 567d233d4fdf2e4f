"""The cost of a population over rows beside one over seeds: a ratio for each rule of conf/rows.

python benchmarks/rows.py        32 MLPs 4×64 on COMPAS, batch 64, one thread; a ratio per rule, and the largest of them

Both train as many models for as many epochs, in one pass, and score all of them on the test split after each epoch.
The time of a step counts, since `part` trains on half of the rows: in half the steps, between which it scores as often,
so that it comes out a little dearer. Rounds alternate between the rules, and the median of the ratios of a
round counts: a machine that drifts, drifts for all.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import torch
from machine import describe

from cftransfer.data.compas import compas
from cftransfer.data.dataset import Dataset
from cftransfer.models.build import build_for
from cftransfer.models.population import Population, fit
from cftransfer.models.training_rows import training_rows
from cftransfer.spec import ALL_ROWS

MODEL = {"_target_": "mlp", "layers": 4, "width": 64}
MEMBERS, BATCH, EPOCHS, ROUNDS = 32, 64, 3, 9
RULES: dict[str, Mapping[str, Any]] = {
    "all": ALL_ROWS,
    "bootstrap": {"_target_": "bootstrap", "draw": 0},
    "drop": {"_target_": "drop", "count": 1, "share": None, "draw": 0},
    "part": {"_target_": "part", "share": 0.5, "draw": 0},
    "label_noise": {"_target_": "label_noise", "share": 0.05, "draw": 0},
}


def main() -> None:
    """Print the milliseconds of a step of every rule, and its ratio to those of a population over seeds."""
    torch.set_num_threads(1)
    data = compas(Path("data"), test_share=0.2, split_seed=0)
    print(describe())
    print(f"COMPAS, {len(data.x_train)} rows, {MEMBERS} MLPs 4×64, batch {BATCH}, {EPOCHS} epochs, {ROUNDS} rounds")
    for settings in RULES.values():
        step(data, settings)  # warm up
    rounds = [{name: step(data, settings) for name, settings in RULES.items()} for _ in range(ROUNDS)]
    ratios = {name: median(one[name] / one["all"] for one in rounds) for name in RULES if name != "all"}
    print(f"seeds        {median(one['all'] for one in rounds):6.2f} ms per step of {MEMBERS} models")
    for name, ratio in ratios.items():
        print(f"{name:12} {median(one[name] for one in rounds):6.2f} ms per step, ratio {ratio:.2f}")
    print(f"ratio {max(ratios.values()):.2f}")


def step(data: Dataset, settings: Mapping[str, Any]) -> float:
    """Train a population, its rows drawn in the time that counts; return the milliseconds per step."""
    seeds = range(MEMBERS)
    members = [build_for(data, MODEL, seed=seed) for seed in seeds]
    splits = {name: getattr(data, name) for name in ("x_train", "y_train", "x_test", "y_test")}
    start = time.perf_counter()
    rows = [training_rows(data, settings, seed=seed) for seed in seeds]
    population = Population(members, splits=splits, seeds=seeds, lr=0.001, batch_size=BATCH, rows=rows)
    fit(population, epochs=EPOCHS, accelerator="cpu")
    took = time.perf_counter() - start
    return 1000 * took / (EPOCHS * len(population.train_dataloader()))


if __name__ == "__main__":
    main()
