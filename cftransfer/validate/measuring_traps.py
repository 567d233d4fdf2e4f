"""Traps of measures: models that judge their own work, rates without controls, columns by position, labels, NaN."""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import torch

import cftransfer as cft
from cftransfer.spec import POOLS, generating_seeds, member_seeds
from cftransfer.validate.check import Row, equal, refused

FACTUALS = 100


@cache
def _data() -> cft.Dataset:
    return cft.dataset("moons", rows=400)


@cache
def _models() -> Sequence[Any]:
    return cft.train(_data(), layers=2, width=16, seeds=[0, 1, 1000, 1001, 1002, 2000, 2001], epochs=5, lr=0.01)


@cache
def _found() -> tuple[cft.Counterfactuals, ...]:
    return tuple(cft.search(base, _data().x_test, space=_data().space) for base in _models()[:2])


def no_model_on_itself() -> Iterable[Row]:
    """The base among its own references, under any name, and one model that counts twice."""
    base, reference = _models()[0], _models()[2]
    found = _found()[0]
    yield refused("the base as a reference", lambda: cft.ask(found, base), says="is a base itself")
    wrapped, twice = [reference, cft.Model(base)], [reference, cft.Model(reference)]
    yield refused("the base in a Model", lambda: cft.ask(found, wrapped), says="is a base itself")
    yield refused("a reference twice", lambda: cft.ask(found, twice), says="is in the group already")
    yield refused("a base twice", lambda: cft.ask([found, found], reference), says="one of the bases before it")


def disjoint_seeds() -> Iterable[Row]:
    """Sweeps take seeds from three pools, so that no model is tried on itself or judges its own work."""
    pools = {name: [seed for knob in range(3) for seed in member_seeds(knob, name, 40)] for name in POOLS[:2]}
    pools[POOLS[2]] = [seed for base in pools["base"] for seed in generating_seeds(base, 32)]
    every = [seed for seeds in pools.values() for seed in seeds]
    yield equal("seeds that two models have", 0, len(every) - len(set(every)))


def generating_models() -> Iterable[Row]:
    """Models that helped in the search do not judge, neither as the base nor as references."""
    base, reference, *generating = _models()[0], _models()[2], *_models()[5:]
    settings: dict[str, Any] = {"space": _data().space, "method": "ensemble", "models": 2}
    x = _data().x_test[:20]
    among = [base, reference]
    yield refused(
        "the base among them", lambda: cft.search(base, x, generating=among, **settings), says="holds the base itself"
    )
    found = cft.search(base, x, generating=generating, **settings)
    asked = [reference, generating[0]]
    yield refused("one of them as a reference", lambda: cft.ask(found, asked), says="helped to search")


def untouched_models() -> Iterable[Row]:
    """Searching and asking train nothing."""
    before = [parameter.clone() for model in _models() for parameter in model.parameters()]
    cft.measure(list(_models()[:2]), list(_models()[2:5]), _data().x_test[:20], space=_data().space)
    after = [parameter for model in _models() for parameter in model.parameters()]
    changed = [not torch.equal(*pair) for pair in zip(before, after, strict=True)]
    yield equal("weights that changed", 0, sum(changed))


def intervals_and_controls() -> Iterable[Row]:
    """A rate has controls and an interval over models; the interval of a single pair says that it is one."""
    split = (_data().x_train, _data().y_train)
    result = cft.measure(cft.ask(list(_found()), list(_models()[2:5]), background=split))
    controls = result.summary[["control_random", "control_nearest", "control_prior"]]
    yield equal("controls that are not a number", 0, int(controls.isna().to_numpy().sum()))
    yield equal("interval over bases × references", 1, "bases × references" in result.interval().method)  # type: ignore[union-attr]
    single = cft.measure(cft.ask(_found()[0], _models()[2])).interval()
    yield equal("a single pair's says that it is of one pair", 1, "one pair" in single.method)  # type: ignore[union-attr]
    yield equal("base × reference pairs", 6, len(result.pairs))


def stored_treatment() -> Iterable[Row]:
    """Step size and stop rule decide distance and margin, which are stored for every row."""
    result = cft.measure(cft.ask(list(_found()), _models()[2]))
    columns = result.counterfactuals[["distance_l2", "distance_linf", "margin", "iterations"]]
    yield equal("rows without distance or margin", 0, int(columns.isna().any(axis=1).sum()))
    yield equal("rows, found or not", 2 * len(_data().x_test), len(columns))
    found = _found()[0]
    length = (found.counterfactual - found.factual).norm(dim=1).numpy()
    apart = np.abs(result.counterfactuals.distance_l2.to_numpy()[: len(length)] - length).max()
    yield equal("largest error of a stored distance", 0, apart, 1e-6)


def columns_by_name() -> Iterable[Row]:
    """Named columns are found by name, in tables and by models that were fitted on another order."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    frame, label = _frame()
    space = cft.FeatureSpace.fit([cft.Feature(name=str(name), kind="continuous") for name in frame], frame)
    turned = frame[frame.columns[::-1]]
    apart = np.abs(space.encode(frame) - space.encode(turned)).max()
    yield equal("a table in another order: largest difference", 0, apart)
    straight, other = (make_pipeline(StandardScaler(), LogisticRegression()).fit(x, label) for x in (frame, turned))
    found = cft.search(straight, frame[:FACTUALS], space=space, method="growing_spheres")
    yield equal("a model fitted in another order: rate", 1, float(cft.measure(cft.ask(found, other)).rate))  # type: ignore[arg-type]


def labels_by_name() -> Iterable[Row]:
    """Labels other than 0 and 1 must not become numeric targets of training, nor be read as "above 0"."""
    x, y = _data().x_train.double().numpy(), _data().y_train.long().numpy()
    rate = _rate_of_classes([0, 1])
    for classes in ([-1, 1], [1, 2], ["no", "yes"]):
        yield equal(f"models of the classes {classes}: rate of 0 and 1", rate, _rate_of_classes(classes))
    frame, label = _frame()
    coded = cft.table(frame.assign(label=label + 1), label="label")
    yield equal("a table of the classes 1 and 2 has 0 and 1", 1, coded.y_train.unique().tolist() == [0, 1])
    other, signs = _fitted(["no", "yes"], slice(None)), 2 * y - 1
    yield refused(
        "arrays of the classes -1 and 1", lambda: cft.arrays(x, signs, x, signs), says="y_train: must be (n,) classes"
    )
    yield refused("a reference of other classes", lambda: cft.ask(_found()[0], other), says="has the classes ['no'")


def _rate_of_classes(classes: list[Any]) -> float:
    """Return the rate of a base and a reference, each fitted on half of the rows, with these class names."""
    base, reference = _fitted(classes, slice(0, None, 2)), _fitted(classes, slice(1, None, 2))
    found = cft.search(base, _data().x_test, method="growing_spheres")
    return float(cft.measure(cft.ask(found, reference)).rate)  # type: ignore[arg-type]


def _fitted(classes: list[Any], rows: slice) -> Any:
    from sklearn.linear_model import LogisticRegression

    x, y = _data().x_train.double().numpy(), _data().y_train.long().numpy()
    return LogisticRegression().fit(x[rows], np.array(classes)[y[rows]])


def not_a_number() -> Iterable[Row]:
    """NaN is reported where it enters, and never becomes a diverged model or a counterfactual that transfers."""
    frame, label = _frame()
    empty = frame.assign(label=label)
    empty.iloc[3, 0] = np.nan
    x = _data().x_test.clone()
    x[0, 0] = torch.nan
    base = _models()[0]
    yield refused("an empty cell of a table", lambda: cft.table(empty, label="label"), says="column left: empty")
    finite = "has numbers that are not finite, first in row 0"
    yield refused("a factual with NaN", lambda: cft.search(base, x), says=f"x: {finite}")
    yield refused("a proposal with NaN", lambda: cft.judge(base, _data().x_test, x), says=f"counterfactuals: {finite}")
    silent = cft.Model(lambda x: x[:, 0] * torch.nan)
    yield refused("a reference that says NaN", lambda: cft.ask(_found()[0], silent), says="are not a number")
    yield refused(
        "training that diverges", lambda: cft.train(_data(), lr=1e30, epochs=1, seeds=[0]), says="training diverged"
    )


def _frame() -> tuple[pd.DataFrame, np.ndarray]:
    x = _data().x_train.double().numpy()
    return pd.DataFrame({"left": 100 * x[:, 0], "up": 7 - x[:, 1]}), _data().y_train.long().numpy()


CHECKS: dict[str, Callable[[], Iterable[Row]]] = {
    "no model on itself": no_model_on_itself,
    "seeds of three pools": disjoint_seeds,
    "generating models": generating_models,
    "models stay as they are": untouched_models,
    "intervals and controls": intervals_and_controls,
    "distance and margin of every row": stored_treatment,
    "columns by name": columns_by_name,
    "labels by name": labels_by_name,
    "NaN": not_a_number,
}
