"""Traps of searches that published code fell into: constraints, caps, neighbours, and false successes."""

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

import cftransfer as cft
from cftransfer.validate.check import Row, at_least, at_most, equal, refused

FACTUALS = 40
METHODS = (
    "gradient", "wachter", "minimal", "nearest", "growing_spheres", "sns", "trex", "robx", "roar", "probe",
    "ensemble", "betarce", "ellice",
)  # fmt: skip
MODELS = {"ensemble": 2, "betarce": 16}  # further models that a method asks; with 16, all of them must agree
CAPS = {"gradient": 10, "wachter": 60, "sns": 60, "trex": 60}  # some rows would need more
REFUSED = ("lost", "not_possible")  # proposals that the base or the constraint does not confirm


@cache
def _data() -> cft.Dataset:
    return cft.dataset("compas")


@cache
def _base() -> Any:
    return cft.train(_data(), layers=2, width=16, seeds=[0], epochs=2, lr=0.005)[0]


@cache
def _generating() -> list[Any]:
    return list(cft.train(_data(), layers=2, width=16, seeds=range(1, 17), epochs=2, lr=0.005))


def _search(method: Any, constraints: str, x: Tensor | None = None, **settings: Any) -> cft.Counterfactuals:
    if (many := MODELS.get(method)) is not None:
        settings = {"models": many, "generating": _generating()[:many], **settings}
    return cft.search(
        _base(),
        _data().x_test[:FACTUALS] if x is None else x,
        space=_data().space,
        method=method,
        constraints=constraints,
        background=(_data().x_train, _data().y_train),
        **settings,
    )


def kept_constraints() -> Iterable[Row]:
    """A clamp that clamps a copy: here, proposals satisfy the constraint before the engine checks them."""
    for method in METHODS:
        many = sum(np.isin(_search(method, name).status, REFUSED).sum() for name in ("box", "possible"))
        yield equal(f"{method}: proposals that the engine refuses", 0, many)
    found = _search("gradient", "box")
    outside = (found.counterfactual < 0) | (found.counterfactual > 1)
    yield equal("gradient: numbers outside the box", 0, int(outside.sum()))


def capped_iterations() -> Iterable[Row]:
    """A cap per restart of `wachter` (raises λ), `sns` or `trex` (from a counterfactual): here it is a total."""
    for method, cap in CAPS.items():
        yield equal(f"{method}: most iterations", cap, int(_search(method, "box", iterations=cap).iterations.max()))
    shells = _search("growing_spheres", "box", iterations=200, draws=50)
    yield at_most("growing_spheres: most queries", 200, int(shells.iterations.max()))


def weights_below_zero() -> Iterable[Row]:
    """A negative distance weight would reward distance."""
    yield refused(
        "distance_weight=-0.1", lambda: _search("gradient", "box", distance_weight=-0.1), says="must be a number ≥ 0"
    )


def best_point() -> Iterable[Row]:
    """The last iterate in place of the best: here, more steps never end farther away or lose a counterfactual."""
    few, many = (_search("minimal", "box", iterations=steps) for steps in (51, 400))
    both = few.found & many.found
    lengths = [(one.counterfactual - one.factual).norm(dim=1)[both] for one in (few, many)]
    yield at_most("minimal, 400 steps for 51: distance gained", 1e-6, float((lengths[1] - lengths[0]).max()))
    yield equal("minimal, 400 steps for 51: found and lost", 0, int((few.found & ~many.found).sum()))


def second_opinion() -> Iterable[Row]:
    """A claimed success is checked again, on the stored float32, by a fresh pass through the base."""
    boast = _search(_claims_its_factual, "box")
    yield equal("a method that claims the factual itself: found", 0, int(boast.found.sum()))
    claimed = cft.judge(_base(), boast.factual, boast.factual, space=_data().space)
    yield equal("the same, judged: found", 0, int(claimed.found.sum()))
    found = _search("gradient", "possible")
    with torch.no_grad():
        fresh = _base()(found.counterfactual)
    yield equal("gradient: logits that a fresh pass changes", 0, float((fresh - found.logit).abs().max()), 1e-6)
    right = (fresh > 0) == (found.target == 1)
    yield equal("gradient: found, and not in the target class", 0, int((found.found & ~right).sum()))


def _claims_its_factual(model: Any, x: Tensor, target: Tensor, *, constraint: Any) -> cft.Candidates:  # noqa: ARG001
    return cft.Candidates(x, torch.ones(len(x), dtype=torch.bool), torch.ones(len(x), dtype=torch.long))


def own_pace() -> Iterable[Row]:
    """A mean loss, or one stop rule for a batch: here, a factual has the same counterfactual alone and in a batch."""
    x = _data().x_test[:FACTUALS]
    for method in METHODS:
        together = _search(method, "box").counterfactual[:3]
        alone = torch.cat([_search(method, "box", x[row : row + 1]).counterfactual for row in range(3)])
        yield equal(f"{method}: largest difference", 0, float((together - alone).abs().max()), 1e-5)


def ends_of_the_range() -> Iterable[Row]:
    """Features at exactly 0 or 1, where a sigmoid or tanh has no slope, and step sizes for images: all are found."""
    weights = torch.tensor([1.0, 1.0, 1.0])
    base = cft.Model(lambda x: x @ weights - 1.5)
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
    for method in ("gradient", "minimal", "growing_spheres"):
        found = cft.search(base, corners, method=method)
        yield equal(f"{method}: corners without a counterfactual", 0, int((~found.found).sum()))
    yield at_least(
        "gradient on COMPAS: found by default steps", 0.95, float(_search("gradient", "box").found.double().mean())
    )


def in_target_already() -> Iterable[Row]:
    """A factual in the target class is neither a success at distance 0 nor a failure: it does not count."""
    found = _search("gradient", "box", target=1)
    already = found.factual_logit > 0
    yield equal("found among factuals of the target class", 0, int(found.found[already].sum()))
    yield equal("their status is in_target", int(already.sum()), int((found.status == "in_target").sum()))
    result = cft.measure(cft.ask(found, cft.StoredLogits(found.factual_logit, found.logit)))
    yield equal("found share", float(found.found[~already].double().mean()), result.found, 1e-9)


CHECKS: dict[str, Callable[[], Iterable[Row]]] = {
    "constraints are kept": kept_constraints,
    "caps are totals": capped_iterations,
    "weights below zero": weights_below_zero,
    "the best point": best_point,
    "the second opinion": second_opinion,
    "rows know no neighbours": own_pace,
    "features at 0 and 1": ends_of_the_range,
    "factuals in the target class": in_target_already,
}
