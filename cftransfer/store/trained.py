"""trained(spec, seeds) → models: from the store, or trained in one pass and stored.

A scikit-learn model has no epochs: it is fitted, and its artifact holds what skops writes of it, and a curve of one row.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from cftransfer import store as artifacts
from cftransfer.data.dataset import Dataset
from cftransfer.errors import InputError
from cftransfer.models.build import CPU, Hardware, build, without_epochs
from cftransfer.models.prediction import Asked
from cftransfer.models.sklearn_models import SklearnModel, curve_row, packed, unpacked
from cftransfer.spec import Spec, at_epoch, lineage_key
from cftransfer.store.passes import (
    WEIGHTS,
    Wanted,
    curve_table,
    drop_done,
    model_file,
    shape_of,
    store_member,
    tensors_of,
    train_missing,
)

log = logging.getLogger(__name__)

TRIES = 3  # of making what is damaged or gone as soon as it is made


def trained(
    spec: Spec, seeds: Sequence[int], *, dataset: Dataset, store: Path, hardware: Hardware = CPU
) -> list[Asked]:
    """Return one frozen model in evaluation mode per seed; what the store lacks is trained first, each model once.

    Whoever asks for the same models meanwhile, in this process or another, waits and then finds them.
    """
    epochs = spec["training"]["epochs"]
    (models,) = trajectory(spec, seeds, epochs=[epochs], dataset=dataset, store=store, hardware=hardware)
    return models


def trajectory(
    spec: Spec, seeds: Sequence[int], *, epochs: Sequence[int], dataset: Dataset, store: Path, hardware: Hardware = CPU
) -> list[list[Asked]]:
    """Return, for each of `epochs` (ascending), the models of `spec` after so many epochs, as `trained` does.

    All that is missing comes from one pass, or one pass per model where these are not stacked. What turns out to be
    damaged has been moved aside when it is loaded, and is missing then.
    """
    want = Wanted(spec, tuple(epochs), store)
    drop_done(want)
    for _ in range(TRIES):
        if want.missing(seeds):
            with artifacts.hold(store, [lineage_key(spec, seed) for seed in seeds]):
                _make(want, seeds, dataset, hardware)
        loaded = [[_load(at_epoch(spec, epoch), seed, dataset, store, hardware) for seed in seeds] for epoch in epochs]
        models = [[model for model in some if model is not None] for some in loaded]
        if all(len(some) == len(seeds) for some in models):
            return models
    raise InputError(f"paths.store={store}: models are damaged or gone as soon as they are made; check its disk")


def curves(spec: Spec, seeds: Sequence[int], *, store: Path) -> pd.DataFrame:
    """Return the training curves of stored models: one row per seed and epoch."""
    tables = []
    for seed in seeds:
        tensors = tensors_of(spec, seed, store)
        if tensors is None:
            raise InputError(f"{model_file(spec, seed, store=store)}: has just vanished; run again to make it again")
        tables.append(curve_table(tensors["curve"]).assign(seed=seed))
    return pd.concat(tables, ignore_index=True)


def _make(want: Wanted, seeds: Sequence[int], dataset: Dataset, hardware: Hardware) -> None:
    if without_epochs(want.spec, dataset):
        _fit(want, want.missing(seeds), dataset)
    else:
        train_missing(want, seeds, dataset, hardware)


def _fit(want: Wanted, missing: Mapping[int, Sequence[int]], dataset: Dataset) -> None:
    """Fit and store techniques, each as soon as it is fitted."""
    many = f"{len(missing)} models" if len(missing) > 1 else "1 model"
    if missing:
        log.info("training %s (%s %s)", many, want.spec["model"]["_target_"].rpartition(".")[2], shape_of(want.spec))
    for seed, epochs in missing.items():
        model = build(want.spec["model"], input_shape=dataset.input_shape, seed=seed).fit(dataset)
        state = {"skops": packed(model), "curve": curve_row(model, dataset)}
        for epoch in epochs:  # one, but for who asks for ages that a model does not have
            store_member(state, want, seed, epoch, population=[seed], resumable=True)


def _load(spec: Spec, seed: int, dataset: Dataset, store: Path, hardware: Hardware) -> Asked | None:
    tensors = tensors_of(spec, seed, store)
    if tensors is None:
        return None
    model = build(spec["model"], input_shape=dataset.input_shape, seed=seed)
    if isinstance(model, SklearnModel):
        return unpacked(model, tensors["skops"], path=model_file(spec, seed, store=store))
    model.load_state_dict({n.removeprefix(WEIGHTS): t for n, t in tensors.items() if n.startswith(WEIGHTS)})
    return model.requires_grad_(False).eval().to(hardware.device)
