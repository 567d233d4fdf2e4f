"""Wachter, Mittelstadt, Russell 2017: the prediction weighs more and more against the distance, until it changes."""

import torch
from torch import Tensor

from cftransfer.counterfactuals.answer import Answer
from cftransfer.counterfactuals.constraint import Constraint
from cftransfer.counterfactuals.descent import Loss, check_descent, descend, positive
from cftransfer.counterfactuals.spread import deviations
from cftransfer.data.dataset import Dataset
from cftransfer.models.prediction import Model, margin
from cftransfer.spec import real, whole


def wachter(
    model: Model,
    x: Tensor,
    target: Tensor,
    *,
    constraint: Constraint,
    dataset: Dataset,
    iterations: int,
    lr: float,
    confidence: float,
    weight: float,
    factor: float,
    patience: int,
    batch_size: int,
) -> Answer:
    """x: (n, *input) in [0, 1], target: (n,) 0 or 1 → an Answer.

    min over x′ max over λ of λ (p(x′) − target)² + Σ |x′ₖ − xₖ| / MADₖ (their equations 3 and 4), by Adam steps of size
    `lr` from x′ = x. λ begins at `weight` and is multiplied by `factor` after every `patience` iterations without
    success; `iterations` is the cap on all of them. A row is done at the first x′ to which the model gives a
    probability of at least `confidence` in the target class. Where the authors end when |p − target| is small, this is
    the boundary at .5. The MAD of an input that has none is its standard deviation (`deviations`).
    """
    check_descent(model, confidence=confidence, iterations=iterations, lr=lr, batch_size=batch_size)
    positive("weight", weight)
    real("counterfactual.factor", factor, inside="> 1", among=lambda f: 1 < f < float("inf"))
    whole("counterfactual.patience", patience, least=1)
    scale = deviations(dataset).to(x.device)

    def objective(moving: Tensor, factual: Tensor, target: Tensor, age: Tensor) -> Loss:
        logit = model(moving)
        heavier = weight * factor ** (age // patience).to(moving)
        wrong = (torch.sigmoid(logit) - target).square()
        distance = ((moving - factual).abs() / scale).flatten(1).sum(1)
        return Loss(heavier * wrong, distance, margin(logit, target))

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
