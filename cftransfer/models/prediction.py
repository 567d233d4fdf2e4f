"""What a model says: one rule for search, judging and asking.

A model's answer is (n,) logits of class 1 in a binary task, or (n, K) logits of K ≥ 3 classes. Everything else is said
through the *margin* of a target class, its logit minus the log-sum-exp of the others: sigmoid(margin) is the target's
probability, softplus(−margin) its cross entropy. Whether the model predicts the target is said by its *lead*, the
target's logit minus the largest of the others. In a binary task both are ± the logit.
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

ROWS, NUMBERS = 4096, 2**20  # at most, in one pass without gradients; of 224 × 224 pixels, 6 rows


def margin(logits: Tensor, target: Tensor) -> Tensor:
    """Return the logit of the target class minus the log-sum-exp of the others: (…) float.

    logits: (…) of class 1, or (…, K); target: (…) classes. In a binary task it is ± the logit. It is above 0 where the
    target has a probability above .5; a model of three classes or more may predict the target with less (`lead`).
    """
    if logits.dim() == target.dim():
        return torch.where(target == 1, logits, -logits)
    chosen = target.long().unsqueeze(-1)
    others = logits.scatter(-1, chosen, -torch.inf).logsumexp(-1)
    return logits.gather(-1, chosen).squeeze(-1) - others


def lead(logits: Tensor, target: Tensor) -> Tensor:
    """Return the logit of the target class minus the largest of the others: above 0 where the model predicts it."""
    if logits.dim() == target.dim():
        return margin(logits, target)
    chosen = target.long().unsqueeze(-1)
    return logits.gather(-1, chosen).squeeze(-1) - logits.scatter(-1, chosen, -torch.inf).amax(-1)


def cross_entropy(logits: Tensor, target: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Return −log of the target's probability, softplus(−margin): (…); arguments as of `margin`.

    In a binary task by torch's own function, to whose bits the paper's search is tied.
    smoothing: share of the target, in [0, 1), that is spread evenly over all classes (Szegedy et al. 2016).
    """
    if logits.dim() == target.dim():
        truth = target.to(logits)
        truth = truth * (1 - smoothing) + smoothing / 2 if smoothing else truth
        return binary_cross_entropy_with_logits(logits, truth, reduction="none")
    surprise = softplus(-margin(logits, target))
    return surprise - smoothing * (surprise + logits.log_softmax(-1).mean(-1)) if smoothing else surprise


def predicted(logits: Tensor) -> Tensor:
    """(n,) logits of class 1, or (n, K) → (n,) predicted classes, int64; a tie is the lowest of the tied classes."""
    return (logits > 0).long() if logits.dim() == 1 else logits.argmax(-1)


def leads(logits: Tensor, target: Tensor) -> Tensor:
    """Return (n,) bool: whether the target's logit is above that of every other class, which a tie is not."""
    return lead(logits, target) > 0


def number_of_classes(logits: Tensor) -> int:
    """Return K ≥ 2."""
    return 2 if logits.dim() == 1 else logits.shape[-1]


def targets(logits: Tensor, target: Target = None, *, names: Sequence[Any] | None = None) -> Tensor:
    """Return (n,) int64, the class that each counterfactual aims at; logits: the base's of the factuals.

    target: None for the base's second choice, which in a binary task is the class that it does not predict (of several
    that are equally likely the lowest); a class for all; or (n,) one per row. InputError for a class that is not one of
    the model's. names: the model's own classes, in whose words the target is said; 0, 1, … by default.
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
    """x: (n, *input) → rows to take at a time, at most `rows` with `numbers` inputs: it bounds memory."""
    return max(1, min(rows, numbers // max(1, x[:1].numel())))


def differentiable(model: Asked) -> bool:
    """Return whether a model's logits have a gradient with respect to its inputs; models that cannot say so have."""
    return bool(getattr(model, "differentiable", True))


def device_of(model: Asked) -> torch.device:
    """Return where a model's weights are; anything else that answers does so on the CPU."""
    weights = model.parameters() if isinstance(model, nn.Module) else iter(())
    return next((weight.device for weight in weights), getattr(model, "device", torch.device("cpu")))


def logits(model: Asked, x: Tensor, *, batch_size: int = ROWS) -> Tensor:
    """x: (n, *input) → (n,) logits of class 1, or (n, K), on the CPU, without gradients, in passes of `batch_size` rows
    or fewer.

    Bytes are taken for what they stand for (`pixels.unit`).
    """
    place = device_of(model)
    with torch.no_grad():
        parts = x.split(rows_at_once(x, rows=batch_size))
        answers = [model(unit(rows.to(place))).cpu() for rows in parts if len(rows)]
    return torch.cat(answers) if answers else torch.zeros(0)
