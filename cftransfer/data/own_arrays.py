"""A data set from the user's arrays."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from cftransfer.data.dataset import Dataset, encoded
from cftransfer.data.feature import Feature
from cftransfer.data.images import from_images
from cftransfer.data.space import FeatureSpace
from cftransfer.errors import InputError

ROUNDING = 1e-5  # an encoded number may leave [0, 1] by this much
IMAGES = 4  # dimensions of an array of images


def arrays(
    x_train: Any,
    y_train: Any,
    x_test: Any,
    y_test: Any,
    *,
    space: FeatureSpace | None = None,
    classes: Sequence[str] | None = None,
    weight: Any = None,
) -> Dataset:
    """Return the data set of arrays: rows (n, columns) or images (n, channels, height, width), and classes 0, 1, ….

    Args:
        x_train: (n, columns) or images (n, channels, height, width). Bytes are grey levels of images. Numbers are in
            [0, 1], in the columns of `space`; without a space, columns are in original units and images in [0, 1].
        y_train: (n,) classes 0, 1, …, each with at least one row.
        x_test: as x_train.
        y_test: as y_train.
        space: the meaning of the columns; None for continuous features in the range of the training rows.
        classes: names of the classes; None for 0, 1, ….
        weight: (n_train,) > 0, the weight of each training row in the loss; for columns only.

    Raises:
        InputError: for shapes and classes that do not fit, numbers outside [0, 1], and DataFrames (use `table`).

    >>> data = arrays([[1.0, 20.0], [3.0, 40.0]], [0, 1], [[2.0, 30.0]], [1])
    >>> data.x_test.tolist()
    [[0.5, 0.5]]
    """
    train, test = (_checked(*part) for part in (("train", x_train, y_train), ("test", x_test, y_test)))
    if train[0].shape[1:] != test[0].shape[1:]:
        raise InputError(f"x_test: has rows of shape {test[0].shape[1:]}, but x_train has {train[0].shape[1:]}")
    names = _names(train[1], test[1], classes)
    if train[0].ndim == IMAGES:
        if space is not None or weight is not None:
            raise InputError("space, weight: are for columns; images take neither")
        return from_images("arrays", train=train, test=test, classes=names, about="", from_files=False)
    return _columns(train, test, space=space, classes=names, weight=weight)


def _columns(
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    *,
    space: FeatureSpace | None,
    classes: tuple[str, ...],
    weight: Any,
) -> Dataset:
    from cftransfer.data.own_data import weights

    columns = space.columns if space is not None else [f"x{place}" for place in range(train[0].shape[1])]
    if len(columns) != train[0].shape[1]:
        raise InputError(f"x_train: has {train[0].shape[1]} columns, but the space has {len(columns)}")
    rows, others = (pd.DataFrame(x, columns=columns) for x, _ in (train, test))
    meant = [Feature(name=name, kind="continuous") for name in columns]
    if space is not None:
        for name, x in (("x_train", train[0]), ("x_test", test[0])):
            outside = ((x < -ROUNDING) | (x > 1 + ROUNDING)).any(0)
            if outside.any():
                column = columns[int(outside.argmax())]
                raise InputError(
                    f"{name}: column {column} leaves [0, 1]; space.encode(frame) brings original units there"
                )
    made = FeatureSpace(tuple(meant)) if space is not None else FeatureSpace.fit(meant, rows)
    weighted = None if weight is None else weights(pd.Series(np.asarray(weight), name="weight"))
    data = encoded("arrays", made, (rows, train[1]), (others, test[1]), classes=classes, weight=weighted)
    return replace(data, space=space or made, from_files=False)


def _checked(split: str, x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs and classes as arrays of one length."""
    if isinstance(x, pd.DataFrame):
        raise InputError(f"x_{split}: is a DataFrame with named columns; use table(frame, label=…)")
    inputs, classes = np.asarray(x), np.asarray(y)
    if inputs.ndim not in (2, IMAGES) or inputs.dtype.kind not in "biuf":
        takes = "(n, columns), or images (n, channels, height, width)"
        raise InputError(f"x_{split}: has shape {inputs.shape} of {inputs.dtype}; takes numbers {takes}")
    whole = classes.dtype.kind in "biuf" and bool(np.isfinite(classes).all() and (classes == np.round(classes)).all())
    if classes.ndim != 1 or not whole or classes.min(initial=0) < 0:
        raise InputError(f"y_{split}: must be (n,) classes 0, 1, …; has shape {classes.shape} of {classes.dtype}")
    if len(inputs) != len(classes) or not len(inputs):
        raise InputError(f"x_{split}: has {len(inputs)} rows and {len(classes)} classes; must be as many, at least one")
    return inputs, classes


def _names(y_train: np.ndarray, y_test: np.ndarray, classes: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of the classes; InputError for a class without training rows or without its own name."""
    many = int(max(y_train.max(), y_test.max())) + 1
    names = tuple(classes) if classes is not None else tuple(map(str, range(max(2, many))))
    if many > len(names) or len(set(names)) < len(names):
        raise InputError(f"classes: names {', '.join(map(str, names))}, but the labels go to {many - 1}; one name each")
    if absent := sorted({*range(len(names))} - {*y_train.astype(int).tolist()}):
        raise InputError(f"y_train: no row has class {absent[0]}; classes count from 0, and each has a training row")
    return names
