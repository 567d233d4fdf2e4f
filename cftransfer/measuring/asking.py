"""References are asked about counterfactuals: answers → two long tables. docs/output.md describes every column."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cftransfer.data.pixels import GREYS
from cftransfer.errors import InputError
from cftransfer.measuring.controls import Nearest, nearest_rows, nearest_share, prior_share, random_share
from cftransfer.models.adapter import Model, as_model
from cftransfer.models.prediction import Asked, logits, margin, number_of_classes, predicted
from cftransfer.searching.candidates import Counterfactuals
from cftransfer.searching.distance import distance
from cftransfer.searching.inputs import as_background

NORMS = {"distance_l0": 0, "distance_l1": 1, "distance_l2": 2, "distance_linf": float("inf")}
KEY = ("base", "reference", "factual", "base_seed", "reference_seed")


@dataclass(frozen=True, eq=False)
class StoredLogits:
    """What a reference said earlier, in the place of the reference itself.

    factual, counterfactual: (bases, n) logits of class 1, or (bases, n, K), of every base's factuals and
    counterfactuals, entry by entry (`Counterfactuals`); of a single base also (n,) or (n, K). There is no random and no
    nearest control of them.
    """

    factual: Any
    counterfactual: Any

    def of(self, base: int, search: Counterfactuals, *, bases: int) -> tuple[Tensor, Tensor]:
        """Return the logits at the factuals and at the counterfactuals of one base; InputError for other shapes."""
        wanted = tuple(search.factual_logit.shape)
        parts = []
        for name in ("factual", "counterfactual"):
            value = getattr(self, name)
            given = (value.detach().cpu() if isinstance(value, Tensor) else torch.from_numpy(np.array(value))).float()
            shape = tuple(given.shape)
            if shape != (bases, *wanted) and not (bases == 1 and shape == wanted):
                takes = f"{(bases, *wanted)}" + (f" or {wanted}" if bases == 1 else "")
                raise InputError(f"StoredLogits.{name}: has shape {shape} for {bases} bases; takes {takes}")
            if given.isnan().any():
                raise InputError(f"StoredLogits.{name}: has logits that are not a number")
            parts.append(given if shape == wanted else given[base])
        return parts[0], parts[1]


@dataclass(frozen=True, eq=False)
class Answers:
    """What groups of references say of counterfactuals.

    counterfactuals: one row per base × factual. transfers: one row per group × base × reference × factual. Where
    factuals have several counterfactuals, each has a row, and a column `proposal` numbers them. settings: how the
    counterfactuals were made, in words.
    """

    counterfactuals: pd.DataFrame
    transfers: pd.DataFrame
    settings: dict[str, Any] = field(default_factory=dict)


Groups = Mapping[str, Any] | Sequence[Any] | Any


def ask(
    found: Counterfactuals | Sequence[Counterfactuals],
    references: Groups,
    *,
    background: tuple[Any, Any] | None = None,
    nested: bool = False,
    seeds: Sequence[int] | None = None,
) -> Answers:
    """Ask references which class they give to the factuals and to the counterfactuals.

    Args:
        found: what `search` or `judge` returned, of one base or of several.
        references: models (`as_model`) or `StoredLogits`, or named groups of them, as in {"other seeds": [...]}.
        background: (x_train, y_train), for the control of the nearest training row; None leaves it out.
        nested: whether each base has a reference of its own, reference i for base i; else every one meets every base.
        seeds: what the bases are called in the tables; 0, 1, … by default.

    Returns:
        Answers: two long tables (`measure` makes rates of them).

    Raises:
        InputError: for a reference that is its own base, has other classes, or cannot be asked.

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
    tables = transfer_tables(
        searches,
        [_askable(group, models, searches, nested=nested) for group, models in groups.items()],
        nearest=nearest,
        base_seeds=names,
        reference_seeds=None,
        nested=nested,
    )
    transfers = pd.concat(
        [table.assign(group=group) for group, table in zip(groups, tables, strict=True)], ignore_index=True
    )
    counterfactuals = counterfactual_table(searches, names, nearest=nearest)
    return Answers(counterfactuals, _led(transfers, "group"), dict(searches[0].settings))


def counterfactual_table(
    searches: Sequence[Counterfactuals], seeds: Sequence[int], *, nearest: Sequence[Nearest | None]
) -> pd.DataFrame:
    """One row per base × factual, or proposal for it. nearest: what `controls.nearest_rows` gives for every base."""
    rows = [
        _counterfactual_rows(search, near, several=_several_each(searches)).assign(base=base, base_seed=seed)
        for base, (search, seed, near) in enumerate(zip(searches, seeds, nearest, strict=True))
    ]
    return _led(pd.concat(rows, ignore_index=True), "base", "factual", "base_seed")


def transfer_tables(
    searches: Sequence[Counterfactuals],
    references: Sequence[Sequence[Asked | StoredLogits]],
    *,
    nearest: Sequence[Nearest | None],
    base_seeds: Sequence[int],
    reference_seeds: Sequence[int] | None,
    nested: bool,
) -> list[pd.DataFrame]:
    """One table for each group of references, with one row per base × factual (or proposal for it) × reference.

    `transferred` and the controls are missing where nothing was found.

    references: models by group (other seeds, or the ages of models that are trained on); those of every group meet the
    same random points, which are drawn once. nearest: what `controls.nearest_rows` gives for every base.
    nested: reference i is tried on the counterfactuals of base i alone; else every reference on those of every base.
    """
    rows: list[list[pd.DataFrame]] = [[] for _ in references]
    several = _several_each(searches)
    for base, search in enumerate(searches):
        met = [
            (group, index, model)
            for group, models in enumerate(references)
            for index, model in enumerate(models)
            if index == base or not nested
        ]
        models = [model for *_, model in met if not isinstance(model, StoredLogits)]
        random = iter(random_share(search, models))
        for group, index, model in met:
            part = (
                _stored_rows(search, *model.of(base, search, bases=len(searches)))
                if isinstance(model, StoredLogits)
                else _asked_rows(search, model, nearest=nearest[base], random=next(random))
            )
            part = _numbered(search, part, several=several)
            seed = index if reference_seeds is None else reference_seeds[index]
            place = {"base": base, "reference": index, "base_seed": base_seeds[base], "reference_seed": seed}
            rows[group].append(part.assign(**place))
    return [_led(pd.concat(parts, ignore_index=True), *KEY) for parts in rows]


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


def _led(table: pd.DataFrame, *names: str) -> pd.DataFrame:
    """Return the table with the columns `names` in front."""
    return table[[*names, *table.columns.drop(list(names))]]


def _several_each(searches: Sequence[Counterfactuals]) -> bool:
    """Return whether a factual has several proposals on any of the bases: the tables then number them."""
    return any(bool(search.proposal.any()) for search in searches)


def _numbered(search: Counterfactuals, rows: pd.DataFrame, *, several: bool) -> pd.DataFrame:
    """Return the rows with the number of the factual of each, and of its proposal where factuals have several."""
    columns = {"factual": search.rows.numpy(), **({"proposal": search.proposal.numpy()} if several else {})}
    return _led(rows.assign(**columns), *columns)


def _counterfactual_rows(search: Counterfactuals, nearest: Nearest | None, *, several: bool) -> pd.DataFrame:
    norms = {name: distance(search.factual, search.counterfactual, p=p).numpy() for name, p in NORMS.items()}
    is_image = search.factual.dim() > 2
    per_pixel = {
        "pixel_l2": norms["distance_l2"] / search.factual[0].numel() ** 0.5 * GREYS if len(search) else [],
        "pixel_linf": norms["distance_linf"] * GREYS,
    }
    inputs = {"x": search.factual, "counterfactual": search.counterfactual}
    before: dict[str, Any] = {}
    if search.relaxed is not None and search.relaxed_found is not None:
        before["relaxed"] = list(search.relaxed.flatten(1).numpy())
        before["found_relaxed"] = search.relaxed_found.numpy()
        before["distance_l2_relaxed"] = distance(search.factual, search.relaxed).numpy()
    table = pd.DataFrame(
        {
            "target": search.target.numpy(),
            "found": search.found.numpy(),
            "status": search.status,
            "iterations": search.iterations.numpy(),
            "margin": search.margin.numpy(),
            "factual_logit": _cells(search.factual_logit),
            "logit": _cells(search.logit),
            **norms,
            "nearest_l2": nearest.l2.numpy() if nearest is not None else np.nan,
            **(per_pixel if is_image else {name: list(x.flatten(1).numpy()) for name, x in inputs.items()}),
            **before,
        }
    )
    return _numbered(search, table, several=several)


def _asked_rows(search: Counterfactuals, reference: Asked, *, nearest: Nearest | None, random: Tensor) -> pd.DataFrame:
    relaxed = logits(reference, search.relaxed) if search.relaxed is not None else None
    nearby = nearest_share(search, nearest, reference).numpy() if nearest is not None else np.nan
    factual_logit, logit = logits(reference, search.factual), logits(reference, search.counterfactual)
    return _transfer_rows(search, factual_logit, logit, relaxed, random=random.numpy(), nearby=nearby)


def _stored_rows(search: Counterfactuals, factual_logit: Tensor, logit: Tensor) -> pd.DataFrame:
    return _transfer_rows(search, factual_logit, logit, None, random=np.nan, nearby=np.nan)


def _transfer_rows(
    search: Counterfactuals,
    factual_logit: Tensor,
    logit: Tensor,
    relaxed: Tensor | None,
    *,
    random: np.ndarray | float,
    nearby: np.ndarray | float,
) -> pd.DataFrame:
    transferred = pd.array((predicted(logit) == search.target).numpy(), dtype="boolean")
    controls = pd.DataFrame(
        {
            "control_random": random,
            "control_nearest": nearby,
            "control_prior": prior_share(search.target, factual_logit, once=search.proposal == 0).numpy(),
        },
        index=range(len(search)),
    )
    lost = ~search.found.numpy()
    transferred[lost], controls.loc[lost] = pd.NA, np.nan
    before: dict[str, Any] = {}
    if relaxed is not None and search.relaxed_found is not None:
        moved = pd.array((predicted(relaxed) == search.target).numpy(), dtype="boolean")
        moved[~search.relaxed_found.numpy()] = pd.NA
        before["transferred_relaxed"] = moved
    return pd.DataFrame(
        {
            "target": search.target.numpy(),
            "found": search.found.numpy(),
            "agreement": (predicted(factual_logit) == predicted(search.factual_logit)).numpy(),
            "transferred": transferred,
            "margin": margin(logit, search.target).numpy(),
            "factual_logit": _cells(factual_logit),
            **before,
        }
    ).join(controls)


def _cells(logits: Tensor) -> Any:
    """Return (n,) logits as a column of numbers, (n, K) as one of lists."""
    return logits.numpy() if logits.dim() == 1 else list(logits.numpy())
