"""Growing spheres (Laugel et al. 2018): draw points ever farther from the factual, until one is of the target.

Equation:
    x′ = argmin over draws z, in the first shell r ≤ ‖z − x‖₂ ≤ r + δ with a draw of the target: ‖z − x‖₂
Source:
    Laugel, Lesot, Marsala, Renard, Detyniecki 2018, Inverse classification for comparison-based interpretability in
    machine learning, https://arxiv.org/abs/1712.08443
"""

import torch
from torch import Tensor

from cftransfer.models.prediction import Asked, rows_at_once
from cftransfer.searching.candidates import Candidates
from cftransfer.searching.constraint import Constraint
from cftransfer.searching.descent import check_confidence, criterion, positive
from cftransfer.searching.distance import BLOCK
from cftransfer.searching.refine import sparsify
from cftransfer.searching.shells import grow
from cftransfer.settings import check_choice, check_int


def growing_spheres(
    model: Asked,
    x: Tensor,
    target: Tensor,
    *,
    constraint: Constraint,
    iterations: int = 1000,
    draws: int = 100,
    radius: float = 0.1,
    confidence: float = 0.5,
    sparse: bool = True,
    batch_size: int = 64,
) -> Candidates:
    """x: (n, *input) in [0, 1], target: (n,) classes → Candidates; no gradient is needed. iterations: cap on queries.

    Draws `draws` points per round in balls around x, halved from `radius` on, then in shells of the last radius
    (`grow`), until one is of the target class with the `confidence`. The nearest such point is taken. With `sparse`
    (their step 2; tables only), features are then set back to the factual's one by one, as long as the class stays.
    Their radial law is uniform in volume, which in many dimensions leaves the inside of a ball empty.
    """
    check_int("counterfactual.iterations", iterations, least=check_int("counterfactual.draws", draws, least=1))
    check_int("counterfactual.batch_size", batch_size)
    positive("radius", radius)
    check_confidence(confidence)
    check_choice("counterfactual.sparse", sparse)
    (sure, needed), batch_size = criterion(confidence), rows_at_once(x, rows=batch_size, numbers=BLOCK // draws)

    def good(points: Tensor, target: Tensor) -> Tensor:
        with torch.no_grad():
            return sure(model(points), target) >= needed

    answer = grow(
        good,
        x,
        target,
        centre=x,
        constraint=constraint,
        draws=draws,
        radius=radius,
        rounds=iterations // draws,
        batch_size=batch_size,
    )
    if not sparse or x.dim() > 2:
        return answer
    return sparsify(
        model,
        x,
        target,
        answer,
        constraint=constraint,
        confidence=confidence,
        halfway=False,
        iterations=iterations,
        batch_size=batch_size,
    )
