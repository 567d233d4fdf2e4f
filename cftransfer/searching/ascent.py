"""From a counterfactual on, towards points of which the base is surer in a wider sense: what sns and trex share."""

from collections.abc import Callable

import torch
from torch import Tensor

from cftransfer.searching.candidates import Candidates
from cftransfer.searching.constraint import Constraint
from cftransfer.searching.rows import State, run_rows

Stability = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]  # of x′, target, extra → what to raise, margin


def ascend(
    stability: Stability,
    x: Tensor,
    target: Tensor,
    begun: Candidates,
    *,
    extra: Tensor,
    constraint: Constraint,
    needed: float,
    enough: float,
    radius: float,
    steps: int,
    iterations: int,
    lr: float,
    jitter: Tensor,
    batch_size: int,
    unfold: Callable[[Tensor], Tensor] = lambda extra: extra,
) -> Candidates:
    """Raise stability(x′, target, extra), (n,), by normalised gradient steps of L2 length `lr` from the x′ of `begun`.

    Each step is judged at its projection, which the gradient goes straight through, and kept if the margin is still
    `needed` and no point kept before was more stable: the last need not be the best. A row is done when what is kept
    has `enough` stability; with enough = inf it takes all its `steps`. It stays within `radius` (L2) of where it began,
    and begins `jitter`, (n, *input), beside. Rows that were not found before are left alone; iterations: the cap on all
    steps, those of `begun` included. extra: (n, …), what else stability is a function of; `unfold` makes that of it for
    the rows in work, where it would be too much for all.
    """
    left = (iterations - begun.iterations).clamp(min=0, max=steps) * begun.claimed

    def begin(*rows: Tensor) -> State:
        x, target, extra, origin, jitter, left = rows
        least = torch.full((len(x),), -torch.inf, device=x.device)
        state = {"x": x, "target": target, "origin": origin, "z": origin + jitter, "left": left, "best": origin}
        state |= {"relaxed": origin, "most": least, "extra": unfold(extra)}
        return {name: part.clone() for name, part in state.items()}

    def step(state: State, age: Tensor) -> tuple[State, Tensor, State]:
        first = (age == 0).view(-1, *[1] * (x.dim() - 1))  # the starting point is judged as well, before its jitter
        z = torch.where(first, state["origin"], state["z"])
        point = constraint.project(z, state["x"]).requires_grad_()
        worth, surest = stability(point, state["target"], state["extra"])
        (slope,) = torch.autograd.grad(worth.sum(), point)  # rows do not meet in a sum
        worth = worth.detach()
        better = (surest.detach() >= needed) & (worth > state["most"])
        wide = better.view(-1, *[1] * (x.dim() - 1))
        kept = {
            "best": torch.where(wide, point.detach(), state["best"]),
            "relaxed": torch.where(wide, z, state["relaxed"]),
            "most": torch.where(better, worth, state["most"]),
        }
        length = slope.flatten(1).norm(dim=1).clamp(min=torch.finfo(slope.dtype).tiny)
        moved = torch.where(first, state["z"], z) + lr * slope / length.view(-1, *[1] * (x.dim() - 1))
        done = (kept["most"] >= enough) | (age >= state["left"])
        return kept, done, {**state, **kept, "z": constraint.relax(_within(moved, state["origin"], radius), state["x"])}

    parts = (x, target.to(x), extra, begun.x, jitter, left)
    reached, _, taken = run_rows(begin, step, *parts, iterations=steps, batch_size=batch_size)
    done = begun.claimed & ((reached["most"] >= enough) if enough < float("inf") else True)
    before = (reached["relaxed"], begun.crossed) if begun.crossed is not None else ()
    return Candidates(reached["best"], done, begun.iterations + torch.minimum(taken, left), *before)


def _within(z: Tensor, origin: Tensor, radius: float) -> Tensor:
    """Return z, brought back along the line to its origin where it is farther than `radius` from it."""
    length = (z - origin).flatten(1).norm(dim=1).clamp(min=torch.finfo(z.dtype).tiny)
    return origin + (z - origin) * (radius / length).clamp(max=1).view(-1, *[1] * (z.dim() - 1))
