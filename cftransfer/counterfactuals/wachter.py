"""Wachter, Mittelstadt, Russell 2017: weigh the prediction more and more against the distance, until it changes.

Equation:
    min over x′ max over λ: λ · (p(target | x′) − 1)² + Σₖ |x′ₖ − xₖ| / MADₖ
Source:
    Wachter, Mittelstadt, Russell 2017, Counterfactual explanations without opening the black box,
    https://arxiv.org/abs/1711.00399
"""

import torch
from torch import Tensor

from cftransfer.models.prediction import Asked, margin
from cftransfer.searching.candidates import Background, Candidates
from cftransfer.searching.constraint import Constraint
from cftransfer.searching.descent import Loss, check_descent, criterion, descend, positive
from cftransfer.searching.mad import mad_scale
from cftransfer.settings import check_float, check_int


def wachter(
    model: Asked,
    x: Tensor,
    target: Tensor,
    *,
    constraint: Constraint,
    background: Background | None = None,
    iterations: int = 1000,
    lr: float = 0.01,
    confidence: float = 0.5,
    weight: float = 1,
    factor: float = 2,
    patience: int = 50,
    batch_size: int = 256,
) -> Candidates:
    """x: (n, *input) in [0, 1], target: (n,) classes → Candidates.

    Solves min over x′, max over λ of λ (p(x′) − 1)² + Σ |x′ₖ − xₖ| / MADₖ (their equations 3 and 4), by Adam steps of
    size `lr` from x′ = x. λ begins at `weight` and is multiplied by `factor` after every `patience` iterations without
    success; `iterations` caps all steps. A row is done at the first x′ to which the model gives a probability of at
    least `confidence` in the target class; the authors stop when |p − target| is small. An input with a MAD of 0 uses
    its standard deviation (`mad_scale`).
    """
    check_descent(model, confidence=confidence, iterations=iterations, lr=lr, batch_size=batch_size)
    positive("weight", weight)
    check_float("counterfactual.factor", factor, inside="> 1", among=lambda f: 1 < f < float("inf"))
    check_int("counterfactual.patience", patience)
    scale = mad_scale(background).to(x.device)

    sure, _ = criterion(confidence)

    def objective(moving: Tensor, factual: Tensor, target: Tensor, age: Tensor) -> Loss:
        logits = model(moving)
        heavier = weight * factor ** (age // patience).to(moving)
        wrong = torch.sigmoid(-margin(logits, target)).square()  # of 1 − the probability of the target
        distance = ((moving - factual).abs() / scale).flatten(1).sum(1)
        return Loss(heavier * wrong, distance, sure(logits, target))

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
