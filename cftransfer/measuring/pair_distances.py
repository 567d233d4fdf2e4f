"""Distances between each reference and each base on test rows, for models in memory."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from cftransfer.columns import PAIR
from cftransfer.errors import InputError
from cftransfer.measuring.model_distance import MEASURES, model_distances
from cftransfer.measuring.stored_logits import StoredLogits
from cftransfer.models.prediction import Asked, logits
from cftransfer.searching.candidates import Counterfactuals
from cftransfer.searching.inputs import as_inputs


def distances_on(
    test: Any,
    searches: Sequence[Counterfactuals],
    groups: Mapping[str, Sequence[Asked | StoredLogits]],
    *,
    seeds: Sequence[int],
    nested: bool,
) -> pd.DataFrame:
    """Return one row per group × base × reference: `disagreement`, `prob_difference` and `logit_rmse`.

    `model_distance` defines them. NaN for stored logits, which cannot be asked. test: (n, *input) rows in [0, 1], or a
    DataFrame in original units. seeds: names of the bases. InputError without rows, and for an unknown base.
    """
    boxed = searches[0].settings.get("constraints") != "none"
    x = as_inputs(test, searches[0].space, name="test", boxed=boxed)
    if not len(x):
        raise InputError("test: has no rows; pass a test split, such as Dataset.x_test, or leave it out")
    bases = [search.base for search in searches if search.base is not None]
    if len(bases) < len(searches):
        raise InputError("test: needs counterfactuals of search or judge, with a base that can be asked")
    of_bases = [logits(base, x) for base in bases]
    tables = []
    for group, models in groups.items():
        there = {place: model for place, model in enumerate(models) if not isinstance(model, StoredLogits)}
        said = [[logits(there[place], x)] if place in there else of_bases for place in range(len(models))]
        table = model_distances(of_bases, said, nested=nested)
        table.loc[~table.reference.isin(there), [*MEASURES]] = float("nan")
        base_seed = [seeds[base] for base in table.base]
        tables.append(table.assign(group=group, base_seed=base_seed, reference_seed=table.reference))
    return pd.concat(tables, ignore_index=True)[["group", *PAIR, *MEASURES]]
