"""The distance between a counterfactual and its factual."""

import torch
from torch import Tensor

from cftransfer.data.pixels import unit
from cftransfer.models.prediction import rows_at_once

BLOCK = 2**23  # numbers per pass, 32 MiB: 55 images of 224 × 224 pixels, or all rows of a table


def distance(x: Tensor, other: Tensor, *, p: float = 2) -> Tensor:
    """x, other: (n, *input) → (n,) float64: the p-norm of their difference, in units of the input's range.

    p = 0 counts the inputs that differ; p = inf is the largest difference.
    """
    parts = (tensor.split(rows_at_once(x, numbers=BLOCK)) for tensor in (x, other))
    differences = ((unit(a).double() - unit(b).double()).flatten(1) for a, b in zip(*parts, strict=True))
    return torch.cat([torch.linalg.vector_norm(difference, p, dim=1) for difference in differences])
