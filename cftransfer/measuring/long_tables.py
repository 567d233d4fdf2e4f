"""The long tables: one row per counterfactual, and one per counterfactual and reference.

docs/reference/output.md has their columns.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cftransfer.columns import INVALIDATION
from cftransfer.data.pixels import GREYS
from cftransfer.measuring.controls import Nearest, prior_share
from cftransfer.measuring.noisy_execution import Noise
from cftransfer.measuring.reference_answers import Reference, ReferenceAnswers, reference_answers
from cftransfer.models.prediction import margin, predicted
from cftransfer.searching.candidates import Counterfactuals
from cftransfer.searching.distance import distance

NUMBER = np.int32  # of a base, a reference, a factual, a proposal, a class: columns of half the size
NORMS = {"distance_l0": 0, "distance_l1": 1, "distance_l2": 2, "distance_linf": float("inf")}


def counterfactual_table(
    searches: Sequence[Counterfactuals],
    seeds: Sequence[int],
    *,
    nearest: Sequence[Nearest | None],
    more: Sequence[Mapping[str, Tensor]] = (),
) -> pd.DataFrame:
    """Return one row per base × factual, or per proposal if factuals have several.

    nearest: of every base, from `controls.nearest_rows`. more: of every base, further columns by name, (n,) each.
    """
    rows = [
        _counterfactual_rows(search, near, several=_several_each(searches)).assign(base=base, base_seed=seed)
        for base, (search, seed, near) in enumerate(zip(searches, seeds, nearest, strict=True))
    ]
    if more:
        named = [{name: part.numpy() for name, part in columns.items()} for columns in more]
        rows = [table.assign(**columns) for table, columns in zip(rows, named, strict=True)]
    return led(pd.concat(rows, ignore_index=True), "base", "factual", "base_seed")


def transfer_tables(
    searches: Sequence[Counterfactuals],
    references: Sequence[Sequence[Reference]],
    *,
    nearest: Sequence[Nearest | None],
    base_seeds: Sequence[int],
    reference_seeds: Sequence[int] | None,
    nested: bool,
    noise: Noise | None = None,
) -> Iterator[list[pd.DataFrame]]:
    """Yield, for every base, one table for each group of references: a row per reference × factual (or proposal).

    A reference's rows are in the order of `counterfactual_table`. `transferred` and the controls are missing if nothing
    was found.

    references: models by group (other seeds, or models after each number of extra epochs). All groups meet the same
    random points, which are drawn once. nearest: of every base, from `controls.nearest_rows`. nested: reference i meets
    the counterfactuals of base i alone; otherwise every reference meets those of every base. noise: of the noisy
    execution measured in the column `invalidation`; without it there is no such column.
    """
    several = _several_each(searches)
    every = reference_answers(searches, references, nearest=nearest, nested=nested, noise=noise)
    for base, (search, answers) in enumerate(zip(searches, every, strict=True)):
        yield [
            _transfer_rows(search, said, several=several, base=(base, base_seeds[base]), seeds=reference_seeds)
            for said in answers
        ]


def led(table: pd.DataFrame, *names: str) -> pd.DataFrame:
    """Return the table with the columns `names` in front."""
    return table[[*names, *table.columns.drop(list(names))]]


def _several_each(searches: Sequence[Counterfactuals]) -> bool:
    """Return whether a factual has several proposals on any of the bases; if so, the tables number them."""
    return any(bool(search.proposal.any()) for search in searches)


def _numbered(search: Counterfactuals, rows: pd.DataFrame, *, several: bool) -> pd.DataFrame:
    """Return the rows with the number of the factual of each, and of its proposal if factuals have several."""
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


def _transfer_rows(
    search: Counterfactuals,
    said: Sequence[ReferenceAnswers],
    *,
    several: bool,
    base: tuple[int, int],
    seeds: Sequence[int] | None,
) -> pd.DataFrame:
    """base: its number and its seed. seeds: of all references; None to use their numbers."""
    n, many = len(search), len(said)
    numbers = np.array([one.reference for one in said], dtype=NUMBER)
    target, found = search.target.repeat(many), search.found.repeat(many).numpy()
    factual_logit, logit = torch.cat([one.factual_logit for one in said]), torch.cat([one.logit for one in said])
    once = search.proposal == 0
    controls = {
        "control_random": [one.random for one in said],
        "control_nearest": [one.nearest for one in said],
        "control_prior": [prior_share(search.target, one.factual_logit, once=once) for one in said],
    }
    lost = [one.invalidation for one in said if one.invalidation is not None]  # all answers have it, or none
    before: dict[str, Any] = {}
    if search.relaxed_found is not None and any(one.relaxed is not None for one in said):
        relaxed = torch.cat([one.logit if one.relaxed is None else one.relaxed for one in said])
        crossed = torch.cat([search.relaxed_found & (one.relaxed is not None) for one in said])
        before["transferred_relaxed"] = _known(predicted(relaxed) == target, crossed.numpy())
    return pd.DataFrame(
        {
            "base": np.full(n * many, base[0], dtype=NUMBER),
            "reference": numbers.repeat(n),
            "factual": np.tile(search.rows.numpy().astype(NUMBER), many),
            "base_seed": base[1],
            "reference_seed": (numbers if seeds is None else np.array(seeds)[numbers]).repeat(n),
            **({"proposal": np.tile(search.proposal.numpy().astype(NUMBER), many)} if several else {}),
            "target": target.numpy().astype(NUMBER),
            "found": found,
            "agreement": (predicted(factual_logit) == predicted(search.factual_logit).repeat(many)).numpy(),
            "transferred": _known(predicted(logit) == target, found),
            "margin": margin(logit, target).numpy(),
            "factual_logit": _cells(factual_logit),
            **before,
            **{name: np.where(found, torch.cat(shares).numpy(), np.nan) for name, shares in controls.items()},
            **({INVALIDATION: torch.cat(lost).numpy()} if lost else {}),
        }
    )


def _known(values: Tensor, known: np.ndarray) -> pd.arrays.BooleanArray:
    """Return values as a column in which the values that are not `known` are missing."""
    return pd.arrays.BooleanArray(values.numpy(), ~known)


def _cells(logits: Tensor) -> Any:
    """Return (n,) logits as a column of numbers, (n, K) logits as a column of lists."""
    return logits.numpy() if logits.dim() == 1 else list(logits.numpy())
