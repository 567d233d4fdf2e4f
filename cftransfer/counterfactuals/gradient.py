"""Gradient search: descend towards the target class, staying near the factual, and stop at the first success.

With constraints=none this is the paper's search.

Equation:
    minimise over x′: BCE(f(x′), target) + distance_weight · d(x′, x), until p(target | x′) ≥ confidence
Source:
    F. Hüttemann, Transferability of counterfactual examples across different models, project report,
    Ruhr-Universität Bochum; its steps are those of Adam: Kingma, Ba 2015, https://arxiv.org/abs/1412.6980
"""

import torch
from torch import Tensor

from cftransfer.models.prediction import Asked, cross_entropy
from cftransfer.searching.candidates import Background, Candidates
from cftransfer.searching.constraint import Constraint
from cftransfer.searching.descent import Loss, check_descent, criterion, descend
from cftransfer.searching.mad import mad_scale
from cftransfer.searching.refine import bisect
from cftransfer.settings import check_choice, check_float


def gradient(
    model: Asked,
    x: Tensor,
    target: Tensor,
    *,
    constraint: Constraint,
    background: Background | None = None,
    iterations: int = 1000,
    lr: float = 0.01,
    distance: str = "l2",
    distance_weight: float = 0.1,
    confidence: float = 0.5,
    refine: str = "none",
    batch_size: int = 256,
) -> Candidates:
    """x: (n, *input) in [0, 1], target: (n,) classes → Candidates.

    Minimises BCE(model(x′), target) + distance_weight · d(x′, x) by Adam steps of size `lr`, from x′ = x, where d is
    ‖x′ − x‖² (l2), ‖x′ − x‖₁ (l1) or Σ |x′ₖ − xₖ| / MADₖ (mad). A row is done as soon as the model gives the target
    class a probability of at least `confidence`, and fails if this takes more than `iterations` steps. `descend` says
    how constraints are kept. refine=bisect then moves x′ back along the line to the factual, as far as the confidence
    allows. A setting out of range raises an InputError that names the key.
    """
    check_descent(model, confidence=confidence, iterations=iterations, lr=lr, batch_size=batch_size)
    check_float("counterfactual.distance_weight", distance_weight, inside="≥ 0", among=lambda w: 0 <= w < float("inf"))
    check_choice("counterfactual.distance", distance)
    check_choice("counterfactual.refine", refine)
    scale = mad_scale(background).to(x.device) if distance == "mad" else torch.ones((), device=x.device)

    sure, _ = criterion(confidence)

    def objective(moving: Tensor, factual: Tensor, target: Tensor, _: Tensor) -> Loss:
        logit = model(moving)
        loss = cross_entropy(logit, target)
        change = (moving - factual).div(scale)
        length = change.square() if distance == "l2" else change.abs()
        return Loss(loss, distance_weight * length.flatten(1).sum(1), sure(logit, target))

    search = {"constraint": constraint, "confidence": confidence, "iterations": iterations, "batch_size": batch_size}
    answer = descend(objective, x, target, lr=lr, **search)  # type: ignore[arg-type]
    return bisect(model, x, target, answer, **search) if refine == "bisect" else answer  # type: ignore[arg-type]
