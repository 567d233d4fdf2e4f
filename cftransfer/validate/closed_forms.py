"""Rates, agreement and controls of linear models, which have closed forms.

Two linear models have unit normals at an angle θ. Factuals are Gaussian in the plane of the normals, with standard
deviation σ in every direction. The counterfactual is the closest point at distance γ beyond the base's boundary, where
the base's logit is γ. It keeps the factual's coordinate t along the boundary, which is N(0, σ²). The reference's logit
there, towards the target, is γ cos θ ± t sin θ, which is positive with probability Φ(γ cot θ / σ). The models disagree
on factuals in two wedges of angle θ, so the agreement is 1 − θ / π.
"""

import math
from collections.abc import Callable, Iterable

import torch
from scipy import integrate, special
from torch import Tensor

import cftransfer as cft
from cftransfer.validate.check import Row, equal

SIGMA = 0.5
ANGLES = (15, 30, 45, 60)  # degrees between the boundaries of two models
MARGINS = (0.0, 0.1, 0.3, 1.0)  # γ
FACTUALS = 4096


def angled_models() -> Iterable[Row]:
    """Rate Φ(γ cot θ / σ) and agreement 1 − θ / π; not exact, since `minimal` goes .001 beyond the boundary."""
    x, base = _gaussian(), _facing(0)
    references = {str(angle): [_facing(angle)] for angle in ANGLES}
    for margin in MARGINS:
        found = cft.search(base, x, method="minimal", constraints="none", confidence=float(special.expit(margin)))
        result = cft.measure(cft.ask(found, references))
        for angle in ANGLES:
            rate = special.ndtr(margin / math.tan(math.radians(angle)) / SIGMA)
            yield equal(f"rate, {angle}°, margin {margin:g}", rate, _number(result[str(angle)].rate), 0.01)
    for angle in ANGLES:
        agreement = float(result[str(angle)].summary.agreement.iloc[0])
        yield equal(f"agreement, {angle}°", 1 - angle / 180, agreement, 0.01)


def random_control() -> Iterable[Row]:
    """Steps of length r in random directions cross a plane at distance d with the share of a spherical cap.

    The cap of angle arccos(d / r) is ½ I(1 − (d/r)²; (n − 1)/2, ½) of the sphere in n dimensions.
    """
    for columns, apart, length in ((2, 0.1, 0.3), (3, 0.1, 0.2), (10, 0.05, 0.3)):
        x = torch.full((3000, columns), 0.5)
        x[:, 0] -= apart
        made = x.clone()
        made[:, 0] += length
        base, copy = (_wall() for _ in range(2))
        result = cft.measure(cft.ask(cft.judge(base, x, made), copy))
        cap = special.betainc((columns - 1) / 2, 0.5, 1 - (apart / length) ** 2) / 2
        control = float(result.summary.control_random.iloc[0])
        yield equal(f"{columns} dimensions, d / r = {apart / length:.2f}", cap, control, 0.015)


def softmax() -> Iterable[Row]:
    """Three classes in sectors of 120°, with the reference's sectors turned by θ: agreement 1 − 3θ / 2π.

    A counterfactual lies at distance d beyond the boundary to the second choice, and at ρ along the boundary. It always
    holds if the target's sector turns towards it. In the other half of all cases it holds if atan(d / ρ) > θ, where
    ρ = r cos φ, r is Rayleigh with σ, and φ, the angle to the boundary, is uniform up to π/3. At d = 0 the rate is one
    half.
    """
    x, base = _gaussian(), _sectors(0)
    for angle, beyond in ((10, 0.0), (10, 0.05), (20, 0.1)):
        found = cft.judge(base, x, _second_choice(x, beyond), constraints="none")
        result = cft.measure(cft.ask(found, _sectors(angle)))
        most = beyond / math.tan(math.radians(angle))
        near, _ = integrate.quad(
            lambda phi, c=most: -math.expm1(-((c / SIGMA / math.cos(phi)) ** 2) / 2), 0, math.pi / 3
        )
        rate = 0.5 + 0.5 * near / (math.pi / 3)
        yield equal(f"rate, {angle}°, {beyond:g} beyond", rate, _number(result.rate), 0.015)
        if beyond:
            yield equal(f"agreement, {angle}°", 1 - angle / 120, float(result.summary.agreement.iloc[0]), 0.01)
    found = cft.search(base, x[:1000], method="minimal", constraints="none")
    far = (found.counterfactual - _second_choice(x[:1000], 0.0)).norm(dim=1).mean()
    yield equal("mean distance of `minimal` from the closest point", 0, float(far), 0.005)


def _gaussian() -> Tensor:
    """Return (FACTUALS, 2) points that fill a Gaussian evenly: a Sobol sequence mapped through normal quantiles."""
    even = torch.quasirandom.SobolEngine(2).draw(FACTUALS).double() + 0.5 / FACTUALS  # the sequence begins at 0
    return (SIGMA * torch.special.ndtri(even)).float()


def _facing(degrees: float) -> torch.nn.Module:
    """Return the linear model with a unit normal at this angle to the first axis."""
    model = torch.nn.Linear(2, 1, bias=False).requires_grad_(False)
    angle = math.radians(degrees)
    model.weight.copy_(torch.tensor([[math.cos(angle), math.sin(angle)]]))
    return model


def _wall() -> cft.Model:
    """Return a new linear model with its boundary at the middle of the first feature."""
    return cft.Model(lambda x: x[:, 0] - 0.5)


def _sectors(degrees: float) -> torch.nn.Module:
    """Return the softmax model with class k in the sector of 120° around the angle 120° k + `degrees`."""
    model = torch.nn.Linear(2, 3, bias=False).requires_grad_(False)
    angles = torch.deg2rad(torch.tensor([0.0, 120.0, 240.0]) + degrees)
    model.weight.copy_(torch.stack([angles.cos(), angles.sin()], 1))
    return model


def _second_choice(x: Tensor, beyond: float) -> Tensor:
    """Return the closest points, (n, 2), at `beyond` past the boundary to the second choice of `_sectors(0)`."""
    angle, length = torch.atan2(x[:, 1], x[:, 0]).double(), x.double().norm(dim=1)
    edge = torch.pi / 3 + 2 * torch.pi / 3 * torch.floor(
        angle / (2 * torch.pi / 3)
    )  # the boundary at 60°, 180°, or 300°
    edge_direction = torch.stack([edge.cos(), edge.sin()], 1)
    along = length * (angle - edge).cos()
    across = torch.stack([-edge.sin(), edge.cos()], 1) * torch.sign(edge - angle).unsqueeze(1)
    return (along.unsqueeze(1) * edge_direction + (beyond + 1e-6) * across).float()


def _number(rate: float | dict[str, float]) -> float:
    return float(rate)  # type: ignore[arg-type]


CHECKS: dict[str, Callable[[], Iterable[Row]]] = {
    "two linear models": angled_models,
    "random control": random_control,
    "softmax": softmax,
}
