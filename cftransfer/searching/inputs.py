"""Inputs from a caller → float32 tensors in the columns of the space."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cftransfer.data.pixels import PixelSpace, unit
from cftransfer.data.space import FeatureSpace
from cftransfer.errors import InputError
from cftransfer.searching.candidates import Background

ROUNDING = 1e-5  # an encoded input may leave [0, 1] by this much


def as_inputs(
    x: Any, space: FeatureSpace | PixelSpace | None, *, name: str = "x", clip: bool = True, boxed: bool = False
) -> Tensor:
    """Return (n, *input) float32 in [0, 1]; a DataFrame in original units is encoded, bytes are divided by 255.

    boxed: whether to refuse an array that leaves [0, 1], for example one in original units.
    clip: whether to clip numbers of a DataFrame to each feature's range.
    InputError for a DataFrame without a feature space, for numbers that are not finite, and for inputs of a shape other
    than the space's.
    """
    if isinstance(x, pd.DataFrame):
        if not isinstance(space, FeatureSpace):
            raise InputError(f"{name}: a DataFrame is in original units; give space=FeatureSpace(…) to encode it")
        x = space.encode(x, clip=clip)
    rows = torch.from_numpy(np.array(x)) if isinstance(x, np.ndarray) else torch.as_tensor(x)
    rows = (rows if isinstance(space, FeatureSpace) else unit(rows)).detach().float()
    shape = _shape(space)
    if rows.dim() < 2 or (shape is not None and tuple(rows.shape[1:]) != shape):
        raise InputError(f"{name}: has shape {tuple(rows.shape)}; takes (rows, {', '.join(map(str, shape or ['…']))})")
    if not rows.isfinite().all():
        first = int((~rows.isfinite()).flatten(1).any(1).nonzero()[0])
        raise InputError(f"{name}: has numbers that are not finite, first in row {first}")
    if boxed and ((rows < -ROUNDING) | (rows > 1 + ROUNDING)).any():
        column = int((rows.flatten(1) - 0.5).abs().amax(0).argmax())
        named = f" ({space.columns[column]})" if isinstance(space, FeatureSpace) else ""
        most = float(rows.flatten(1)[:, column].abs().max())
        way_out = "give a DataFrame for original units, or constraints='none' for inputs without a range"
        raise InputError(f"{name}: column {column}{named} goes to {most:g}, and arrays are in [0, 1]; {way_out}")
    return rows


def as_background(
    background: Any, space: FeatureSpace | PixelSpace | None, *, classes: Sequence[Any] | None = None
) -> Background | None:
    """Return a caller's (x, y) as the training split, with labels numbered by their place in `classes`."""
    if background is None or isinstance(background, Background):
        return background
    if not isinstance(background, tuple | list) or len(background) != 2:
        raise InputError("background: must be the training split as a pair, (x_train, y_train)")
    x, y = background
    rows = x if isinstance(x, Tensor) and x.dtype == torch.uint8 else as_inputs(x, space, name="background")
    labels = np.asarray(y)
    if labels.ndim != 1 or len(labels) != len(rows):
        raise InputError(f"background: has {len(rows)} rows and labels of shape {labels.shape}")
    known = np.asarray(classes if classes is not None else np.unique(labels) if labels.dtype.kind in "OUS" else [])
    if len(known) and not np.isin(labels, known).all():
        strange = labels[~np.isin(labels, known)].tolist()[0]
        raise InputError(f"background: has the label {strange!r}, and the base the classes {known.tolist()}")
    codes = np.array([np.flatnonzero(known == label)[0] for label in labels]) if len(known) else np.array(labels)
    return Background(rows, torch.from_numpy(codes))


def _shape(space: FeatureSpace | PixelSpace | None) -> tuple[int, ...] | None:
    if space is None:
        return None
    return (len(space.columns),) if isinstance(space, FeatureSpace) else space.shape
