"""Predictions of a model: one rule for search, judging and asking.

A model gives (n,) logits of class 1 in a binary task, or (n, K) logits of K ≥ 3 classes. Probabilities come from the
*margin* of a target class, its logit minus the log-sum-exp of the others: sigmoid(margin) is the target's probability,
softplus(−margin) its cross entropy. The predicted class comes from the *lead*, the target's logit minus the largest
other logit. In a binary task both are ± the logit.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from cftransfer.data.pixels import unit
from cftransfer.errors import InputError

Asked: TypeAlias = Callable[[Tensor], Tensor]  # (n, *input) in [0, 1] → (n,) logits of class 1, or (n, K)
Target: TypeAlias = Any  # None, a class, or one class per row

ROWS, NUMBERS = 4096, 2**20  # limits of one pass without gradients; 6 images of 224 × 224 pixels


def margin(logits: Tensor, target: Tensor) -> Tensor:
    """Return the logit of the target class minus the log-sum-exp of the others: (…) float.

    logits: (…) of class 1, or (…, K); target: (…) classes. In a binary task it is ± the logit. It is above 0 if the
    target has a probability above .5; a model with three classes or more may predict the target with less (`lead`).
    """
    if logits.dim() == target.dim():
        return torch.where(target == 1, logits, -logits)
    chosen = target.long().unsqueeze(-1)
    others = logits.scatter(-1, chosen, -torch.inf).logsumexp(-1)
    return logits.gather(-1, chosen).squeeze(-1) - others


def lead(logits: Tensor, target: Tensor) -> Tensor:
    """Return the logit of the target class minus the largest other logit: above 0 if the model predicts the target."""
    if logits.dim() == target.dim():
        return margin(logits, target)
    chosen = target.long().unsqueeze(-1)
    return logits.gather(-1, chosen).squeeze(-1) - logits.scatter(-1, chosen, -torch.inf).amax(-1)


def cross_entropy(logits: Tensor, target: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Return −log of the target's probability, softplus(−margin): (…); arguments as in `margin`.

    A binary task uses torch's own function, because the recorded numbers of the paper's search depend on its bits.
    smoothing: share of the target, in [0, 1), that is spread evenly over all classes (Szegedy et al. 2016).
    """
    if logits.dim() == target.dim():
        truth = target.to(logits)
        truth = truth * (1 - smoothing) + smoothing / 2 if smoothing else truth
        return binary_cross_entropy_with_logits(logits, truth, reduction="none")
    surprise = softplus(-margin(logits, target))
    return surprise - smoothing * (surprise + logits.log_softmax(-1).mean(-1)) if smoothing else surprise


def predicted(logits: Tensor) -> Tensor:
    """(n,) logits of class 1, or (n, K) → (n,) predicted classes, int64; a tie gives the lowest of the tied classes."""
    return (logits > 0).long() if logits.dim() == 1 else logits.argmax(-1)


def leads(logits: Tensor, target: Tensor) -> Tensor:
    """Return (n,) bool: whether the target's logit is above every other logit; False for a tie."""
    return lead(logits, target) > 0


def number_of_classes(logits: Tensor) -> int:
    """Return the number of classes, K ≥ 2."""
    return 2 if logits.dim() == 1 else logits.shape[-1]


def targets(logits: Tensor, target: Target = None, *, names: Sequence[Any] | None = None) -> Tensor:
    """Return (n,) int64, the class that each counterfactual aims at; logits: the base's logits of the factuals.

    target: None for the base's second choice, which in a binary task is the class that it does not predict (the lowest
    of several equally likely classes); one class for all rows; or (n,) one per row. names: the model's own names of its
    classes, used in `target`; 0, 1, … by default. InputError for a class that the model lacks.
    """
    classes = number_of_classes(logits)
    if target is None:
        return 1 - predicted(logits) if classes == 2 else logits.topk(2, dim=-1).indices[..., 1]
    known = list(range(classes)) if names is None else list(names)
    asked = target.tolist() if isinstance(target, Tensor) else target
    several = isinstance(asked, list | tuple | range) or (hasattr(asked, "__len__") and not isinstance(asked, str))
    if several and len(asked) != len(logits):
        raise InputError(f"target: has {len(asked)} classes for {len(logits)} rows")
    wanted = list(asked) if several else [asked]
    strange = [
        one for one in wanted if not any(one is name or (one == name and type(one) is not bool) for name in known)
    ]
    if strange:
        raise InputError(f"target={strange[0]}: the base has the classes {', '.join(map(str, known))}")
    codes = torch.tensor([known.index(one) for one in wanted])
    return codes if several else codes.expand(len(logits)).clone()


def rows_at_once(x: Tensor, *, rows: int = ROWS, numbers: int = NUMBERS) -> int:
    """x: (n, *input) → rows per pass, at most `rows` and at most `numbers` inputs, which bounds memory."""
    return max(1, min(rows, numbers // max(1, x[:1].numel())))


def differentiable(model: Asked) -> bool:
    """Return whether a model's logits have a gradient in its inputs; assumed unless the model says otherwise."""
    return bool(getattr(model, "differentiable", True))


def device_of(model: Asked) -> torch.device:
    """Return the device of a model's weights; the CPU for a model without a device."""
    weights = model.parameters() if isinstance(model, nn.Module) else iter(())
    return next((weight.device for weight in weights), getattr(model, "device", torch.device("cpu")))


def logits(model: Asked, x: Tensor, *, batch_size: int = ROWS) -> Tensor:
    """x: (n, *input) → (n,) logits of class 1, or (n, K), on the CPU and without gradients.

    Computed in passes of at most `batch_size` rows; bytes are converted by `pixels.unit`.
    """
    place = device_of(model)
    with torch.no_grad():
        parts = x.split(rows_at_once(x, rows=batch_size))
        answers = [model(unit(rows.to(place))).cpu() for rows in parts if len(rows)]
    return torch.cat(answers) if answers else torch.zeros(0)
