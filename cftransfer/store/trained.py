"""trained(spec, seeds) → models: read from the store, or trained in one pass and stored.

A scikit-learn model has no epochs: it is fitted in one go, and its artifact holds its skops file and a curve of one
row.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from cftransfer.data.dataset import Dataset
from cftransfer.errors import InputError
from cftransfer.measuring.stage_seconds import Stopwatch, timed
from cftransfer.models.build import CPU, Hardware, build_for, fitted_in_one_go
from cftransfer.models.prediction import Asked
from cftransfer.models.sklearn_models import SklearnModel, curve_row
from cftransfer.models.sklearn_storage import packed, unpacked
from cftransfer.models.training_rows import split_of, training_rows
from cftransfer.spec import ALL_ROWS, Spec, lineage_key
from cftransfer.store.locks import hold
from cftransfer.store.passes import (
    WEIGHTS,
    StoredModels,
    counted,
    curve_table,
    drop_done,
    model_file,
    shape_of,
    train_missing,
)

log = logging.getLogger(__name__)

TRIES = 3  # attempts, if models are damaged or gone right after they were made


def trained(
    spec: Spec,
    seeds: Sequence[int],
    *,
    dataset: Dataset,
    store: Path,
    hardware: Hardware = CPU,
    watch: Stopwatch | None = None,
) -> list[Asked]:
    """Return one frozen model in evaluation mode per seed; models that the store lacks are trained first.

    Another caller of the same models, in this process or another, waits until they are stored.
    watch: counts the seconds of the models that are trained here.
    """
    epochs = [spec["training"]["epochs"]]
    (models,) = trajectory(spec, seeds, epochs=epochs, dataset=dataset, store=store, hardware=hardware, watch=watch)
    return models


def trajectory(
    spec: Spec,
    seeds: Sequence[int],
    *,
    epochs: Sequence[int],
    dataset: Dataset,
    store: Path,
    hardware: Hardware = CPU,
    watch: Stopwatch | None = None,
) -> list[list[Asked]]:
    """Return the models of `spec` after each of `epochs` (ascending), as `trained` does.

    All missing models come from one pass, or from one pass per model if they are not stacked. A damaged artifact is
    moved aside on loading and then counts as missing.
    """
    kept = StoredModels(spec, tuple(epochs), store)
    drop_done(kept)
    for _ in range(TRIES):
        if kept.missing(seeds):
            lineages = [lineage_key(spec, seed) for seed in seeds]
            with hold(store, lineages), timed(watch, "training", len(kept.missing(seeds))):
                _make(kept, seeds, dataset, hardware)
        loaded = [[_load(kept, seed, epoch, dataset, hardware) for seed in seeds] for epoch in epochs]
        models = [[model for model in some if model is not None] for some in loaded]
        if all(len(some) == len(seeds) for some in models):
            return models
    raise InputError(f"paths.store={store}: models are damaged or gone as soon as they are made; check its disk")


def curves(spec: Spec, seeds: Sequence[int], *, store: Path) -> pd.DataFrame:
    """Return the training curves of stored models: one row per seed and epoch."""
    epoch = spec["training"]["epochs"]
    kept, tables = StoredModels(spec, (epoch,), store), []
    for seed in seeds:
        loaded = kept.load(seed, epoch)
        if loaded is None:
            raise InputError(f"{model_file(spec, seed, store=store)}: has just vanished; run again to rebuild it")
        tables.append(curve_table(loaded[0]["curve"]).assign(seed=seed))
    return pd.concat(tables, ignore_index=True)


def _make(kept: StoredModels, seeds: Sequence[int], dataset: Dataset, hardware: Hardware) -> None:
    if fitted_in_one_go(kept.spec, dataset):
        _fit(kept, kept.missing(seeds), dataset)
    else:
        train_missing(kept, seeds, dataset, hardware)


def _fit(kept: StoredModels, missing: Mapping[int, Sequence[int]], dataset: Dataset) -> None:
    """Fit and store scikit-learn models, each as soon as it is fitted."""
    settings = kept.spec["model"]
    if missing:
        log.info("training %s (%s %s)", counted(list(missing)), settings["_target_"], shape_of(kept.spec))
    for seed, epochs in missing.items():
        fresh, again = (build_for(dataset, settings, seed=seed) for _ in range(2))
        model = fresh.fit(split_of(dataset, training_rows(dataset, kept.spec.get("rows", ALL_ROWS), seed=seed)))
        content = packed(model, again=again, name=settings["_target_"])
        state = {"skops": content, "curve": curve_row(model, dataset)}
        for epoch in epochs:  # one, unless a caller passes several ages, which such a model lacks
            kept.save(state, seed, epoch, population=[seed], resumable=True)


def _load(kept: StoredModels, seed: int, epoch: int, dataset: Dataset, hardware: Hardware) -> Asked | None:
    loaded = kept.load(seed, epoch)
    if loaded is None:
        return None
    tensors, _ = loaded
    model = build_for(dataset, kept.spec["model"], seed=seed)
    if isinstance(model, SklearnModel):
        return unpacked(model, tensors["skops"], path=kept.file(seed, epoch))
    model.load_state_dict({n.removeprefix(WEIGHTS): t for n, t in tensors.items() if n.startswith(WEIGHTS)})
    return model.requires_grad_(False).eval().to(hardware.device)
