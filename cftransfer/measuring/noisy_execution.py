"""Noisy execution: a person carries x′ out only roughly, and the result may lose the target class.

The invalidation rate is the share of noisy points that lose it (Pawelczyk et al. 2023, "Probabilistically robust
recourse").
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from cftransfer.data.pixels import PixelSpace
from cftransfer.data.space import FeatureSpace
from cftransfer.errors import InputError
from cftransfer.models.adapter import as_model
from cftransfer.models.prediction import Asked, logits, number_of_classes, predicted, rows_at_once
from cftransfer.searching.candidates import Counterfactuals
from cftransfer.searching.constraint import Constraint, constraint
from cftransfer.searching.distance import BLOCK
from cftransfer.searching.row_random import normal, row_seeds
from cftransfer.settings import check_float, check_int

DRAWS = 20  # noisy points per counterfactual; with 1,000, a pair's share is then known to within .004


@dataclass(frozen=True, kw_only=True)
class Noise:
    """How roughly counterfactuals are carried out.

    sigma: standard deviation of the noise on every feature, in units of its range, > 0. draws: noisy points per
    counterfactual. constraint: noisy points are projected onto it. still: (columns,) bool, the columns of immutable
    features, which get no noise; None if all features move.
    """

    sigma: float
    draws: int
    constraint: Constraint
    still: Tensor | None = None


def noise_on(
    space: FeatureSpace | PixelSpace | None,
    constraints: str,
    *,
    sigma: float,
    draws: int = DRAWS,
    inputs: Tensor | None = None,
) -> Noise:
    """Return the noise for counterfactuals that were found under the constraint of this name.

    inputs: (n, *input); their shape replaces the space for none and box, as in `constraint`.
    """
    kept = constraint(constraints, space, inputs=inputs)
    still = torch.from_numpy(~space.mutable) if isinstance(space, FeatureSpace) else None
    return Noise(sigma=sigma, draws=draws, constraint=kept, still=still)


def noisy_points(x: Tensor, reached: Tensor, noise: Noise) -> Iterator[Tensor]:
    """x, reached: (n, *input) → `draws` times (n, *input): x′ with Gaussian noise, projected onto the constraint.

    The noise depends on x′ alone, not on other rows. It differs from the noise of trex and sns, which depends on x.
    """
    marked = torch.cat([reached.flatten(1), torch.ones(len(reached), 1)], 1)  # seeds differ if x′ is also a factual
    seeds, taken = row_seeds(marked), 2 * reached[:1].numel()  # `normal` uses two random numbers per value
    for draw in range(noise.draws):
        step = noise.sigma * normal(seeds, *reached.shape[1:], first=draw * taken)
        moved = step if noise.still is None else step.masked_fill(noise.still, 0)
        yield noise.constraint.project(reached + moved, x)


def invalidation(search: Counterfactuals, models: Sequence[Asked], noise: Noise) -> Tensor:
    """Return (models, n) float64: the share of a counterfactual's noisy points that a model puts outside the target.

    NaN if nothing was found. All models meet the same points.
    """
    shares = torch.full((len(models), len(search)), torch.nan, dtype=torch.double)
    if not models:
        return shares
    at_once = rows_at_once(search.factual, numbers=BLOCK // noise.draws)
    for rows in search.found.nonzero().flatten().split(at_once):
        points = torch.cat(list(noisy_points(search.factual[rows], search.counterfactual[rows], noise)))
        for share, model in zip(shares, models, strict=True):
            classes = predicted(logits(model, points)).view(noise.draws, -1)
            share[rows] = (classes != search.target[rows]).double().mean(0)
    return shares


def noisy_execution(
    found: Counterfactuals | Sequence[Counterfactuals], models: Any, *, sigma: float, draws: int = DRAWS
) -> pd.DataFrame:
    """Ask models about counterfactuals that are carried out with some noise.

    A noisy point is x′ + N(0, sigma² I), projected onto the constraint that x′ was searched or judged under: `possible`
    rounds it to possible values, `box` clips it, `none` leaves it. Immutable features of the space get no noise.

    Args:
        found: the result of `search` or `judge`, for one base or several.
        models: a model or a list of them (`as_model`): references, or the base itself (`found.base`).
        sigma: standard deviation of the noise, in units of a feature's range, above 0, up to 1.
        draws: noisy points for each counterfactual, 1 to 1,000.

    Returns:
        DataFrame: one row per base × model × found counterfactual, with the numbers `base`, `model`, `factual` and
            `proposal`, and `invalidation`: the share of noisy points that the model does not put in the target class.

    Raises:
        InputError: for a sigma or draws out of range, for no model, and for a model that cannot be asked or has other
            classes than the base.

    >>> from cftransfer import search
    >>> base = torch.nn.Linear(1, 1)
    >>> _ = base.load_state_dict({"weight": torch.tensor([[4.0]]), "bias": torch.tensor([-2.0])})
    >>> found = search(base, torch.tensor([[0.2]]), method="probe", invalidation=0.1, sigma=0.1, lr=0.001)
    >>> noisy = noisy_execution(found, found.base, sigma=0.1, draws=1000)
    >>> round(float(noisy.invalidation[0]), 1)
    0.1
    """
    check_float("sigma", sigma, inside="above 0, up to 1", among=lambda one: 0 < one <= 1)
    check_int("draws", draws, least=1, most=1000)
    searches = [found] if isinstance(found, Counterfactuals) else list(found)
    several = list(models) if isinstance(models, list | tuple) else [models]
    if not searches or not several:
        raise InputError(f"{'found' if several else 'models'}: is empty; pass one or more")
    tables = []
    for base, search in enumerate(searches):
        made_under = search.settings.get("constraints", "box")
        noise = noise_on(search.space, made_under, sigma=sigma, draws=draws, inputs=search.factual)
        shares = invalidation(search, _asked(several, search), noise)
        for number, share in enumerate(shares):
            columns = {"base": base, "model": number, "factual": search.rows, "proposal": search.proposal}
            table = pd.DataFrame(columns | {"invalidation": share.numpy()})
            tables.append(table[search.found.numpy()])
    return pd.concat(tables, ignore_index=True)


def _asked(models: Sequence[Any], search: Counterfactuals) -> list[Asked]:
    """Return models wrapped to be asked, with classes in the base's order; InputError for other classes."""
    known, have = getattr(search.base, "classes", None), number_of_classes(search.factual_logit)
    asked: list[Asked] = []
    for index, model in enumerate(models):
        one = as_model(model, space=search.space, framed=search.framed)
        if known is not None or one.classes is not None:
            one = as_model(one, classes=tuple(known or range(have)))
        if len(search) and (here := number_of_classes(logits(one, search.factual[:1]))) != have:
            raise InputError(f"models: number {index} has {here} classes, and the base {have}; pass others")
        asked.append(one)
    return asked
