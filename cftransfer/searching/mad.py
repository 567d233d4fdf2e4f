"""The spread of each input over the training split: the unit of Wachter's distance."""

import torch
from torch import Tensor

from cftransfer.data.pixels import unit
from cftransfer.searching.candidates import Background, needs

ROWS = 10_000  # most training rows; the first ones, since the split is shuffled


def mad_scale(background: Background | None) -> Tensor:
    """Return (*input), > 0: the median absolute deviation of each input over the training split.

    If the MAD is 0, as for a binary feature with one frequent value, returns the standard deviation; for a constant, 1.
    (Wachter, Mittelstadt, Russell 2017 divide by the MAD and do not treat 0.)
    """
    x = unit(needs(background, "the MAD").x[:ROWS])
    median = x.median(0).values
    mad, deviation = (x - median).abs().median(0).values, x.std(0)
    spread = torch.where(mad > 0, mad, deviation)
    return torch.where(spread > 0, spread, torch.ones_like(spread))
