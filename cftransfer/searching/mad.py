"""How much each input varies in the training split: the unit of Wachter's distance."""

import torch
from torch import Tensor

from cftransfer.data.pixels import unit
from cftransfer.searching.candidates import Background, needs

ROWS = 10_000  # of the training split at most; the first, since it is shuffled


def mad_scale(background: Background | None) -> Tensor:
    """Return (*input), > 0: the median absolute deviation of each input over the training split.

    Where it is 0, as of a binary feature of which one value prevails, the standard deviation; of a constant, 1.
    (Wachter, Mittelstadt, Russell 2017 divide by the MAD and do not say what to do about 0.)
    """
    x = unit(needs(background, "the MAD").x[:ROWS])
    median = x.median(0).values
    mad, deviation = (x - median).abs().median(0).values, x.std(0)
    spread = torch.where(mad > 0, mad, deviation)
    return torch.where(spread > 0, spread, torch.ones_like(spread))
