"""Search on several models at once, until enough agree (Liu, Chen, Liu, Song 2017, for adversarial examples).

Equation:
    minimise over x′: meanₘ BCE(fₘ(x′), target) + distance_weight · ‖x′ − x‖², m = 0 (the base), 1, … models
Source:
    Liu, Chen, Liu, Song 2017, Delving into transferable adversarial examples and black-box attacks,
    https://arxiv.org/abs/1611.02770; the share that agrees: Kostrzewa et al. 2026, https://arxiv.org/abs/2604.17494
"""

from math import ceil

import torch
from torch import Tensor

from cftransfer.errors import InputError
from cftransfer.models.prediction import Asked, cross_entropy, differentiable
from cftransfer.searching.candidates import Candidates
from cftransfer.searching.constraint import Constraint
from cftransfer.searching.descent import Loss, check_descent, criterion, descend
from cftransfer.searching.engine import Generating
from cftransfer.settings import check_float, check_int
from cftransfer.spec import GENERATING


def ensemble(
    model: Asked,
    x: Tensor,
    target: Tensor,
    *,
    constraint: Constraint,
    generating: Generating | None = None,
    models: int = 4,
    agree: float = 1,
    iterations: int = 1000,
    lr: float = 0.01,
    distance_weight: float = 0.1,
    confidence: float = 0.5,
    batch_size: int = 256,
) -> Candidates:
    """x: (n, *input) in [0, 1], target: (n,) classes → Candidates.

    Minimises the mean of BCE(model(x′), target) over the base and `models` others, plus distance_weight · ‖x′ − x‖², as
    `gradient` does for one model. A row is done when the base and at least a share `agree` of the others, rounded up to
    whole models, give the target class at least the `confidence`; agree=1 means all of them. The others have the base's
    spec and seeds that belong to this base alone and to no reference. Liu et al. weigh the models' probabilities inside
    the logarithm; a mean of losses keeps the gradient of a model that is far from the target. The share follows
    Kostrzewa et al. 2026 (arXiv 2604.17494).
    """
    check_descent(model, confidence=confidence, iterations=iterations, lr=lr, batch_size=batch_size)
    check_int("counterfactual.models", models, least=1, most=GENERATING)
    check_float("counterfactual.agree", agree, inside="above 0, up to 1", among=lambda share: 0 < share <= 1)
    check_float("counterfactual.distance_weight", distance_weight, inside="≥ 0", among=lambda w: 0 <= w < float("inf"))
    if generating is None and len(x):
        raise InputError("counterfactual: ensemble searches on several models; generating=[…] gives them")
    every = [model, *(generating(models) if generating else [model] * models)]  # no rows: the base stands in
    if not all(map(differentiable, every)):
        raise InputError("generating: ensemble follows gradients, and one of its models has none")

    (sure, _), enough = criterion(confidence), agreeing(agree, models)

    def objective(moving: Tensor, factual: Tensor, target: Tensor, _: Tensor) -> Loss:
        answers = [one(moving) for one in every]
        losses = torch.stack([cross_entropy(answer, target) for answer in answers])
        surest = torch.stack([sure(answer, target) for answer in answers])
        distance = distance_weight * (moving - factual).square().flatten(1).sum(1)
        others = surest[1:].topk(enough, dim=0).values[-1]  # the least sure of the `enough` surest
        return Loss(losses.mean(0), distance, torch.minimum(surest[0], others))

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


def agreeing(share: float, models: int) -> int:
    """Return the least number of models that is at least that share of all, in (0, 1]: 2 of 3 for .5."""
    return max(1, ceil(share * models - 1e-9))  # .07 · 100 is 7.000000000000001
