"""Random draws in growing shells around a point, until one is good (Laugel et al. 2018)."""

from collections.abc import Callable

import torch
from torch import Tensor

from cftransfer.searching.candidates import Candidates
from cftransfer.searching.constraint import Constraint
from cftransfer.searching.row_random import normal, row_seeds, uniform
from cftransfer.searching.rows import State, run_rows


def grow(
    good: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    target: Tensor,
    *,
    centre: Tensor,
    constraint: Constraint,
    draws: int,
    radius: float,
    rounds: int,
    batch_size: int,
) -> Candidates:
    """x, centre: (n, *input), target: (n,) → Candidates; its iterations are draws, at most `rounds` · `draws`.

    `draws` points are drawn from the ball of `radius` around the centre, uniform in direction and in distance, and
    projected. While one of them is good(points, target), (n · draws,) bool, the radius is halved and the ball is drawn
    again. Then shells of the last radius are drawn, each outside the one before, up to the first with a good point. The
    good point nearest to x is taken. A row's draws are its own.
    """

    def begin(x: Tensor, target: Tensor, centre: Tensor, seeds: Tensor) -> State:
        zero = torch.zeros(len(x), device=x.device)
        state = {"x": x, "target": target, "centre": centre, "seed": seeds, "best": x}
        state |= {"inner": zero, "width": zero + radius}
        flags = {"grows": torch.zeros_like(zero, dtype=torch.bool), "found": torch.zeros_like(zero, dtype=torch.bool)}
        return {name: part.clone() for name, part in {**state, **flags}.items()}

    def step(state: State, age: Tensor) -> tuple[State, Tensor, State]:
        factual, shape = state["x"].unsqueeze(1), state["x"].shape[1:]
        points = shell(state, age, draws)
        points = constraint.project(points.flatten(0, 1), factual.expand(-1, draws, *shape).flatten(0, 1))
        right = good(points, state["target"].repeat_interleave(draws))
        points, right = points.view(-1, draws, *shape), right.view(-1, draws)
        apart = (points - factual).flatten(2).norm(dim=2).masked_fill(~right, torch.inf)
        nearest, hit = points[torch.arange(len(points)), apart.argmin(1)], right.any(1)
        before = (state["best"] - state["x"]).flatten(1).norm(dim=1).masked_fill(~state["found"], torch.inf)
        nearer = (apart.amin(1) < before).view(-1, *[1] * len(shape))
        following = {**state, "best": torch.where(nearer, nearest, state["best"]), "found": state["found"] | hit}
        grows = state["grows"] | ~hit  # no good point in the ball: grow from here on
        following["inner"] = torch.where(grows, state["inner"] + state["width"], state["inner"])
        following["width"] = torch.where(grows, state["width"], state["width"] / 2)
        standing = {"best": following["best"], "found": following["found"]}
        return standing, state["grows"] & hit, {**following, "grows": grows}

    parts = (x, target.to(x), centre, row_seeds(x))
    reached, _, taken = run_rows(begin, step, *parts, iterations=rounds - 1, batch_size=batch_size)
    return Candidates(reached["best"], reached["found"], (taken + 1) * draws)


def shell(state: State, age: Tensor, draws: int) -> Tensor:
    """Return (n, draws, *input): points between `inner` and `inner` + `width` of `centre`, uniform in distance."""
    shape = state["centre"].shape[1:]
    every = draws * (2 * shape.numel() + 1)  # random numbers per round
    direction = normal(state["seed"], draws, *shape, first=age * every)
    share = uniform(state["seed"], draws, first=age * every + every - draws)
    length = state["inner"].unsqueeze(1) + share * state["width"].unsqueeze(1)
    scale = length / direction.flatten(2).norm(dim=2)
    return state["centre"].unsqueeze(1) + direction * scale.view(-1, draws, *[1] * len(shape))
