"""Coverage of intervals and error rates of verdicts, simulated from known rates.

Results are built from simulated answers, and their intervals are computed as usual. Trends and verdicts have no public
name yet and come from `cftransfer.measuring`.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache

import numpy as np
import pandas as pd
from scipy import special, stats

import cftransfer as cft
from cftransfer.measuring.trends import trend
from cftransfer.measuring.verdicts import MARGIN, verdict
from cftransfer.validate.check import Row, at_least, at_most, equal

BASES, REFERENCES = 5, 10
COUNTERFACTUALS = 100
ROUNDS = 400  # per coverage: .95 is then known to within .02
VERDICTS = 600
LEAST, MOST = 0.92, 0.06
KNOB = np.arange(4.0)


def coverage() -> Iterable[Row]:
    """Bases, references and pairs vary, with Beta margins of known mean; each pair has 100 counterfactuals."""
    for mean, sd in ((0.7, 0.1), (0.97, 0.027)):
        rng, held = np.random.default_rng(0), 0
        for _ in range(ROUNDS):
            interval = _result(rng.binomial(COUNTERFACTUALS, _beta_rates(rng, mean, sd))).interval()
            held += interval.low <= mean <= interval.high  # type: ignore[union-attr]
        yield at_least(f"{BASES} × {REFERENCES} models, mean {mean}", LEAST, held / ROUNDS)


def logit_interval() -> Iterable[Row]:
    """One base and five references: Student's interval of their rates, transformed to the logit at their mean.

    On the logit the half-width is t · s / (√5 · m (1 − m)), with 4 degrees of freedom.
    """
    held = np.array([[100, 99, 95, 98, 92]])
    shares = held / COUNTERFACTUALS
    mean, error = shares.mean(), stats.sem(shares.ravel())
    half = stats.t.ppf(0.975, 4) * error / (mean * (1 - mean))
    interval = _result(held).interval()
    for name, sign in (("low", -1), ("high", 1)):
        expected = special.expit(special.logit(mean) + sign * half)
        yield equal(name, expected, getattr(interval, name), 1e-9)
    same = _result(np.full((BASES, REFERENCES), COUNTERFACTUALS)).interval()
    yield equal("all pairs at 1: Jeffreys' bound of 5 models", stats.beta.ppf(0.05, 5.5, 0.5), same.low, 1e-9)  # type: ignore[union-attr]


def verdicts_without_a_change() -> Iterable[Row]:
    """Four jobs with constant rates, with and without common bases: how often the verdict is falls or rises."""
    for sharing in ("none", "bases"):
        said = _verdicts(0.0, sharing)
        yield at_most(f"called falls or rises, sharing {sharing}", MOST, (said["falls"] + said["rises"]) / VERDICTS)


def verdicts_with_a_change() -> Iterable[Row]:
    """A change of the margin, .05, and of .10: how often the verdict is flat."""
    yield at_most(f"a change of {MARGIN} called flat", MOST, _verdicts(MARGIN, "bases")["flat"] / VERDICTS)
    yield at_most("a change of 0.10 called flat", MOST, _verdicts(0.10, "bases")["flat"] / VERDICTS)
    yield at_least("a change of 0.30 called rises", 0.95, _verdicts(0.30, "bases")["rises"] / VERDICTS)


def _beta_rates(rng: np.random.Generator, mean: float, sd: float) -> np.ndarray:
    """Return (BASES, REFERENCES) rates: a Gaussian copula of bases, references and pairs, with Beta margins."""
    weights = np.array([0.7, 0.7, 0.14]) / np.linalg.norm([0.7, 0.7, 0.14])
    shapes = ((BASES, 1), (1, REFERENCES), (BASES, REFERENCES))
    normal = sum(weight * rng.normal(size=shape) for weight, shape in zip(weights, shapes, strict=True))
    total = mean * (1 - mean) / sd**2 - 1
    return special.betaincinv(mean * total, (1 - mean) * total, special.ndtr(normal))


def _result(held: np.ndarray) -> cft.Result:
    """Return the result of models with `held`, (I, J), of COUNTERFACTUALS transferred."""
    found, answers = _tables(*held.shape)
    holds = np.arange(COUNTERFACTUALS) < held[..., None]
    return cft.Result(found, answers.assign(transferred=holds.ravel()))


@cache
def _tables(bases: int, references: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the tables of a result, without the references' answers."""
    found = pd.MultiIndex.from_product([range(bases), range(COUNTERFACTUALS)], names=["base", "factual"])
    levels = {"base": range(bases), "reference": range(references), "factual": range(COUNTERFACTUALS)}
    answers = pd.MultiIndex.from_product(list(levels.values()), names=list(levels)).to_frame(index=False)
    answers = answers.assign(base_seed=answers.base, reference_seed=answers.reference, group="simulated", target=1)
    controls = dict.fromkeys(("control_random", "control_nearest", "control_prior"), 0.5)
    return (
        found.to_frame(index=False).assign(found=True, status="found"),
        answers.assign(found=True, agreement=True, **controls),
    )


def _verdicts(change: float, sharing: str) -> Counter[str]:
    """Return the count of each verdict on jobs with true rates that rise by `change` from the first to the last."""
    rng = np.random.default_rng(1)
    said: Counter[str] = Counter()
    for _ in range(VERDICTS):
        common = 0.05 * rng.normal(size=(BASES, 1))
        rates = [
            0.6
            + change * step / KNOB[-1]
            + (common if sharing == "bases" else 0.05 * rng.normal(size=(BASES, 1)))
            + 0.05 * rng.normal(size=(1, REFERENCES))
            + 0.02 * rng.normal(size=(BASES, REFERENCES))
            for step in KNOB
        ]
        line = trend(KNOB.tolist(), rates, sharing=sharing)  # type: ignore[arg-type]
        said[verdict(line.change).direction] += 1  # type: ignore[union-attr]
    return said


CHECKS: dict[str, Callable[[], Iterable[Row]]] = {
    "an interval on the logit": logit_interval,
    "coverage of a 95 % interval": coverage,
    "verdicts without a change": verdicts_without_a_change,
    "verdicts with a change": verdicts_with_a_change,
}
