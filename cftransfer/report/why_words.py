"""Three sentences on the causes of transfer, and numbers with their intervals."""

from collections.abc import Mapping, Sequence

import numpy as np

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
SEARCHES = ("seed", "confidence")  # parts in which base and reference differ only in the seed
UNKNOWN = Interval(*(float("nan"),) * 4, "")
BOTH_SIGNS = 0.1  # least share of pairs with either sign if a coefficient is said to change its sign


def in_short(settings: Sequence[Setting], p: Mapping[int, float]) -> list[str]:
    """Return three sentences: on the best predictor, on the margin, and on the rates at equal margins."""
    return [_most(settings), _margin(settings), _remains(settings, p)]


def cell(of: Interval) -> str:
    """Return a share with its interval."""
    if np.isnan(of.mean):
        return "—"
    return f"{of.mean:.3f}" + ("" if np.isnan(of.low) else f" ({_point(of.low)}–{_point(of.high)})")


def difference_cell(of: Interval) -> str:
    """Return a difference or a coefficient with its interval."""
    if np.isnan(of.mean):
        return "—"
    return f"{of.mean:+.3f}" + ("" if np.isnan(of.low) else f" ({of.low:+.3f} to {of.high:+.3f})")


def _point(value: float) -> str:
    return f"{value:.3f}".removeprefix("0") if value < 1 else "1.000"


def _most(settings: Sequence[Setting]) -> str:
    tops: dict[str, list[Setting]] = {}
    for setting in settings:
        known = [effect for effect in setting.seed.effects if not np.isnan(effect.beyond.mean)]
        if known:
            tops.setdefault(max(known, key=lambda effect: effect.beyond.mean).name, []).append(setting)
    said = []
    for name, some in tops.items():
        beyond = [_effect(setting, name).beyond for setting in some]
        shares = ", ".join(f"{cell(of)} on {setting.name}" for of, setting in zip(beyond, some, strict=True))
        said.append(
            f"{WORDS.get(name, name)} explains most: without it, a probit explains less of the deviance, by {shares}"
            f"{_signs(name, some)}"
        )
    if not said:
        return "No pair of models has a probit, so nothing can be said about single pairs."
    return f"Within a pair of models, {'; '.join(said)}."


def _signs(name: str, some: Sequence[Setting]) -> str:
    """Return a clause that a coefficient changes its sign from pair to pair, if it does in all settings; "" if not."""
    every = [setting.seed.fitted.coefficients[name] for setting in some]
    shares = [float((values > 0).sum() / max((~np.isnan(values)).sum(), 1)) for values in every]
    if not all(BOTH_SIGNS <= share <= 1 - BOTH_SIGNS for share in shares):
        return ""
    low, high = f"{100 * min(shares):.0f}", f"{100 * max(shares):.0f}"
    positive = f"{low} %" if low == high else f"{low} to {high} %"
    which = "the class that transfers better" if name == "target" else "its sign"
    return f"; {which} changes from pair to pair (the coefficient is above 0 in {positive} of the pairs)"


def _margin(settings: Sequence[Setting]) -> str:
    """Return how the rate follows the margin over all searches of a setting, and the margin's share within a pair."""
    said = []
    for setting in settings:
        points = [
            point
            for one in setting.jobs
            if one.part in SEARCHES
            for point in rate_curve(one.answers)[["x", "rate"]].dropna().to_numpy().tolist()
        ]
        (low, least), (high, most) = min(points), max(points)
        said.append(f"from {least:.2f} (margin {low:.2g}) to {most:.2f} (margin {high:.2g}) on {setting.name}")
    known = [share for setting in settings if not np.isnan(share := _effect(setting, "margin").beyond.mean)]
    own = f", while within one search the margin explains {_range(known)} of the deviance of a pair" if known else ""
    return f"From the smallest margins of all searches to the largest, the rate goes {', '.join(said)}{own}."


def _effect(setting: Setting, name: str) -> Effect:
    return next(
        (effect for effect in setting.seed.effects if effect.name == name),
        Effect(name, 1.0, UNKNOWN, UNKNOWN, UNKNOWN, pairs=0, unbounded=0),
    )


def _remains(settings: Sequence[Setting], p: Mapping[int, float]) -> str:
    every = [(f"{one.name} on {setting.name}", apart) for setting in settings for one, apart in setting.remains]
    known = [(name, apart) for name, apart in every if not np.isnan(apart.remains.mean)]
    apart_margins = len(every) - len(known)
    jobs = f"{apart_margins} further job{' has' if apart_margins == 1 else 's have'}"
    none = f" {jobs} too few margins in common with seed." if apart_margins else ""
    if not known:
        return f"No job can be compared with seed at equal margins.{none}"
    differ = [(name, apart) for name, apart in known if p[id(apart)] < 1 - LEVEL]
    means = [apart.remains.mean for _, apart in known]
    which = "; ".join(f"{name}, {apart.remains.mean:+.3f}" for name, apart in differ)
    return (
        f"At the margins of seed, the other jobs' rates differ from the rate of seed by {_range(means, '+.3f')}; "
        f"{len(differ)} of {len(known)} are shown to differ (p below .05, Holm)"
        f"{f': {which}' if differ else ''}.{none}"
    )


def _range(values: Sequence[float], form: str = ".3f") -> str:
    low, high = f"{min(values):{form}}", f"{max(values):{form}}"
    return low if low == high else f"{low} to {high}"
