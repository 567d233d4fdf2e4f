"""The paper's search: descend towards the target class, staying near the factual, and stop at the first success."""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from cftransfer.counterfactuals.answer import Answer
from cftransfer.counterfactuals.constraint import Constraint
from cftransfer.counterfactuals.descent import Loss, check_descent, descend
from cftransfer.counterfactuals.refine import bisected
from cftransfer.counterfactuals.spread import deviations
from cftransfer.data.dataset import Dataset
from cftransfer.models.prediction import Model, margin
from cftransfer.spec import one_of, real

DISTANCES = ("l1", "l2", "mad")


def gradient(
    model: Model,
    x: Tensor,
    target: Tensor,
    *,
    constraint: Constraint,
    dataset: Dataset,
    iterations: int,
    lr: float,
    distance: str,
    distance_weight: float,
    confidence: float,
    refine: str,
    batch_size: int,
) -> Answer:
    """x: (n, *input) in [0, 1], target: (n,) 0 or 1 → an Answer.

    Minimises BCE(model(x′), target) + distance_weight · d(x′, x) by Adam steps of size `lr`, from x′ = x, where d is
    ‖x′ − x‖² (l2), ‖x′ − x‖₁ (l1) or Σ |x′ₖ − xₖ| / MADₖ (mad). A row is done as soon as the model gives the target
    class a probability of at least `confidence`, and has then taken `iterations` steps. `descend` says how constraints
    are kept. refine=bisect then goes back along the line to the factual, as far as the confidence lasts. Settings out
    of range raise an InputError that names the key.
    """
    check_descent(model, confidence=confidence, iterations=iterations, lr=lr, batch_size=batch_size)
    real("counterfactual.distance_weight", distance_weight, inside="≥ 0", among=lambda w: 0 <= w < float("inf"))
    one_of("counterfactual.distance", distance, DISTANCES)
    one_of("counterfactual.refine", refine, ("none", "bisect"))
    scale = deviations(dataset).to(x.device) if distance == "mad" else torch.ones((), device=x.device)

    def objective(moving: Tensor, factual: Tensor, target: Tensor, _: Tensor) -> Loss:
        logit = model(moving)
        loss = binary_cross_entropy_with_logits(logit, target, reduction="none")
        change = (moving - factual).div(scale)
        length = change.square() if distance == "l2" else change.abs()
        return Loss(loss, distance_weight * length.flatten(1).sum(1), margin(logit, target))

    search = {"constraint": constraint, "confidence": confidence, "iterations": iterations, "batch_size": batch_size}
    answer = descend(objective, x, target, lr=lr, **search)  # type: ignore[arg-type]
    return bisected(model, x, target, answer, **search) if refine == "bisect" else answer  # type: ignore[arg-type]
