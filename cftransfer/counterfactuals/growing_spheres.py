"""Growing spheres (Laugel et al. 2018): draw around the factual, ever farther out, to the first of the target."""

import torch
from torch import Tensor

from cftransfer.models.prediction import Asked, rows_at_once
from cftransfer.searching.candidates import Candidates
from cftransfer.searching.constraint import Constraint
from cftransfer.searching.descent import check_confidence, criterion, positive
from cftransfer.searching.distance import BLOCK
from cftransfer.searching.refine import sparsify
from cftransfer.searching.row_random import normal, row_seeds, uniform
from cftransfer.searching.rows import State, run_rows
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
    """x: (n, *input) in [0, 1], target: (n,) classes → Candidates; no gradient is needed. iterations: queries, at most.

    `draws` points are drawn from the ball of `radius` around x, uniform in direction and in distance, and projected.
    While one of them is of the target class with the `confidence`, the radius is halved and the ball drawn again; then
    shells of the last radius are drawn, each outside the one before, up to the first with such a point. The nearest
    point seen is taken, and then features are put back to the factual's, one after the other, as long as the class
    stays (`sparse`; their step 2; of tables). Their radial law is uniform in volume, which in many dimensions leaves
    the inside of a ball empty. A row's draws are its own.
    """
    check_int("counterfactual.iterations", iterations, least=check_int("counterfactual.draws", draws, least=1))
    check_int("counterfactual.batch_size", batch_size)
    positive("radius", radius)
    check_confidence(confidence)
    check_choice("counterfactual.sparse", sparse)
    (sure, needed), batch_size = criterion(confidence), rows_at_once(x, rows=batch_size, numbers=BLOCK // draws)

    def begin(x: Tensor, target: Tensor, seeds: Tensor) -> State:
        zero = torch.zeros(len(x), device=x.device)
        state = {"x": x, "target": target, "seed": seeds, "best": x, "inner": zero, "width": zero + radius}
        flags = {"grows": torch.zeros_like(zero, dtype=torch.bool), "found": torch.zeros_like(zero, dtype=torch.bool)}
        return {name: part.clone() for name, part in {**state, **flags}.items()}

    def step(state: State, age: Tensor) -> tuple[State, Tensor, State]:
        factual, shape = state["x"].unsqueeze(1), state["x"].shape[1:]
        points = _shell(state, age, draws)
        points = constraint.project(points.flatten(0, 1), factual.expand(-1, draws, *shape).flatten(0, 1))
        with torch.no_grad():
            right = sure(model(points), state["target"].repeat_interleave(draws)) >= needed
        points, right = points.view(-1, draws, *shape), right.view(-1, draws)
        apart = (points - factual).flatten(2).norm(dim=2).masked_fill(~right, torch.inf)
        nearest, hit = points[torch.arange(len(points)), apart.argmin(1)], right.any(1)
        before = (state["best"] - state["x"]).flatten(1).norm(dim=1).masked_fill(~state["found"], torch.inf)
        nearer = (apart.amin(1) < before).view(-1, *[1] * len(shape))
        following = {**state, "best": torch.where(nearer, nearest, state["best"]), "found": state["found"] | hit}
        grows = state["grows"] | ~hit  # the ball is empty: from here on outwards
        following["inner"] = torch.where(grows, state["inner"] + state["width"], state["inner"])
        following["width"] = torch.where(grows, state["width"], state["width"] / 2)
        standing = {"best": following["best"], "found": following["found"]}
        return standing, state["grows"] & hit, {**following, "grows": grows}

    reached, _, rounds = run_rows(
        begin, step, x, target.to(x), row_seeds(x), iterations=iterations // draws - 1, batch_size=batch_size
    )
    answer = Candidates(reached["best"], reached["found"], (rounds + 1) * draws)
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


def _shell(state: State, age: Tensor, draws: int) -> Tensor:
    """Return (n, draws, *input): points between `inner` and `inner` + `width` of each row, uniform in distance."""
    shape = state["x"].shape[1:]
    every = draws * (2 * shape.numel() + 1)  # numbers that a round takes
    direction = normal(state["seed"], draws, *shape, first=age * every)
    share = uniform(state["seed"], draws, first=age * every + every - draws)
    length = state["inner"].unsqueeze(1) + share * state["width"].unsqueeze(1)
    scale = length / direction.flatten(2).norm(dim=2)
    return state["x"].unsqueeze(1) + direction * scale.view(-1, draws, *[1] * len(shape))
