"""The nearest person who got the other decision: a row of the training split (NICE, Brughmans et al. 2023)."""

import torch
from torch import Tensor

from cftransfer.counterfactuals.answer import Answer
from cftransfer.counterfactuals.constraint import Constraint
from cftransfer.counterfactuals.descent import check_confidence, margin_of
from cftransfer.counterfactuals.search import BLOCK
from cftransfer.data.dataset import Dataset
from cftransfer.data.pixels import unit
from cftransfer.models.prediction import Model, logits, margin, rows_at_once
from cftransfer.spec import one_of, whole

ROWS = 64  # factuals at a time


def nearest(
    model: Model,
    x: Tensor,
    target: Tensor,
    *,
    constraint: Constraint,
    dataset: Dataset,
    distance: str,
    confidence: float,
    iterations: int,
) -> Answer:
    """x: (n, *input) in [0, 1], target: (n,) 0 or 1 → an Answer; no gradient is needed.

    Of the training rows labelled with the target class, to which the model gives it at least the `confidence`, the one
    nearest to the factual in L1 or L2; of equally near ones the first. Rows are projected onto the constraint (under
    `actionable`, fixed features become the factual's), and the model is asked again: of the `iterations` nearest rows,
    the first that passes is taken. iterations: rows tried. NICE stops at the nearest row's features one by one; this
    takes the whole row, the end point of FACE (Poyiadzi et al. 2020), too.
    """
    one_of("counterfactual.distance", distance, ("l1", "l2"))
    whole("counterfactual.iterations", iterations, least=1)
    check_confidence(confidence)
    needed, reached = margin_of(confidence), x.clone()
    done, tried = torch.zeros(len(x), dtype=torch.bool), torch.zeros(len(x), dtype=torch.long)
    for side in (0, 1) if len(x) else ():
        candidates = _candidates(model, dataset, side, needed)
        for rows in (target == side).cpu().nonzero().flatten().split(ROWS) if len(candidates) else ():
            order = _order(x[rows], candidates, p=1 if distance == "l1" else 2, most=iterations)
            waiting = torch.arange(len(rows))
            for place in range(order.shape[1]):
                points = constraint.project(unit(candidates[order[waiting, place]]), x[rows[waiting]])
                tried[rows[waiting]] += 1
                right = margin(logits(model, points), torch.full((len(points),), side)) >= needed
                right &= (points != x[rows[waiting]]).flatten(1).any(1)
                reached[rows[waiting[right]]], done[rows[waiting[right]]] = points[right], True
                waiting = waiting[~right]
                if not len(waiting):
                    break
    return Answer(reached, done.to(x.device), tried.to(x.device))


def _candidates(model: Model, dataset: Dataset, side: int, needed: float) -> Tensor:
    """Return the training rows of a class that the model, too, puts there."""
    logit = logits(model, dataset.x_train)
    right = margin(logit, torch.full_like(logit, side)) >= needed
    return dataset.x_train[right & (dataset.y_train == side)]


def _order(x: Tensor, candidates: Tensor, *, p: int, most: int) -> Tensor:
    """x: (n, *input) → (n, ≤ most) which candidates are nearest, in their order."""
    parts = candidates.split(rows_at_once(candidates, numbers=BLOCK))
    # Without matrix products, which round differently from row to row.
    apart = [
        torch.cdist(
            x.flatten(1), unit(part).to(x.device).flatten(1), p=p, compute_mode="donot_use_mm_for_euclid_dist"
        ).cpu()
        for part in parts
    ]
    return torch.cat(apart, 1).sort(dim=1, stable=True).indices[:, :most]
