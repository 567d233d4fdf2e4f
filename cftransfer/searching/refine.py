"""Moving a found counterfactual back towards its factual, along the line or feature by feature."""

import torch
from torch import Tensor

from cftransfer.models.prediction import Asked
from cftransfer.searching.candidates import Candidates
from cftransfer.searching.constraint import Constraint
from cftransfer.searching.descent import criterion
from cftransfer.searching.rows import State, in_passes, run_rows

HALVINGS = 20  # of the way between factual and counterfactual, down to a millionth


def bisect(
    model: Asked,
    x: Tensor,
    target: Tensor,
    answer: Candidates,
    *,
    constraint: Constraint,
    confidence: float,
    iterations: int,
    batch_size: int,
) -> Candidates:
    """Return the answer with each done x′ moved back along the line to x, (n, *input), as the confidence allows.

    Each of up to HALVINGS halvings counts as an iteration, and `iterations` remains the cap on all. Points on the line
    are projected; the nearest one seen with the confidence is kept, so no counterfactual is lost.
    """
    sure, needed = criterion(confidence)

    def begin(x: Tensor, target: Tensor, reached: Tensor, left: Tensor) -> State:
        low, high = torch.zeros(len(x), device=x.device), torch.ones(len(x), device=x.device)
        state = {"x": x, "target": target, "end": reached, "best": reached, "left": left, "low": low, "high": high}
        return {name: part.clone() for name, part in state.items()}

    def step(state: State, age: Tensor) -> tuple[State, Tensor, State]:
        middle = (state["low"] + state["high"]) / 2
        factual = state["x"]
        z = factual + middle.view(-1, *[1] * (factual.dim() - 1)) * (state["end"] - factual)
        point = constraint.project(z, factual)
        with torch.no_grad():
            good = sure(model(point), state["target"]) >= needed
        done = age >= state["left"]
        nearer = good & ((point - factual).flatten(1).norm(dim=1) <= (state["best"] - factual).flatten(1).norm(dim=1))
        kept = torch.where(nearer.view(-1, *[1] * (factual.dim() - 1)), point, state["best"])
        ends = {"low": torch.where(good, state["low"], middle), "high": torch.where(good, middle, state["high"])}
        return {"best": state["best"]}, done, {**state, "best": kept, **ends}

    left = (iterations - answer.iterations).clamp(max=HALVINGS) * answer.claimed
    refined, _, _ = run_rows(begin, step, x, target.to(x), answer.x, left, iterations=HALVINGS, batch_size=batch_size)
    return answer._replace(x=refined["best"], iterations=answer.iterations + left)


def sparsify(
    model: Asked,
    x: Tensor,
    target: Tensor,
    answer: Candidates,
    *,
    constraint: Constraint,
    confidence: float,
    halfway: bool,
    iterations: int,
    batch_size: int,
) -> Candidates:
    """Return the answer with each done x′ brought nearer to x: (n, *input), one feature at a time.

    In every round each feature of a row is tried at the factual's value (and, if `halfway`, projected half of the way
    to it). Among the points that still have the confidence, the one nearest in L2 is taken, until no feature can be set
    back. Each point tried counts as an iteration of the row, and `iterations` is the cap on all.
    """
    (sure, needed), reached, taken = criterion(confidence), answer.x.clone(), answer.iterations.clone()
    owned = constraint.feature == torch.arange(int(constraint.feature.max()) + 1, device=x.device).unsqueeze(1)
    many = len(owned) * (1 + halfway)  # points that a row tries in a round
    rows = (answer.claimed & (taken + many <= iterations)).nonzero().flatten()

    def good(points: Tensor, target: Tensor) -> tuple[Tensor]:
        with torch.no_grad():
            return (sure(model(points), target) >= needed,)

    while len(rows):
        now, factual = reached[rows], x[rows]
        middle = constraint.project((now + factual) / 2, factual)
        parts = [torch.where(owned, other.unsqueeze(1), now.unsqueeze(1)) for other in (factual, middle)[: 1 + halfway]]
        tried = torch.cat(parts, 1)  # (rows, candidates, columns)
        wanted = target[rows].to(x).repeat_interleave(many)
        (keeps,) = in_passes(good, tried.flatten(0, 1), wanted, batch_size=batch_size)
        length = (tried - factual.unsqueeze(1)).norm(dim=2)
        length = length.masked_fill(~keeps.view(-1, many), torch.inf)
        nearest = length.argmin(1)
        better = length.gather(1, nearest.unsqueeze(1)).squeeze(1) < (now - factual).norm(dim=1)
        taken[rows] += many
        rows, nearest = rows[better], nearest[better]
        reached[rows] = tried[better, nearest]
        rows = rows[taken[rows] + many <= iterations]
    return answer._replace(x=reached, iterations=taken)
