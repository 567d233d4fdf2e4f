"""The fully connected network."""

from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from cftransfer.settings import check_float, check_int


def mlp(
    *, layers: int = 4, width: int = 64, dropout: float = 0.0, input_shape: tuple[int, ...], outputs: int = 1
) -> nn.Module:
    """ReLU network with `layers` ≥ 1 hidden layers of `width` ≥ 1 features: (n, *input_shape) → (n,) logits.

    dropout: share of the hidden features, in [0, 1), set to 0 at random for each row in training; the others are scaled
    up (Srivastava et al. 2014). outputs: 1, or K ≥ 3 for (n, K) logits.
    """
    check_int("model.layers", layers)
    check_int("model.width", width)
    inside = "from 0 up to, not including, 1"
    check_float("model.dropout", dropout, inside=inside, among=lambda share: 0 <= share < 1)
    sizes = [prod(input_shape)] + [width] * layers
    hidden = [module for size in pairwise(sizes) for module in (_InPlaceLinear(*size), nn.ReLU(inplace=True))]
    every = nn.Flatten(), *hidden, _InPlaceLinear(width, outputs), logits_of(outputs)
    return _WithDropout(*every, share=dropout, units=layers * width) if dropout else nn.Sequential(*every)


def logits_of(outputs: int) -> nn.Module:
    """Return a module that shapes a last layer's (n, outputs): to (n,) for one output, unchanged for more."""
    return nn.Flatten(0) if outputs == 1 else nn.Identity()


class _WithDropout(nn.Sequential):
    """Sequential with dropout after every ReLU: in training mode, or by the numbers `drawn`, (n, units) in [0, 1)."""

    def __init__(self, *modules: nn.Module, share: float, units: int) -> None:
        super().__init__(*modules)
        self.share, self.units = share, units

    def forward(self, x: Tensor, drawn: Tensor | None = None) -> Tensor:
        if drawn is None and self.training:
            drawn = torch.rand(len(x), self.units, device=x.device)
        place = 0
        for module in self:
            x = module(x)
            if drawn is not None and isinstance(module, nn.ReLU):
                kept = drawn[:, place : place + x.shape[1]] >= self.share
                x, place = x * kept / (1 - self.share), place + x.shape[1]
        return x


class _InPlaceLinear(nn.Linear):
    """nn.Linear with one allocation less: under vmap torch adds the bias to a copy, a tenth of a step."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight).add_(self.bias)
