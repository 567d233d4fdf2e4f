"""report.html: first the answer and its figure, then the comparison, then the tables; it needs no other file."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from matplotlib.figure import Figure

from cftransfer import atomic
from cftransfer.errors import plain
from cftransfer.jobs.read import Job
from cftransfer.jobs.schema import Git
from cftransfer.report import figures, tables
from cftransfer.report.answer import answer
from cftransfer.report.cells import curve, text_of
from cftransfer.report.changes import severities
from cftransfer.report.collect import Jobs, Line, commands, common
from cftransfer.report.compared import asked
from cftransfer.report.examples import cards, extremes, pictures
from cftransfer.report.frontier import frontier
from cftransfer.report.glossary import DEFINITIONS, definition
from cftransfer.report.matrix import matrix
from cftransfer.report.notes import data_notes, lacking, model_notes, names, notes
from cftransfer.report.panels import Panel
from cftransfer.report.place import REPORT
from cftransfer.report.plans import heads, plans
from cftransfer.report.svg import inline, svg
from cftransfer.report.swept import differences
from cftransfer.report.trends_table import numbers, of_what
from cftransfer.report.verdict_words import pooled, sentence

FOLDED = 3  # with this many failed jobs or more, they are folded
WIDTHS = (12.3, 5.0)  # inches of a figure for a screen of 1280 px, and of the same figure for 390 px
OWN = ("trend", "frontier", "matrix")  # figures that each section draws of its own jobs


def write(jobs: Jobs, lines: Sequence[Line], pictured: Mapping[str, Mapping[str, bytes]], folder: Path) -> Path:
    """Write `report.html`, which needs no other file, into `folder`; return its path.

    pictured: the figures of all jobs, by name.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cftransfer.report", "."), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["definition"] = definition
    results, every = [job.result for job in jobs.jobs], names(jobs.jobs)
    called = dict(zip(map(id, jobs.jobs), every, strict=True))
    script = environment.get_template("page.js.j2").render()
    text = environment.get_template("page.html.j2").render(
        subject=", ".join(dict.fromkeys(panel.knob for panel in jobs.panels if panel.knob)),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        sections=[_section(panel, jobs, lines, called) for panel in jobs.panels],
        figures={name: inline(one["svg"]) for name, one in pictured.items() if name not in OWN},
        severities=severities(jobs),
        plans=_table("", ["job"], [*heads(jobs.jobs), "for ±.03", "in about"], plans(every, jobs.jobs)),
        curves=[(called[id(job)], _curve(job)) for job in jobs.jobs if job.result.curve],
        intervals=sorted({result.metrics["interval"] for result in results} - {""}),
        trends=[(of_what(line, jobs), sentence(line)) for line in lines],
        fits=_trends(jobs, lines),
        examples=[
            (name, cards(job.examples), extremes(job), pictures(job, index), plain(str(job.folder)))
            for index, (name, job) in enumerate(zip(every, jobs.jobs, strict=True))
            if job.examples is not None
        ],
        failed=[_failed(path, reason) for path, reason in jobs.failed.items()],
        folded=FOLDED,
        missing=lacking(jobs),
        notes=[*notes(jobs), *data_notes(jobs.jobs)],
        warnings=model_notes(jobs.jobs),
        differ=tables.settings(_differences(jobs.jobs)),
        commands=commands(jobs.jobs),
        settings=[(name, json.dumps(value)) for name, value in common(jobs.jobs).items()],
        versions=results[0].versions,
        commits=sorted({_commit(result.git) for result in results}),
        glossary=DEFINITIONS,
    )
    path = folder / REPORT
    atomic.write(path, text.encode())
    return path


def _section(panel: Panel, jobs: Jobs, lines: Sequence[Line], called: Mapping[int, str]) -> dict[str, Any]:
    """Return the page's content for one panel: answer, figures, question and tables."""
    own, place = [line for line in lines if line.panel is panel], jobs.panels.index(panel)
    alone, told = Jobs([panel], {}), answer(panel, own)
    trends = [figures.trend(alone, own, width=width) for width in WIDTHS]
    fronts = [drawn for width in WIDTHS if (drawn := frontier(alone, width=width))]
    crossed = matrix(alone)
    inlined = {"trend": _inline(trends, f"trend-{place}", told)}
    if fronts:
        inlined["frontier"] = _inline(fronts, f"frontier-{place}", figures.TITLES["frontier"])
    if crossed:
        inlined["matrix"] = _inline([crossed], f"matrix-{place}", figures.TITLES["matrix"])
    return {
        "title": panel.title,
        "answer": told,
        "asked": asked(panel),
        "pooled": pooled(panel),
        "hidden": max(0, len(panel.groups()) - figures.LISTED) if panel.knob else 0,
        "fitted": bool(own),
        "replicates": bool(panel.replicates),
        "figures": inlined,
        "first": tables.first(panel),
        "rest": tables.rest(panel, [called[id(job)] for job in panel.jobs]),
    }


def _inline(drawn: Sequence[Figure], name: str, title: str) -> list[str]:
    """Return figures as parts of the page, with ids that differ between figures."""
    return [inline(svg(figure, f"{name}-{number}", title=title)) for number, figure in enumerate(drawn)]


def _failed(path: Path, reason: str) -> tuple[str, str, str]:
    """Return the folder's name of a failed job, its reason in one line, and the whole folder with the typed words."""
    typed, _, why = reason.rpartition("; failed: ")
    return plain(path.name), why, f"{plain(str(path))}{': ' if typed else ''}{typed}"


def _table(title: str, names: list[str], heads: list[str], rows: Sequence[Sequence[str]]) -> tables.Table:
    """Return a table in which the first cell of a row is the row's name."""
    return tables.Table(title, names, heads, [([name], [(cell, "") for cell in cells]) for name, *cells in rows])


def _curve(job: Job) -> tables.Table:
    heads, rows = curve(job)
    return tables.Table("", heads[:1], heads[1:], [([row[0][0]], row[1:]) for row in rows])


def _trends(jobs: Jobs, lines: Sequence[Line]) -> tables.Table | None:
    if not lines:
        return None
    told = [numbers(line) for line in lines]
    named = [of_what(line, jobs).replace(" of ", "", 1) or "all jobs" for line in lines]
    rows = [[name, *(value for _, value in row)] for name, row in zip(named, told, strict=True)]
    return _table("", ["trend"], [head for head, _ in told[0]], rows)


def _differences(some: Sequence[Job]) -> tuple[list[str], list[list[str]]]:
    differ = differences(some)
    rows = [
        [name, *(text_of(job.settings.get(key, "—")) for key in differ)]
        for name, job in zip(names(some), some, strict=True)
    ]
    return differ, rows


def _commit(git: Git | None) -> str:
    return (
        f"{git['commit'][:10]}{' with uncommitted changes' if git['dirty'] else ''}" if git else "not from a repository"
    )
