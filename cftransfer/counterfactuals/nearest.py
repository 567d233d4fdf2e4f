"""The nearest training row of the target class (NICE, Brughmans et al. 2023).

Equation:
    x′ = argmin over training rows z, labelled and predicted target: d(z, x)
Source:
    Brughmans, Leyman, Martens 2023, NICE: an algorithm for nearest instance counterfactual explanations,
    https://arxiv.org/abs/2104.07411; FACE: Poyiadzi et al. 2020, https://arxiv.org/abs/1909.09369
"""

import torch
from torch import Tensor

from cftransfer.data.pixels import unit
from cftransfer.models.prediction import Asked, logits, rows_at_once
from cftransfer.searching.candidates import Background, Candidates, needs
from cftransfer.searching.constraint import Constraint
from cftransfer.searching.descent import check_confidence, criterion
from cftransfer.searching.distance import BLOCK
from cftransfer.settings import check_choice, check_int

ROWS = 64  # factuals at a time


def nearest(
    model: Asked,
    x: Tensor,
    target: Tensor,
    *,
    constraint: Constraint,
    background: Background | None = None,
    distance: str = "l2",
    confidence: float = 0.5,
    iterations: int = 100,
) -> Candidates:
    """x: (n, *input) in [0, 1], target: (n,) classes → Candidates; no gradient is needed.

    Considers training rows labelled with the target class to which the model gives it at least the `confidence`, and
    takes the one nearest to the factual in L1 or L2; the first of equally near ones. Rows are projected onto the
    constraint (under `actionable`, fixed features become the factual's) and the model predicts again: among the
    `iterations` nearest rows, the first that passes is taken. iterations: rows tried. NICE goes on from the nearest row
    feature by feature; this takes the whole row, which is also the end point of FACE (Poyiadzi et al. 2020).
    """
    check_choice("counterfactual.distance", distance, ("l1", "l2"))
    check_int("counterfactual.iterations", iterations, least=1)
    check_confidence(confidence)
    rows_at_hand = needs(background, "nearest")
    (sure, needed), reached = criterion(confidence), x.clone()
    done, tried = torch.zeros(len(x), dtype=torch.bool), torch.zeros(len(x), dtype=torch.long)
    for side in target.unique().tolist():
        candidates = _candidates(model, rows_at_hand, side, confidence)
        for rows in (target == side).cpu().nonzero().flatten().split(ROWS) if len(candidates) else ():
            order = by_distance(x[rows], candidates, p=1 if distance == "l1" else 2, most=iterations)
            waiting = torch.arange(len(rows))
            for place in range(order.shape[1]):
                points = constraint.project(unit(candidates[order[waiting, place]]), x[rows[waiting]])
                tried[rows[waiting]] += 1
                right = sure(logits(model, points), torch.full((len(points),), side)) >= needed
                right &= (points != x[rows[waiting]]).flatten(1).any(1)
                reached[rows[waiting[right]]], done[rows[waiting[right]]] = points[right], True
                waiting = waiting[~right]
                if not len(waiting):
                    break
    return Candidates(reached, done.to(x.device), tried.to(x.device))


def _candidates(model: Asked, background: Background, side: int, confidence: float) -> Tensor:
    """Return the training rows of a class that the model also puts in that class."""
    sure, needed = criterion(confidence)
    right = sure(logits(model, background.x), torch.full((len(background.x),), side)) >= needed
    return background.x[right & (background.y == side)]


def by_distance(x: Tensor, candidates: Tensor, *, p: int, most: int) -> Tensor:
    """x: (n, *input) → (n, ≤ most) indices of the nearest candidates, nearest first."""
    parts = candidates.split(rows_at_once(candidates, numbers=BLOCK))
    # Matrix products would round differently from row to row.
    apart = [
        torch.cdist(
            x.flatten(1), unit(part).to(x.device).flatten(1), p=p, compute_mode="donot_use_mm_for_euclid_dist"
        ).cpu()
        for part in parts
    ]
    return torch.cat(apart, 1).sort(dim=1, stable=True).indices[:, :most]
