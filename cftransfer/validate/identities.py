"""Changes of a model, a space or an order that change nothing, and references with known rates.

All checks use COMPAS and the counterfactuals of one small network. The search stops early on purpose, so that some
factuals have no counterfactual: a rate that divided by all factuals would never be 1 here.
"""

import copy
import runpy
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import cftransfer as cft
from cftransfer.models.export import export
from cftransfer.store import artifacts
from cftransfer.validate.check import Row, at_most, equal
from cftransfer.validate.networks import deepened, permuted_inputs, permuted_units, relu_network, widened

FACTUALS = 200
ROUNDING = 1 / FACTUALS  # one counterfactual may be so near a boundary that another order of summation moves it across


@cache
def _data() -> cft.Dataset:
    return cft.dataset("compas")


@cache
def _models() -> tuple[nn.Module, nn.Module]:
    """Return a base and a reference with different seeds."""
    trained = cft.train(_data(), layers=2, width=16, seeds=[0, 1000], epochs=2, lr=0.005)
    return relu_network(trained[0]), relu_network(trained[1])


@cache
def _found() -> cft.Counterfactuals:
    return _search(_models()[0], _data().x_test[:FACTUALS])


def _search(model: Any, x: Tensor, space: Any = None, **settings: Any) -> cft.Counterfactuals:
    return cft.search(model, x, space=space or _data().space, **{"iterations": 15, **settings})


def _rate(reference: Any, found: cft.Counterfactuals | None = None) -> float:
    return float(cft.measure(cft.ask(found or _found(), reference)).rate)  # type: ignore[arg-type]


def base_itself() -> Iterable[Row]:
    """The base's own answers, stored or copied, because a base is refused as its own reference."""
    found, base = _found(), _models()[0]
    yield at_most("share found, below 1 on purpose", 0.95, float(found.found.double().mean()))
    yield equal("its stored logits", 1, _rate(cft.StoredLogits(found.factual_logit, found.logit)))
    yield equal("a copy", 1, _rate(copy.deepcopy(base)))
    with TemporaryDirectory() as folder:
        yield equal("stored and loaded", 1, _rate(_stored(base, Path(folder))))
        yield equal("exported and loaded", 1, _rate(_exported(base, Path(folder))))
    yield equal("its probabilities", 1, _rate(cft.Model(lambda x: base(x).double().sigmoid(), output="probabilities")))
    yield equal("its labels", 1, _rate(cft.Model(lambda x: (base(x) > 0).long(), output="labels")))


def _stored(model: nn.Module, store: Path) -> nn.Module:
    """Return another network with the model's weights from a file of the store."""
    artifacts.save(store, "models", "base", model.state_dict(), {})
    loaded, held = copy.deepcopy(_models()[1]), artifacts.load(store, "models", "base")
    loaded.load_state_dict(held[0] if held else {})
    return loaded


def _exported(model: nn.Module, folder: Path) -> nn.Module:
    """Return the model as `load.py` of an export folder loads it, as after `train.py export=…`."""
    export(folder, {0: model}, _data())
    return runpy.run_path(str(folder / "load.py"))["load"](0)


def scaled_logits() -> Iterable[Row]:
    """The class depends on the sign of the logit, not on its size."""
    other = _models()[1]
    for factor in (0.01, 7.0):
        yield equal(f"× {factor:g}", _rate(other), _rate(_scaled(other, factor)))


def negated_logits() -> Iterable[Row]:
    """The negated base rejects every counterfactual, and puts every factual in the other class."""
    base, other = _models()
    result = cft.measure(cft.ask(_found(), _scaled(base, -1)))
    yield equal("the base: rate", 0, float(result.rate))  # type: ignore[arg-type]
    yield equal("the base: agreement", 0, float(result.summary.agreement.iloc[0]))
    swapped = _search(_scaled(base, -1), _data().x_test[:FACTUALS])
    yield equal("base and reference: the same rate", _rate(other), _rate(_scaled(other, -1), swapped))


def same_function() -> Iterable[Row]:
    """Other weights that compute the base's function accept all its counterfactuals."""
    base = _models()[0]
    yield equal("a layer more", 1, _rate(deepened(base)), ROUNDING)
    yield equal("twice as wide", 1, _rate(widened(base)), ROUNDING)
    yield equal("hidden units permuted", 1, _rate(permuted_units(base)), ROUNDING)


def permuted_features() -> Iterable[Row]:
    """Space, inputs and both models have their features in a different order."""
    base, other = _models()
    features = _data().space.features  # type: ignore[union-attr]
    order = np.random.default_rng(0).permutation(len(features)).tolist()
    ends = np.cumsum([0, *(feature.columns for feature in features)])
    columns = torch.cat([torch.arange(int(ends[at]), int(ends[at + 1])) for at in order])
    space = cft.FeatureSpace(tuple(features[at] for at in order))
    found = _search(permuted_inputs(base, columns), _data().x_test[:FACTUALS][:, columns], space=space)
    moved = (found.counterfactual - _found().counterfactual[:, columns]).abs().amax(1) > 1e-4
    yield equal("counterfactuals that differ", 0, float(moved.double().mean()), 2 * ROUNDING)
    yield equal("the same rate", _rate(other), _rate(permuted_inputs(other, columns), found), 2 * ROUNDING)


def permuted_rows() -> Iterable[Row]:
    """Factuals in a different order have the same counterfactuals."""
    order = torch.randperm(FACTUALS, generator=torch.Generator().manual_seed(0))
    found = _search(_models()[0], _data().x_test[:FACTUALS][order])
    moved = (found.counterfactual - _found().counterfactual[order]).abs().amax(1) > 1e-4
    yield equal("counterfactuals that differ", 0, float(moved.double().mean()), ROUNDING)
    yield equal("the same rate", _rate(_models()[1]), _rate(_models()[1], found), ROUNDING)


def constants() -> Iterable[Row]:
    """A reference with a constant class accepts exactly the counterfactuals with that target."""
    share = float(_found().target[_found().found].double().mean())
    for said, expected in ((1, share), (0, 1 - share)):
        yield equal(f"always class {said}: share of that target", expected, _rate(_always(said)), 1e-9)


def coins() -> Iterable[Row]:
    """References with random answers: rate .5, within four standard errors of a binomial."""
    found, generator = _found(), torch.Generator().manual_seed(0)
    tosses = [torch.randn(2, FACTUALS, generator=generator) for _ in range(40)]
    result = cft.measure(cft.ask(found, [cft.StoredLogits(*toss) for toss in tosses]))
    tolerance = 4 * (0.25 / (40 * int(found.found.sum()))) ** 0.5
    yield equal("40 coins", 0.5, float(result.rate), tolerance)  # type: ignore[arg-type]


def convex_training() -> Iterable[Row]:
    """Logistic regression has one optimum, which its stochastic solver reaches from any seed."""
    from sklearn.linear_model import LogisticRegression

    x, y = _data().x_train[:1000].double().numpy(), _data().y_train[:1000].long().numpy()
    fitted = [
        LogisticRegression(solver="sag", tol=1e-8, max_iter=10_000, random_state=seed).fit(x, y) for seed in range(4)
    ]
    rates = [_rate(model) for model in fitted]
    for seed, rate in enumerate(rates[1:], start=1):
        yield equal(f"seed {seed}", rates[0], rate)
    found = _search(fitted[0], _data().x_test[:50], method="growing_spheres", iterations=1000)
    yield equal("a base and its other seeds", 1, _rate(fitted[1:], found))


def _scaled(model: nn.Module, factor: float) -> cft.Model:
    return cft.Model(lambda x: factor * model(x))


def _always(said: int) -> cft.Model:
    return cft.Model(lambda x: torch.full((len(x),), said), output="labels")


CHECKS: dict[str, Callable[[], Iterable[Row]]] = {
    "the base as its reference": base_itself,
    "scaled logits": scaled_logits,
    "negated logits": negated_logits,
    "the same function": same_function,
    "permuted features": permuted_features,
    "permuted rows": permuted_rows,
    "constants": constants,
    "coins": coins,
    "logistic regression": convex_training,
}
