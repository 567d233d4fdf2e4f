"""Ask references about counterfactuals; `measure` turns the answers into rates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from cftransfer.errors import InputError
from cftransfer.measuring.controls import nearest_rows
from cftransfer.measuring.long_tables import counterfactual_table, led, transfer_tables
from cftransfer.measuring.pair_distances import distances_on
from cftransfer.measuring.stage_seconds import NOTHING_TIMED, Seconds, Stopwatch
from cftransfer.measuring.stored_logits import StoredLogits
from cftransfer.models.adapter import Model, as_model
from cftransfer.models.prediction import Asked, logits, number_of_classes
from cftransfer.searching.candidates import Counterfactuals
from cftransfer.searching.inputs import as_background


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers of groups of references about counterfactuals.

    counterfactuals: one row per base × factual. transfers: one row per group × base × reference × factual. If factuals
    have several counterfactuals, each has a row, and a column `proposal` numbers them. settings: how the
    counterfactuals were made, in words. distances: one row per group × base × reference, the distances between the two
    models on test rows; None if no rows were given. seconds: wall time of asking.
    """

    counterfactuals: pd.DataFrame
    transfers: pd.DataFrame
    settings: dict[str, Any] = field(default_factory=dict)
    distances: pd.DataFrame | None = None
    seconds: Seconds = NOTHING_TIMED


Groups = Mapping[str, Any] | Sequence[Any] | Any


def ask(
    found: Counterfactuals | Sequence[Counterfactuals],
    references: Groups,
    *,
    background: tuple[Any, Any] | None = None,
    test: Any = None,
    nested: bool = False,
    seeds: Sequence[int] | None = None,
) -> Answers:
    """Ask references which class they give to the factuals and to the counterfactuals.

    Args:
        found: the result of `search` or `judge`, for one base or several.
        references: models (`as_model`) or `StoredLogits`, or named groups of them, as in {"other seeds": [...]}.
        background: (x_train, y_train), for the control of the nearest training row; None leaves it out.
        test: test rows, in the form of `search`'s x, on which bases and references are compared for
            `Result.distances`; None skips this. Give the whole test split: a few factuals are too few.
        nested: whether each base has its own reference, reference i for base i; otherwise all meet all bases.
        seeds: names of the bases in the tables; 0, 1, … by default.

    Returns:
        Answers: two long tables, from which `measure` computes rates.

    Raises:
        InputError: for a reference that is a base, helped to search, has other classes, or cannot be asked.

    >>> import torch
    >>> from cftransfer import measure, search
    >>> def line(bias):
    ...     return lambda x: x.sum(1) + bias
    >>> found = search(line(-1.0), torch.tensor([[0.2, 0.2], [0.3, 0.1]]), method="minimal")
    >>> answers = ask(found, {"lower": [line(-0.9)], "higher": [line(-1.1)]})
    >>> measure(answers).rate
    {'lower': 1.0, 'higher': 0.0}
    """
    searches = [found] if isinstance(found, Counterfactuals) else list(found)
    if not searches:
        raise InputError("found: is empty; pass the result of search or judge, for one base or more")
    _check_bases(searches)
    groups = _groups(references)
    split = as_background(background, searches[0].space, classes=getattr(searches[0].base, "classes", None))
    nearest = [
        nearest_rows(search, search.base, split.x) if split is not None and search.base is not None else None
        for search in searches
    ]
    names = list(range(len(searches))) if seeds is None else list(seeds)
    if len(names) != len(searches):
        raise InputError(f"seeds: has {len(names)} for {len(searches)} bases; pass one per base")
    asked = {group: _askable(group, models, searches, nested=nested) for group, models in groups.items()}
    watch = Stopwatch()
    tables = transfer_tables(
        searches,
        [*asked.values()],
        nearest=nearest,
        base_seeds=names,
        reference_seeds=None,
        nested=nested,
    )
    with watch.stage("asking", sum(len(models) * (1 if nested else len(searches)) for models in asked.values())):
        answered = [*tables]
    by_group = zip(*answered, strict=True)  # tables by base and group → tables by group and base
    transfers = [table.assign(group=group) for group, some in zip(groups, by_group, strict=True) for table in some]
    counterfactuals = counterfactual_table(searches, names, nearest=nearest)
    answers = led(pd.concat(transfers, ignore_index=True), "group")
    apart = None if test is None else distances_on(test, searches, asked, seeds=names, nested=nested)
    return Answers(counterfactuals, answers, dict(searches[0].settings), apart, watch.seconds(of_models=False))


def _groups(references: Groups) -> dict[str, list[Any]]:
    """Return references as named groups, in whichever form they are given."""
    if isinstance(references, Mapping):
        groups = {str(name): list(_several(models)) for name, models in references.items()}
        if len(groups) < len(references):
            raise InputError("references: two groups have one name; give each its own")
    else:
        groups = {"references": list(_several(references))}
    for name, models in groups.items():
        if not models:
            raise InputError(f"references {name!r}: is empty; pass one model or more")
    if not groups:
        raise InputError("references: is empty; pass a model, a list of models, or named groups")
    return groups


def _several(models: Any) -> Sequence[Any]:
    return models if isinstance(models, list | tuple) else [models]


def _check_bases(searches: Sequence[Counterfactuals]) -> None:
    """Refuse bases that are the same model, have no rows, or differ in their classes."""
    if not len(searches[0]):
        raise InputError("found: has no rows; there is nothing to ask about")
    models = [search.base for search in searches if search.base is not None]
    for index, one in enumerate(models):
        if any(_same(one, other) for other in models[:index]):
            raise InputError(f"base {index}: is one of the bases before it; a pair of models must not count twice")
    kinds = {
        (number_of_classes(search.factual_logit), tuple(getattr(search.base, "classes", None) or ()))
        for search in searches
    }
    if len(kinds) > 1:
        listed = "; ".join(
            f"{many}: {', '.join(map(str, classes)) or 'numbered'}" for many, classes in sorted(kinds, key=str)
        )
        raise InputError(f"bases: have different classes ({listed}); Model(…, classes=[…]) puts them in one order")


def _askable(
    group: str, models: Sequence[Any], searches: Sequence[Counterfactuals], *, nested: bool
) -> list[Asked | StoredLogits]:
    """Return a group's models, wrapped to be asked; InputError for a base, and for other classes than the base's."""
    if nested and len(models) != len(searches):
        raise InputError(f"references {group!r}: nested needs one per base, {len(searches)}, and has {len(models)}")
    base = searches[0].base
    asked: list[Asked | StoredLogits] = []
    for index, model in enumerate(models):
        name = f"reference {index} of {group!r}"
        if isinstance(model, StoredLogits):
            asked.append(model)
            continue
        one = as_model(model, space=searches[0].space, framed=searches[0].framed)
        if any(_same(one, other) for other in asked if not isinstance(other, StoredLogits)):
            raise InputError(f"{name}: is in the group already; a pair of models must not count twice")
        if any(search.base is not None and _same(one, search.base) for search in searches):
            raise InputError(
                f"{name}: is a base itself, and would agree with itself; pass models that were not searched on"
            )
        if any(_same(one, helper) for search in searches for helper in search.generating):
            raise InputError(
                f"{name}: helped to search (`generating`), and would judge its own work; pass another model"
            )
        if isinstance(base, Model) and (base.classes is not None or one.classes is not None):
            classes = base.classes or range(number_of_classes(searches[0].factual_logit))
            one = as_model(one, classes=tuple(classes))
        here = number_of_classes(logits(one, searches[0].factual[:1]))
        if len(searches[0]) and here != number_of_classes(searches[0].factual_logit):
            have = number_of_classes(searches[0].factual_logit)
            raise InputError(f"{name}: has {here} classes, and the base {have}")
        asked.append(one)
    return asked


def _same(one: Asked, base: Asked) -> bool:
    """Return whether two models are the same: one object, or two wrappers of it."""
    return getattr(one, "origin", one) is getattr(base, "origin", base)
