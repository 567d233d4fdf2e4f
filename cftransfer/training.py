"""trained(spec, seeds) → models: from the store, or trained in one pass and stored.

A model's artifact (`<store>/models/<key>.safetensors`) holds its weights, its optimiser's state and its curve, so that
more epochs go on exactly where fewer ended. Models that a pass drops on its way (`trajectory`) are kept without the
optimiser's state, two thirds of the size. While a pass trains, `<store>/passes` holds its last whole epoch: a killed
pass goes on from there, with the members it had, and so gives the numbers that it would have given.

A technique (`models/techniques.py`) has no epochs: it is fitted, and its artifact holds what skops writes of it, and a
curve of one row.
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
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from cftransfer import files
from cftransfer import store as artifacts
from cftransfer.data.dataset import Dataset
from cftransfer.errors import InputError
from cftransfer.models.prediction import Model, build, logits, predicted
from cftransfer.models.techniques import Technique, packed, unpacked
from cftransfer.spec import Spec, after, family_key, key, known, lineage_key, model_key, real, whole
from cftransfer.tables import CURVE

log = logging.getLogger(__name__)

WEIGHTS = "weights/"  # prefix of the names of a model's parameters in its artifact
TRIES = 3  # of making what is damaged or gone as soon as it is made


@dataclass(frozen=True)
class Snapshot:
    """Members after `epoch` epochs: everything that the next epoch depends on.

    tensors: what `Population.state` gives; the first dimension is the members'.
    """

    epoch: int
    seeds: tuple[int, ...]
    tensors: dict[str, Tensor]


def check(spec: Spec, dataset: Dataset) -> None:
    """Raise an InputError, naming the key, for a spec that cannot be trained."""
    training = spec["training"]
    known("training", training, ("epochs", "lr", "batch_size"))
    whole("training.epochs", training["epochs"], least=1)
    whole("training.batch_size", training["batch_size"], least=1)
    real("training.lr", training["lr"], inside="> 0", among=lambda lr: 0 < lr < float("inf"))
    model = build(spec["model"], input_shape=dataset.input_shape, seed=0)
    if isinstance(model, Technique):
        model.check(dataset)


def without_epochs(spec: Spec, dataset: Dataset) -> bool:
    """Return whether a model is fitted in one go, a technique, so that the settings of training do not touch it."""
    return isinstance(build(spec["model"], input_shape=dataset.input_shape, seed=0), Technique)


@dataclass(frozen=True)
class Hardware:
    """Where models are trained and asked, which moves their numbers by rounding only.

    accelerator: cpu or gpu. stacked: whether the members of a population are trained together in one pass, instead of
        one after the other; None: what was measured to be faster (`faster_stacked`).
    """

    accelerator: str = "cpu"
    stacked: bool | None = None

    @property
    def device(self) -> torch.device:
        """Where tensors and models are put."""
        return torch.device("cuda" if self.accelerator == "gpu" else "cpu")


CPU = Hardware()


def trained(
    spec: Spec, seeds: Sequence[int], *, dataset: Dataset, store: Path, hardware: Hardware = CPU
) -> list[Model]:
    """Return one frozen model in evaluation mode per seed; what the store lacks is trained first, each model once.

    Whoever asks for the same models meanwhile, in this process or another, waits and then finds them.
    """
    epochs = spec["training"]["epochs"]
    (models,) = trajectory(spec, seeds, epochs=[epochs], dataset=dataset, store=store, hardware=hardware)
    return models


def trajectory(
    spec: Spec, seeds: Sequence[int], *, epochs: Sequence[int], dataset: Dataset, store: Path, hardware: Hardware = CPU
) -> list[list[Model]]:
    """Return, for each of `epochs` (ascending), the models of `spec` after so many epochs, as `trained` does.

    All that is missing comes from one pass, or one pass per model where these are not stacked. What turns out to be
    damaged has been moved aside when it is loaded, and is missing then.
    """
    want = _Want(spec, tuple(epochs), store)
    _drop_done(want)
    for _ in range(TRIES):
        if want.missing(seeds):
            with artifacts.hold(store, [lineage_key(spec, seed) for seed in seeds]):
                _make(want, seeds, dataset, hardware)
        loaded = [[_load(after(spec, epoch), seed, dataset, store, hardware) for seed in seeds] for epoch in epochs]
        models = [[model for model in some if model is not None] for some in loaded]
        if all(len(some) == len(seeds) for some in models):
            return models
    raise InputError(f"paths.store={store}: models are damaged or gone as soon as they are made; check its disk")


def _make(want: "_Want", seeds: Sequence[int], dataset: Dataset, hardware: Hardware) -> None:
    if without_epochs(want.spec, dataset):
        _fit(want, want.missing(seeds), dataset)
    else:
        _train_missing(want, seeds, dataset, hardware)


def _train_missing(want: "_Want", seeds: Sequence[int], dataset: Dataset, hardware: Hardware) -> None:
    stacked = faster_stacked(want.spec, dataset) if hardware.stacked is None else hardware.stacked
    while missing := want.missing(seeds):
        together = _together(want, missing, seeds) if stacked else [next(iter(missing))]
        some = want.missing([seed for seed in together if seed in seeds])  # again: a mate may have turned out damaged
        members = _start(want, some, together).seeds
        with artifacts.hold(want.store, [_pass_key(want.spec, members)]):  # others may want other members of the pass
            start = _start(want, some, together)
            if start.seeds == members:
                _train(start, want, some, dataset=dataset, accelerator=hardware.accelerator)


def _together(want: "_Want", missing: Mapping[int, Sequence[int]], seeds: Sequence[int]) -> list[int]:
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


def faster_stacked(spec: Spec, dataset: Dataset) -> bool:
    """Return whether a population of this model trains faster stacked than member by member: unless it convolves.

    Measured on two CPU cores (benchmarks/training.py, benchmarks/images.py): stacking made the step of an MLP 4×64
    several times faster, and that of a CNN slower, whose members meet in grouped convolutions.
    """
    model = build(spec["model"], input_shape=dataset.input_shape, seed=0)
    return not any(isinstance(module, nn.Conv2d) for module in model.modules())


@dataclass(frozen=True)
class _Want:
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
        return model_file(after(self.spec, epoch), seed, store=self.store)


def curves(spec: Spec, seeds: Sequence[int], *, store: Path) -> pd.DataFrame:
    """Return the training curves of stored models: one row per seed and epoch."""
    tables = []
    for seed in seeds:
        tensors = _tensors(spec, seed, store)
        if tensors is None:
            raise InputError(f"{model_file(spec, seed, store=store)}: has just vanished; run again to make it again")
        tables.append(_curve_table(tensors["curve"]).assign(seed=seed))
    return pd.concat(tables, ignore_index=True)


def model_file(spec: Spec, seed: int, *, store: Path) -> Path:
    """Return where a model is, or would be, kept; its curve lies beside it as CSV."""
    return artifacts.artifact(store, "models", model_key(spec, seed))


def _tensors(spec: Spec, seed: int, store: Path) -> dict[str, Tensor] | None:
    loaded = artifacts.load(store, "models", model_key(spec, seed))
    return None if loaded is None else loaded[0]


def _load(spec: Spec, seed: int, dataset: Dataset, store: Path, hardware: Hardware) -> Model | None:
    tensors = _tensors(spec, seed, store)
    if tensors is None:
        return None
    model = build(spec["model"], input_shape=dataset.input_shape, seed=seed)
    if isinstance(model, Technique):
        return unpacked(model, tensors["skops"], path=model_file(spec, seed, store=store))
    model.load_state_dict({n.removeprefix(WEIGHTS): t for n, t in tensors.items() if n.startswith(WEIGHTS)})
    return model.requires_grad_(False).eval().to(hardware.device)


def _start(want: _Want, missing: Mapping[int, Sequence[int]], together: Sequence[int]) -> Snapshot:
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


def _resumable(want: _Want, seed: int, epoch: int) -> dict[str, Tensor] | None:
    """Return the stored state of a model after `epoch` epochs, None if it has none to go on from."""
    tensors = _tensors(after(want.spec, epoch), seed, want.store)
    return tensors if tensors is not None and "step" in tensors else None


def _passes(want: _Want) -> list[Snapshot]:
    found = []
    for path in _pass_files(want):
        if loaded := artifacts.load(want.store, "passes", path.stem):
            found.append(Snapshot(loaded[1]["epoch"], tuple(loaded[1]["seeds"]), loaded[0]))
    return found


def _pass_files(want: _Want) -> list[Path]:
    return sorted((want.store / "passes").glob(f"{family_key(want.spec)}-*.safetensors"))


def _pass_key(spec: Spec, seeds: Sequence[int]) -> str:
    return f"{family_key(spec)}-{key(list(seeds))}"


def _train(
    start: Snapshot, want: _Want, missing: Mapping[int, Sequence[int]], *, dataset: Dataset, accelerator: str
) -> None:
    """Train the members of `start` in one pass, up to the last epoch that one of them lacks, and store what they lack.

    The optimiser's state is kept with the last.
    """
    from cftransfer.models.population import Population, fit  # Lightning: only where something is trained

    spec, settings, pass_key = want.spec, want.spec["training"], _pass_key(want.spec, start.seeds)
    lacking = {seed: missing[seed] for seed in start.seeds if seed in missing}
    last = max(epochs[-1] for epochs in lacking.values())
    many = f"{len(start.seeds)} models" if len(start.seeds) > 1 else "1 model"
    log.info("training %s (%s), epochs %d to %d", many, _shape(spec), start.epoch + 1, last)

    def keep(reached: Snapshot) -> None:
        for index, seed in enumerate(reached.seeds):
            if reached.epoch in lacking.get(seed, ()):
                state = {name: tensor[index] for name, tensor in reached.tensors.items()}
                _store_member(
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

        def after_epoch() -> None:
            reached = Snapshot(len(population.curve), start.seeds, population.state())
            if not all(weight.isfinite().all() for weight in population.weights):
                raise InputError(f"training.lr={settings['lr']}: training diverged, weights are not finite; lower it")
            about = {"spec": after(spec, last), "seeds": reached.seeds, "epoch": reached.epoch}
            artifacts.save(want.store, "passes", pass_key, reached.tensors, about)
            keep(reached)

        population.after_epoch = after_epoch
        fit(population, epochs=last - start.epoch, accelerator=accelerator)
    _drop_done(want)


def _drop_done(want: _Want) -> None:
    """Remove passes that have stored all of their members; a job that was killed on its last step leaves one."""
    for path in _pass_files(want) if os.access(want.store, os.W_OK) else ():
        if loaded := artifacts.load(want.store, "passes", path.stem):
            _, about = loaded
            done = _Want(want.spec, (about["spec"]["training"]["epochs"],), want.store)
            if not done.missing(about["seeds"]):
                with suppress(OSError):  # another user's, which does no harm
                    path.unlink()


def _fit(want: _Want, missing: Mapping[int, Sequence[int]], dataset: Dataset) -> None:
    """Fit and store techniques, each as soon as it is fitted."""
    many = f"{len(missing)} models" if len(missing) > 1 else "1 model"
    if missing:
        log.info("training %s (%s %s)", many, want.spec["model"]["_target_"].rpartition(".")[2], _shape(want.spec))
    for seed, epochs in missing.items():
        technique = build(want.spec["model"], input_shape=dataset.input_shape, seed=seed).fit(dataset)
        state = {"skops": packed(technique), "curve": _curve_row(technique, dataset)}
        for epoch in epochs:  # one, but for who asks for ages that a technique does not have
            _store_member(state, want, seed, epoch, population=[seed], resumable=True)


def _curve_row(technique: Technique, dataset: Dataset) -> Tensor:
    """Return (1, 4), in the order of `tables.CURVE`: the losses are the cross entropies of the logits."""
    from sklearn.metrics import roc_auc_score

    train, test = logits(technique, dataset.x_train), logits(technique, dataset.x_test)
    losses = [cross_entropy(train, dataset.y_train), cross_entropy(test, dataset.y_test)]
    right = (predicted(test) == dataset.y_test).float().mean()
    auroc = roc_auc_score(dataset.y_test.numpy(), test.numpy())
    return torch.tensor([[*map(float, losses), float(right), float(auroc)]])


def _shape(spec: Spec) -> str:
    return " ".join(f"{name}={value}" for name, value in spec["model"].items() if name != "_target_")


def _store_member(
    tensors: dict[str, Tensor], want: _Want, seed: int, epoch: int, *, population: Sequence[int], resumable: bool
) -> None:
    text = io.StringIO()
    _curve_table(tensors["curve"]).to_csv(text, index=False)
    path = want.file(seed, epoch)
    files.write(path.with_suffix(".csv"), text.getvalue().encode())
    kept = {name: tensor for name, tensor in tensors.items() if resumable or name.startswith((WEIGHTS, "curve"))}
    about = {"spec": after(want.spec, epoch), "seed": seed, "population": list(population)}
    artifacts.save(want.store, "models", path.stem, kept, about)


def _curve_table(curve: Tensor) -> pd.DataFrame:
    table = pd.DataFrame(curve.numpy(), columns=CURVE)
    table.insert(0, "epoch", range(1, len(table) + 1))
    return table
