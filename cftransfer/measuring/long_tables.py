"""The long tables: one row per counterfactual, and one per counterfactual and reference. docs/output.md has columns."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from cftransfer.data.pixels import GREYS
from cftransfer.measuring.controls import Nearest, nearest_share, prior_share, random_share
from cftransfer.measuring.stored_logits import StoredLogits
from cftransfer.models.prediction import Asked, logits, margin, predicted
from cftransfer.searching.candidates import Counterfactuals
from cftransfer.searching.distance import distance

NORMS = {"distance_l0": 0, "distance_l1": 1, "distance_l2": 2, "distance_linf": float("inf")}
KEY = ("base", "reference", "factual", "base_seed", "reference_seed")


def counterfactual_table(
    searches: Sequence[Counterfactuals], seeds: Sequence[int], *, nearest: Sequence[Nearest | None]
) -> pd.DataFrame:
    """One row per base × factual, or proposal for it. nearest: what `controls.nearest_rows` gives for every base."""
    rows = [
        _counterfactual_rows(search, near, several=_several_each(searches)).assign(base=base, base_seed=seed)
        for base, (search, seed, near) in enumerate(zip(searches, seeds, nearest, strict=True))
    ]
    return led(pd.concat(rows, ignore_index=True), "base", "factual", "base_seed")


def transfer_tables(
    searches: Sequence[Counterfactuals],
    references: Sequence[Sequence[Asked | StoredLogits]],
    *,
    nearest: Sequence[Nearest | None],
    base_seeds: Sequence[int],
    reference_seeds: Sequence[int] | None,
    nested: bool,
) -> list[pd.DataFrame]:
    """One table for each group of references, with one row per base × factual (or proposal for it) × reference.

    `transferred` and the controls are missing where nothing was found.

    references: models by group (other seeds, or the ages of models that are trained on); those of every group meet the
    same random points, which are drawn once. nearest: what `controls.nearest_rows` gives for every base.
    nested: reference i is tried on the counterfactuals of base i alone; else every reference on those of every base.
    """
    rows: list[list[pd.DataFrame]] = [[] for _ in references]
    several = _several_each(searches)
    for base, search in enumerate(searches):
        met = [
            (group, index, model)
            for group, models in enumerate(references)
            for index, model in enumerate(models)
            if index == base or not nested
        ]
        models = [model for *_, model in met if not isinstance(model, StoredLogits)]
        random = iter(random_share(search, models))
        for group, index, model in met:
            part = (
                _stored_rows(search, *model.of(base, search, bases=len(searches)))
                if isinstance(model, StoredLogits)
                else _asked_rows(search, model, nearest=nearest[base], random=next(random))
            )
            part = _numbered(search, part, several=several)
            seed = index if reference_seeds is None else reference_seeds[index]
            place = {"base": base, "reference": index, "base_seed": base_seeds[base], "reference_seed": seed}
            rows[group].append(part.assign(**place))
    return [led(pd.concat(parts, ignore_index=True), *KEY) for parts in rows]


def led(table: pd.DataFrame, *names: str) -> pd.DataFrame:
    """Return the table with the columns `names` in front."""
    return table[[*names, *table.columns.drop(list(names))]]


def _several_each(searches: Sequence[Counterfactuals]) -> bool:
    """Return whether a factual has several proposals on any of the bases: the tables then number them."""
    return any(bool(search.proposal.any()) for search in searches)


def _numbered(search: Counterfactuals, rows: pd.DataFrame, *, several: bool) -> pd.DataFrame:
    """Return the rows with the number of the factual of each, and of its proposal where factuals have several."""
    columns = {"factual": search.rows.numpy(), **({"proposal": search.proposal.numpy()} if several else {})}
    return led(rows.assign(**columns), *columns)


def _counterfactual_rows(search: Counterfactuals, nearest: Nearest | None, *, several: bool) -> pd.DataFrame:
    norms = {name: distance(search.factual, search.counterfactual, p=p).numpy() for name, p in NORMS.items()}
    is_image = search.factual.dim() > 2
    per_pixel = {
        "pixel_l2": norms["distance_l2"] / search.factual[0].numel() ** 0.5 * GREYS if len(search) else [],
        "pixel_linf": norms["distance_linf"] * GREYS,
    }
    inputs = {"x": search.factual, "counterfactual": search.counterfactual}
    before: dict[str, Any] = {}
    if search.relaxed is not None and search.relaxed_found is not None:
        before["relaxed"] = list(search.relaxed.flatten(1).numpy())
        before["found_relaxed"] = search.relaxed_found.numpy()
        before["distance_l2_relaxed"] = distance(search.factual, search.relaxed).numpy()
    table = pd.DataFrame(
        {
            "target": search.target.numpy(),
            "found": search.found.numpy(),
            "status": search.status,
            "iterations": search.iterations.numpy(),
            "margin": search.margin.numpy(),
            "factual_logit": _cells(search.factual_logit),
            "logit": _cells(search.logit),
            **norms,
            "nearest_l2": nearest.l2.numpy() if nearest is not None else np.nan,
            **(per_pixel if is_image else {name: list(x.flatten(1).numpy()) for name, x in inputs.items()}),
            **before,
        }
    )
    return _numbered(search, table, several=several)


def _asked_rows(search: Counterfactuals, reference: Asked, *, nearest: Nearest | None, random: Tensor) -> pd.DataFrame:
    relaxed = logits(reference, search.relaxed) if search.relaxed is not None else None
    nearby = nearest_share(search, nearest, reference).numpy() if nearest is not None else np.nan
    factual_logit, logit = logits(reference, search.factual), logits(reference, search.counterfactual)
    return _transfer_rows(search, factual_logit, logit, relaxed, random=random.numpy(), nearby=nearby)


def _stored_rows(search: Counterfactuals, factual_logit: Tensor, logit: Tensor) -> pd.DataFrame:
    return _transfer_rows(search, factual_logit, logit, None, random=np.nan, nearby=np.nan)


def _transfer_rows(
    search: Counterfactuals,
    factual_logit: Tensor,
    logit: Tensor,
    relaxed: Tensor | None,
    *,
    random: np.ndarray | float,
    nearby: np.ndarray | float,
) -> pd.DataFrame:
    transferred = pd.array((predicted(logit) == search.target).numpy(), dtype="boolean")
    controls = pd.DataFrame(
        {
            "control_random": random,
            "control_nearest": nearby,
            "control_prior": prior_share(search.target, factual_logit, once=search.proposal == 0).numpy(),
        },
        index=range(len(search)),
    )
    lost = ~search.found.numpy()
    transferred[lost], controls.loc[lost] = pd.NA, np.nan
    before: dict[str, Any] = {}
    if relaxed is not None and search.relaxed_found is not None:
        moved = pd.array((predicted(relaxed) == search.target).numpy(), dtype="boolean")
        moved[~search.relaxed_found.numpy()] = pd.NA
        before["transferred_relaxed"] = moved
    return pd.DataFrame(
        {
            "target": search.target.numpy(),
            "found": search.found.numpy(),
            "agreement": (predicted(factual_logit) == predicted(search.factual_logit)).numpy(),
            "transferred": transferred,
            "margin": margin(logit, search.target).numpy(),
            "factual_logit": _cells(factual_logit),
            **before,
        }
    ).join(controls)


def _cells(logits: Tensor) -> Any:
    """Return (n,) logits as a column of numbers, (n, K) as one of lists."""
    return logits.numpy() if logits.dim() == 1 else list(logits.numpy())
