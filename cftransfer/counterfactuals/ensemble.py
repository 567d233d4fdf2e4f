"""Against several models at once (Liu, Chen, Liu, Song 2017, for adversarial examples): what all of them agree on."""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from cftransfer.counterfactuals.answer import Answer
from cftransfer.counterfactuals.constraint import Constraint
from cftransfer.counterfactuals.descent import Loss, check_descent, descend
from cftransfer.counterfactuals.search import Generating
from cftransfer.models.prediction import Model, margin
from cftransfer.spec import GENERATING, real, whole


def ensemble(
    model: Model,
    x: Tensor,
    target: Tensor,
    *,
    constraint: Constraint,
    generating: Generating | None,
    models: int,
    iterations: int,
    lr: float,
    distance_weight: float,
    confidence: float,
    batch_size: int,
) -> Answer:
    """x: (n, *input) in [0, 1], target: (n,) 0 or 1 → an Answer.

    Minimises the mean over the base and `models` others of BCE(model(x′), target), plus distance_weight · ‖x′ − x‖², as
    `gradient` does for one, and is done when each of them gives the target class at least the `confidence`. The others
    are of the base's spec, from seeds that belong to this base alone and to no reference. Liu et al. weigh the models'
    probabilities inside the logarithm; a mean of losses keeps the gradient of a model that is far from the target.
    """
    check_descent(model, confidence=confidence, iterations=iterations, lr=lr, batch_size=batch_size)
    whole("counterfactual.models", models, least=1, most=GENERATING)
    real("counterfactual.distance_weight", distance_weight, inside="≥ 0", among=lambda w: 0 <= w < float("inf"))
    every = [model, *(generating(models) if generating else ())]

    def objective(moving: Tensor, factual: Tensor, target: Tensor, _: Tensor) -> Loss:
        logits = torch.stack([one(moving) for one in every])
        losses = binary_cross_entropy_with_logits(logits, target.expand_as(logits), reduction="none")
        distance = distance_weight * (moving - factual).square().flatten(1).sum(1)
        return Loss(losses.mean(0), distance, margin(logits, target).amin(0))

    return descend(
        objective,
        x,
        target,
        constraint=constraint,
        confidence=confidence,
        iterations=iterations,
        lr=lr,
        batch_size=batch_size,
    )
