"""The fully connected network."""

from itertools import pairwise
from math import prod

from torch import Tensor, nn
from torch.nn.functional import linear

from cftransfer.settings import check_int


def mlp(*, layers: int = 4, width: int = 64, input_shape: tuple[int, ...], outputs: int = 1) -> nn.Module:
    """ReLU network with `layers` ≥ 1 hidden layers of `width` ≥ 1 features: (n, *input_shape) → (n,) logits.

    outputs: 1, or K ≥ 3 for (n, K) logits.
    """
    check_int("model.layers", layers)
    check_int("model.width", width)
    sizes = [prod(input_shape)] + [width] * layers
    hidden = [module for size in pairwise(sizes) for module in (_InPlaceLinear(*size), nn.ReLU(inplace=True))]
    return nn.Sequential(nn.Flatten(), *hidden, _InPlaceLinear(width, outputs), logits_of(outputs))


def logits_of(outputs: int) -> nn.Module:
    """Return what gives a last layer's (n, outputs) its shape: (n,) for one output, as it is for more."""
    return nn.Flatten(0) if outputs == 1 else nn.Identity()


class _InPlaceLinear(nn.Linear):
    """torch's own, but for one allocation less: under vmap it would add the bias to a copy, a tenth of a step."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight).add_(self.bias)
