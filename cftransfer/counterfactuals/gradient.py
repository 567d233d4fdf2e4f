"""The paper's search: descend towards the target class, staying near the factual, and stop at the first success."""

from math import log

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from cftransfer.counterfactuals.stream import State, stream
from cftransfer.data.space import FeatureSpace
from cftransfer.models.prediction import Model, margin
from cftransfer.spec import real, whole

BETAS, EPSILON = (0.9, 0.999), 1e-8  # Adam's, as in Kingma and Ba 2015
ROUNDING = 1e-5  # logits; whoever scores x′ in passes of another shape must get the same class


def gradient(
    model: Model,
    x: Tensor,
    target: Tensor,
    *,
    space: FeatureSpace,  # noqa: ARG001 (the contract of all methods; this one knows the box alone)
    iterations: int,
    lr: float,
    distance_weight: float,
    confidence: float,
    batch_size: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """x: (n, *input) in [0, 1], target: (n,) 0 or 1 → x′: (n, *input) in [0, 1], done: (n,) bool, iterations: (n,).

    Minimises BCE(model(x′), target) + distance_weight · ‖x′ − x‖² by Adam steps of size `lr`, each followed by a
    projection onto the box, from x′ = x. A row is done as soon as the model gives the target class a probability of at
    least `confidence`, and has then taken `iterations` steps. A row that is not done after `iterations` steps comes
    back where it stands, for the engine to judge. Settings out of range raise an InputError that names the key.
    """
    _check(
        iterations=iterations,
        lr=lr,
        distance_weight=distance_weight,
        confidence=confidence,
        batch_size=batch_size,
    )
    needed = log(confidence / (1 - confidence)) + ROUNDING

    def start(x: Tensor, target: Tensor) -> State:
        still = torch.zeros_like(x)
        return {"x": x, "factual": x.clone(), "target": target.to(x), "mean": still, "square": still.clone()}

    def step(state: State, age: Tensor) -> tuple[State, Tensor]:
        moving = state["x"].detach().requires_grad_()
        logit = model(moving)
        loss = binary_cross_entropy_with_logits(logit, state["target"], reduction="none")
        distance = (moving - state["factual"]).square().flatten(1).sum(1)
        (slope,) = torch.autograd.grad((loss + distance_weight * distance).sum(), moving)  # rows do not meet in a sum
        following = _adam(state, slope, age + 1, lr)
        return following, margin(logit.detach(), state["target"]) >= needed

    return stream(start, step, x, target, iterations=iterations, batch_size=batch_size)


def _check(*, iterations: int, lr: float, distance_weight: float, confidence: float, batch_size: int) -> None:
    whole("counterfactual.iterations", iterations, least=0)
    whole("counterfactual.batch_size", batch_size, least=1)
    real("counterfactual.lr", lr, inside="> 0", among=lambda lr: 0 < lr < float("inf"))
    real("counterfactual.distance_weight", distance_weight, inside="≥ 0", among=lambda w: 0 <= w < float("inf"))
    real(
        "counterfactual.confidence", confidence, inside="from 0.5 up to, not including, 1", among=lambda p: 0.5 <= p < 1
    )


def _adam(state: State, slope: Tensor, age: Tensor, lr: float) -> State:
    """One step of every row, each with the bias correction of its own age: (n,) ≥ 1."""
    mean = torch.lerp(slope, state["mean"], BETAS[0])
    square = torch.lerp(slope.square(), state["square"], BETAS[1])
    age = age.view(-1, *[1] * (slope.dim() - 1)).to(slope)
    direction = (mean / (1 - BETAS[0] ** age)) / ((square / (1 - BETAS[1] ** age)).sqrt() + EPSILON)
    return {**state, "x": (state["x"] - lr * direction).clamp(0, 1), "mean": mean, "square": square}
