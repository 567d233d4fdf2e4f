"""Balanced binary tasks from labelled images: one class against everything else."""

from collections.abc import Sequence

import numpy as np
import torch

from cftransfer.data.dataset import Dataset, few_rows
from cftransfer.data.pixels import PixelSpace
from cftransfer.errors import InputError


def balanced(labels: np.ndarray, positive: int, *, split_seed: int, what: str) -> np.ndarray:
    """labels: (n,) classes → indices of equally many images of class `positive` and of other classes, in random order.

    All images of the smaller side are taken, and as many of the larger. The other classes are drawn evenly: counts
    differ by one at most, except for classes with too few images. `what` names the images in the InputError for a side
    without images.
    """
    random = np.random.default_rng(split_seed)
    ours = np.flatnonzero(labels == positive)
    classes = random.permutation([other for other in np.unique(labels) if other != positive])
    drawn = [random.permutation(np.flatnonzero(labels == other)) for other in classes]
    for side, images in (("the positive class", len(ours)), ("any other class", len(labels) - len(ours))):
        if not images:
            raise InputError(f"{what}: has no image of {side}; a balanced task needs some: add them")
    if (others := len(labels) - len(ours)) < len(ours):
        ours = random.permutation(ours)[:others]
    counts = _even([len(part) for part in drawn], len(ours))
    theirs = [part[:count] for part, count in zip(drawn, counts, strict=True)]
    return random.permutation(np.concatenate([ours, *theirs]))


def _even(available: Sequence[int], total: int) -> list[int]:
    """Return how many images to take of each class, as equal as possible; the first larger classes take the rest."""
    level = 0
    while level < max(available) and sum(min(most, level + 1) for most in available) <= total:
        level += 1
    counts = [min(most, level) for most in available]
    larger = [index for index, most in enumerate(available) if most > level]
    for index in larger[: total - sum(counts)]:
        counts[index] += 1
    return counts


def from_images(
    name: str,
    *,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    classes: tuple[str, ...],
    about: str,
    from_files: bool = True,
) -> Dataset:
    """train, test: images (n, channels, height, width), uint8 or in [0, 1], and (n,) their classes 0, 1, …."""
    for split, (x, _) in (("train", train), ("test", test)):
        if x.dtype != np.uint8 and (x.dtype.kind != "f" or not ((x >= 0) & (x <= 1)).all()):
            raise InputError(f"{split} images: takes bytes, or numbers in [0, 1]; divide by the largest grey level")
    train, test = ((x if x.dtype == np.uint8 else x.astype(np.float32), y) for x, y in (train, test))
    (x_train, y_train), (x_test, y_test) = (
        (torch.from_numpy(x), torch.from_numpy(y.astype(np.float32))) for x, y in (train, test)
    )
    return Dataset(
        name=name,
        x_train=x_train,
        y_train=y_train,
        x_test=x_test,
        y_test=y_test,
        space=PixelSpace((x_train.shape[1], x_train.shape[2], x_train.shape[3])),
        classes=classes,
        about=about,
        from_files=from_files,
        notes=tuple(few_rows(y_train, classes)),
    )
