"""One job → what a boundary picture shows of it: a pair of models, and counterfactuals of both kinds."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from omegaconf import OmegaConf
from torch import Tensor

from cftransfer import store
from cftransfer.data.dataset import Dataset, load
from cftransfer.errors import InputError
from cftransfer.models.prediction import Model, logits, predicted
from cftransfer.report.collect import AGE, Job, table
from cftransfer.spec import Spec, base_spec, flat, identified, reference_spec
from cftransfer.training import trained

log = logging.getLogger(__name__)

ROLES = ("base", "reference")
PAIRS = 60  # drawn at most: more lines hide what is behind them


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What is drawn of one job: n pairs of (n, columns) factuals and counterfactuals, and the two models.

    classes: (n,), the base's of the factuals; transferred: (n,) bool; every: the same of all found, drawn or not.
    """

    dataset: Dataset
    models: tuple[Model, Model]
    titles: tuple[str, str]
    factuals: Tensor
    counterfactuals: Tensor
    classes: np.ndarray
    transferred: np.ndarray
    every: np.ndarray


def drawn(job: Job, *, base: int = 0, reference: int | None = None) -> Drawn:
    """Return what is drawn of a job: its chosen pair of models, and what the tables say of its counterfactuals.

    reference: the first that the base met by default. InputError, without the folder, for what cannot be drawn.
    """
    found, seeds = _found(job, base=base, reference=reference)
    config = OmegaConf.create(job.result["config"])
    specs = base_spec(config), reference_spec(config)
    dataset = load(specs[0]["dataset"], Path(config.paths.data))
    if dataset.version != job.result.get("data", {}).get("version", ""):
        raise InputError(f"dataset {dataset.name}: its files have changed since; run the job again")
    place = store.prepare(config.paths.store)
    models = [
        trained(identified(spec, dataset.version), [seed], dataset=dataset, store=place)[0]
        for spec, seed in zip(specs, seeds, strict=True)
    ]
    changed = _changed(*specs)
    model = str(job.settings.get("model", "model"))
    _confirm(found, models, dataset)
    rows = found.loc[_balanced(found.transferred.to_numpy())]
    return Drawn(
        dataset=dataset,
        models=(models[0], models[1]),
        titles=(f"base: {model}, seed {seeds[0]}", f"reference: {changed or model}, seed {seeds[1]}"),
        factuals=_inputs(rows.x),
        counterfactuals=_inputs(rows.counterfactual),
        classes=1 - rows.target.to_numpy(),
        transferred=rows.transferred.to_numpy(),
        every=found.transferred.to_numpy(),
    )


def _found(job: Job, *, base: int, reference: int | None) -> tuple[pd.DataFrame, tuple[int, int]]:
    """Return the counterfactuals that the base found, with `transferred` to the reference, and the models' seeds."""
    searched = table(job.folder, "counterfactuals", ("base", "base_seed", "factual", "target", "found"))
    if not {"x", "counterfactual"} <= set(searched.columns):
        raise InputError("its inputs are images, which no plane shows; boundary pictures are of tables")
    asked = _asked(job, base=base, reference=reference)
    searched = searched[(searched.base == base) & searched.found]
    if searched.empty:
        raise InputError(f"--base {base}: found no counterfactual, so there is none to draw")
    try:
        found = searched.merge(asked[["factual", "transferred"]], on="factual", validate="one_to_one")
        found = found.astype({"transferred": bool})
        if len(found) < len(searched):
            raise ValueError("it lacks some")
    except (ValueError, TypeError) as error:  # pandas says so of a factual that is there twice, or was not asked about
        raise InputError(
            f"transfers.parquet is not of the same counterfactuals ({error}); run the job again"
        ) from error
    return found, (int(searched.base_seed.iloc[0]), int(asked.reference_seed.iloc[0]))


def _asked(job: Job, *, base: int, reference: int | None) -> pd.DataFrame:
    """Return the rows of `transfers` of one pair; of references that were trained on, those of the oldest."""
    asked = table(job.folder, "transfers", ("base", "reference", "reference_seed", "factual", "transferred"))
    bases = sorted(asked.base.unique())
    if base not in bases:
        raise InputError(f"--base {base}: no such base; there are: {', '.join(map(str, bases))}")
    asked = asked[asked.base == base]
    met = sorted(asked.reference.unique())
    chosen = met[0] if reference is None else reference
    if chosen not in met:
        raise InputError(f"--reference {chosen}: base {base} did not meet it; it met: {', '.join(map(str, met))}")
    asked = asked[asked.reference == chosen]
    return asked[asked[AGE] == asked[AGE].max()] if AGE in asked else asked


def _changed(base: Spec, reference: Spec) -> str:
    """Return the settings in which the reference differs from its base: "model.layers=6"."""
    before, after = flat(base), flat(reference)
    return " ".join(f"{name}={value}" for name, value in after.items() if before.get(name) != value)


def _inputs(column: pd.Series) -> Tensor:
    return torch.from_numpy(np.stack(list(column)).astype(np.float32))


def _confirm(found: pd.DataFrame, models: Sequence[Model], dataset: Dataset) -> None:
    """Refuse counterfactuals of other columns; say so where the models do not answer as the tables say.

    Models that were trained again elsewhere may differ by rounding; more than a few such answers mean other models.
    """
    try:
        counterfactuals = _inputs(found.counterfactual)
        fits = len(counterfactuals[0]) == len(_inputs(found.x)[0]) == dataset.x_train.shape[1]
    except (ValueError, TypeError) as error:
        raise InputError(f"counterfactuals.parquet cannot be read ({error}); run the job again") from error
    if not fits:
        raise InputError(f"counterfactuals.parquet: has not the {dataset.x_train.shape[1]} columns of {dataset.name}")
    expected = np.ones(len(found), dtype=bool), found.transferred.to_numpy()
    for role, model, said in zip(ROLES, models, expected, strict=True):
        answers = predicted(logits(model, counterfactuals)).numpy() == found.target.to_numpy()
        if other := int((answers != said).sum()):
            log.warning("the %s answers %d of %d counterfactuals otherwise than the tables say: is it the same model?",
                        role, other, len(found))  # fmt: skip


def _balanced(transferred: np.ndarray) -> np.ndarray:
    """Return the rows to draw, ascending: the first of each kind, half of `PAIRS` or what the other kind leaves."""
    kinds = [np.flatnonzero(transferred), np.flatnonzero(~transferred)]
    room = [max(PAIRS // 2, PAIRS - len(other)) for other in reversed(kinds)]
    return np.sort(np.concatenate([kind[:most] for kind, most in zip(kinds, room, strict=True)]))
