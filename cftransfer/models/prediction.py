"""What a model says: one rule for everybody who asks, be it the search, the base's check or the reference."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from cftransfer.data.pixels import unit
from cftransfer.models.techniques import Technique
from cftransfer.spec import call

Model: TypeAlias = Callable[[Tensor], Tensor]  # (n, *input) in [0, 1] → (n,) logits of class 1

ROWS, NUMBERS = 4096, 2**20  # at most, in one pass without gradients; of 224 × 224 pixels, 6 rows


def build(settings: Mapping[str, Any], *, input_shape: tuple[int, ...], seed: int) -> Any:
    """Return a freshly initialised network, or a technique that is not fitted yet.

    All that is random in it is a function of the settings and `seed` alone.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return call("model", settings, input_shape=input_shape)


def rows_at_once(x: Tensor, *, rows: int = ROWS, numbers: int = NUMBERS) -> int:
    """x: (n, *input) → rows to take at a time, at most `rows` with `numbers` inputs: it bounds memory."""
    return max(1, min(rows, numbers // max(1, x[:1].numel())))


def differentiable(model: Model) -> bool:
    """Return whether a model's logits have a gradient with respect to its inputs: unless it is a technique without."""
    return model.differentiable if isinstance(model, Technique) else True


def device_of(model: Model) -> torch.device:
    """Return where a model's weights are; anything else that answers does so on the CPU."""
    weights = model.parameters() if isinstance(model, nn.Module) else iter(())
    return next((weight.device for weight in weights), torch.device("cpu"))


def logits(model: Model, x: Tensor, *, batch_size: int = ROWS) -> Tensor:
    """x: (n, *input) → (n,) logits of class 1, on the CPU, without gradients, in passes of `batch_size` rows or fewer.

    Bytes are taken for what they stand for (`pixels.unit`).
    """
    place = device_of(model)
    with torch.no_grad():
        parts = x.split(rows_at_once(x, rows=batch_size))
        answers = [model(unit(rows.to(place))).cpu() for rows in parts if len(rows)]
    return torch.cat(answers) if answers else torch.zeros(0)


def predicted(logit: Tensor) -> Tensor:
    """(…) logits → (…) predicted classes, int64: 1 where the logit is above 0, else 0."""
    return (logit > 0).long()


def margin(logit: Tensor, target: Tensor) -> Tensor:
    """Logit in favour of the target class: positive where the model predicts it."""
    return torch.where(target == 1, logit, -logit)
