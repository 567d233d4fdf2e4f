"""Gradient ascent from a found counterfactual on a stability score; shared by sns and trex."""

from collections.abc import Callable

import torch
from torch import Tensor

from cftransfer.searching.candidates import Candidates
from cftransfer.searching.constraint import Constraint
from cftransfer.searching.rows import State, run_rows

Stability = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]  # (x′, target, extra) → stability, margin


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

    Each step is judged at its projection (the gradient ignores the projection), and kept if the margin is still at
    least `needed` and no point kept before was more stable; so the best point need not be the last. A row is done when
    its kept point has `enough` stability; with enough = inf it takes all its `steps`. It starts at its counterfactual
    plus `jitter`, (n, *input), and stays within `radius` (L2) of the counterfactual. Rows that `begun` did not find are
    left alone.

    iterations: cap on all steps, including the steps of `begun`. extra: (n, …), further input of `stability`.
    unfold: expands `extra` for the rows in work; expanding it for all rows would not fit in memory.
    """
    left = (iterations - begun.iterations).clamp(min=0, max=steps) * begun.claimed

    def begin(*rows: Tensor) -> State:
        x, target, extra, origin, jitter, left = rows
        least = torch.full((len(x),), -torch.inf, device=x.device)
        state = {"x": x, "target": target, "origin": origin, "z": origin + jitter, "left": left, "best": origin}
        state |= {"relaxed": origin, "most": least, "extra": unfold(extra)}
        return {name: part.clone() for name, part in state.items()}

    def step(state: State, age: Tensor) -> tuple[State, Tensor, State]:
        first = (age == 0).view(-1, *[1] * (x.dim() - 1))  # the start is judged without its jitter
        z = torch.where(first, state["origin"], state["z"])
        point = constraint.project(z, state["x"]).requires_grad_()
        worth, surest = stability(point, state["target"], state["extra"])
        (slope,) = torch.autograd.grad(worth.sum(), point)  # a sum keeps rows independent
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
    """Return z, pulled back along the line to its origin wherever it is farther away than `radius`."""
    length = (z - origin).flatten(1).norm(dim=1).clamp(min=torch.finfo(z.dtype).tiny)
    return origin + (z - origin) * (radius / length).clamp(max=1).view(-1, *[1] * (z.dim() - 1))
