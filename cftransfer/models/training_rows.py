"""The training rows and labels of a model, for references that differ from their bases in the data.

Rows are a function of the member's seed and of the settings. A reference with its base's seed starts from the same
weights, so only its data differ; in `drop` and `label_noise` its batches also hold the same rows.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cftransfer.data.dataset import Dataset, clipped, few_rows
from cftransfer.data.pixels import PixelSpace
from cftransfer.data.space import FeatureSpace
from cftransfer.errors import InputError
from cftransfer.settings import check_float, check_int
from cftransfer.spec import ALL_ROWS
from cftransfer.targets import call_target

log = logging.getLogger(__name__)

STREAM = 0x726F7773  # separates these random numbers from those of the batch order


@dataclass(frozen=True)
class TrainingRows:
    """The training rows of one model, from a split of n rows.

    index: (m,) int64, the rows, possibly repeated; None: all, in order. labels: (n,) float32, the classes; None:
    unchanged. kept: (n,) float32, 1 for a row that counts in the loss, 0 for a dropped row; None: all count.
    """

    index: Tensor | None = None
    labels: Tensor | None = None
    kept: Tensor | None = None


def bootstrap(y: Tensor, *, draw: int, random: Callable[[], np.random.Generator]) -> TrainingRows:  # noqa: ARG001
    """As many rows as the split has, drawn with replacement: another sample of the same population."""
    return TrainingRows(index=torch.from_numpy(random().integers(0, len(y), len(y))))


def drop(y: Tensor, *, count: int, share: float | None, draw: int, random: Callable) -> TrainingRows:  # noqa: ARG001
    """All rows except a `share` of them, in [0, 1), or except `count` rows if `share=None`.

    A dropped row stays in its batch with a weight of 0.
    """
    if share is not None:
        count = round(_share("rows.share", share) * len(y))
    else:
        check_int("rows.count", count, least=0, most=len(y) - 1)
    if count == 0:
        return TrainingRows()
    kept = torch.ones(len(y))
    kept[torch.from_numpy(random().permutation(len(y))[:count])] = 0
    return TrainingRows(kept=kept)


def part(y: Tensor, *, share: float, draw: int, random: Callable) -> TrainingRows:  # noqa: ARG001
    """A `share` of the rows in (0, 1]; with one seed, a larger part includes every smaller part."""
    if _share("rows.share", share, one=True) == 0:
        raise InputError("rows.share=0: leaves no row to train on; takes more")
    order = random().permutation(len(y))
    return TrainingRows(index=torch.from_numpy(np.sort(order[: max(1, round(share * len(y)))])))


def label_noise(y: Tensor, *, share: float, draw: int, random: Callable, classes: int) -> TrainingRows:  # noqa: ARG001
    """All rows, a `share` of them in [0, 1] with another class; with one seed, more noise includes less noise."""
    generator = random()
    order, moved = generator.permutation(len(y)), generator.integers(1, classes, len(y))
    wrong = order[: round(_share("rows.share", share, one=True) * len(y))]
    if not len(wrong):
        return TrainingRows()
    labels = y.clone()
    labels[wrong] = (labels[wrong] + torch.from_numpy(moved[wrong])) % classes
    return TrainingRows(labels=labels)


def shift(y: Tensor, *, dataset: Mapping[str, Any], draw: int, random: Callable) -> TrainingRows:  # noqa: ARG001
    """All rows of another data set; `shifted` has already put them in place of the base's rows."""
    return TrainingRows()


def training_rows(data: Dataset, settings: Mapping[str, Any], *, seed: int) -> TrainingRows:
    """Return the training rows of a seed's model; InputError, naming the key, for impossible settings."""
    if dict(settings) == ALL_ROWS:
        return TrainingRows()
    draw = check_int("rows.draw", settings.get("draw"))
    offered = {"classes": len(data.classes)}
    return call_target(
        "rows", settings, data.y_train, offered=offered, random=lambda: np.random.default_rng([seed, draw, STREAM])
    )


def split_of(data: Dataset, rows: TrainingRows) -> Dataset:
    """Return the data set with these rows as its training split, for models that are fitted in one go."""
    y = data.y_train if rows.labels is None else rows.labels
    index = torch.arange(len(y)) if rows.index is None else rows.index
    if rows.kept is not None:
        index = index[rows.kept[index] > 0]
    weight = None if data.weight is None else data.weight[index]
    return replace(data, x_train=data.x_train[index], y_train=y[index], weight=weight)


def shifted(data: Dataset, other: Dataset) -> Dataset:
    """Return the data set with the training rows of another data set, in its own space; the test split stays.

    Values are clipped to the ranges of the space, and counted in the notes. Rows with a category that the space lacks
    are left out, and counted. InputError for data sets with other features or classes.
    """
    ours, theirs = data.space, other.space
    if isinstance(ours, PixelSpace) or isinstance(theirs, PixelSpace):
        raise InputError("rows=shift: takes data sets that are tables")
    if data.classes != other.classes:
        raise InputError(f"rows.dataset: has the classes {', '.join(other.classes)}, not {', '.join(data.classes)}")
    rows = theirs.decode(other.x_train.numpy())
    if absent := [feature.name for feature in ours.features if feature.name not in rows]:
        raise InputError(f"rows.dataset: lacks the features {', '.join(absent)}, or they are the same in all its rows")
    known = _known(ours, rows)
    if not known.any():
        raise InputError("rows.dataset: all its rows have categories that the base's data lack")
    rows, mask = rows[known].reset_index(drop=True), torch.from_numpy(known)
    notes = []
    if out := int((~known).sum()):
        notes.append(f"shifted training rows: left out {out:,} of {len(known):,} with a category that the base lacks")
    weight = None if other.weight is None else other.weight[mask]
    return trained_on(data, rows, other.y_train[mask], weight=weight, notes=notes)


def trained_on(data: Dataset, rows: pd.DataFrame, y: Tensor, *, weight: Tensor | None, notes: Sequence[str]) -> Dataset:
    """Return the data set with `rows`, in original units, as its training split in its own space.

    y: (n,) float32, classes 0, 1, …; weight: (n,) float32, or None. notes: added, with notes on clipped values, to the
    notes of the result and to the log.
    """
    assert isinstance(data.space, FeatureSpace)
    few = [f"shifted training rows: {note}" for note in few_rows(y, data.classes)]
    said = [*notes, *few, *clipped("shifted training", data.space.features, rows)]
    for note in said:
        log.info("%s", note)
    x = torch.from_numpy(data.space.encode(rows))
    return replace(data, x_train=x, y_train=y, weight=weight, notes=(*data.notes, *said))


def _known(space: FeatureSpace, rows: Any) -> np.ndarray:
    """Return (n,) bool: whether all categories of a row are in the space."""
    known = np.ones(len(rows), dtype=bool)
    for feature in space.features:
        if feature.categories:
            known &= rows[feature.name].isin(feature.categories).to_numpy()
    return known


def _share(name: str, share: float, *, one: bool = False) -> float:
    inside = "from 0 to 1" if one else "from 0 up to, not including, 1"
    check_float(name, share, inside=inside, among=lambda part: 0 <= part < 1 or (one and part == 1))
    return share
