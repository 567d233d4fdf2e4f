"""The page on changes between two models: every kind of change on one axis, and an audit's families."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cftransfer import atomic
from cftransfer.measuring.base_bootstrap import base_bootstrap_interval
from cftransfer.measuring.coverage import ROUNDS, coverage
from cftransfer.measuring.interval_ends import in_brackets, interval_ends
from cftransfer.measuring.statistics import LEVEL, Interval, share_interval, spread
from cftransfer.report.change_families import (
    Family,
    between,
    families,
    on_costs,
    on_curve,
    on_disagreement,
    on_seed,
)
from cftransfer.report.changes import changes, severities
from cftransfer.report.study_page import put_page
from cftransfer.report.study_running import Outcome, Study

AUDIT = "audit"  # the part of the study with the audit's families
THEIRS = {
    "seed": "new initialization",
    "bootstrap": "bootstrap",
    "deletion": "data deletion",
    "addition": "data addition",
    "label_noise": "label update",
    "optimizer": "training configuration",
    "more_layers": "architecture",
    "more_features": "architecture",
    "weight_noise": "parameter perturbation",
}
QUESTIONS = (
    ("Which change costs most, and which least?", on_costs),
    ("Does the rate follow the disagreement?", on_disagreement),
    ("What does another seed alone do?", on_seed),
    ("Do all changes lie on one curve?", on_curve),
)
JOBS = ["experiment", "disagreement", "95 % interval", "rate", "95 % interval", "rate_all", "found"]
FEW = LEVEL - 3 * (LEVEL * (1 - LEVEL) / ROUNDS) ** 0.5  # lower simulated coverage is not due to chance


@dataclass(frozen=True)
class Beside:
    """Two intervals of one family's rate, and the coverage of each; None if nothing varies."""

    family: Family
    ours: Interval
    theirs: Interval
    ours_covers: float | None
    theirs_covers: float | None

    @property
    def wider(self) -> float | None:
        """The width of our interval, as a multiple of the audit's; None if that is 0."""
        narrow = self.theirs.high - self.theirs.low
        return (self.ours.high - self.ours.low) / narrow if narrow > 0 else None


def write_changes(outcomes: Sequence[Outcome], path: Path, *, study: Study) -> None:
    """Write the page into `path`, and a figure per command beside it."""
    found = {id(outcome): families(outcome.jobs) for outcome in outcomes}
    audits = [outcome for outcome in outcomes if outcome.part.name == AUDIT]
    others = [outcome for outcome in outcomes if outcome.part.name != AUDIT]
    rows = [side_by_side(family) for outcome in audits for family in found[id(outcome)]]
    put_page(
        path,
        outcomes,
        template="study_changes.md.j2",
        study=study,
        answers=[
            (question, [(outcome.dataset, answer(found[id(outcome)])) for outcome in others])
            for question, answer in QUESTIONS
        ],
        narrow=on_intervals(rows),
        told=[_told(outcome, found[id(outcome)], path.parent) for outcome in outcomes],
        audit=[_cells(row) for row in rows],
        shape=" × ".join(map(str, rows[0].family.rates.shape)) if rows else "",
        commands=[(outcome.command, outcome.seconds, outcome.passes, outcome.searches) for outcome in outcomes],
    )


def side_by_side(family: Family) -> Beside:
    """Return the intervals of a family's rate over bases × references and over bases alone, with simulated coverage."""
    rates = family.rates[~np.isnan(family.rates).any(axis=1)]
    job = family.job.metrics
    low, high = (float("nan") if job[name] is None else job[name] for name in ("rate_low", "rate_high"))
    ours = Interval(family.rate, low, high, float("nan"), "")
    covers: list[float | None] = [None, None]
    variances = spread(rates).variances
    if variances is not None and np.ptp(rates) > 0:
        shape = (rates.shape[0], rates.shape[1])
        covers = [
            coverage(way, variances, shape=shape, mean=family.rate) for way in (share_interval, base_bootstrap_interval)
        ]
    return Beside(family, ours, base_bootstrap_interval(rates), *covers)


def on_intervals(rows: Sequence[Beside]) -> str:
    """Return a sentence on the families for which the audit's interval is too narrow."""
    known = [row for row in rows if None not in (row.wider, row.ours_covers, row.theirs_covers)]
    if not known:
        return "no family has two intervals to compare."
    wider, ours, theirs = np.array([(row.wider, row.ours_covers, row.theirs_covers) for row in known], dtype=float).T
    narrow = [row.family.name for row, covers in zip(known, theirs, strict=True) if covers < FEW]
    return (
        f"our interval is {wider.min():.1f} to {wider.max():.1f} times as wide as a bootstrap over bases. "
        f"With models that vary as these do, the bootstrap, nominally {100 * LEVEL:.0f} %, "
        f"covers the truth in {100 * theirs.min():.0f} to {100 * theirs.max():.0f} % of simulated studies, "
        f"ours in {100 * ours.min():.0f} to {100 * ours.max():.0f} %. "
        f"The bootstrap is too narrow for {len(narrow)} of {len(known)} families: {', '.join(narrow) or 'none'}."
    )


def _told(outcome: Outcome, some: Sequence[Family], out: Path) -> dict[str, Any]:
    """Return the page's content for one command, and write its figure beside the page."""
    name = f"{outcome.dataset.replace(',', '-')}-{outcome.part.name}.png"
    figure, picture = changes(outcome.jobs), io.BytesIO()
    if figure is not None:
        figure.savefig(picture, format="png", dpi=110)
        atomic.write(out / "figures" / name, picture.getvalue())
    return {
        "part": outcome.part,
        "dataset": outcome.dataset,
        "figure": f"figures/{name}" if figure is not None else "",
        "heads": JOBS,
        "rows": [_job(family) for family in some],
        "thirds": severities(outcome.jobs),
    }


def _job(family: Family) -> list[str]:
    metrics = family.job.metrics
    return [
        family.name,
        f"{family.disagreement:.3f}",
        between(family.job, "disagreement"),
        f"{family.rate:.3f}",
        between(family.job, "rate"),
        _with_interval(metrics, "rate_all"),
        _with_interval(metrics, "found"),
    ]


def _cells(row: Beside) -> list[str]:
    family, metrics = row.family, row.family.job.metrics
    seed = [metrics.get(f"rate_minus_seed{end}") for end in ("", "_low", "_high")]
    beside_seed = "—" if None in seed else f"{seed[0]:+.3f} ({seed[1]:+.3f} to {seed[2]:+.3f})"
    return [
        family.name,
        THEIRS.get(family.name, "—"),
        f"{family.disagreement:.3f} ({between(family.job, 'disagreement')})",
        f"{family.rate:.3f}",
        between(family.job, "rate"),
        "—" if np.isnan(row.theirs.low) else "–".join(interval_ends(row.theirs.low, row.theirs.high)),
        "—" if row.wider is None else f"{row.wider:.2f}",
        *map(_number, (row.ours_covers, row.theirs_covers)),
        beside_seed,
    ]


def _with_interval(metrics: Mapping[str, Any], name: str) -> str:
    low, high = (metrics.get(f"{name}_{end}") for end in ("low", "high"))
    interval = "" if low is None or high is None else in_brackets(low, high)
    return f"{_number(metrics.get(name))}{interval}"


def _number(value: float | None) -> str:
    return "—" if value is None else f"{value:.3f}"
