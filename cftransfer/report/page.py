"""The table in the terminal, and report.html."""

import base64
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from cftransfer import atomic
from cftransfer.errors import plain
from cftransfer.jobs.read import Job
from cftransfer.jobs.schema import Git, content
from cftransfer.measuring.per_counterfactual import in_words
from cftransfer.report.cells import by_class, cells, curve, or_dash, printed_columns, text_of
from cftransfer.report.changes import severities
from cftransfer.report.collect import Jobs, Line, commands, common
from cftransfer.report.panels import Panel
from cftransfer.report.place import REPORT
from cftransfer.report.plans import heads, plans
from cftransfer.report.swept import differences
from cftransfer.report.verdict_words import pooled, sentence
from cftransfer.settings import flat

PRINTED_NOTES = 5  # on models, in the terminal; the page has all
CHANGED = {"rows": "other training rows", "perturbation": "perturbed weights"}  # of a reference, in words
RANKED = 5  # points of a trend from which on a rank correlation says something
PICTURED = 8  # jobs whose pictures the page holds, up to 2 MB each; those of others stay in their folders


def show(jobs: Jobs, lines: Sequence[Line]) -> None:
    """Print one row per job, then the trends and the jobs that failed."""
    console = Console(markup=False, highlight=False, soft_wrap=True)
    if missing := lacking(jobs):
        console.print(missing, style="red")
    for panel in jobs.panels:
        if len(jobs.panels) > 1:
            console.print(f"\n{panel.experiment}", style="bold")
        heads, rows = cells(panel, printed_columns(panel))
        printed = Table(box=None, padding=(0, 1), header_style="bold")
        for head in heads:
            printed.add_column(Text(head), justify="right", no_wrap=True)
        for row in rows:
            printed.add_row(*(Text(number) for number, _ in row))
        natural = Measurement.get(console, console.options.update(max_width=10_000), printed).maximum
        console.width = max(natural, console.width)  # a pipe has no width to cut the table to
        console.print(printed)
    for text in [text for panel in jobs.panels for text in pooled(panel)]:
        console.print(text)
    for line in lines:
        console.print(f"trend{_of(line, jobs)}: {sentence(line)}")
    for folder, reason in jobs.failed.items():
        console.print(f"failed: {plain(str(folder))} ({reason})", style="red")
    if missing:
        console.print(f"{missing}; the same command again makes the missing ones")
    for note in notes(jobs):
        console.print(plain(note))
    _show_model_notes(console, model_notes(jobs.jobs))


def _show_model_notes(console: Console, on_models: Sequence[str]) -> None:
    for note in on_models[:PRINTED_NOTES]:
        console.print(plain(note), style="red")
    if more := on_models[PRINTED_NOTES:]:
        console.print(f"… and {len(more)} more such notes in report.html")


def lacking(jobs: Jobs) -> str:
    """Return in words how many jobs have no result, and why; "" if all have one."""
    if not jobs.failed and not jobs.never:
        return ""
    every = jobs.begun - len(jobs.earlier) + jobs.never
    why = [(len(jobs.failed), "failed or did not end"), (jobs.never, "never began")]
    said = ", ".join(f"{many} {what}" for many, what in why if many)
    return f"{every - len(jobs.failed) - jobs.never} of {every} jobs have a result; {said}"


def notes(jobs: Jobs) -> list[str]:
    """Return what a reader has to know about which jobs count."""
    found = []
    if jobs.copies:
        run = "1 job was" if jobs.copies == 1 else f"{jobs.copies} jobs were"
        found.append(f"{run} run again with the same settings and data; each job counts once")
    if jobs.earlier:
        left = ", ".join(folder.name for folder in jobs.earlier)
        found.append(f"left by an earlier sweep in the same folder, and counted: {left}; remove what does not belong")
    if many := sum(job.metrics["pairs"] == 1 for job in jobs.jobs):
        where = "" if many == len(jobs.jobs) else f"{many} of {len(jobs.jobs)} jobs: "
        found.append(f"{where}one pair of models; the interval is over its counterfactuals, not over models")
    found += [_on_splits(name, job, several=len(jobs.jobs) > 1) for name, job in _of_splits(jobs.jobs)]
    if many := sum("n_proposals" in job.metrics for job in jobs.jobs):
        where = "" if many == len(jobs.jobs) else f"in {many} of {len(jobs.jobs)} jobs "
        found.append(f"{where}factuals have several counterfactuals; every factual weighs the same in all numbers")
    return found


def _of_splits(some: Sequence[Job]) -> list[tuple[str, Job]]:
    """Return the jobs of several splits, each with its name."""
    named = zip(names(some), some, strict=True)
    return [(name, job) for name, job in named if job.metrics.get("splits") is not None]


def _on_splits(name: str, job: Job, *, several: bool) -> str:
    """Return in words how many splits a job is over, and how far each factor moves the rate of one pair."""
    varied = {part: job.metrics.get(f"rate_variance_{part}") for part in ("split", "base", "reference", "pair")}
    sizes = ", ".join(f"{part} {max(size, 0.0) ** 0.5:.3f}" for part, size in varied.items() if size is not None)
    said = f"{job.metrics['splits']} splits of the rows, each with models of its own"
    moved = f"; standard deviation of a pair's rate by {sizes}" if sizes else ""
    return f"{f'job {name}: ' if several else ''}{said}{moved}"


def data_notes(some: Sequence[Job]) -> list[str]:
    """Return the notes on the data of the jobs, each once, with the name of the data set where there are several."""
    found = [(str(job.settings.get("dataset")), note) for job in some for note in job.result.data.get("notes", [])]
    several = len({job.settings.get("dataset") for job in some}) > 1
    return list(dict.fromkeys(f"{name}: {note}" if several else note for name, note in found))


def model_notes(some: Sequence[Job]) -> list[str]:
    """Return the notes on the models of the jobs, each with the name of its job where there are several."""
    named = zip(names(some), some, strict=True)
    return [f"job {name}: {note}" if len(some) > 1 else note for name, job in named for note in job.result.notes]


def write(jobs: Jobs, lines: Sequence[Line], figures: Mapping[str, Mapping[str, bytes]], folder: Path) -> Path:
    """Write `report.html`, which needs no other file, into `folder`; return its path."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cftransfer.report", "."), autoescape=True, undefined=jinja2.StrictUndefined
    )
    results = [job.result for job in jobs.jobs]
    text = environment.get_template("page.html.j2").render(
        subject=", ".join(dict.fromkeys(panel.knob for panel in jobs.panels if panel.knob)),
        asked=[(panel.experiment, asked(panel)) for panel in jobs.panels],
        figures={name: _inline(pictures["svg"].decode()) for name, pictures in figures.items()},
        severities=severities(jobs),
        panels=[(panel.experiment, *cells(panel, by_class(panel)), names(panel.jobs)) for panel in jobs.panels],
        plan_heads=heads(jobs.jobs),
        plans=plans(names(jobs.jobs), jobs.jobs),
        curves=[(names(jobs.jobs)[index], *curve(job)) for index, job in enumerate(jobs.jobs) if job.result.curve],
        intervals=sorted({result.metrics["interval"] for result in results} - {""}),
        pooled=[text for panel in jobs.panels for text in pooled(panel)],
        trends=[(_of(line, jobs), sentence(line), _numbers(line)) for line in lines],
        examples=[
            (name, cards(job.examples), extremes(job), _pictures(job, index), plain(str(job.folder)))
            for index, (name, job) in enumerate(zip(names(jobs.jobs), jobs.jobs, strict=True))
            if job.examples is not None
        ],
        failed=[(plain(str(path)), reason) for path, reason in jobs.failed.items()],
        missing=lacking(jobs),
        notes=[*notes(jobs), *data_notes(jobs.jobs)],
        warnings=model_notes(jobs.jobs),
        differ=_differences(jobs.jobs),
        commands=commands(jobs.jobs),
        settings=[(name, json.dumps(value)) for name, value in common(jobs.jobs).items()],
        versions=results[0].versions,
        commits=sorted({_commit(result.git) for result in results}),
    )
    path = folder / REPORT
    atomic.write(path, text.encode())
    return path


def _inline(svg: str) -> str:
    """Return a picture without what stands before it in a file of its own."""
    return svg[svg.index("<svg") :]


def asked(panel: Panel) -> str:
    """Return in words what the jobs of a panel asked: what they did, not what their experiment is called."""
    some = panel.jobs
    references = " or ".join(sorted({_references(job) for job in some}))
    changed = f"models changed in one way each ({panel.experiment})"
    asked_models = changed if "experiment" in panel.series else references
    data = [job.result.data.get("name") or str(job.settings.get("dataset", "—")) for job in some]
    where = " and ".join(dict.fromkeys(data))
    many = f"{len(some)} jobs" if len(some) > 1 else "One job"
    knob = f", over {panel.knob}" if panel.knob else ""
    searches, pairs = (_range(job.metrics[name] for job in some) for name in ("n_searched", "pairs"))
    seeds = _range(job.result.config.get("seed", 0) for job in some)
    return (
        f"Do counterfactuals of {where} hold on {asked_models}? {many}{knob}; in each job "
        f"{searches} searches on base models, and {pairs} pairs of a base and a reference. Seed {seeds}."
    )


def _references(job: Job) -> str:
    patch = flat(job.result.config.get("reference") or {})
    whole = {name.partition(".")[0] for name in patch if name.endswith("._target_")}  # another kind of model
    named = dict.fromkeys(name.partition(".")[0] if name.partition(".")[0] in whole else name for name in patch)
    changed = " and ".join(CHANGED.get(name, f"another {name}") for name in named if name not in ("", "seeds"))
    if job.result.curve:
        return "the bases themselves, trained on"
    if patch.get("seeds") == "base":
        return f"references of the bases' seeds and {changed}"
    return "references of other seeds" + (f" and {changed}" if changed else "")


def _range(numbers: Iterable[int]) -> str:
    """Return what the numbers have in common: 5, or from 4 to 50."""
    known = sorted(set(numbers))
    return f"{known[0]:,}" if len(known) == 1 else f"from {known[0]:,} to {known[-1]:,}"


def cards(examples: pd.DataFrame) -> list[dict[Any, Any]]:
    """Return what a card says of each example of a table's rows; [] for images, of which there are pictures."""
    if "feature" not in examples:
        return []
    found: dict[Any, dict[Any, Any]] = {}
    for row in examples.to_dict("records"):
        card = found.setdefault(row["example"], {**row, "changes": []})
        card["changes"].append({name: row[name] for name in ("feature", "old", "new")})
    return list(found.values())


def extremes(job: Job) -> list[dict[Any, Any]]:
    """Return the cards of the counterfactuals that hold on the most references and on the fewest.

    [] for images, and where each base meets one reference.
    """
    found = cards(job.extremes) if job.extremes is not None else []
    found = [card for card in found if card["n_references"] > 1]  # one reference accepts it or not: no more, no less
    return [{**card, "held": in_words(card["share"], card["n_references"], card["low"])} for card in found]


def _pictures(job: Job, index: int) -> list[tuple[str, str]]:
    """Return name and content, for a page that needs no other file, of the pictures of the first jobs."""
    shown = job.pictures if index < PICTURED else []
    return [
        (plain(path.stem), base64.b64encode(content(job.folder, path.relative_to(job.folder).as_posix())).decode())
        for path in shown
    ]


def names(some: Sequence[Job]) -> list[str]:
    """Return what to call each job: its folder, from where the folders part."""
    if len(some) == 1:
        return [plain(some[0].folder.name)]
    above = os.path.commonpath([job.folder.resolve() for job in some])
    return [plain(job.folder.resolve().relative_to(above).as_posix()) for job in some]


def _differences(some: Sequence[Job]) -> tuple[list[str], list[list[str]]]:
    differ = differences(some)
    rows = [
        [name, *(text_of(job.settings.get(key, "—")) for key in differ)]
        for name, job in zip(names(some), some, strict=True)
    ]
    return differ, rows


def _of(line: Line, jobs: Jobs) -> str:
    parts = [line.panel.experiment if len(jobs.panels) > 1 else "", line.label]
    named = " ".join(part for part in parts if part)
    return f" of {named}" if named else ""


def _numbers(line: Line) -> list[tuple[str, str]]:
    """Return the columns of the table of trends: each with its head."""
    fitted = line.trend
    ranked = len(line.points) >= RANKED
    return [
        ("slope", f"{fitted.slope:+.3g} per {'doubling' if line.panel.doubling else 'unit'}"),
        ("95 % interval", "—" if math.isnan(fitted.low) else f"{fitted.low:+.3g} to {fitted.high:+.3g}"),
        ("p", or_dash(fitted.p, ".3g")),
        ("p (Holm)", or_dash(line.p_holm, ".3g")),
        ("p (bend)", or_dash(fitted.p_bend, ".3g")),
        ("p (permutation)", or_dash(fitted.p_permutation, ".3g")),
        ("R²", or_dash(fitted.r2, ".3f")),
        ("Spearman's ρ", or_dash(fitted.rho if ranked else math.nan, "+.2f")),
        ("fitted to", fitted.method),
    ]


def _commit(git: Git | None) -> str:
    return (
        f"{git['commit'][:10]}{' with uncommitted changes' if git['dirty'] else ''}" if git else "not from a repository"
    )
