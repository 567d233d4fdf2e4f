"""RobX (Dutta et al. 2022): move a counterfactual towards training rows around which the base is stably sure.

Equation:
    R(x′) = meanᵢ p(xᵢ) − sdᵢ p(xᵢ) ≥ stability, xᵢ ~ N(x′, sigma² I), x′ on the way to a stable training row
Source:
    Dutta, Long, Mishra, Tilli, Magazzeni 2022, Robust counterfactual explanations for tree-based ensembles,
    https://arxiv.org/abs/2207.02739
"""

from collections.abc import Callable
from math import prod

import torch
from torch import Tensor

from cftransfer.counterfactuals.nearest import by_distance
from cftransfer.data.pixels import unit
from cftransfer.models.prediction import Asked, leads, logits, margin, rows_at_once
from cftransfer.searching.candidates import Background, Candidates, needs
from cftransfer.searching.constraint import Constraint
from cftransfer.searching.descent import check_confidence, criterion, positive
from cftransfer.searching.distance import BLOCK
from cftransfer.searching.row_random import normal
from cftransfer.searching.rows import in_passes
from cftransfer.searching.start import begun_with, check_start
from cftransfer.settings import check_float, check_int

ROWS = 10_000  # most training rows; the first ones, since the split is shuffled
Stable = Callable[[Tensor, Tensor], Tensor]  # (points, target) → (n,) bool
HALVINGS = 8  # of the way to a training row, down to a 256th


def robx(
    model: Asked,
    x: Tensor,
    target: Tensor,
    *,
    constraint: Constraint,
    background: Background | None = None,
    stability: float = 0.5,
    sigma: float = 0.1,
    draws: int = 100,
    rows: int = 3,
    start: str = "nearest",
    confidence: float = 0.5,
    iterations: int = 1000,
    batch_size: int = 64,
) -> Candidates:
    """x: (n, *input) in [0, 1], target: (n,) classes → Candidates; no gradient is needed.

    The stability of a point is R(z) = meanᵢ p(zᵢ) − sdᵢ p(zᵢ), zᵢ ~ N(z, sigma² I), i = 1 … draws, where p is the
    probability of the target (their counterfactual stability). The counterfactual of `start` is done if R ≥ `stability`
    (their τ). Otherwise it moves along the straight lines to the `rows` nearest training rows (L2 from the factual)
    that are stable themselves (their conservative counterfactuals), only as far as R ≥ `stability` requires; the
    resulting point nearest to the factual is taken. Without a stable training row, the status is `no_row`. Their RobX
    takes small steps along each line; this bisects it, and projects every point before the base predicts it. The draws
    are the same around every point, so that R is one function; otherwise a training row that was just stable might not
    be stable at the end of its line. iterations: the iterations of `start` plus the points tried; each point costs
    `draws` queries.
    """
    check_float("counterfactual.stability", stability, inside="between 0 and 1", among=lambda tau: 0 < tau < 1)
    positive("sigma", sigma)
    check_int("counterfactual.draws", draws, least=2)
    tried = 1 + check_int("counterfactual.rows", rows, least=1) * (1 + HALVINGS)
    check_int("counterfactual.iterations", iterations, least=check_start(start) + tried)
    check_int("counterfactual.batch_size", batch_size, least=1)
    check_confidence(confidence)
    begun = begun_with(
        start,
        model,
        x,
        target,
        constraint=constraint,
        background=background,
        confidence=confidence,
        iterations=iterations - tried,
        batch_size=batch_size,
    )
    (sure, needed), split = criterion(confidence), needs(background, "robx")
    size, passes = prod(x.shape[1:]), rows_at_once(x, rows=batch_size, numbers=BLOCK // draws)

    noise = sigma * normal(torch.zeros(1, dtype=torch.long, device=x.device), draws, size).view(draws, *x.shape[1:])

    def stable(points: Tensor, target: Tensor) -> Tensor:
        def ask(points: Tensor, target: Tensor) -> tuple[Tensor]:
            every = torch.cat([points.unsqueeze(1) + noise, points.unsqueeze(1)], 1)
            aims = target.repeat_interleave(draws + 1)
            with torch.no_grad():
                said = model(every.flatten(0, 1))
            p = torch.sigmoid(margin(said, aims)).view(-1, draws + 1)[:, :-1]
            right = sure(said, aims).view(-1, draws + 1)[:, -1] >= needed
            mean = p.mean(1, keepdim=True)
            spread = (p - mean).square().mean(1).sqrt()
            return (right & (mean.squeeze(1) - spread >= stability),)

        (good,) = in_passes(ask, points, target, batch_size=passes)
        return good

    reached, done, taken = begun.x.clone(), begun.claimed.clone(), begun.iterations + begun.claimed
    done[begun.claimed] = stable(begun.x[begun.claimed], target[begun.claimed].to(x))
    without = torch.zeros_like(done)
    for side in target.unique().tolist():
        left = (begun.claimed & ~done & (target == side)).nonzero().flatten()
        ends = _stable_rows(model, stable, split, side, x.device) if len(left) else x[:0]
        without[left] = not len(ends)
        if len(left) and len(ends):
            order = by_distance(x[left], ends, p=2, most=rows).to(x.device)
            reached[left], done[left] = _moved(
                stable, x[left], begun.x[left], ends[order], target=target[left].to(x), constraint=constraint
            )
            taken[left] += order.shape[1] * (1 + HALVINGS)
    return Candidates(reached, done, taken, no_row=without)


def _stable_rows(model: Asked, stable: Stable, split: Background, side: int, device: torch.device) -> Tensor:
    """Return the training rows that are stable in the class `side`, (m, *input)."""
    rows = split.x[:ROWS]
    said = logits(model, rows)
    rows, kept = rows[leads(said, torch.full((len(rows),), side))], []
    for part in rows.split(rows_at_once(rows)):
        some = unit(part).to(device)
        kept.append(some[stable(some, some.new_full((len(some),), side))])
    return torch.cat(kept)


def _moved(
    stable: Stable, x: Tensor, begun: Tensor, ends: Tensor, *, target: Tensor, constraint: Constraint
) -> tuple[Tensor, Tensor]:
    """x, begun: (n, *input), ends: (n, lines, *input) → the stable point nearest to x, and (n,) whether one exists."""
    (many, lines), wide = ends.shape[:2], [1] * (x.dim() - 1)
    factual, origin = (part.repeat_interleave(lines, 0) for part in (x, begun))
    ends = ends.flatten(0, 1)
    aims = target.repeat_interleave(lines)
    best, length = origin, torch.full((len(ends),), torch.inf, device=x.device)
    low, high = torch.zeros_like(length), torch.ones_like(length)
    share = high
    for _ in range(1 + HALVINGS):  # the end of the line first
        point = constraint.project(torch.lerp(origin, ends, share.view(-1, *wide)), factual)
        good, apart = stable(point, aims), (point - factual).flatten(1).norm(dim=1)
        nearer = good & (apart < length)
        best, length = torch.where(nearer.view(-1, *wide), point, best), torch.where(nearer, apart, length)
        low, high = torch.where(good, low, share), torch.where(good, share, high)
        share = (low + high) / 2
    nearest = length.view(many, lines).argmin(1)
    chosen = torch.arange(many, device=x.device) * lines + nearest
    return best[chosen], length[chosen].isfinite()
