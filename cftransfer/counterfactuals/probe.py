"""PROBE (Pawelczyk et al. 2023): a counterfactual that holds when it is carried out with some noise.

Equation:
    Δ(x′) = 1 − Φ(m(x′) / (sigma ‖∇m(x′)‖₂)) ≤ invalidation, m the lead of the target's logit
Source:
    Pawelczyk, Datta, van den Heuvel, Kasneci, Lakkaraju 2023, Probabilistically robust recourse,
    https://arxiv.org/abs/2203.06768
"""

from statistics import NormalDist

import torch
from torch import Tensor

from cftransfer.models.prediction import Asked, cross_entropy, lead
from cftransfer.searching.candidates import Candidates
from cftransfer.searching.constraint import Constraint
from cftransfer.searching.descent import Loss, check_descent, criterion, descend, held, positive
from cftransfer.settings import check_float

TINY = 1e-30  # in place of a slope of length 0


def probe(
    model: Asked,
    x: Tensor,
    target: Tensor,
    *,
    constraint: Constraint,
    invalidation: float = 0.2,
    sigma: float = 0.1,
    iterations: int = 1000,
    lr: float = 0.01,
    distance_weight: float = 0.1,
    confidence: float = 0.5,
    batch_size: int = 256,
) -> Candidates:
    """x: (n, *input) in [0, 1], target: (n,) classes → Candidates.

    Minimises max(0, Δ(x′) − invalidation) + BCE(model(x′), target) + distance_weight · ‖x′ − x‖₁ by Adam steps of size
    `lr` from x′ = x. Δ is the share of x′ + N(0, sigma² I) that the model does not put in the target class, to first
    order: 1 − Φ(m(x′) / (sigma ‖∇m(x′)‖)), where m is the target's lead. Δ is exact for linear models; a network's
    slope changes within sigma, so its true share may be above Δ (docs/methods.md has both). A row is done as soon as
    Δ ≤ `invalidation` (their r) and the model gives the target class at least the `confidence`.

    >>> from cftransfer import search
    >>> base = torch.nn.Linear(1, 1)
    >>> _ = base.load_state_dict({"weight": torch.tensor([[4.0]]), "bias": torch.tensor([-2.0])})
    >>> found = search(base, torch.tensor([[0.2]]), method="probe", invalidation=0.1, sigma=0.1, lr=0.001)
    >>> round(float(found.counterfactual[0, 0]), 2)  # .5 + .1 Φ⁻¹(.9)
    0.63
    """
    check_descent(model, confidence=confidence, iterations=iterations, lr=lr, batch_size=batch_size)
    inside = "above 0, up to 0.5"
    check_float("counterfactual.invalidation", invalidation, inside=inside, among=lambda rate: 0 < rate <= 0.5)
    positive("sigma", sigma)
    check_float("counterfactual.distance_weight", distance_weight, inside="≥ 0", among=lambda w: 0 <= w < float("inf"))
    (sure, _), least = criterion(confidence), NormalDist().inv_cdf(1 - invalidation)

    def objective(moving: Tensor, factual: Tensor, target: Tensor, _: Tensor) -> Loss:
        logits = model(moving)
        leading = lead(logits, target)
        spread = sigma * _slope(leading, moving)  # standard deviation of the lead
        excess = (invalidation_rate(leading, spread) - invalidation).clamp(min=0)
        distance = distance_weight * (moving - factual).abs().flatten(1).sum(1)
        worst = leading - least * spread
        prediction = excess + cross_entropy(logits, target)
        return Loss(prediction, distance, held(sure(logits, target), worst, confidence))

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


def invalidation_rate(leading: Tensor, spread: Tensor) -> Tensor:
    """Return 1 − Φ(lead / spread), (n,): the share of noisy x′ outside the target class, to first order."""
    return torch.special.ndtr(-leading / spread.clamp(min=TINY))


def _slope(leading: Tensor, moving: Tensor) -> Tensor:
    """Return ‖∇ lead‖₂, (n,), differentiable."""
    (slope,) = torch.autograd.grad(leading.sum(), moving, create_graph=True)  # rows stay apart
    return slope.flatten(1).norm(dim=1)
