"""The closest point on the other side (L2): a walk along the boundary, in about thirty evaluations a row.

Equation:
    minimise over x′: ‖x′ − x‖₂, subject to p(target | x′) ≥ confidence
Source:
    DeepFool: Moosavi-Dezfooli, Fawzi, Frossard 2016, https://arxiv.org/abs/1511.04599; DDN: Rony et al. 2019,
    https://arxiv.org/abs/1811.09600; FMN: Pintor et al. 2021, https://arxiv.org/abs/2102.12827
"""

from collections.abc import Callable

import torch
from torch import Tensor

from cftransfer.models.prediction import Asked, cross_entropy, lead
from cftransfer.searching.candidates import Candidates
from cftransfer.searching.constraint import Constraint
from cftransfer.searching.descent import Loss, check_descent, criterion, descend
from cftransfer.searching.refine import bisect, sparsify
from cftransfer.searching.rows import in_passes
from cftransfer.settings import check_int

Sure = Callable[[Tensor, Tensor], Tensor]  # (logits, target), from `descent.criterion`
LINEARISED, MORE = 4, 20  # steps towards the boundary: of every row; of rows still short of it
CYCLES, HALVINGS, ACROSS, LAST = 2, 4, 3, 8  # of the walk; more brought less than .2 % on COMPAS
EVALUATIONS = LINEARISED + MORE + 1 + CYCLES * (HALVINGS + 2 + ACROSS) + LAST  # at most
SHORT = 0.05  # of a feature's range, root mean square over features: a short step
OVERSHOOT = 1e-3  # of a feature's range, beyond a linearised boundary; the real one is curved


def minimal(
    model: Asked,
    x: Tensor,
    target: Tensor,
    *,
    constraint: Constraint,
    iterations: int = 1000,
    lr: float = 0.01,
    confidence: float = 0.5,
    batch_size: int = 256,
) -> Candidates:
    """x: (n, *input) in [0, 1], target: (n,) classes → Candidates. iterations: cap on evaluations of the model.

    Takes the point `closest` to the factual in the relaxation of the constraint where the target class has the
    `confidence`. If that point does not survive its projection, the search goes on by Adam steps of size `lr` until a
    projection does (`descend`). Then features are set back one by one, whole or half of the way (`sparsify`); images
    have too many pixels for that and move back along the line instead (`bisect`). The nearest possible point is an
    integer problem: the returned point is near, not proven to be the nearest. After DeepFool (Moosavi-Dezfooli et al.
    2016: linearise and project), the boundary projections of FMN (Pintor et al. 2021) and DDN (Rony et al. 2019: norm
    and direction apart). Unlike them, this projects the factual, not the last iterate, and spends evaluations on
    bisections, which need no gradient.
    """
    check_descent(model, confidence=confidence, iterations=iterations, lr=lr, batch_size=batch_size)
    check_int("counterfactual.iterations", iterations, least=EVALUATIONS)
    search = {"constraint": constraint, "confidence": confidence, "batch_size": batch_size}
    low, high = constraint.bounds(x)
    sure, needed = criterion(confidence)
    near, found, used = closest(model, x, target, sure=sure, needed=needed, low=low, high=high, batch_size=batch_size)
    if constraint.exact and found.all():
        return Candidates(near, found, used)

    def objective(moving: Tensor, _: Tensor, target: Tensor, __: Tensor) -> Loss:
        logit = model(moving)
        loss = cross_entropy(logit, target)
        return Loss(loss, torch.zeros_like(loss), sure(logit, target))

    begun = torch.where(found.view(-1, *[1] * (x.dim() - 1)), near, x), found
    rest = iterations - EVALUATIONS
    answer = descend(objective, x, target, start=begun, iterations=rest, lr=lr, **search)  # type: ignore[arg-type]
    answer = answer._replace(iterations=answer.iterations + used)
    if constraint.exact:
        return answer
    if x.dim() > 2:
        return bisect(model, x, target, answer, iterations=iterations, **search)  # type: ignore[arg-type]
    return sparsify(model, x, target, answer, halfway=True, iterations=iterations, **search)  # type: ignore[arg-type]


def closest(
    model: Asked,
    x: Tensor,
    target: Tensor,
    *,
    needed: float,
    low: Tensor,
    high: Tensor,
    batch_size: int,
    sure: Sure = lead,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the point nearest to x among those seen within low and high with a margin of at least `needed`.

    x lies within low and high, (n, *input) each. Returns the points, (n, *input), found: (n,) bool and evaluations:
    (n,) int64; x itself where no such point was seen. Each row keeps the best of its own points, and tries the same
    points alone and in any batch.
    """

    def block(x: Tensor, target: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return _walked(model, x, target, sure=sure, needed=needed, low=low, high=high)

    near, found, used = in_passes(block, x, target.to(x), low, high, batch_size=batch_size)
    return near, found, used


class _Best:
    """The nearest point seen so far, for each row, that has the margin."""

    def __init__(self, model: Asked, x: Tensor, target: Tensor, *, sure: Sure, needed: float) -> None:
        self.model, self.x, self.target, self.sure, self.needed = model, x, target, sure, needed
        self.point, self.length = x, torch.full((len(x),), torch.inf, device=x.device)

    def good(self, point: Tensor, logit_margin: Tensor | None = None) -> Tensor:
        """Judge one point per row and keep it if it is the best so far; return (n,) whether it has the margin."""
        if logit_margin is None:
            with torch.no_grad():
                logit_margin = self.sure(self.model(point), self.target)
        right, length = logit_margin >= self.needed, (point - self.x).flatten(1).norm(dim=1)
        better = right & (length < self.length)
        self.point = torch.where(_wide(better, point), point, self.point)
        self.length = torch.where(better, length, self.length)
        return right

    def bisect(self, wrong: Tensor, right: Tensor, halvings: int) -> None:
        """Look for the boundary between `wrong` and `right`; `right` has the margin."""
        for _ in range(halvings):
            middle = (wrong + right) / 2
            good = _wide(self.good(middle), middle)
            wrong, right = torch.where(good, wrong, middle), torch.where(good, middle, right)


def _walked(
    model: Asked, x: Tensor, target: Tensor, *, sure: Sure, needed: float, low: Tensor, high: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    best = _Best(model, x, target, sure=sure, needed=needed)
    used = torch.full((len(x),), LINEARISED + 1 + CYCLES * (HALVINGS + 2 + ACROSS) + LAST, device=x.device)

    def tangent(point: Tensor, origin: Tensor = x, overshoot: float = OVERSHOOT) -> Tensor:
        """Return the point nearest to `origin` beyond the boundary as linearised at `point`."""
        moving = point.detach().requires_grad_()
        margins = sure(model(moving), target)
        (slope,) = torch.autograd.grad(margins.sum(), moving)
        best.good(point, margins.detach())
        flat = slope.flatten(1)
        beyond = needed * 1.5 + overshoot * flat.norm(dim=1) - margins.detach()
        level = beyond + (flat * point.flatten(1)).sum(1)
        parts = (part.flatten(1) for part in (origin, slope, low, high))
        return halfspace(*parts, level=level).view_as(x)

    point = x
    for _ in range(LINEARISED):
        point = tangent(point)
    best.good(point)
    short = best.length.isinf()
    if short.any():
        used += short
        best.good(_hopped(tangent, best, low, high, used))
    for cycle in range(1, CYCLES + 1):
        best.bisect(x, best.point, HALVINGS)
        point = tangent(best.point, overshoot=OVERSHOOT if cycle < CYCLES else OVERSHOOT / 10)
        best.good(point)
        best.bisect(point, best.point, ACROSS)
    # A tangent ends an overshoot beyond the boundary, at most a sixteenth of the way.
    best.bisect(torch.lerp(x, best.point, 15 / 16).clamp(low, high), best.point, LAST)
    return best.point, best.length.isfinite(), used


def _hopped(tangent: Callable[..., Tensor], best: _Best, low: Tensor, high: Tensor, used: Tensor) -> Tensor:
    """Take short steps from x for rows without a point so far; judge all but the last, return it, and count `used`.

    Full linear steps from x may jump back and forth over a narrow target class for ever.
    """
    x = point = best.x
    longest = SHORT * x[0].numel() ** 0.5
    for _ in range(MORE - 1):
        short = best.length.isinf()
        if not short.any():
            break
        used += short
        move = tangent(point, point) - point
        share = (longest / move.flatten(1).norm(dim=1).clamp(min=1e-30)).clamp(max=1)
        point = torch.where(_wide(short, x), (point + _wide(share, x) * move).clamp(low, high), x)
    return point


def halfspace(x: Tensor, slope: Tensor, low: Tensor, high: Tensor, *, level: Tensor) -> Tensor:
    """x, slope, low, high: (n, d), level: (n,) → (n, d): the z nearest to x with slope · z ≥ level and low ≤ z ≤ high.

    z = clamp(x + λ slope). slope · z grows with λ ≥ 0 along straight pieces that end where a coordinate meets its
    bound, so λ is found by sorting these ends. If no z of the box reaches the level, the closest corner is returned.
    """
    room = torch.where(slope > 0, high - x, low - x)
    ends = torch.where(slope == 0, 0.0, room / slope).clamp(0, 1e15)  # λ at which a coordinate stops
    ends, order = ends.sort(dim=1)
    weight = slope.square().gather(1, order)
    stopped = (weight * ends).cumsum(1)
    before = torch.cat([torch.zeros_like(stopped[:, :1]), stopped[:, :-1]], 1)  # gained by stopped coordinates
    rate = weight.flip(1).cumsum(1).flip(1)  # slope · slope of coordinates still moving
    wanted = (level - (slope * x).sum(1)).clamp(min=0)
    piece = (before + rate * ends < wanted.unsqueeze(1)).sum(1, keepdim=True)
    within = piece.clamp(max=slope.shape[1] - 1)
    share = (wanted.unsqueeze(1) - before.gather(1, within)) / rate.gather(1, within).clamp(min=1e-30)
    length = torch.where(piece < slope.shape[1], share, 1e15)
    return (x + length * slope).clamp(low, high)


def _wide(flags: Tensor, x: Tensor) -> Tensor:
    return flags.view(-1, *[1] * (x.dim() - 1))
