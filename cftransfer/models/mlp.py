"""The fully connected network."""

from itertools import pairwise
from math import prod

from torch import nn

from cftransfer.spec import whole


def mlp(*, layers: int, width: int, input_shape: tuple[int, ...]) -> nn.Module:
    """ReLU network with `layers` ≥ 1 hidden layers of `width` ≥ 1 features: (n, *input_shape) → (n,) logits."""
    whole("model.layers", layers, least=1)
    whole("model.width", width, least=1)
    sizes = [prod(input_shape)] + [width] * layers
    hidden = [module for size in pairwise(sizes) for module in (nn.Linear(*size), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(width, 1), nn.Flatten(0))
