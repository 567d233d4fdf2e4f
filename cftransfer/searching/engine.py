"""The engine around a method: prepares its inputs, calls it, and has its candidates judged."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from inspect import signature
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from torch import Tensor

from cftransfer.data.pixels import PixelSpace
from cftransfer.data.space import FeatureSpace
from cftransfer.errors import InputError
from cftransfer.models.adapter import Model, as_model
from cftransfer.models.prediction import Asked, Target, device_of, logits, targets
from cftransfer.searching.candidates import Background, Candidates, Counterfactuals
from cftransfer.searching.constraint import Constraint, constraint
from cftransfer.searching.inputs import as_background, as_inputs
from cftransfer.searching.judging import judged
from cftransfer.targets import call_target

Generating: TypeAlias = Callable[[int], Sequence[Asked]]  # count → models of the base's spec with other seeds
Space: TypeAlias = FeatureSpace | PixelSpace
Inputs: TypeAlias = Tensor | np.ndarray | pd.DataFrame
Method: TypeAlias = str | Callable[..., Candidates]


def search(
    model: Any,
    x: Inputs,
    *,
    space: Space | None = None,
    method: Method = "gradient",
    target: Target = None,
    constraints: str | None = None,
    background: tuple[Any, Any] | None = None,
    generating: Generating | Sequence[Any] | None = None,
    **settings: Any,
) -> Counterfactuals:
    """Search for a counterfactual of every factual on one base model; each result is judged as in `judge`.

    Args:
        model: the base: a torch module, a fitted scikit-learn estimator or pipeline, or a `Model` (`as_model`).
        x: (n, *input) factuals in [0, 1], or a DataFrame in original units, which `space` encodes.
        space: the meaning of the inputs; needed for the constraints possible and actionable, and for DataFrames.
        method: the name of a method in `cftransfer.counterfactuals` or of an installed entry point, or such a function.
        target: None for the base's second choice (in a binary task the other class), one class by the model's own name
            (`classes_`, otherwise 0, 1, …), or one per row. A factual that is already in its target class is a failure
            with the status `in_target`.
        constraints: none, box, possible or actionable (`constraint`); by default possible with a space, otherwise box.
        background: (x_train, y_train), for methods that look at the training split (nearest, wachter, robx,
            ellice).
        generating: other models of the base's kind, for methods that search on several (ensemble, betarce): a list,
            or a function of their number.
        settings: the method's own, as in its docstring, such as confidence=.9.

    Returns:
        Counterfactuals: one entry per factual, in order; or one per proposal, if the method makes several
            (`Counterfactuals.row`).

    Raises:
        InputError: for a setting, a target or a space that does not fit, and for a gradient method on a model without
            gradients.

    >>> import torch
    >>> base = torch.nn.Linear(2, 1)
    >>> _ = base.load_state_dict({"weight": torch.tensor([[1.0, 1.0]]), "bias": torch.tensor([-1.0])})
    >>> found = search(base, torch.tensor([[0.2, 0.2]]), method="minimal")
    >>> [round(float(v), 3) for v in found.counterfactual[0]], bool(found.found[0])
    ([0.5, 0.5], True)
    """
    name = constraints or default_constraints(space)
    base, rows = as_model(model, space=space, framed=_framed(x)), as_inputs(x, space, boxed=name != "none")
    factual_logit = logits(base, rows)
    aims = targets(factual_logit, target, names=base.classes)
    kept, helpers = constraint(name, space, inputs=rows), list[Asked]()
    candidates = proposed(
        method,
        base,
        rows,
        aims,
        constraint=kept,
        space=space,
        background=as_background(background, space, classes=base.classes),
        generating=_generating(generating, space, base, helpers),
        settings=settings,
    )
    if candidates.row is not None:
        rows, factual_logit, aims = (part[candidates.row] for part in (rows, factual_logit, aims))
    if target is None and candidates.target is not None:
        aims = candidates.target
    found = judged(base, rows, candidates, target=aims, constraint=kept, factual_logit=factual_logit)
    called = method if isinstance(method, str) else getattr(method, "__name__", type(method).__name__)
    made = {"method": called, "constraints": kept.name, **settings}
    return replace(found, base=base, space=space, generating=tuple(helpers), settings=made, framed=_framed(x))


def proposed(
    method: Method,
    model: Asked,
    x: Tensor,
    target: Tensor,
    *,
    constraint: Constraint,
    space: Space | None,
    background: Background | None,
    generating: Generating | None,
    settings: dict[str, Any],
    complete: bool = False,
) -> Candidates:
    """Return the proposals of a method.

    Passes constraint, space, background and generating if the method's signature names them.

    complete: whether every setting of the method has to be given, as in a config.
    """
    place = device_of(model)
    offered = {"constraint": constraint.to(place), "background": background, "generating": generating, "space": space}
    asked = (model, x.to(place), target.to(place))
    if callable(method):
        takes = signature(method).parameters
        candidates = method(*asked, **{name: part for name, part in offered.items() if name in takes}, **settings)
    else:
        settings = {"_target_": method, **settings}
        candidates = call_target("counterfactual", settings, *asked, offered=offered, complete=complete)
    return candidates._replace(relaxed=None, crossed=None) if constraint.exact else candidates


def default_constraints(space: Space | None) -> str:
    """Return the default constraint: possible with a space, otherwise box."""
    return "box" if space is None else "possible"


def _framed(x: Any) -> bool:
    return isinstance(x, pd.DataFrame)


def _generating(
    models: Generating | Sequence[Any] | None, space: Space | None, base: Model, helpers: list[Asked]
) -> Generating | None:
    """Return a function that gives `count` models, in the base's order of classes, and adds them to `helpers`."""
    if models is None:
        return None

    def asked(count: int) -> Sequence[Asked]:
        some = models(count) if callable(models) else models[:count]
        if len(some) < count:
            raise InputError(f"generating: has {len(some)} models, but the method needs {count}")
        every = [as_model(model, space=space, classes=base.classes) for model in some]
        if any(model.origin is base.origin for model in every):
            raise InputError("generating: holds the base itself; takes other models of its kind")
        helpers.extend(every)
        return every

    return asked
