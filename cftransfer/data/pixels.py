"""Images as inputs: the box of their pixels, and the one rule that turns bytes into numbers."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

GREYS = 255  # a byte's largest value; a pixel of 255 is an input of 1


@dataclass(frozen=True)
class PixelSpace:
    """The box [0, 1] of every channel of every pixel: all may change; whole grey levels are possible.

    shape: channels, height, width.
    """

    shape: tuple[int, int, int]

    def decode(self, x: Tensor) -> np.ndarray:
        """x: (n, *shape) in [0, 1] → (n, height, width, channels) bytes, rounded, as in image files."""
        return x.mul(GREYS).round().clamp(0, GREYS).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def unit(x: Tensor) -> Tensor:
    """Bytes → float32 in [0, 1], for all models and searches; floats are returned unchanged."""
    return _shares(x.float()) if x.dtype == torch.uint8 else x


def nearest_greys(x: Tensor) -> Tensor:
    """x: (…) numbers, or bytes → (…) float32 in [0, 1], the nearest whole grey levels, bit for bit as from `unit`."""
    return _shares(unit(x).mul(GREYS).round_().clamp_(0, GREYS))


def _shares(greys: Tensor) -> Tensor:
    """Return grey levels 0 to 255 as shares of the largest; divides in place."""
    # Divides by a tensor, because CUDA would multiply by the rounded reciprocal of a plain number.
    return greys.div_(torch.full((), GREYS, dtype=greys.dtype, device=greys.device))
