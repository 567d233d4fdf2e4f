"""The table in the terminal, and report.html."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from cftransfer import store
from cftransfer.report.collect import Jobs, common, rows
from cftransfer.report.figures import sentence
from cftransfer.statistics import Trend

COLUMNS = {
    "found": "found",
    "agreement": "agreement",
    "rate": "rate",
    "interval": "95 % interval",
    "rate_conditional": "conditional",
    "rate_end_to_end": "end-to-end",
}
PAGE_COLUMNS = COLUMNS | {
    "rate_to_0": "to class 0",
    "rate_to_1": "to class 1",
    "distance_l2": "distance L2",
    "base_accuracy": "base accuracy",
    "reference_accuracy": "reference accuracy",
    "pairs": "pairs",
}


def show(jobs: Jobs, trends: Mapping[str, Trend]) -> None:
    """Print one row per job, then the trends and the jobs that failed."""
    heads, lines = cells(jobs, COLUMNS)
    printed = Table(box=None, padding=(0, 1), header_style="bold")
    for head in heads:
        printed.add_column(Text(head), justify="right", no_wrap=True)
    for line in lines:
        printed.add_row(*map(Text, line))
    console = Console(markup=False, highlight=False, soft_wrap=True)
    natural = Measurement.get(console, console.options.update(max_width=10_000), printed).maximum
    console.width = max(natural, console.width)  # a pipe has no width to cut the table to
    console.print(printed)
    for label, fitted in trends.items():
        console.print(f"trend{' of ' + label if label else ''}: {sentence(fitted, str(jobs.knob))}")
    for folder, reason in jobs.failed.items():
        console.print(f"failed: {folder} ({reason})", style="red")


def write(jobs: Jobs, trends: Mapping[str, Trend], svg: str, folder: Path) -> Path:
    """Write `report.html`, which needs no other file, into `folder`; return its path."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cftransfer.report", "."), autoescape=True, undefined=jinja2.StrictUndefined
    )
    heads, lines = cells(jobs, PAGE_COLUMNS)
    results = [job.result for job in jobs.jobs]
    text = environment.get_template("page.html.j2").render(
        knob=jobs.knob,
        svg=svg[svg.index("<svg") :],
        heads=heads,
        rows=[(row, job.folder.name) for row, job in zip(lines, jobs.jobs, strict=True)],
        intervals=sorted({result["metrics"]["interval"] for result in results}),
        trends=[(label, sentence(line, str(jobs.knob)), line.method) for label, line in trends.items()],
        failed=[(str(path), reason) for path, reason in jobs.failed.items()],
        settings=[(name, json.dumps(value)) for name, value in common(jobs).items()],
        versions=results[0]["versions"],
        commits=sorted({_commit(result["git"]) for result in results}),
    )
    path = folder / "report.html"
    store.write(path, text.encode())
    return path


def cells(jobs: Jobs, columns: Mapping[str, str]) -> tuple[list[str], list[list[str]]]:
    """Return the heads and the rows of the table as text, the settings that differ first."""
    settings = [name for name in (jobs.knob, *jobs.series) if name]
    lines = []
    for own, metrics in rows(jobs):
        interval = f"{_number(metrics['rate_low'])}–{_number(metrics['rate_high'])}"
        numbers = metrics | {"interval": interval}
        lines.append([_text(own[name]) for name in settings] + [_number(numbers[name]) for name in columns])
    return settings + list(columns.values()), lines


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _number(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return "—"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _commit(git: dict[str, Any] | None) -> str:
    return (
        f"{git['commit'][:10]}{' with uncommitted changes' if git['dirty'] else ''}" if git else "not from a repository"
    )
