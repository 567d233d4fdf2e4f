"""Why a counterfactual transfers or not: a probit for each pair of models, and effects over all pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cftransfer.measuring.answers_by_base import BaseAnswers
from cftransfer.measuring.probit import null_deviance, probits
from cftransfer.measuring.statistics import LEVEL, Interval, ratio_interval, two_way_interval

COLUMNS = {"margin": "margin", "distance": "distance_l2", "density": "knn_distance"}  # numeric, of counterfactuals
AGREEMENT, TARGET = "agreement", "target"  # 0 or 1, of a pair's counterfactuals


@dataclass(frozen=True)
class TransferProbits:
    """Probits of all pairs (I, J) of a job.

    predictors: their names. deviations: their standard deviations; 1 for predictors that are 0 or 1.
    coefficients: (I, J) by predictor; NaN if the pair has none. unbounded: (I, J) bool by predictor. explained: (I, J)
    McFadden's share of the deviance; alone, beyond: by predictor, the share that it explains alone, and the share that
    is lost without it. These are NaN if a pair is left out: alike, (I, J) bool, all or none transferred; separated,
    (I, J) bool, the probit has no maximum.
    """

    predictors: tuple[str, ...]
    deviations: dict[str, float]
    coefficients: dict[str, np.ndarray]
    unbounded: dict[str, np.ndarray]
    explained: np.ndarray
    alone: dict[str, np.ndarray]
    beyond: dict[str, np.ndarray]
    alike: np.ndarray
    separated: np.ndarray


@dataclass(frozen=True)
class Effect:
    """One predictor over all pairs of a job, with intervals over models.

    coefficient: of the probit's index, per standard deviation, or from 0 to 1. alone, beyond: shares of the deviance.
    pairs, unbounded: numbers of pairs with a finite coefficient, and with an unbounded one.
    """

    name: str
    deviation: float
    coefficient: Interval
    alone: Interval
    beyond: Interval
    pairs: int
    unbounded: int


def transfer_probits(answers: Sequence[BaseAnswers]) -> TransferProbits:
    """Fit, for each pair, a probit of "the reference puts x′ in the target class".

    Predictors: the base's margin at x′, the L2 distance, the density (the distance to the 5 nearest training rows of
    the target class, if the table has it), each in standard deviations over all counterfactuals of the job; whether
    base and reference agree at the factual; and the target class, if it varies (with K classes, one column for each
    class except the lowest). A pair is left out if all of its counterfactuals transfer, or none.
    """
    targets = np.unique(np.concatenate([one.found.target.to_numpy() for one in answers]))[1:]
    numbers = [name for name, column in COLUMNS.items() if column in answers[0].found]
    pooled = {name: np.concatenate([one.found[COLUMNS[name]].to_numpy(float) for one in answers]) for name in numbers}
    numbers = [name for name in numbers if np.ptp(pooled[name]) > 0]
    scales = {name: (float(pooled[name].mean()), float(pooled[name].std())) for name in numbers}
    classes = {TARGET if len(targets) == 1 else f"{TARGET} {target}": target for target in targets.tolist()}
    names = (*numbers, AGREEMENT, *classes)
    fits = [_of_base(one, _design(one, scales, [*classes.values()]), len(names)) for one in answers]
    stacked = {name: np.stack([fit[name] for fit in fits]) for name in fits[0]}

    def by_name(what: str) -> dict[str, np.ndarray]:
        return {name: stacked[what][..., column] for column, name in enumerate(names)}

    return TransferProbits(
        predictors=names,
        deviations={name: scales[name][1] if name in scales else 1.0 for name in names},
        coefficients=by_name("coefficients"),
        unbounded=by_name("unbounded"),
        explained=stacked["explained"],
        alone=by_name("alone"),
        beyond=by_name("beyond"),
        alike=stacked["alike"],
        separated=stacked["separated"],
    )


def effects(fitted: TransferProbits, *, level: float = LEVEL) -> list[Effect]:
    """Return each predictor's effect, over the pairs that have a probit, with intervals over models."""
    return [
        Effect(
            name=name,
            deviation=fitted.deviations[name],
            coefficient=known_mean(fitted.coefficients[name], level=level),
            alone=known_share(fitted.alone[name], level=level),
            beyond=known_share(fitted.beyond[name], level=level),
            pairs=int((~np.isnan(fitted.coefficients[name])).sum()),
            unbounded=int(fitted.unbounded[name].sum()),
        )
        for name in fitted.predictors
    ]


def known_mean(values: np.ndarray, *, level: float = LEVEL) -> Interval:
    """(I, J), NaN for pairs without a value → the mean of the others, with an interval over models.

    The mean is the ratio of a sum and a number, linearised (the delta method): a pair without a value contributes the
    mean, and the other pairs weigh more. No interval if only one of several bases has values, or
    only one of several references.
    """
    known = ~np.isnan(values)
    mean = float(values[known].mean()) if known.any() else float("nan")
    few = known.any(1).sum() < min(2, len(values)) or known.any(0).sum() < min(2, values.shape[1])
    if few or not known.any():
        return Interval(mean, *(float("nan"),) * 3, "")
    return two_way_interval(mean + np.where(known, values - mean, 0.0) / known.mean(), level=level)


def known_share(values: np.ndarray, *, level: float = LEVEL) -> Interval:
    """(I, J) shares, NaN for pairs without one → the mean of the others, with an interval inside [0, 1]."""
    known = ~np.isnan(values)
    return ratio_interval(np.where(known, values, 0.0), known.astype(float), level=level)


def _design(one: BaseAnswers, scales: Mapping[str, tuple[float, float]], targets: Sequence[int]) -> np.ndarray:
    """Return (J, n, p) the predictors of a base's pairs."""
    numbers = [(one.found[COLUMNS[name]].to_numpy(float) - mean) / sd for name, (mean, sd) in scales.items()]
    aimed = [(one.found.target == target).to_numpy(float) for target in targets]
    own = [np.broadcast_to(column, one.agreement.shape) for column in (*numbers, *aimed)]
    return np.stack([*own[: len(numbers)], one.agreement.astype(float), *own[len(numbers) :]], axis=2)


def _of_base(one: BaseAnswers, x: np.ndarray, many: int) -> dict[str, np.ndarray]:
    """Fit the pairs of a base; return (J,) and (J, p) arrays by name. x: (J, n, p)."""
    pairs = len(x)
    alike = one.transferred.all(1) | ~one.transferred.any(1)
    told: dict[str, np.ndarray] = {
        **{name: np.full((pairs, many), np.nan) for name in ("coefficients", "alone", "beyond")},
        "unbounded": np.zeros((pairs, many), bool),
        "explained": np.full(pairs, np.nan),
        "alike": np.asarray(alike),
        "separated": np.zeros(pairs, bool),
    }
    some = ~alike
    if not some.any():
        return told
    x, y = x[some], one.transferred[some]
    full, null = probits(x, y), null_deviance(y)
    told["coefficients"][some], told["separated"][some] = full.coefficients, full.separated
    told["unbounded"][some] = full.unbounded & ~full.separated[:, None]
    told["explained"][some] = 1 - full.deviance / null
    for column in range(many):
        rest = probits(np.delete(x, column, axis=2), y).deviance
        own = probits(x[..., [column]], y).deviance
        told["beyond"][some, column] = np.maximum(rest - full.deviance, 0) / null
        told["alone"][some, column] = np.where(full.separated, np.nan, 1 - own / null)
    return told
