"""Three sentences on the causes of transfer, and numbers with their intervals."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from cftransfer.measuring.interval_ends import interval_ends
from cftransfer.measuring.rate_curve import rate_curve
from cftransfer.measuring.statistics import LEVEL, Interval
from cftransfer.measuring.transfer_probits import Effect
from cftransfer.report.explained import Setting

WORDS = {
    "margin": "the base's margin at x′",
    "distance": "the distance of x′ from x",
    "density": "the density of training rows around x′",
    "agreement": "the agreement of the two models on the factual",
    "target": "the target class",
}
UNKNOWN = Interval(*(float("nan"),) * 4, "")
BOTH_SIGNS = 0.1  # least share of pairs with either sign if a coefficient is said to change its sign


def in_short(settings: Sequence[Setting], p: Mapping[int, float]) -> list[str]:
    """Return three sentences: on the margin, on the best predictor within a pair, on the rates at equal margins."""
    return [_margin(settings), _most(settings), _remains(settings, p)]


def cell(of: Interval) -> str:
    """Return a share with its interval."""
    if np.isnan(of.mean):
        return "—"
    ends = "–".join(end.removeprefix("0") for end in interval_ends(of.low, of.high))
    return f"{of.mean:.3f}" + ("" if np.isnan(of.low) else f" ({ends})")


def difference_cell(of: Interval) -> str:
    """Return a difference or a coefficient with its interval."""
    if np.isnan(of.mean):
        return "—"
    return f"{of.mean:+.3f}" + ("" if np.isnan(of.low) else f" ({of.low:+.3f} to {of.high:+.3f})")


def _margin(settings: Sequence[Setting]) -> str:
    """Return how often counterfactuals with the smallest margins transfer, and those of the most confident search."""
    least, most = [], []
    for setting in settings:
        sure = [one for one in setting.jobs if one.part == "confidence"] or [setting.seed]
        last = max((rate_curve(one.answers) for one in sure), key=lambda curve: curve.x.max())
        least.append(_bin(rate_curve(setting.seed.answers), "idxmin"))
        most.append(_bin(last, "idxmax"))
    return (
        f"**Beyond the boundary, counterfactuals transfer.** Of those with the smallest margins, {_span(least)} hold "
        f"on another seed; of those with the largest margins in the most confident search, {_span(most)}."
    )


def _bin(curve: pd.DataFrame, end: str) -> Interval:
    """Return the rate of the first or the last bin of a curve; end: idxmin or idxmax."""
    point = curve.loc[getattr(curve.x, end)()]
    return Interval(float(point.rate), float(point.rate_low), float(point.rate_high), float("nan"), "")


def _most(settings: Sequence[Setting]) -> str:
    """Return which predictor explains most within a pair of models, beside the margin."""
    tops: dict[str, list[Setting]] = {}
    for setting in settings:
        known = [effect for effect in setting.seed.effects if not np.isnan(effect.beyond.mean)]
        if known:
            tops.setdefault(max(known, key=lambda effect: effect.beyond.mean).name, []).append(setting)
    if not tops:
        return "No pair of models has a probit, so nothing can be said about single pairs."
    said = []
    for name, some in tops.items():
        shares = _span([_effect(setting, name).beyond for setting in some])
        where = "" if len(tops) == 1 else f" on {' and on '.join(setting.name for setting in some)}"
        beside = [] if name == "margin" else [_effect(setting, "margin").beyond for setting in some]
        margin = [share for share in beside if not np.isnan(share.mean)]
        than = f"; without the margin, {_span(margin)} less" if margin else ""
        said.append(
            f"{WORDS.get(name, name)} matters most{where}: without it, a probit of transfer explains {shares} less of "
            f"the deviance{than}{_signs(name, some)}"
        )
    return f"**Within a pair of models and one search**, {'; '.join(said)}."


def _signs(name: str, some: Sequence[Setting]) -> str:
    """Return a clause that a coefficient changes its sign from pair to pair, if it does in all settings; "" if not."""
    every = [setting.seed.fitted.coefficients[name] for setting in some]
    shares = [float((values > 0).sum() / max((~np.isnan(values)).sum(), 1)) for values in every]
    if not all(BOTH_SIGNS <= share <= 1 - BOTH_SIGNS for share in shares):
        return ""
    low, high = f"{100 * min(shares):.0f}", f"{100 * max(shares):.0f}"
    positive = f"{low} %" if low == high else f"{low} to {high} %"
    which = "the class that transfers better" if name == "target" else "its sign"
    return f"; {which} changes from pair to pair (its coefficient is positive in {positive} of them)"


def _effect(setting: Setting, name: str) -> Effect:
    return next(
        (effect for effect in setting.seed.effects if effect.name == name),
        Effect(name, 1.0, UNKNOWN, UNKNOWN, UNKNOWN, pairs=0, unbounded=0),
    )


def _remains(settings: Sequence[Setting], p: Mapping[int, float]) -> str:
    """Return how many jobs are shown to differ from another seed at its margins, and which differs most."""
    every = [(f"{one.name}, on {setting.name}", apart) for setting in settings for one, apart in setting.remains]
    known = [(name, apart) for name, apart in every if not np.isnan(apart.remains.mean)]
    apart_margins = len(every) - len(known)
    jobs = f"{apart_margins} further job{' has' if apart_margins == 1 else 's have'}"
    none = f" {jobs} too few margins in common with it." if apart_margins else ""
    if not known:
        return f"**At equal margins**, no job can be compared with another seed.{none}"
    differ = [(name, apart) for name, apart in known if p[id(apart)] < 1 - LEVEL]
    rates = "the rate of 1 job is" if len(differ) == 1 else f"the rates of {len(differ)} jobs are"
    said = f"**At equal margins**, {rates} shown to differ from the rate of another seed, {len(known)} jobs compared"
    if differ:
        name, apart = max(differ, key=lambda one: abs(one[1].remains.mean))
        sizes = [abs(apart.remains.mean) for _, apart in differ]
        ends = " to ".join(f"{end:+.2f}" for end in (apart.remains.low, apart.remains.high))
        said += (
            f". They differ by {_range(sizes)}; the largest difference is {apart.remains.mean:+.2f} ({ends}; {name})"
        )
    return f"{said}.{none}"


def _range(values: Sequence[float]) -> str:
    low, high = (f"{value:.2f}".removeprefix("0") for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def _span(shares: Sequence[Interval]) -> str:
    """Return the lowest and the highest share, each with its interval: .37 (.33–.41) to .55 (.52–.58)."""
    least, most = (pick(shares, key=lambda one: one.mean) for pick in (min, max))
    return " to ".join(dict.fromkeys(map(_in_short, (least, most))))


def _in_short(of: Interval) -> str:
    ends = "–".join(end.removeprefix("0") for end in interval_ends(of.low, of.high, 2))
    return f"{of.mean:.2f}".removeprefix("0") + ("" if np.isnan(of.low) else f" ({ends})")
