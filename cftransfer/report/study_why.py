"""The page on why counterfactuals transfer or not: probits of pairs, the rate against margin, rates at equal margin."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cftransfer import atomic
from cftransfer.measuring.equal_margin import EqualMargin
from cftransfer.measuring.interval_ends import interval_ends
from cftransfer.measuring.rate_curve import BINS, rate_curve
from cftransfer.measuring.transfer_probits import Effect, TransferProbits, known_share
from cftransfer.measuring.trends import holm
from cftransfer.report.explained import Explained, Setting, by_setting, explained
from cftransfer.report.study_page import put_page
from cftransfer.report.study_running import Outcome
from cftransfer.report.why_figure import Curves, why_figure
from cftransfer.report.why_words import cell, difference_cell, in_short

AXES = ("margin", "distance_l2")


def write_why(outcomes: Sequence[Outcome], path: Path) -> None:
    """Write the page into `path`, and a figure per data set and constraint beside it.

    The page names jobs without long tables, and jobs in which no base found anything. No page is written if no job of
    another seed is left.
    """
    read, left_out = explained(outcomes)
    settings = by_setting(read)
    if not settings:
        return
    every = [apart for setting in settings for _, apart in setting.remains]
    adjusted = holm([apart.remains.p for apart in every])
    p = {id(apart): value for apart, value in zip(every, adjusted, strict=True)}
    put_page(
        path,
        outcomes,
        template="study_why.md.j2",
        short=in_short(settings, p),
        settings=[_told(setting, p, path.parent) for setting in settings],
        left_out=left_out,
        compared=int((~np.isnan(adjusted)).sum()),
    )


def _told(setting: Setting, p: dict[int, float], out: Path) -> dict[str, Any]:
    """Return the page's content for a setting, and write its figure beside the page."""
    curves = [
        Curves(one.part, one.name, one is setting.seed, {axis: rate_curve(one.answers, axis) for axis in AXES})
        for one in setting.jobs
    ]
    name, picture = f"why-{setting.dataset}-{setting.constraints}.png", io.BytesIO()
    why_figure(curves).savefig(picture, format="png", dpi=110)
    atomic.write(out / "figures" / name, picture.getvalue())
    return {
        "name": setting.name,
        "figure": f"figures/{name}",
        "seed": setting.seed.name,
        "effects": [_effect(effect, setting.seed.fitted) for effect in setting.seed.effects],
        "pairs": _pairs(setting.seed.fitted),
        "disagree": _where_they_disagree(setting.seed),
        "others": [
            [
                one.name,
                *(_named(one, name) for name in setting.seed.fitted.predictors),
                *_pairs_short(one.fitted),
            ]
            for one in setting.jobs
        ],
        "predictors": setting.seed.fitted.predictors,
        "remains": [_remains(one, apart, p[id(apart)]) for one, apart in setting.remains],
        "curves": [(axis, [_bins(own, axis) for own in curves]) for axis in AXES],
        "bins": BINS,
    }


def _bins(own: Curves, axis: str) -> list[str]:
    """Return the rate in every bin, with its interval, and the place of the bin."""
    table = own.tables[axis]
    rates = []
    for x, rate, low, high in zip(table.x, table.rate, table.rate_low, table.rate_high, strict=True):
        interval = "" if np.isnan(low) else f" ({'–'.join(interval_ends(low, high, 2))})"
        rates.append(f"{rate:.2f}{interval} at {x:.2g}")
    return [own.name, *rates, *["—"] * (BINS - len(rates))]


def _effect(effect: Effect, fitted: TransferProbits) -> list[str]:
    values = fitted.coefficients[effect.name]
    values = values[~np.isnan(values)]
    return [
        effect.name,
        f"{effect.deviation:.3g}" if effect.deviation != 1 else "0 or 1",
        difference_cell(effect.coefficient),
        f"{(values > 0).sum()} of {len(values)}" if len(values) else "—",
        str(effect.unbounded),
        cell(effect.alone),
        cell(effect.beyond),
    ]


def _where_they_disagree(one: Explained) -> str:
    """Return the rate among counterfactuals for which the two models put the factual in different classes."""
    said = np.concatenate([own.transferred[~own.agreement] for own in one.answers])
    return f"{said.mean():.3f}" if len(said) else ""


def _pairs(fitted: TransferProbits) -> dict[str, Any]:
    return {
        "all": fitted.alike.size,
        "alike": int(fitted.alike.sum()),
        "separated": int(fitted.separated.sum()),
        "explained": cell(known_share(fitted.explained)),
    }


def _pairs_short(fitted: TransferProbits) -> list[str]:
    return [cell(known_share(fitted.explained)), f"{int((~np.isnan(fitted.explained)).sum())} of {fitted.alike.size}"]


def _named(one: Explained, name: str) -> str:
    """Return a predictor's coefficient; with its number of pairs if fewer pairs have it than have a probit."""
    effect = next((effect for effect in one.effects if effect.name == name and effect.pairs), None)
    if effect is None:
        return "—"
    fewer = effect.pairs < (~np.isnan(one.fitted.explained)).sum()
    return difference_cell(effect.coefficient) + (f", {effect.pairs:,} pair{'s' * (effect.pairs > 1)}" if fewer else "")


def _remains(one: Explained, apart: EqualMargin, p: float) -> list[str]:
    compared = not np.isnan(apart.remains.mean)
    return [
        one.name,
        cell(apart.rate),
        difference_cell(apart.difference),
        f"{apart.common:.2f}",
        cell(apart.at_margins) if compared else "—",
        difference_cell(apart.remains) if compared else "no common margins",
        "—" if np.isnan(p) else f"{p:.2g}",
    ]
