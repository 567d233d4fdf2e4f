"""Kinds of change between two models, each the job of one experiment: numbers and sentences for a page."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from cftransfer.columns import matrix
from cftransfer.jobs.read import Job
from cftransfer.jobs.schema import EXTRA_EPOCHS
from cftransfer.measuring.differences import after_choice
from cftransfer.measuring.interval_ends import interval_ends
from cftransfer.measuring.severity import fraction_lost
from cftransfer.measuring.statistics import LEVEL, Interval, difference_interval
from cftransfer.measuring.trends import holm, spearman
from cftransfer.report.collect import Jobs, experiment_of
from cftransfer.report.panels import last
from cftransfer.report.shared_models import models_of
from cftransfer.report.verdict_words import two_rates
from cftransfer.spec import PARTS

AT = 0.05  # a page gives the curve's expectation at this disagreement
FEWEST = 5  # families that a rank correlation needs


@dataclass(frozen=True)
class Family:
    """The job of one kind of change.

    rates, disagreements: (bases, references), or (bases, 1) if each base has its own reference.
    """

    name: str
    job: Job
    rates: np.ndarray
    disagreements: np.ndarray

    @property
    def rate(self) -> float:
        """The mean rate over pairs."""
        return float(np.nanmean(self.rates))

    @property
    def disagreement(self) -> float:
        """The mean disagreement over pairs that have a rate."""
        return float(self.disagreements[~np.isnan(self.rates)].mean())

    @property
    def said(self) -> str:
        """The rate with its interval, as text."""
        return f"{self.rate:.3f} ({between(self.job, 'rate')})"


def families(jobs: Jobs) -> list[Family]:
    """Return the jobs that have rates and disagreements, the lowest rate first."""
    found = []
    for job in jobs.jobs:
        pairs = job.pairs
        if EXTRA_EPOCHS in pairs:
            pairs = pairs[pairs[EXTRA_EPOCHS] == pairs[EXTRA_EPOCHS].max()]
        if "disagreement" in pairs and pairs.rate.notna().any():
            found.append(Family(experiment_of(job), job, _by_model(pairs), _by_model(pairs, "disagreement")))
    return sorted(found, key=lambda family: family.rate)


def _by_model(pairs: pd.DataFrame, column: str = "rate") -> np.ndarray:
    """Return `columns.matrix`; for several splits, (splits, 1), the mean of each."""
    values = matrix(pairs, column)
    if values.ndim == 2:
        return values
    return np.array([np.nan if np.isnan(one).all() else np.nanmean(one) for one in values])[:, None]


def between(job: Job, name: str) -> str:
    """Return the interval of a metric that is never below 0, as text; "—" without one."""
    low, high = job.metrics.get(f"{name}_low"), job.metrics.get(f"{name}_high")
    return "—" if low is None or high is None else "–".join(interval_ends(low, high))


def on_costs(some: Sequence[Family]) -> str:
    """Return a sentence on the changes that cost most and least, the first and the last of `some`."""
    most, least = some[0], some[-1]
    said = f"{most.name} costs most, with a rate of {most.said}, and {least.name} least, with {least.said}"
    if len(some) < 2:
        return f"{said}."
    jobs = [family.job for family in some]
    of, p = after_choice([matrix(last(job.pairs)) for job in jobs], [models_of(job) for job in jobs], len(some) - 1, 0)
    return f"{said}; {two_rates(of, p, len(some))}."


def on_disagreement(some: Sequence[Family]) -> str:
    """Return sentences on whether the rate follows the models' disagreement, over families and over pairs."""
    curve = fitted(some)
    pairs = sum(int((~np.isnan(family.rates)).sum()) for family in some)
    said = "No curve fits: too few pairs lost counterfactuals, or those that disagree more do not lose more."
    if curve:
        said = (
            f"The curve through {pairs:,} pairs is 1 − {curve[0]:.2f} · disagreement^{curve[1]:.2f}: models that "
            f"disagree on {AT * 100:.0f} % of the test split are expected to lose {lost(curve, AT):.3f} of the "
            "counterfactuals."
        )
    if len(some) < FEWEST:
        return said[0].lower() + said[1:]
    rho, p = rank_correlation([family.disagreement for family in some], [family.rate for family in some])
    shown = "follows" if p < 1 - LEVEL else "is not shown to follow"
    weak = (
        " As the families are not shown to follow it, this curve should not be used for prediction."
        if curve and p >= 1 - LEVEL
        else ""
    )
    return (
        f"the mean rate of {len(some)} families {shown} their mean disagreement: "
        f"Spearman's ρ is {rho:+.2f} (p = {p:.2g}, families taken as independent). {said}{weak}"
    )


def on_seed(some: Sequence[Family]) -> str:
    """Return sentences on the effect of another seed alone, and on the changes with higher and lower rates."""
    seed = next((family for family in some if family.name == "seed"), None)
    if seed is None:
        return "there is no job of experiment=seed to compare with."
    same = [family for family in some if family is not seed and bases_of(family) == bases_of(seed)]
    beside = [difference_interval(family.rates, seed.rates) for family in same]
    higher, lower, alike = _sides(same, beside, [f"{family.disagreement:.3f}" for family in same])
    others = [family.name for family in some if family is not seed and family not in same]
    more = f" Not compared, because the bases are other models: {', '.join(others)}." if others else ""
    return (
        f"another seed alone gives a rate of {seed.said} at a disagreement of {seed.disagreement:.3f} (in brackets "
        f"for the others). Higher rates: {_listed(higher)}. Lower rates: {_listed(lower)}. "
        f"Not shown to differ: {_listed(alike)}.{more}"
    )


def on_curve(some: Sequence[Family]) -> str:
    """Return a sentence on whether all families lie on one curve."""
    curve = fitted(some)
    if curve is None:
        return "no curve could be fitted."
    beside = [residual(family, curve) for family in some]
    above, below, _ = _sides(some, beside, [f"{interval.mean:+.3f}" for interval in beside])
    off = len(above) + len(below)
    if not off:
        family, farthest = max(zip(some, beside, strict=True), key=lambda pair: abs(pair[1].mean))
        return (
            f"none of the {len(some)} families is shown to lie off the curve; {family.name} lies farthest from it, "
            f"{farthest.mean:+.3f} in the mean."
        )
    sides = [f"{_listed(names)} {where} it" for names, where in ((above, "above"), (below, "below")) if names]
    return f"{off} of {len(some)} families lie off the curve (mean of rate − curve): {' and '.join(sides)}."


def fitted(some: Sequence[Family]) -> tuple[float, float] | None:
    """Return scale and exponent of the curve through the pairs of all families, None if there are too few pairs."""
    rates = np.concatenate([family.rates.ravel() for family in some])
    apart = np.concatenate([family.disagreements.ravel() for family in some])
    return fraction_lost(apart[~np.isnan(rates)], rates[~np.isnan(rates)])


def lost(curve: tuple[float, float], disagreement: np.ndarray | float) -> np.ndarray | float:
    """Return the share of counterfactuals that the curve expects to be lost, at most 1."""
    return np.minimum(curve[0] * np.asarray(disagreement) ** curve[1], 1)


def residual(family: Family, curve: tuple[float, float]) -> Interval:
    """Return the mean of rate − curve over the pairs of a family, with an interval over models; the curve is given."""
    return difference_interval(family.rates, 1 - np.asarray(lost(curve, family.disagreements)))


def bases_of(family: Family) -> str:
    """Return the settings that decide the bases of a family; families with equal settings have the same bases."""
    config = family.job.result.config
    return json.dumps(
        [*(config.get(name) for name in (*PARTS, "seed")), family.rates.shape[0], family.job.metrics.get("splits")]
    )


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Return Spearman's ρ of n ≥ 3 places and its two-sided p, by Student's approximation; NaN if all are equal."""
    rho = spearman(np.asarray(x, dtype=float), np.asarray(y, dtype=float))
    freedom = len(x) - 2
    size = abs(rho) * np.sqrt(freedom / max(1 - rho**2, 1e-15))
    return rho, float(2 * special.stdtr(freedom, -size))


def _sides(
    some: Sequence[Family], found: Sequence[Interval], said: Sequence[str]
) -> tuple[list[str], list[str], list[str]]:
    """Return the families with a mean above 0, below 0, and not shown to differ from 0, by Holm's p.

    said: words that follow the name of each family.
    """
    above: list[str] = []
    below: list[str] = []
    alike: list[str] = []
    adjusted = holm([interval.p for interval in found])
    for family, interval, p, words in zip(some, found, adjusted, said, strict=True):
        side = alike if not p < 1 - LEVEL else above if interval.mean > 0 else below
        side.append(f"{family.name} ({words})")
    return above, below, alike


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
