"""Random numbers that belong to a row: the same alone, in any batch and in any order.

Draw number i of a row is a hash of the row's content and of i, so no state is kept between steps.
"""

from math import pi

import numpy as np
import torch
from torch import Tensor

GOLDEN, MIX_1, MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB  # of SplitMix64 (Steele et al. 2014)


def row_seeds(x: Tensor) -> Tensor:
    """x: (n, *input) float32 → (n,) int64, a hash of each row's bits."""
    bits = x.detach().cpu().flatten(1).contiguous().numpy().view(np.int32)
    seeds = torch.zeros(len(x), dtype=torch.long)
    for column in torch.from_numpy(bits.astype(np.int64)).unbind(1):
        seeds = _mixed(seeds + column)
    return seeds.to(x.device)


def uniform(seeds: Tensor, *shape: int, first: Tensor | int = 0) -> Tensor:
    """seeds: (n,) → (n, *shape) float32, uniform in (0, 1); first: number of the first draw, an int or (n,)."""
    many = int(np.prod(shape))
    begin = torch.as_tensor(first, device=seeds.device).expand(len(seeds)).view(-1, 1)
    number = begin + torch.arange(many, device=seeds.device)
    bits = _mixed(seeds.view(-1, 1) + number * _signed(GOLDEN))
    top = (bits >> 41) & ((1 << 23) - 1)  # 23 bits, so that rounding gives neither 0 nor 1
    return ((top.float() + 0.5) / (1 << 23)).view(len(seeds), *shape)


def normal(seeds: Tensor, *shape: int, first: Tensor | int = 0) -> Tensor:
    """seeds: (n,) → (n, *shape) float32, standard normal (Box and Muller 1958); takes twice as many draws."""
    one, two = uniform(seeds, 2, *shape, first=first).unbind(1)
    return (-2 * one.log()).sqrt() * (2 * pi * two).cos()


def _mixed(number: Tensor) -> Tensor:
    """SplitMix64's finaliser; int64 wraps around like uint64."""
    for shift, factor in ((30, MIX_1), (27, MIX_2)):
        number = (number ^ _shifted(number, shift)) * _signed(factor)
    return number ^ _shifted(number, 31)


def _shifted(number: Tensor, places: int) -> Tensor:
    """Shift right and fill with zeros, where >> fills with the sign."""
    return (number >> places) & ((1 << (64 - places)) - 1)


def _signed(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number
