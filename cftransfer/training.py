"""trained(spec, seeds) → models: from the store, or trained in one pass and stored.

A model's artifact (`<store>/models/<key>.safetensors`) holds its weights, its optimiser's state and its curve, so that
more epochs go on exactly where fewer ended. While a pass trains, `<store>/passes` holds its last whole epoch: a killed
pass goes on from there, with the members it had, and so gives the numbers that it would have given.
"""

import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from cftransfer import store as artifacts
from cftransfer.data.dataset import Dataset
from cftransfer.errors import InputError
from cftransfer.models.prediction import build
from cftransfer.spec import Spec, after, key, known, lineage_key, model_key, real, whole

log = logging.getLogger(__name__)


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
    build(spec["model"], input_shape=dataset.input_shape, seed=0)


def trained(
    spec: Spec, seeds: Sequence[int], *, dataset: Dataset, store: Path, accelerator: str = "cpu"
) -> list[nn.Module]:
    """Return one frozen model in evaluation mode per seed; what the store lacks is trained first, each model once.

    Whoever asks for the same models meanwhile, in this process or another, waits and then finds them.
    """
    if _missing(spec, seeds, store):
        with artifacts.hold(store, [lineage_key(spec, seed) for seed in seeds]):
            while missing := _missing(spec, seeds, store):
                members = _start(spec, missing, store=store).seeds
                with artifacts.hold(store, [_pass_key(spec, members)]):  # others may want other members of the pass
                    start = _start(spec, missing, store=store)
                    if start.seeds == members:
                        _train(start, spec, missing, dataset=dataset, store=store, accelerator=accelerator)
    return [_load(spec, seed, dataset, store) for seed in seeds]


def curves(spec: Spec, seeds: Sequence[int], *, store: Path) -> pd.DataFrame:
    """Return the training curves of stored models: one row per seed and epoch."""
    return pd.concat(
        [_curve_table(_tensors(spec, seed, store)["curve"]).assign(seed=seed) for seed in seeds], ignore_index=True
    )


def model_file(spec: Spec, seed: int, *, store: Path) -> Path:
    """Return where a model is, or would be, kept; its curve lies beside it as CSV."""
    return artifacts.artifact(store, "models", model_key(spec, seed))


def _missing(spec: Spec, seeds: Sequence[int], store: Path) -> list[int]:
    return [seed for seed in seeds if not model_file(spec, seed, store=store).exists()]


def _tensors(spec: Spec, seed: int, store: Path) -> dict[str, Tensor]:
    loaded = artifacts.load(store, "models", model_key(spec, seed))
    assert loaded is not None, f"{model_file(spec, seed, store=store)} vanished"
    return loaded[0]


def _load(spec: Spec, seed: int, dataset: Dataset, store: Path) -> nn.Module:
    tensors = _tensors(spec, seed, store)
    model = build(spec["model"], input_shape=dataset.input_shape, seed=seed)
    prefix = "weights/"
    model.load_state_dict({n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)})
    return model.requires_grad_(False).eval()


def _start(spec: Spec, missing: Sequence[int], *, store: Path) -> Snapshot:
    """Return where training goes on: an interrupted pass, else the longest stored prefix, else fresh members.

    The members of a prefix may be fewer than are missing; the caller comes back for the rest.
    """
    interrupted = [found for found in _passes(spec, store) if set(missing) <= set(found.seeds)]
    if interrupted:
        return max(interrupted, key=lambda found: found.epoch)
    for epoch in range(spec["training"]["epochs"] - 1, 0, -1):
        prefix = after(spec, epoch)
        if ready := [seed for seed in missing if seed not in _missing(prefix, [seed], store)]:
            members = [_tensors(prefix, seed, store) for seed in ready]
            return Snapshot(epoch, tuple(ready), {name: torch.stack([m[name] for m in members]) for name in members[0]})
    return Snapshot(0, tuple(missing), {})


def _passes(spec: Spec, store: Path) -> list[Snapshot]:
    found = []
    for path in sorted((store / "passes").glob(f"{_family(spec)}-*.safetensors")):
        if (loaded := artifacts.load(store, "passes", path.stem)) and loaded[1]["epoch"] <= spec["training"]["epochs"]:
            found.append(Snapshot(loaded[1]["epoch"], tuple(loaded[1]["seeds"]), loaded[0]))
    return found


def _pass_key(spec: Spec, seeds: Sequence[int]) -> str:
    return f"{_family(spec)}-{key(list(seeds))}"


def _family(spec: Spec) -> str:
    return key("family", {**spec, "training": {**spec["training"], "epochs": None}})


def _train(
    start: Snapshot, spec: Spec, wanted: Sequence[int], *, dataset: Dataset, store: Path, accelerator: str
) -> None:
    """Train the members of `start` up to the spec's epochs in one pass, and store those that are wanted."""
    from cftransfer.models.population import Population, fit  # Lightning: only where something is trained

    settings, pass_key = spec["training"], _pass_key(spec, start.seeds)
    many = f"{len(start.seeds)} models" if len(start.seeds) > 1 else "1 model"
    log.info("training %s (%s), epochs %d to %d", many, _shape(spec), start.epoch + 1, settings["epochs"])
    reached = start
    if start.epoch < settings["epochs"]:
        population = Population(
            [build(spec["model"], input_shape=dataset.input_shape, seed=seed) for seed in start.seeds],
            splits={name: getattr(dataset, name) for name in ("x_train", "y_train", "x_test", "y_test")},
            seeds=start.seeds,
            lr=settings["lr"],
            batch_size=settings["batch_size"],
            epoch=start.epoch,
            state=start.tensors,
        )

        def keep() -> None:
            nonlocal reached
            reached = Snapshot(len(population.curve), start.seeds, population.state())
            about = {"spec": spec, "seeds": reached.seeds, "epoch": reached.epoch}
            artifacts.save(store, "passes", pass_key, reached.tensors, about)

        population.after_epoch = keep
        fit(population, epochs=settings["epochs"] - start.epoch, accelerator=accelerator)
        if not all(weight.isfinite().all() for weight in population.weights):
            raise InputError(f"training.lr={settings['lr']}: training diverged, weights are not finite; lower it")
    for index, seed in enumerate(reached.seeds):
        if seed in wanted:
            _store_member({name: tensor[index] for name, tensor in reached.tensors.items()}, spec, seed, store)
    if not _missing(spec, reached.seeds, store):  # else somebody may still ask for the other members
        artifacts.artifact(store, "passes", pass_key).unlink(missing_ok=True)


def _shape(spec: Spec) -> str:
    return " ".join(f"{name}={value}" for name, value in spec["model"].items() if name != "_target_")


def _store_member(tensors: dict[str, Tensor], spec: Spec, seed: int, store: Path) -> None:
    text = io.StringIO()
    _curve_table(tensors["curve"]).to_csv(text, index=False)
    path = model_file(spec, seed, store=store)
    artifacts.write(path.with_suffix(".csv"), text.getvalue().encode())
    artifacts.save(store, "models", path.stem, tensors, {"spec": spec, "seed": seed})


def _curve_table(curve: Tensor) -> pd.DataFrame:
    from cftransfer.models.population import CURVE

    table = pd.DataFrame(curve.numpy(), columns=list(CURVE))
    table.insert(0, "epoch", range(1, len(table) + 1))
    return table
