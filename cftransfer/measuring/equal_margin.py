"""Two jobs at equal margins: how much of the difference between their rates remains."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cftransfer.measuring.answers_by_base import BaseAnswers
from cftransfer.measuring.differences import difference
from cftransfer.measuring.rate_curve import bin_of, quantile_edges, shares_in
from cftransfer.measuring.statistics import LEVEL, Interval, change_interval, share_interval

BINS = 20
LEAST = 0.5  # nothing is compared if a smaller share of the other job's counterfactuals has common margins
RAREST = 0.1  # a bin is left out if this job's share in it is below this fraction of the other job's share


@dataclass(frozen=True)
class EqualMargin:
    """One job's rate at another's margins.

    common: the share of the other job's counterfactuals in bins of the margin that both jobs have. rate, difference: as
    measured, over all margins. other, at_margins, remains: the other job's rate, this job's, and their difference (this
    minus other) in the common bins, weighted by the other job's counterfactuals. The last three have a mean of NaN if
    `common` is below one half.
    """

    common: float
    rate: Interval
    difference: Interval
    other: Interval
    at_margins: Interval
    remains: Interval


def at_equal_margin(
    answers: Sequence[BaseAnswers],
    other: Sequence[BaseAnswers],
    *,
    same_bases: bool,
    bins: int = BINS,
    level: float = LEVEL,
) -> EqualMargin:
    """Weight a job's counterfactuals so that their margins are distributed as another job's margins are.

    Each bin of the margin has equally many of the other job's counterfactuals. A counterfactual of this job is weighted
    by the other job's share in its bin, relative to this job's. Bins in which this job has less than a tenth of the
    other's share are left out of both. Rates are ratios of means over pairs, linearised (the delta method); weights are
    taken as given.

    Args:
        answers: of this job.
        other: of the job with the margins.
        same_bases: whether base i is the same model in both jobs; the difference is then taken pair by pair where the
            shapes allow it (`differences.difference`), and otherwise between independent means.
        bins: their largest number.
        level: of the intervals, between 0 and 1.

    Returns:
        EqualMargin.
    """
    edges = quantile_edges(_margins(other), bins)
    places, others = ([bin_of(one.found.margin.to_numpy(float), edges) for one in some] for some in (answers, other))
    own, aimed = (_by_bin(some, len(edges) - 1) for some in (places, others))
    both = (aimed > 0) & (own >= RAREST * aimed)
    common = float(aimed[both].sum() / aimed.sum())
    weight = np.append(np.divide(aimed, own, out=np.zeros(len(own)), where=both), 0.0)  # the last: outside all bins
    here = _ratio(*shares_in(answers, [weight[place] for place in places]))
    there = _ratio(*shares_in(other, [np.append(both, False)[place].astype(float) for place in others]))
    measured, seen = (_ratio(*shares_in(some, [np.ones(len(one.found)) for one in some])) for some in (answers, other))
    known = common >= LEAST
    unknown = Interval(*(float("nan"),) * 4, "")
    return EqualMargin(
        common=common,
        rate=share_interval(measured, level=level),
        difference=change_interval(difference(measured, seen, shared=same_bases), level),
        other=share_interval(there, level=level) if known else unknown,
        at_margins=share_interval(here, level=level) if known else unknown,
        remains=change_interval(difference(here, there, shared=same_bases), level) if known else unknown,
    )


def _margins(answers: Sequence[BaseAnswers]) -> np.ndarray:
    return np.concatenate([one.found.margin.to_numpy(float) for one in answers])


def _by_bin(places: Sequence[np.ndarray], bins: int) -> np.ndarray:
    """Return (bins,) the share of counterfactuals in each bin; bases weigh the same."""
    return np.mean([np.bincount(place[place >= 0], minlength=bins) / len(place) for place in places], axis=0)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part, whole: (I, J) → (I, J) values with the mean mean(part) / mean(whole), linear in each pair's part."""
    if not whole.mean() > 0:
        return np.full(part.shape, np.nan)
    ratio = part.mean() / whole.mean()
    return ratio + (part - ratio * whole) / whole.mean()
