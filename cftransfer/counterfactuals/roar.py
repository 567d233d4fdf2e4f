"""ROAR (Upadhyay, Joshi, Lakkaraju 2021): a counterfactual that holds however the weights move within a box.

Equation:
    min over x′ max over ‖δ‖∞ ≤ delta: BCE(f(x′; θ + δ), target) + distance_weight · ‖x′ − x‖₁
Source:
    Upadhyay, Joshi, Lakkaraju 2021, Towards robust and reliable algorithmic recourse, https://arxiv.org/abs/2102.13620
"""

from torch import Tensor
from torch.nn.functional import softplus

from cftransfer.models.last_layer import last_layer
from cftransfer.models.prediction import Asked, lead, margin
from cftransfer.searching.candidates import Candidates
from cftransfer.searching.constraint import Constraint
from cftransfer.searching.descent import Loss, check_descent, criterion, descend, held, positive
from cftransfer.settings import check_float


def roar(
    model: Asked,
    x: Tensor,
    target: Tensor,
    *,
    constraint: Constraint,
    delta: float = 0.02,
    iterations: int = 1000,
    lr: float = 0.01,
    distance_weight: float = 0.1,
    confidence: float = 0.5,
    batch_size: int = 256,
) -> Candidates:
    """x: (n, *input) in [0, 1], target: (n,) classes → Candidates.

    min over x′ of max over ‖δ‖∞ ≤ `delta` of BCE(θ + δ; x′) + distance_weight · ‖x′ − x‖₁, by Adam
    steps of size `lr` from x′ = x, where θ are the weights and bias of the model's last linear layer. The worst δ is
    known: it lowers the target's logit by delta (‖φ(x′)‖₁ + 1), where φ are the features that the layer sees. If every
    class has weights of its own, it also raises another class's logit by as much. A row is done at the first x′ that
    keeps its class under the worst δ and to which the model itself gives at least the `confidence`. For linear models φ
    is x, and this is the authors' problem. For networks the authors fit a linear model around x (LIME); its worst case
    says little about the network and misses the network's own boundary. The last layer is part of the network, and its
    worst case is exact. The authors minimise to the end; this stops at the first success.

    >>> import torch
    >>> from cftransfer import search
    >>> base = torch.nn.Linear(1, 1)
    >>> _ = base.load_state_dict({"weight": torch.tensor([[4.0]]), "bias": torch.tensor([-2.0])})
    >>> found = search(base, torch.tensor([[0.2]]), method="roar", delta=0.4)
    >>> bool(found.margin[0] >= 0.4 * (found.counterfactual[0, 0] + 1))
    True
    """
    check_descent(model, confidence=confidence, iterations=iterations, lr=lr, batch_size=batch_size)
    positive("delta", delta)
    check_float("counterfactual.distance_weight", distance_weight, inside="≥ 0", among=lambda w: 0 <= w < float("inf"))
    (sure, _), layer = criterion(confidence), last_layer(model, x, method="roar")
    shift = delta if layer.outputs == 1 else 2 * delta  # per unit of ‖φ‖₁, of the target's lead

    def objective(moving: Tensor, factual: Tensor, target: Tensor, _: Tensor) -> Loss:
        logits, features = layer.features(moving)
        lost = shift * features.abs().sum(1)
        distance = distance_weight * (moving - factual).abs().flatten(1).sum(1)
        worst = lead(logits, target) - lost
        return Loss(softplus(lost - margin(logits, target)), distance, held(sure(logits, target), worst, confidence))

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
