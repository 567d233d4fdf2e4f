"""What a model says: one rule for everybody who asks, be it the search, the base's check or the reference."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from cftransfer.spec import call

Model: TypeAlias = Callable[[Tensor], Tensor]  # (n, *input) in [0, 1] → (n,) logits of class 1


def build(settings: Mapping[str, Any], *, input_shape: tuple[int, ...], seed: int) -> nn.Module:
    """Return a freshly initialised model; its weights are a function of the settings and `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return call("model", settings, input_shape=input_shape)


def logits(model: Model, x: Tensor, *, batch_size: int = 4096) -> Tensor:
    """x: (n, *input) → (n,) logits of class 1, without gradients, in passes of `batch_size` rows."""
    with torch.no_grad():
        return torch.cat([model(rows) for rows in x.split(batch_size)]) if len(x) else x.new_zeros(0)


def predicted(logit: Tensor) -> Tensor:
    """(…) logits → (…) predicted classes, int64: 1 where the logit is above 0, else 0."""
    return (logit > 0).long()


def margin(logit: Tensor, target: Tensor) -> Tensor:
    """Logit in favour of the target class: positive where the model predicts it."""
    return torch.where(target == 1, logit, -logit)
