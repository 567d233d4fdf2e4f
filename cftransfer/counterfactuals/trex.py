"""T-Rex (Hamman et al. 2023): a counterfactual with the base sure in a Gaussian neighbourhood, not only at a point.

Equation:
    R(x′) = meanᵢ p(xᵢ) − meanᵢ |p(xᵢ) − p(x′)| ≥ stability, xᵢ ~ N(x′, sigma² I)
Source:
    Hamman, Noorani, Mishra, Magazzeni, Dutta 2023, Robust counterfactual explanations for neural networks with
    probabilistic guarantees, https://arxiv.org/abs/2305.11997
"""

from math import prod

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
from cftransfer.settings import check_float, check_int


def trex(
    model: Asked,
    x: Tensor,
    target: Tensor,
    *,
    constraint: Constraint,
    stability: float = 0.6,
    sigma: float = 0.1,
    draws: int = 200,
    lr: float = 0.01,
    confidence: float = 0.5,
    iterations: int = 300,
    batch_size: int = 64,
) -> Candidates:
    """x: (n, *input) in [0, 1], target: (n,) classes → Candidates.

    Starts from the counterfactual of `minimal` and takes steps of length `lr` up the gradient of
    R(x′) = meanᵢ p(xᵢ) − meanᵢ |p(xᵢ) − p(x′)|, xᵢ ~ N(x′, sigma² I), i = 1 … draws, where p is the probability of the
    target: an estimate of the authors' measure of stability. A row is done as soon as R(x′) ≥ `stability` (their τ),
    and fails if this takes more than `iterations` steps. Each row has its own draws, the same at every step and in any
    batch, so that R is a function of x′ alone.
    """
    check_float("counterfactual.stability", stability, inside="between 0 and 1", among=lambda tau: 0 < tau < 1)
    positive("sigma", sigma)
    positive("lr", lr)
    check_int("counterfactual.draws", draws, least=2)
    common = {"constraint": constraint, "confidence": confidence, "iterations": iterations, "batch_size": batch_size}
    begun = minimal(model, x, target, lr=lr, **common)  # type: ignore[arg-type]
    size = prod(x.shape[1:])

    sure, needed = criterion(confidence)

    def stable(point: Tensor, target: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        around = point.unsqueeze(1) + noise.view(-1, draws, *point.shape[1:])
        every = torch.cat([around, point.unsqueeze(1)], 1).flatten(0, 1)
        logits, aims = model(every), target.repeat_interleave(draws + 1)
        p = torch.sigmoid(margin(logits, aims)).view(-1, draws + 1)
        near, here = p[:, :-1], p[:, -1:]
        return near.mean(1) - (near - here).abs().mean(1), sure(logits, aims).view(-1, draws + 1)[:, -1]

    return ascend(
        stable,
        x,
        target,
        begun,
        extra=row_seeds(x),
        unfold=lambda seeds: sigma * normal(seeds, draws, size),
        constraint=constraint,
        needed=needed,
        enough=stability,
        radius=float("inf"),
        steps=iterations,
        iterations=iterations,
        lr=lr,
        jitter=torch.zeros_like(x),
        batch_size=rows_at_once(x, rows=batch_size, numbers=BLOCK // (draws + 1)),
    )
