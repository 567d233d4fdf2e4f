"""Stable neighbour search (Black, Wang, Fredrikson 2022): a nearby point with the base sure along the whole way.

Equation:
    maximise over ‖x′ − x_c‖₂ ≤ radius: ∫₀¹ p(target | x + t (x′ − x)) dt, x_c the closest counterfactual
Source:
    Black, Wang, Fredrikson 2022, Consistent counterfactuals for deep models, https://arxiv.org/abs/2110.03109
"""

import torch
from torch import Tensor

from cftransfer.counterfactuals.minimal import minimal
from cftransfer.models.prediction import Asked, margin, rows_at_once
from cftransfer.searching.ascent import ascend
from cftransfer.searching.candidates import Candidates
from cftransfer.searching.constraint import Constraint
from cftransfer.searching.descent import criterion, positive
from cftransfer.searching.distance import BLOCK
from cftransfer.searching.row_random import normal, row_seeds
from cftransfer.settings import check_int

JITTER = 1e-3  # standard deviation of a row's start around its counterfactual; the authors' value


def sns(
    model: Asked,
    x: Tensor,
    target: Tensor,
    *,
    constraint: Constraint,
    radius: float = 0.3,
    points: int = 20,
    steps: int = 100,
    lr: float = 0.01,
    confidence: float = 0.5,
    iterations: int = 1000,
    batch_size: int = 256,
) -> Candidates:
    """x: (n, *input) in [0, 1], target: (n,) classes → Candidates.

    Starts from the counterfactual x_c of `minimal` and stays within the L2 ball of `radius` (the authors' ε) around it.
    Maximises the mean of p(target) over `points` points at equal steps on the segment from the factual to x′ (a sum in
    place of their integral), in `steps` steps of length `lr`. Returns the best point seen, not the last; the base
    predicts at every step.
    """
    positive("radius", radius)
    positive("lr", lr)
    check_int("counterfactual.points", points)
    check_int("counterfactual.steps", steps)
    common = {"constraint": constraint, "confidence": confidence, "iterations": iterations, "batch_size": batch_size}
    begun = minimal(model, x, target, lr=lr, **common)  # type: ignore[arg-type]
    shares = torch.arange(1, points + 1, device=x.device) / points

    sure, needed = criterion(confidence)

    def stability(point: Tensor, target: Tensor, factual: Tensor) -> tuple[Tensor, Tensor]:
        shape = point.shape[1:]
        along = factual.unsqueeze(1) + shares.view(1, -1, *[1] * len(shape)) * (point - factual).unsqueeze(1)
        logits, aims = model(along.flatten(0, 1)), target.repeat_interleave(points)
        share = torch.sigmoid(margin(logits, aims)).view(-1, points)
        return share.mean(1), sure(logits, aims).view(-1, points)[:, -1]

    return ascend(
        stability,
        x,
        target,
        begun,
        extra=x,
        constraint=constraint,
        needed=needed,
        enough=float("inf"),
        radius=radius,
        steps=steps,
        iterations=iterations,
        lr=lr,
        jitter=JITTER * normal(row_seeds(x), *x.shape[1:]),
        batch_size=rows_at_once(x, rows=batch_size, numbers=BLOCK // points),
    )
