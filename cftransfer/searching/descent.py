"""Adam on a loss per row, through the relaxation of a constraint, until its projection is on the target's side."""

from collections.abc import Callable
from math import log
from typing import NamedTuple

import torch
from torch import Tensor

from cftransfer.errors import InputError
from cftransfer.models.prediction import Asked, differentiable, lead, margin
from cftransfer.searching.candidates import Candidates
from cftransfer.searching.constraint import Constraint
from cftransfer.searching.rows import State, run_rows
from cftransfer.settings import check_float, check_int

BOUNDARY = 0.5  # with this confidence a search stops at the decision boundary
BETAS, EPSILON = (0.9, 0.999), 1e-8  # Adam's, as in Kingma and Ba 2015
ROUNDING = 1e-5  # logits; a later pass of another shape must give the same class


class Loss(NamedTuple):
    """prediction, distance: (n,) parts of a row's loss, added up. sure: (n,), from the logits, as `criterion` says."""

    prediction: Tensor
    distance: Tensor
    sure: Tensor


Objective = Callable[[Tensor, Tensor, Tensor, Tensor], Loss]  # (x′, factual, target (float), age)


def descend(
    objective: Objective,
    x: Tensor,
    target: Tensor,
    *,
    constraint: Constraint,
    confidence: float,
    iterations: int,
    lr: float,
    batch_size: int,
    start: tuple[Tensor, Tensor] | None = None,
) -> Candidates:
    """x: (n, *input), target: (n,) classes → Candidates; every row moves at its own pace, in steps of size `lr`.

    Until a row's relaxation z first has the `confidence` in its target, the row follows the gradient of
    prediction + distance at z; if the projection of z is z itself, it is done. After that the row is judged at its
    projection. It follows the gradient of the prediction alone, taken at the projection and applied to z (a
    straight-through estimator), until the projection has the confidence as well. A row that is not done after
    `iterations` steps is returned as it is.

    start: (n, *input) and (n,) bool, the rows' starting points, and which rows have already crossed; those are judged
    at their projections from the first step. None: start at x.
    """
    _, needed = criterion(confidence)

    def begin(x: Tensor, target: Tensor, z: Tensor, crossed: Tensor) -> State:
        still = torch.zeros_like(x)
        state = {"z": z, "factual": x, "target": target, "mean": still, "square": still, "relaxed": z}
        return {name: part.clone() for name, part in {**state, "crossed": crossed}.items()}

    def step(state: State, age: Tensor) -> tuple[State, Tensor, State]:
        z, factual, crossed = state["z"], state["factual"], state["crossed"]
        projected = z if constraint.exact else constraint.project(z, factual)
        point = torch.where(_rows(crossed, z), projected, z).requires_grad_()
        loss = objective(point, factual, state["target"], age)
        (slope,) = torch.autograd.grad((loss.prediction + loss.distance * ~crossed).sum(), point)  # rows stay apart
        convinced = loss.sure.detach() >= needed
        fits = crossed if not constraint.exact else torch.ones_like(crossed)
        fits = fits | (projected == z).flatten(1).all(1)
        crossing = convinced & ~crossed
        relaxed = torch.where(_rows(crossed, z), state["relaxed"], z)
        standing = {"x": projected, "relaxed": relaxed, "crossed": crossed | convinced}
        following = _adam(state, slope, age + 1, lr)
        # A row that is crossing waits for the verdict on its projection.
        following["z"] = torch.where(_rows(crossing, z), z, constraint.relax(following["z"], factual))
        return standing, convinced & fits, {**following, "relaxed": relaxed, "crossed": crossed | convinced}

    begun = start or (x, torch.zeros(len(x), dtype=torch.bool, device=x.device))
    reached, done, steps = run_rows(begin, step, x, target.to(x), *begun, iterations=iterations, batch_size=batch_size)
    return Candidates(reached["x"], done, steps, reached["relaxed"], reached["crossed"])


def criterion(confidence: float) -> tuple[Callable[[Tensor, Tensor], Tensor], float]:
    """Return a function of logits and target, and the value from which a model is sure enough of the target.

    At a confidence of .5 the model has to predict the target (`lead`); above .5, the target has to have that
    probability (`margin`). In a binary task these are the same. The threshold is slightly above 0, for rounding.
    """
    return (lead if confidence == BOUNDARY else margin), log(confidence / (1 - confidence)) + ROUNDING


def held(sure: Tensor, worst: Tensor, confidence: float) -> Tensor:
    """Return (n,), at least the threshold of `criterion` where `sure` is and `worst`, a lead in logits, is above 0."""
    return torch.minimum(sure, worst + log(confidence / (1 - confidence)))


def check_descent(model: Asked, *, confidence: float, iterations: int, lr: float, batch_size: int) -> None:
    """Check the settings of a gradient method; InputError names a wrong key, or says that the model has no gradient."""
    if not differentiable(model):
        queries = "counterfactual=nearest and counterfactual=growing_spheres need none"
        raise InputError(f"counterfactual: this method follows gradients, and the base's model has none; {queries}")
    check_int("counterfactual.iterations", iterations)
    check_int("counterfactual.batch_size", batch_size)
    positive("lr", lr)
    check_confidence(confidence)


def check_confidence(confidence: float) -> None:
    """Raise an InputError unless `confidence` is a probability in [.5, 1)."""
    inside = "from 0.5 up to, not including, 1"
    check_float("counterfactual.confidence", confidence, inside=inside, among=lambda p: 0.5 <= p < 1)


def positive(name: str, value: float) -> None:
    """Raise an InputError unless the setting `name` is a finite number above 0."""
    check_float(f"counterfactual.{name}", value, inside="> 0", among=lambda number: 0 < number < float("inf"))


def _rows(flags: Tensor, x: Tensor) -> Tensor:
    """Return flags, (n,), as (n, 1, …), to broadcast against x: (n, *input)."""
    return flags.view(-1, *[1] * (x.dim() - 1))


def _adam(state: State, slope: Tensor, age: Tensor, lr: float) -> State:
    """Take one Adam step per row, with the bias correction of the row's own age: (n,) ≥ 1."""
    mean = torch.lerp(slope, state["mean"], BETAS[0])
    square = torch.lerp(slope.square(), state["square"], BETAS[1])
    age = _rows(age, slope).to(slope)
    direction = (mean / (1 - BETAS[0] ** age)) / ((square / (1 - BETAS[1] ** age)).sqrt() + EPSILON)
    return {**state, "z": state["z"] - lr * direction, "mean": mean, "square": square}
