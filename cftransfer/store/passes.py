"""Training passes that can be killed at any moment: populations that go on from what the store has of them.

A model's artifact (`<store>/models/<key>.safetensors`) holds its weights, its optimiser's state and its curve, so that
more epochs go on exactly where fewer ended. Models that a pass drops on its way are kept without the optimiser's state,
two thirds of the size. While a pass trains, `<store>/passes` holds its last whole epoch: a killed pass goes on from
there, with the members it had, and so gives the numbers that it would have given.
"""

import io
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from cftransfer import atomic
from cftransfer import store as artifacts
from cftransfer.columns import CURVE
from cftransfer.data.dataset import Dataset
from cftransfer.errors import InputError
from cftransfer.models.build import Hardware, build, faster_stacked
from cftransfer.spec import Spec, at_epoch, family_key, key, model_key

log = logging.getLogger(__name__)

WEIGHTS = "weights/"  # prefix of the names of a model's parameters in its artifact


@dataclass(frozen=True)
class Snapshot:
    """Members after `epoch` epochs: everything that the next epoch depends on.

    tensors: what `Population.state` gives; the first dimension is the members'.
    """

    epoch: int
    seeds: tuple[int, ...]
    tensors: dict[str, Tensor]


@dataclass(frozen=True)
class Wanted:
    """Models of `spec` after each of `epochs`."""

    spec: Spec
    epochs: tuple[int, ...]
    store: Path

    def missing(self, seeds: Sequence[int]) -> dict[int, list[int]]:
        """Return the epochs that the store lacks, by the seeds that lack any."""
        lacking = {seed: [epoch for epoch in self.epochs if not self.file(seed, epoch).exists()] for seed in seeds}
        return {seed: epochs for seed, epochs in lacking.items() if epochs}

    def file(self, seed: int, epoch: int) -> Path:
        """Return where a model is, or would be, kept."""
        return model_file(at_epoch(self.spec, epoch), seed, store=self.store)


def model_file(spec: Spec, seed: int, *, store: Path) -> Path:
    """Return where a model is, or would be, kept; its curve lies beside it as CSV."""
    return artifacts.artifact(store, "models", model_key(spec, seed))


def train_missing(want: Wanted, seeds: Sequence[int], dataset: Dataset, hardware: Hardware) -> None:
    stacked = _faster_stacked(want.spec, dataset) if hardware.stacked is None else hardware.stacked
    while missing := want.missing(seeds):
        together = _together(want, missing, seeds) if stacked else [next(iter(missing))]
        some = want.missing([seed for seed in together if seed in seeds])  # again: a mate may have turned out damaged
        members = _start(want, some, together).seeds
        with artifacts.hold(want.store, [_pass_key(want.spec, members)]):  # others may want other members of the pass
            start = _start(want, some, together)
            if start.seeds == members:
                train_pass(start, want, some, dataset=dataset, accelerator=hardware.accelerator)


def _faster_stacked(spec: Spec, dataset: Dataset) -> bool:
    return faster_stacked(build(spec["model"], input_shape=dataset.input_shape, seed=0))


def _together(want: Wanted, missing: Mapping[int, Sequence[int]], seeds: Sequence[int]) -> list[int]:
    """Return the members of the next pass: all that are missing, or the population of one that got lost.

    What a member is to the last bit depends on how many it was trained with, so a model that was damaged or deleted is
    trained with those that its mates say it had been trained with.
    """
    for seed in seeds:
        for epoch in want.epochs if seed not in missing else ():
            loaded = artifacts.load(want.store, "models", want.file(seed, epoch).stem)
            members = loaded[1].get("population", []) if loaded else []
            if set(members) & set(missing):
                return list(members)
    return list(missing)


def _start(want: Wanted, missing: Mapping[int, Sequence[int]], together: Sequence[int]) -> Snapshot:
    """Return where training goes on: an interrupted pass, else the longest stored prefix, else fresh members.

    together: the missing and those that are trained with them. The members of a prefix may be fewer; the caller comes
    back for the rest.
    """
    mates = [seed for seed in together if seed not in missing]
    first = min(epochs[0] for epochs in missing.values())
    passes = [found for found in _passes(want) if set(missing) <= set(found.seeds) and found.epoch <= first]
    if passes:
        return max(passes, key=lambda found: found.epoch)
    for epoch in range(first, 0, -1):
        ready = {seed: state for seed in together if (state := _resumable(want, seed, epoch))}
        if set(ready) & set(missing) and set(ready) >= set(mates):
            names = next(iter(ready.values()))
            stacked = {name: torch.stack([state[name] for state in ready.values()]) for name in names}
            return Snapshot(epoch, tuple(ready), stacked)
    return Snapshot(0, tuple(together), {})


def _resumable(want: Wanted, seed: int, epoch: int) -> dict[str, Tensor] | None:
    """Return the stored state of a model after `epoch` epochs, None if it has none to go on from."""
    tensors = tensors_of(at_epoch(want.spec, epoch), seed, want.store)
    return tensors if tensors is not None and "step" in tensors else None


def _passes(want: Wanted) -> list[Snapshot]:
    found = []
    for path in _pass_files(want):
        if loaded := artifacts.load(want.store, "passes", path.stem):
            found.append(Snapshot(loaded[1]["epoch"], tuple(loaded[1]["seeds"]), loaded[0]))
    return found


def _pass_files(want: Wanted) -> list[Path]:
    return sorted((want.store / "passes").glob(f"{family_key(want.spec)}-*.safetensors"))


def _pass_key(spec: Spec, seeds: Sequence[int]) -> str:
    return f"{family_key(spec)}-{key(list(seeds))}"


def train_pass(
    start: Snapshot, want: Wanted, missing: Mapping[int, Sequence[int]], *, dataset: Dataset, accelerator: str
) -> None:
    """Train the members of `start` in one pass, up to the last epoch that one of them lacks, and store what they lack.

    The optimiser's state is kept with the last.
    """
    from cftransfer.models.population import Population, Snapshots, fit  # Lightning: only where something is trained

    spec, settings, pass_key = want.spec, want.spec["training"], _pass_key(want.spec, start.seeds)
    lacking = {seed: missing[seed] for seed in start.seeds if seed in missing}
    last = max(epochs[-1] for epochs in lacking.values())
    many = f"{len(start.seeds)} models" if len(start.seeds) > 1 else "1 model"
    log.info("training %s (%s), epochs %d to %d", many, shape_of(spec), start.epoch + 1, last)

    def keep(reached: Snapshot) -> None:
        for index, seed in enumerate(reached.seeds):
            if reached.epoch in lacking.get(seed, ()):
                state = {name: tensor[index] for name, tensor in reached.tensors.items()}
                store_member(
                    state, want, seed, reached.epoch, population=reached.seeds, resumable=reached.epoch == last
                )

    keep(start)
    if start.epoch < last:
        population = Population(
            [build(spec["model"], input_shape=dataset.input_shape, seed=seed) for seed in start.seeds],
            splits={name: getattr(dataset, name) for name in ("x_train", "y_train", "x_test", "y_test")},
            seeds=start.seeds,
            lr=settings["lr"],
            batch_size=settings["batch_size"],
            epoch=start.epoch,
            state=start.tensors,
        )

        def keep_epoch(population: Population) -> None:
            reached = Snapshot(len(population.curve), start.seeds, population.state())
            if not all(weight.isfinite().all() for weight in population.weights):
                raise InputError(f"training.lr={settings['lr']}: training diverged, weights are not finite; lower it")
            about = {"spec": at_epoch(spec, last), "seeds": reached.seeds, "epoch": reached.epoch}
            artifacts.save(want.store, "passes", pass_key, reached.tensors, about)
            keep(reached)

        snapshots = Snapshots(keep_epoch)
        fit(population, epochs=last - start.epoch, accelerator=accelerator, callbacks=[snapshots])
    drop_done(want)


def drop_done(want: Wanted) -> None:
    """Remove passes that have stored all of their members; a job that was killed on its last step leaves one."""
    for path in _pass_files(want) if os.access(want.store, os.W_OK) else ():
        if loaded := artifacts.load(want.store, "passes", path.stem):
            _, about = loaded
            done = Wanted(want.spec, (about["spec"]["training"]["epochs"],), want.store)
            if not done.missing(about["seeds"]):
                with suppress(OSError):  # another user's, which does no harm
                    path.unlink()


def store_member(
    tensors: dict[str, Tensor], want: Wanted, seed: int, epoch: int, *, population: Sequence[int], resumable: bool
) -> None:
    text = io.StringIO()
    curve_table(tensors["curve"]).to_csv(text, index=False)
    path = want.file(seed, epoch)
    atomic.write(path.with_suffix(".csv"), text.getvalue().encode())
    kept = {name: tensor for name, tensor in tensors.items() if resumable or name.startswith((WEIGHTS, "curve"))}
    about = {"spec": at_epoch(want.spec, epoch), "seed": seed, "population": list(population)}
    artifacts.save(want.store, "models", path.stem, kept, about)


def curve_table(curve: Tensor) -> pd.DataFrame:
    table = pd.DataFrame(curve.numpy(), columns=CURVE)
    table.insert(0, "epoch", range(1, len(table) + 1))
    return table


def shape_of(spec: Spec) -> str:
    return " ".join(f"{name}={value}" for name, value in spec["model"].items() if name != "_target_")


def tensors_of(spec: Spec, seed: int, store: Path) -> dict[str, Tensor] | None:
    """Return the tensors of a stored model, None if the store does not have it."""
    loaded = artifacts.load(store, "models", model_key(spec, seed))
    return None if loaded is None else loaded[0]
