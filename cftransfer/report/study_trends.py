"""The pages of the paper's two studies: each question answered from the verdicts on its trends, figures, tables."""

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cftransfer import atomic
from cftransfer.jobs.read import Job
from cftransfer.jobs.schema import EXTRA_EPOCHS
from cftransfer.measuring.trends import holm
from cftransfer.report.cells import PAGE, cells, curve
from cftransfer.report.collect import judged
from cftransfer.report.figures import trend
from cftransfer.report.panels import Panel
from cftransfer.report.series_names import constraints_of, dataset_name, dataset_of, search_meaning, search_name
from cftransfer.report.study_answers import Series, answer, change, evidence, overall, share, verdict
from cftransfer.report.study_found import found_table, markdown, put_found
from cftransfer.report.study_page import put_page
from cftransfer.report.study_running import Outcome, Part, Study
from cftransfer.report.verdict_words import direction

SHOWN = ("rate", "conditional", "agreement", "found", "distance L2", "random", "found as bytes", "− seed")
TRENDS = ["experiment", "data set", "search", "first rate", "last rate", "change (95 % interval)", "p (Holm)"]
TRENDS += ["p of lack of fit (Holm)", "verdict"]
COLUMNS = {head: (PAGE[head][0], "") for head in SHOWN}


def write_trends(outcomes: Sequence[Outcome], path: Path, *, study: Study, readme: Path | None = None) -> None:
    """Write the page of a study into `path`, and a figure per command beside it.

    readme: another page, which gets the table of findings.
    """
    found = [line for outcome in outcomes for line in outcome.lines]
    adjusted = iter(holm([line.trend.p for line in found]))  # p adjusted for this page's trends decide its words
    bends = iter(holm([line.trend.p_bend for line in found]))
    told = []
    for outcome in outcomes:
        lines = [judged(line, next(adjusted)) for line in outcome.lines]
        told.append(_told(replace(outcome, lines=lines), [next(bends) for _ in lines], path.parent))
    findings = found_table(told)
    if readme is not None:
        put_found(readme, markdown(*findings))
    every = [(job, outcome.dataset) for outcome in outcomes for job in outcome.jobs.jobs]
    put_page(
        path,
        outcomes,
        template="study.md.j2",
        study=study,
        name=path.stem,
        datasets=_listed([dataset_of(job, dataset) for job, dataset in every]),
        searches=[search_meaning(key) for key in dict.fromkeys(constraints_of(job) for job, _ in every) if key],
        answers=_answers(study, told),
        parts=[(part, [row for row in told if row["part"] == part]) for part in study.parts],
        told=told,
        findings=findings,
        trends=len(found),
        trend_heads=TRENDS,
        images=_about([job for job, _ in every]),
        named=dataset_name,
        elapsed=_elapsed(outcomes),
    )


def _about(every: Sequence[Job]) -> dict[str, str]:
    """Return the images that were taken from each data set of images, in words."""
    told = {dataset_of(job, ""): job.result.data.get("about", "") for job in every}
    return {dataset: about for dataset, about in told.items() if about}


def _listed(names: Sequence[str]) -> str:
    """Return each name once: A, B and C."""
    *others, last = dict.fromkeys(names)
    return f"{', '.join(others)} and {last}" if others else last


def _elapsed(outcomes: Sequence[Outcome]) -> float:
    """Return the minutes from the first command's start to the last command's end; commands may overlap."""
    return (max(o.began + o.seconds for o in outcomes) - min(o.began for o in outcomes)) / 60


def _answers(study: Study, told: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return each question of the study with its answer, the overall one first."""
    answers = []
    rows = [row for row in told if row["part"].overall_at is not None]
    if study.overall[0] and rows:
        said, lines = overall(rows[0]["part"], [one for row in rows for one in row["series"]])
        answers.append({"asks": study.overall[0], "expects": study.overall[1], "answer": said, "evidence": lines})
    for part in study.parts:
        some = [one for row in told if row["part"] == part for one in row["series"]]
        if some:
            own = {"answer": answer(part, some), "evidence": evidence(some)}
            answers.append({"asks": part.asks, "expects": part.expects, **own})
    return answers


def _told(outcome: Outcome, bends: Sequence[float], out: Path) -> dict[str, Any]:
    """Return the page's content for one outcome, and write its figure beside the page. bends: p of each line's bend."""
    (panel,) = outcome.jobs.panels
    name = f"{outcome.dataset.replace(',', '-')}-{outcome.part.name}"
    series = _series(outcome, panel, bends)
    picture = io.BytesIO()
    names = {label: _legend(one, series) for label, one in series.items()}
    figure = trend(outcome.jobs, outcome.lines, names=names, unit=outcome.part.unit)
    figure.savefig(picture, format="png", dpi=110)
    atomic.write(out / "figures" / f"{name}.png", picture.getvalue())
    heads, rows = cells(panel, COLUMNS)
    aged = [(search_name(constraints_of(job)), *curve(job)) for job in panel.jobs if job.result.curve]
    return {
        "part": outcome.part,
        "dataset": dataset_name(outcome.dataset),
        "command": outcome.command,
        "figure": f"figures/{name}.png",
        "heads": heads,
        "rows": _plain(rows),
        "curves": [(search, heads, _plain(points)) for search, heads, points in aged],
        "series": list(series.values()),
        "trends": [_trend(one, outcome.part) for one in series.values()],
        "bends": [(one.dataset, one.search, one.p_bend) for one in series.values() if one.bends],
        "doubling": panel.doubling,
        "aged": panel.knob == EXTRA_EPOCHS,
        "found": [job.metrics["found"] for job in panel.jobs],
        "seconds": outcome.seconds,
        "passes": outcome.passes,
        "searches": outcome.searches,
    }


def _series(outcome: Outcome, panel: Panel, bends: Sequence[float]) -> dict[str, Series]:
    """Return the lines of the figure by their label; without a knob, every job is a line."""
    groups = panel.groups() if panel.knob else {panel.label(job): panel.points(job) for job in panel.jobs}
    lines = {line.label: (line, bend) for line, bend in zip(outcome.lines, bends, strict=True)}
    told = {}
    for label, points in groups.items():
        line, bend = lines.get(label, (None, float("nan")))
        job = points[0].job
        search = search_name(constraints_of(job))
        told[label] = Series(dataset_of(job, outcome.dataset), search, points, line, bend)
    return told


def _legend(one: Series, series: dict[str, Series]) -> str:
    """Return a name that distinguishes a series within its figure: its data set, its search, or both."""
    datasets, searches = ({getattr(other, name) for other in series.values()} for name in ("dataset", "search"))
    said = [one.dataset] * (len(datasets) > 1) + [one.search] * (len(searches) > 1)
    return ", ".join(said) or "transferability rate"


def _trend(one: Series, part: Part) -> list[str]:
    """Return a row of the table of all trends."""
    ends = [f"{share(rate)} at {place:g}" for place, rate in zip(_places(one), one.ends, strict=True)]
    if one.line is None:
        return [part.title, one.dataset, one.search, *ends, "—", "—", "—", "no trend"]
    of = one.line
    bend = "—" if one.p_bend != one.p_bend else f"{one.p_bend:.2g}"
    against = verdict(of, part.expected)
    word = direction(of.verdict)
    said = f"{word}, {against}" if against in ("as expected", "the opposite") else word
    return [part.title, one.dataset, one.search, *ends, change(of), f"{of.p_holm:.2g}", bend, said]


def _places(one: Series) -> tuple[float, float]:
    return one.points[0].x, one.points[-1].x


def _plain(rows: Sequence[Sequence[tuple[str, str]]]) -> list[list[str]]:
    return [[number for number, _ in row] for row in rows]
