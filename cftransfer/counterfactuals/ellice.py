"""ElliCE (Turbal, Voitsitska, Semenova 2025): a counterfactual for every last layer that is nearly as good.

Equation:
    θ̂ᵀφ(x′) − √(2 ε φ(x′)ᵀ H⁻¹ φ(x′)) ≥ 0, H the Hessian of the training loss in the last layer
Source:
    Turbal, Voitsitska, Semenova 2025, https://arxiv.org/abs/2602.07674
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import softplus

from cftransfer.data.pixels import unit
from cftransfer.models.last_layer import LastLayer, last_layer
from cftransfer.models.prediction import Asked, cross_entropy, lead, rows_at_once
from cftransfer.searching.candidates import Background, Candidates, needs
from cftransfer.searching.constraint import Constraint
from cftransfer.searching.descent import Loss, check_descent, criterion, descend, held, positive
from cftransfer.settings import check_float

ROWS = 512  # training rows per pass
Worst = Callable[[Tensor, Tensor, Tensor], Tensor]  # (logits, features, target) → (n,) lead


def ellice(
    model: Asked,
    x: Tensor,
    target: Tensor,
    *,
    constraint: Constraint,
    background: Background | None = None,
    loss_share: float = 0.01,
    ridge: float = 1e-4,
    iterations: int = 1000,
    lr: float = 0.01,
    distance_weight: float = 0.1,
    confidence: float = 0.5,
    batch_size: int = 256,
) -> Candidates:
    """x: (n, *input) in [0, 1], target: (n,) classes → Candidates.

    θ̂ are the weights and bias of the model's last linear layer, φ its input features, with a 1 for the bias. To second
    order, the last layers that raise the mean loss on the training split by at most ε form the ellipsoid (θ − θ̂)ᵀ H
    (θ − θ̂) ≤ 2ε, where H is the Hessian of the loss in θ plus `ridge` on its diagonal. Over the ellipsoid, the
    target's lead is at least θ̂ᵀφ − √(2ε φᵀH⁻¹φ) (`worst_lead`). Minimises softplus(−worst
    lead) + distance_weight · ‖x′ − x‖² by Adam steps of size `lr` from x′ = x. A row is done at the first x′ where the
    worst lead is above 0 and the model gives the target at least the `confidence`. ε is `loss_share` of the mean loss.
    With K ≥ 3 classes, the worst lead is the least of these bounds over the other classes. As by the authors, θ̂ is
    taken for the minimum of the loss; training may have stopped short of it. arXiv 2602.07674.

    >>> from cftransfer import search
    >>> base = torch.nn.Linear(1, 1)
    >>> _ = base.load_state_dict({"weight": torch.tensor([[4.0]]), "bias": torch.tensor([-2.0])})
    >>> train = torch.linspace(0, 1, 101)[:, None]
    >>> split = train, (train[:, 0] > 0.5).long()
    >>> near, far = (search(base, train[:1], method="ellice", background=split, loss_share=s) for s in (1e-6, 0.1))
    >>> bool(0.5 < near.counterfactual < far.counterfactual)
    True
    """
    check_descent(model, confidence=confidence, iterations=iterations, lr=lr, batch_size=batch_size)
    positive("loss_share", loss_share)
    positive("ridge", ridge)
    check_float("counterfactual.distance_weight", distance_weight, inside="≥ 0", among=lambda w: 0 <= w < float("inf"))
    (sure, _), layer = criterion(confidence), last_layer(model, x, method="ellice")
    rows = needs(background, "ellice")
    worst = worst_lead(layer, rows, loss_share=loss_share, ridge=ridge, device=x.device) if len(x) else None

    def objective(moving: Tensor, factual: Tensor, target: Tensor, _: Tensor) -> Loss:
        logits, features = layer.features(moving)
        least = lead(logits, target) if worst is None else worst(logits, features, target)
        distance = distance_weight * (moving - factual).square().flatten(1).sum(1)
        return Loss(softplus(-least), distance, held(sure(logits, target), least, confidence))

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


def worst_lead(
    layer: LastLayer, background: Background, *, loss_share: float, ridge: float, device: torch.device
) -> Worst:
    """Return the target's least lead over the ellipsoid, as a function of logits, features (n, d) and target.

    Uses one Cholesky factor L of H, with K d rows for K ≥ 3 classes and d otherwise: √(2ε aᵀH⁻¹a) = √(2ε) ‖L⁻¹a‖, where
    a is ±φ, or φ in the target's block and −φ in the other class's block.
    """
    hessian, loss = _curvature(layer, background, device)
    hessian += ridge * torch.eye(len(hessian), dtype=hessian.dtype, device=device)
    eye = torch.eye(len(hessian), dtype=hessian.dtype, device=device)
    inverse = torch.linalg.solve_triangular(torch.linalg.cholesky(hessian), eye, upper=False)  # keeps rows independent
    scale = (2 * loss_share * loss) ** 0.5

    def worst(logits: Tensor, features: Tensor, target: Tensor) -> Tensor:
        classes = 1 if logits.dim() == 1 else logits.shape[1]
        by_class = inverse.view(len(inverse), classes, -1).permute(2, 1, 0).flatten(1)  # (d, K · K d)
        parts = (features.to(inverse) @ by_class).view(len(features), classes, -1)
        if classes == 1:
            return (lead(logits, target) - scale * parts[:, 0].norm(dim=1)).to(logits)
        chosen = target.long().view(-1, 1)
        own = parts.gather(1, chosen.unsqueeze(2).expand(-1, 1, parts.shape[2]))
        apart = ((parts - own).square().sum(2) + torch.finfo(parts.dtype).tiny).sqrt()
        leads = logits.gather(1, chosen) - logits - scale * apart
        return leads.scatter(1, chosen, torch.inf).amin(1).to(logits)

    return worst


def _curvature(layer: LastLayer, background: Background, device: torch.device) -> tuple[Tensor, float]:
    """Return the Hessian of the mean cross entropy in the last layer's weights, float64, and that mean."""
    total, losses = torch.zeros((), dtype=torch.float64, device=device), 0.0
    some = rows_at_once(background.x, rows=ROWS)
    for x, y in zip(background.x.split(some), background.y.split(some), strict=True):
        with torch.no_grad():
            logits, features = layer.features(unit(x).to(device))
        phi = features.double()
        losses += float(cross_entropy(logits, y.to(device)).double().sum())
        if logits.dim() == 1:
            p = torch.sigmoid(logits.double())
            total = total + (phi * (p * (1 - p)).unsqueeze(1)).T @ phi
            continue
        p = torch.softmax(logits.double(), 1)
        weights = torch.diag_embed(p) - p.unsqueeze(2) * p.unsqueeze(1)
        total = total + torch.einsum("nij,na,nb->iajb", weights, phi, phi).flatten(2).flatten(0, 1)
    return total / len(background.x), losses / len(background.x)
