"""Training passes: populations that are trained together, stored epoch by epoch, and resumed after a kill.

A model's artifact (`<store>/models/<key>.safetensors`) holds its weights, its optimiser's state and its curve, so that
training can continue exactly from there. Models of epochs before the last are stored without the optimiser's state,
which saves two thirds of the size. While a pass trains, `<store>/passes` holds its last complete epoch. A killed pass
resumes from there with the same members, and so gives the same numbers.
"""

import io
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from cftransfer import atomic
from cftransfer.columns import CURVE
from cftransfer.data.dataset import Dataset
from cftransfer.errors import InputError
from cftransfer.models.build import Hardware, build_for, faster_stacked
from cftransfer.models.training_rows import training_rows
from cftransfer.spec import ALL_ROWS, UNCHANGED, Spec, at_epoch, family_key, key, model_key
from cftransfer.store import artifacts
from cftransfer.store.locks import hold

log = logging.getLogger(__name__)

WEIGHTS = "weights/"  # prefix of the names of a model's parameters in its artifact


@dataclass(frozen=True)
class Snapshot:
    """The members of a pass after `epoch` epochs, with the whole state for the next epoch.

    tensors: from `Population.state`; the first dimension is members.
    """

    epoch: int
    seeds: tuple[int, ...]
    tensors: dict[str, Tensor]


@dataclass(frozen=True)
class StoredModels:
    """The models of one spec after each of `epochs` (ascending) in a store, existing or not."""

    spec: Spec
    epochs: tuple[int, ...]
    store: Path

    def missing(self, seeds: Sequence[int]) -> dict[int, list[int]]:
        """Return the epochs that the store lacks, by seed, for seeds with any missing."""
        lacking = {seed: [epoch for epoch in self.epochs if not self.file(seed, epoch).exists()] for seed in seeds}
        return {seed: epochs for seed, epochs in lacking.items() if epochs}

    def file(self, seed: int, epoch: int) -> Path:
        """Return the path of a model, existing or not."""
        return model_file(at_epoch(self.spec, epoch), seed, store=self.store)

    def load(self, seed: int, epoch: int) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return a model's tensors and description, None if the store lacks it."""
        return artifacts.load(self.store, "models", self.file(seed, epoch).stem)

    def save(
        self, tensors: Mapping[str, Tensor], seed: int, epoch: int, *, population: Sequence[int], resumable: bool
    ) -> None:
        """Store a model, and its curve beside it; without its optimiser's state unless it is `resumable`."""
        path, text = self.file(seed, epoch), io.StringIO()
        curve_table(tensors["curve"]).to_csv(text, index=False)
        atomic.write(path.with_suffix(".csv"), text.getvalue().encode())
        kept = {name: tensor for name, tensor in tensors.items() if resumable or name.startswith((WEIGHTS, "curve"))}
        about = {"spec": at_epoch(self.spec, epoch), "seed": seed, "population": list(population)}
        artifacts.save(self.store, "models", path.stem, kept, about)

    def pass_key(self, seeds: Sequence[int]) -> str:
        """Return the key of a pass with these members."""
        return f"{family_key(self.spec)}-{key(list(seeds))}"

    def interrupted(self) -> dict[Path, tuple[Snapshot, int]]:
        """Return the stored passes of these models, each with its intended last epoch."""
        found = {}
        for path in sorted((self.store / "passes").glob(f"{family_key(self.spec)}-*.safetensors")):
            if loaded := artifacts.load(self.store, "passes", path.stem):
                tensors, about = loaded
                reached = Snapshot(about["epoch"], tuple(about["seeds"]), tensors)
                found[path] = reached, about["spec"]["training"]["epochs"]
        return found


def model_file(spec: Spec, seed: int, *, store: Path) -> Path:
    """Return the path of a model, existing or not; its curve is a CSV beside it."""
    return artifacts.artifact(store, "models", model_key(spec, seed))


def train_missing(models: StoredModels, seeds: Sequence[int], dataset: Dataset, hardware: Hardware) -> None:
    """Train and store the models that the store lacks, in one pass or, if that is faster, in one pass per model."""
    stacked = hardware.stacked
    if stacked is None:
        stacked = faster_stacked(build_for(dataset, models.spec["model"], seed=0))
    while missing := models.missing(seeds):
        together = _next_members(models, missing, seeds) if stacked else [next(iter(missing))]
        lacking = models.missing([seed for seed in together if seed in seeds])  # again, because a member may be damaged
        members = _starting_point(models, lacking, together).seeds
        with hold(models.store, [models.pass_key(members)]):  # another process may need other members
            start = _starting_point(models, lacking, together)
            if start.seeds == members:
                train_pass(start, models, lacking, dataset=dataset, accelerator=hardware.accelerator)


def _next_members(models: StoredModels, missing: Mapping[int, Sequence[int]], seeds: Sequence[int]) -> list[int]:
    """Return the members of the next pass: all missing models, or the whole population of a lost model.

    Rounding depends on the size of the population, so a model that was damaged or deleted is trained again together
    with its original population, which is recorded in the others' artifacts.
    """
    for seed in seeds:
        for epoch in models.epochs if seed not in missing else ():
            loaded = models.load(seed, epoch)
            members = loaded[1].get("population", []) if loaded else []
            if set(members) & set(missing):
                return list(members)
    return list(missing)


def _starting_point(models: StoredModels, missing: Mapping[int, Sequence[int]], together: Sequence[int]) -> Snapshot:
    """Return the starting point: an interrupted pass, or the longest stored prefix, or fresh members.

    together: the missing models and the models trained with them. A prefix may have fewer members; the caller calls
    again for the rest.
    """
    mates = [seed for seed in together if seed not in missing]
    first = min(epochs[0] for epochs in missing.values())
    passes = [reached for reached, _ in models.interrupted().values()]
    if usable := [reached for reached in passes if set(missing) <= set(reached.seeds) and reached.epoch <= first]:
        return max(usable, key=lambda reached: reached.epoch)
    for epoch in range(first, 0, -1):
        stored = {seed: loaded[0] for seed in together if (loaded := models.load(seed, epoch))}
        ready = {seed: tensors for seed, tensors in stored.items() if "step" in tensors}  # the optimiser's state
        if set(ready) & set(missing) and set(ready) >= set(mates):
            names = next(iter(ready.values()))
            stacked = {name: torch.stack([tensors[name] for tensors in ready.values()]) for name in names}
            return Snapshot(epoch, tuple(ready), stacked)
    return Snapshot(0, tuple(together), {})


def train_pass(
    start: Snapshot, models: StoredModels, missing: Mapping[int, Sequence[int]], *, dataset: Dataset, accelerator: str
) -> None:
    """Train the members of `start` in one pass, up to the last missing epoch, and store all missing epochs.

    The optimiser's state is stored with the last epoch.
    """
    from cftransfer.models.population import Population, Snapshots, fit  # imports Lightning: only to train

    spec, settings, pass_key = models.spec, models.spec["training"], models.pass_key(start.seeds)
    lacking = {seed: missing[seed] for seed in start.seeds if seed in missing}
    last = max(epochs[-1] for epochs in lacking.values())
    log.info("training %s (%s), epochs %d to %d", counted(start.seeds), shape_of(spec), start.epoch + 1, last)

    def keep(reached: Snapshot) -> None:
        resumable = reached.epoch == last
        for index, seed in enumerate(reached.seeds):
            if reached.epoch in lacking.get(seed, ()):
                tensors = {name: tensor[index] for name, tensor in reached.tensors.items()}
                models.save(tensors, seed, reached.epoch, population=reached.seeds, resumable=resumable)

    def keep_epoch(population: Population) -> None:
        reached = Snapshot(len(population.curve), start.seeds, population.state())
        if not all(weight.isfinite().all() for weight in population.weights):
            raise InputError(f"training.lr={settings['lr']}: training diverged, weights are not finite; lower it")
        about = {"spec": at_epoch(spec, last), "seeds": reached.seeds, "epoch": reached.epoch}
        artifacts.save(models.store, "passes", pass_key, reached.tensors, about)
        keep(reached)

    keep(start)
    if start.epoch < last:
        population = Population(
            [build_for(dataset, spec["model"], seed=seed) for seed in start.seeds],
            splits={name: getattr(dataset, name) for name in ("x_train", "y_train", "x_test", "y_test")},
            seeds=start.seeds,
            **{name: value for name, value in settings.items() if name != "epochs"},
            classes=len(dataset.classes),
            row_weight=dataset.weight,
            rows=[training_rows(dataset, spec.get("rows", ALL_ROWS), seed=seed) for seed in start.seeds],
            epoch=start.epoch,
            state=start.tensors,
        )
        fit(population, epochs=last - start.epoch, accelerator=accelerator, callbacks=[Snapshots(keep_epoch)])
    drop_done(models)


def drop_done(models: StoredModels) -> None:
    """Remove passes with all members stored; a job that was killed at its last step leaves such a pass."""
    if os.access(models.store, os.W_OK):
        for path, (reached, last) in models.interrupted().items():
            if not StoredModels(models.spec, (last,), models.store).missing(reached.seeds):
                with suppress(OSError):  # harmless: another user's
                    path.unlink()


def curve_table(curve: Tensor) -> pd.DataFrame:
    """Return a training curve, (epochs, columns), as a table with one row per epoch."""
    table = pd.DataFrame(curve.numpy(), columns=CURVE)
    table.insert(0, "epoch", range(1, len(table) + 1))
    return table


def counted(seeds: Sequence[int]) -> str:
    """Return the number of models in words."""
    return f"{len(seeds)} models" if len(seeds) > 1 else "1 model"


def shape_of(spec: Spec) -> str:
    """Return the settings of a spec's model, as in layers=4 width=64, and of its rows unless it has all rows."""
    unchanged = UNCHANGED["model"].items()
    told = {name: value for name, value in spec["model"].items() if (name, value) not in unchanged}
    words = [f"{name}={value}" for name, value in told.items() if name != "_target_"]
    if (rows := spec.get("rows", ALL_ROWS)) != ALL_ROWS:
        words += [f"rows={rows['_target_']}", *(f"{n}={v}" for n, v in rows.items() if n in ("share", "count"))]
    return " ".join(words)
