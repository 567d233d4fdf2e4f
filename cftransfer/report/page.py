"""The table in the terminal, and report.html."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from rich.console import Console
from rich.table import Table

from cftransfer import store
from cftransfer.report.collect import Jobs, common, table
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
    console = Console(soft_wrap=True)
    heads, rows = cells(jobs, COLUMNS)
    printed = Table(title=None, box=None, padding=(0, 1), header_style="bold")
    for head in heads:
        printed.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        printed.add_row(*row)
    console.print(printed)
    for label, line in trends.items():
        console.print(f"trend{' of ' + label if label else ''}: {sentence(line, str(jobs.knob))}", highlight=False)
    for folder, overrides in jobs.failed.items():
        console.print(f"failed: {folder} ({overrides or 'no overrides'})", style="red", highlight=False)


def write(jobs: Jobs, trends: Mapping[str, Trend], svg: str, folder: Path) -> Path:
    """Write `report.html`, which needs no other file, into `folder`; return its path."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cftransfer.report", "."), autoescape=True, undefined=jinja2.StrictUndefined
    )
    heads, rows = cells(jobs, PAGE_COLUMNS)
    results = [job.result for job in jobs.jobs]
    text = environment.get_template("page.html.j2").render(
        knob=jobs.knob,
        svg=svg[svg.index("<svg") :],
        heads=heads,
        rows=[(row, job.folder.name) for row, job in zip(rows, jobs.jobs, strict=True)],
        intervals=sorted({result["metrics"]["interval"] for result in results}),
        trends=[(label, sentence(line, str(jobs.knob)), line.method) for label, line in trends.items()],
        failed=[(str(path), overrides) for path, overrides in jobs.failed.items()],
        settings=[(name, json.dumps(value)) for name, value in common(jobs).items()],
        versions=results[0]["versions"],
        commits=sorted({_commit(result["git"]) for result in results}),
    )
    path = folder / "report.html"
    store.write(path, text.encode())
    return path


def cells(jobs: Jobs, columns: Mapping[str, str]) -> tuple[list[str], list[list[str]]]:
    """Return the heads and the rows of the table as text, the settings that differ first."""
    data = table(jobs)
    settings = [name for name in (jobs.knob, *jobs.series) if name]
    rows = []
    for row in data.to_dict("records"):
        row["interval"] = f"{_number(row['rate_low'])}–{_number(row['rate_high'])}"
        rows.append([_text(row[name]) for name in settings] + [_number(row[name]) for name in columns])
    return settings + list(columns.values()), rows


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _number(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or pd.isna(value):
        return "—"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _commit(git: dict[str, Any] | None) -> str:
    return (
        f"{git['commit'][:10]}{' with uncommitted changes' if git['dirty'] else ''}" if git else "not from a repository"
    )
