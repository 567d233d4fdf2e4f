"""Plausibility: whether x′ lies where the training data have rows of the target class."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cftransfer.data.pixels import unit
from cftransfer.errors import InputError
from cftransfer.searching.candidates import Background, Counterfactuals, needs
from cftransfer.searching.distance import BLOCK
from cftransfer.searching.inputs import as_background

NEIGHBOURS = 5  # of knn_distance and knn_share
FACTOR_NEIGHBOURS = 20  # of lof (Breunig et al. 2000); scikit-learn's default


def plausibility(found: Counterfactuals | Sequence[Counterfactuals], background: tuple[Any, Any]) -> pd.DataFrame:
    """Measure how near found counterfactuals on tables are to the training rows of their target class.

    Args:
        found: the result of `search` or `judge`, for one base or several.
        background: (x_train, y_train), inputs as `search` takes them and their labels.

    Returns:
        DataFrame: one row per base × found counterfactual, with the numbers `base`, `factual` and `proposal`, and
            `knn_distance`, the mean L2 distance of x′ to its 5 nearest training rows with the target's label, in units
            of a feature's range;
            `knn_share`, the share of the target's label among its 5 nearest training rows of any label;
            `lof`, the local outlier factor among the distinct training rows with the target's label: about 1 among
            these rows, larger for outliers.

    Raises:
        InputError: for images, and for a background that does not fit.

    >>> from cftransfer import search
    >>> base = torch.nn.Linear(1, 1)
    >>> _ = base.load_state_dict({"weight": torch.tensor([[4.0]]), "bias": torch.tensor([-2.0])})
    >>> x_train = torch.linspace(0, 1, 11)[:, None]
    >>> background = (x_train, (x_train[:, 0] > 0.55).long())
    >>> found = search(base, torch.tensor([[0.2]]), method="minimal")  # ends just above .5
    >>> plausibility(found, background).round(2)[["knn_distance", "knn_share"]].values.tolist()
    [[0.3, 0.4]]
    """
    searches = [found] if isinstance(found, Counterfactuals) else list(found)
    if not searches:
        raise InputError("found: is empty; pass the result of search or judge, for one base or more")
    if searches[0].factual.dim() > 2:
        raise InputError("found: holds images; plausibility is measured on tables only")
    classes = getattr(searches[0].base, "classes", None)
    split = needs(as_background(background, searches[0].space, classes=classes), "plausibility")
    tables = []
    for base, (search, columns) in enumerate(zip(searches, plausible(searches, split), strict=True)):
        named = {"base": base, "factual": search.rows, "proposal": search.proposal}
        tables.append(
            pd.DataFrame(named | {name: part.numpy() for name, part in columns.items()})[search.found.numpy()]
        )
    return pd.concat(tables, ignore_index=True)


def plausible(searches: Sequence[Counterfactuals], background: Background) -> list[dict[str, Tensor]]:
    """Return for every base the columns of `plausibility` by name, (n,) float64 each, NaN if nothing was found."""
    rows, labels = unit(background.x).flatten(1).double(), background.y.long()
    aimed = sorted({target for search in searches for target in search.target[search.found].tolist()})
    factors = {target: _outlier_factor(rows[labels == target]) for target in aimed}
    return [_columns(search, rows, labels, factors) for search in searches]


def _columns(
    search: Counterfactuals, rows: Tensor, labels: Tensor, factors: dict[int, Callable[[Tensor], Tensor]]
) -> dict[str, Tensor]:
    names = ("knn_distance", "knn_share", "lof")
    columns = {name: torch.full((len(search),), torch.nan, dtype=torch.double) for name in names}
    for target, factor in factors.items():
        every = (search.found & (search.target == target)).nonzero().flatten()
        if not len(every):  # another base found some of this target; scikit-learn takes no empty array
            continue
        for some in every.split(max(1, BLOCK // max(1, len(rows)))):
            points, own = search.counterfactual[some].flatten(1).double(), labels == target
            # Matrix products would be faster, but in many columns may round the distance of equal rows away from 0.
            apart = torch.cdist(points, rows, compute_mode="donot_use_mm_for_euclid_dist")
            columns["knn_distance"][some] = _mean_of_nearest(apart[:, own])
            columns["knn_share"][some] = _share_of_nearest(apart, own)
            columns["lof"][some] = factor(points)
    return columns


def _mean_of_nearest(apart: Tensor) -> Tensor:
    """apart: (n, rows) distances → (n,) the mean of the nearest; of all rows if there are fewer, NaN without rows."""
    return apart.topk(min(NEIGHBOURS, apart.shape[1]), largest=False).values.mean(1)


def _share_of_nearest(apart: Tensor, own: Tensor) -> Tensor:
    """apart: (n, rows), own: (rows,) bool → (n,) the share of the nearest rows that are own.

    Rows that tie for the last places share these equally, so the order of rows does not matter.
    """
    count = min(NEIGHBOURS, apart.shape[1])
    last = apart.topk(count, largest=False).values[:, -1:]
    nearer, level = apart < last, apart == last
    left = count - nearer.sum(1)
    of_level = (level & own).sum(1).double() / level.sum(1)
    return ((nearer & own).sum(1) + left * of_level) / count


def _outlier_factor(rows: Tensor) -> Callable[[Tensor], Tensor]:
    """Return a function from points to their local outlier factor, (n,), among rows: minus scikit-learn's score.

    Equal rows count once: more than 20 of them would have an infinite density, and points nearby a factor above 10⁷.
    NaN if there are fewer than two distinct rows.
    """
    from sklearn.neighbors import LocalOutlierFactor

    distinct = np.unique(rows.numpy(), axis=0)  # sorted, so that the order of rows does not break ties
    if len(distinct) < 2:
        return lambda points: torch.full((len(points),), torch.nan, dtype=torch.double)
    few = min(FACTOR_NEIGHBOURS, len(distinct) - 1)
    fitted = LocalOutlierFactor(n_neighbors=few, novelty=True).fit(distinct)
    return lambda points: torch.from_numpy(-fitted.score_samples(points.numpy()))
