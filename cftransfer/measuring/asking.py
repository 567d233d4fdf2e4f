"""References are asked about counterfactuals: answers, which `measure` makes rates of."""

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
    """What groups of references say of counterfactuals.

    counterfactuals: one row per base × factual. transfers: one row per group × base × reference × factual. Where
    factuals have several counterfactuals, each has a row, and a column `proposal` numbers them. settings: how the
    counterfactuals were made, in words. distances: one row per group × base × reference, how far the two models are
    from each other on test rows; None where no rows were given. seconds: that asking took.
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
        found: what `search` or `judge` returned, of one base or of several.
        references: models (`as_model`) or `StoredLogits`, or named groups of them, as in {"other seeds": [...]}.
        background: (x_train, y_train), for the control of the nearest training row; None leaves it out.
        test: test rows, in the form of `search`'s x, on which bases and references are compared for
            `Result.distances`; None compares nothing. Give the whole test split: a few factuals are too few.
        nested: whether each base has a reference of its own, reference i for base i; else every one meets every base.
        seeds: what the bases are called in the tables; 0, 1, … by default.

    Returns:
        Answers: two long tables (`measure` makes rates of them).

    Raises:
        InputError: for a reference that is a base or helped to search, has other classes, or cannot be asked.

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
        raise InputError("found: is empty; takes what search or judge returned, of one base or more")
    _check_bases(searches)
    groups = _groups(references)
    split = as_background(background, searches[0].space, classes=getattr(searches[0].base, "classes", None))
    nearest = [
        nearest_rows(search, search.base, split.x) if split is not None and search.base is not None else None
        for search in searches
    ]
    names = list(range(len(searches))) if seeds is None else list(seeds)
    if len(names) != len(searches):
        raise InputError(f"seeds: has {len(names)} for {len(searches)} bases")
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
    by_group = zip(*answered, strict=True)  # a base's tables, of a group each → a group's tables, of a base each
    transfers = [table.assign(group=group) for group, some in zip(groups, by_group, strict=True) for table in some]
    counterfactuals = counterfactual_table(searches, names, nearest=nearest)
    answers = led(pd.concat(transfers, ignore_index=True), "group")
    apart = None if test is None else distances_on(test, searches, asked, seeds=names, nested=nested)
    return Answers(counterfactuals, answers, dict(searches[0].settings), apart, watch.seconds(of_models=False))


def _groups(references: Groups) -> dict[str, list[Any]]:
    """Return named groups of references, whatever way they are given."""
    if isinstance(references, Mapping):
        groups = {str(name): list(_several(models)) for name, models in references.items()}
        if len(groups) < len(references):
            raise InputError("references: two groups have one name; give each its own")
    else:
        groups = {"references": list(_several(references))}
    for name, models in groups.items():
        if not models:
            raise InputError(f"references {name!r}: there is none; takes a model or more")
    if not groups:
        raise InputError("references: there is none; takes a model, a list of models, or named groups")
    return groups


def _several(models: Any) -> Sequence[Any]:
    return models if isinstance(models, list | tuple) else [models]


def _check_bases(searches: Sequence[Counterfactuals]) -> None:
    """Refuse bases that are one model, that found nothing out, or whose classes differ."""
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
    """Return a group's models as they are asked; InputError for one that is a base, or has other classes than it."""
    if nested and len(models) != len(searches):
        raise InputError(f"references {group!r}: nested takes one per base, {len(searches)}, and has {len(models)}")
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
                f"{name}: is a base itself, and would agree with itself; take models that were not searched"
            )
        if any(_same(one, helper) for search in searches for helper in search.generating):
            raise InputError(
                f"{name}: helped to search (`generating`), and would judge its own work; take another model"
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
    """Return whether two models are one: the same object, or two wrappings of it."""
    return getattr(one, "origin", one) is getattr(base, "origin", base)
