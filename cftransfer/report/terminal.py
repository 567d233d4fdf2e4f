"""The table of a report in the terminal, with its trends, failures and notes."""

from collections.abc import Sequence
from typing import TypeAlias

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from cftransfer.errors import plain
from cftransfer.report.answer import lowest_and_highest
from cftransfer.report.cells import cells, printed_columns
from cftransfer.report.collect import Jobs, Line
from cftransfer.report.notes import lacking, model_notes, notes
from cftransfer.report.panels import Panel
from cftransfer.report.trends_table import of_what
from cftransfer.report.verdict_words import pooled, sentence

Column: TypeAlias = tuple[str, ...]  # its head, then a cell per job
SEED_ALONE = "than seed alone"
PRINTED_NOTES = 5  # notes on models in the terminal; the page has all of them


def show(jobs: Jobs, lines: Sequence[Line]) -> None:
    """Print one row per job, then trends or the difference between the extremes, failed jobs and notes."""
    console = Console(markup=False, highlight=False, soft_wrap=True)
    if missing := lacking(jobs):
        console.print(missing, style="red")
    for panel in jobs.panels:
        if len(jobs.panels) > 1:
            console.print(f"\n{panel.title}", style="bold")
        _show_table(console, panel)
    for text in [text for panel in jobs.panels for text in pooled(panel)]:
        console.print(text)
    for panel in jobs.panels:
        if not any(line.panel is panel for line in lines) and (said := lowest_and_highest(panel)):
            console.print(said)
    for line in lines:
        console.print(f"trend{of_what(line, jobs)}: {sentence(line)}")
    for folder, reason in jobs.failed.items():
        console.print(f"failed: {plain(str(folder))} ({reason})", style="red")
    if missing:
        console.print(f"{missing}; the same command again runs the missing ones")
    for note in notes(jobs):
        console.print(plain(note))
    _show_model_notes(console, model_notes(jobs.jobs))


def _show_table(console: Console, panel: Panel) -> None:
    """Print a row per job, and below the table the models that would decide its undecided verdicts.

    If the table is wider than the terminal, it is printed in parts that all begin with the settings.
    """
    heads, rows = cells(panel, printed_columns(panel))
    columns: list[Column] = list(zip(heads, *([text for text, _ in row] for row in rows), strict=True))
    verdicts = columns[-1] if heads[-1] == SEED_ALONE else ()
    if verdicts:
        columns[-1] = tuple(verdict.partition("; ")[0] for verdict in verdicts)
    settings = sum(head in panel.settings for head in heads)
    for part in _parts(columns, settings, console.width) if console.is_terminal else [columns]:
        printed = Table(box=None, padding=(0, 1), header_style="bold")
        for head, *_ in part:
            printed.add_column(Text(head), justify="right", no_wrap=True)
        for row in list(zip(*part, strict=True))[1:]:
            printed.add_row(*map(Text, row))
        natural = Measurement.get(console, console.options.update(max_width=10_000), printed).maximum
        console.width = max(natural, console.width)  # so that a pipe, which has no width, does not cut the table
        console.print(printed)
    undecided = [(job, verdict) for job, verdict in zip(panel.jobs, verdicts[1:], strict=False) if "; about" in verdict]
    for job, verdict in undecided[:PRINTED_NOTES]:
        console.print(f"{SEED_ALONE}, {panel.called(job)}: {verdict}")
    if more := undecided[PRINTED_NOTES:]:
        console.print(f"… and {len(more)} more such lines in report.html")


def _parts(columns: Sequence[Column], settings: int, width: int) -> list[list[Column]]:
    """Return the columns in as few parts as fit into the width; the first ones, the settings, are in each part."""
    named = list(columns[:settings])
    parts = [list(named)]
    for column in columns[settings:]:
        if len(parts[-1]) > settings and sum(map(_width, [*parts[-1], column])) > width:
            parts.append(list(named))
        parts[-1].append(column)
    return parts


def _width(column: Column) -> int:
    return max(map(len, column)) + 2


def _show_model_notes(console: Console, on_models: Sequence[str]) -> None:
    for note in on_models[:PRINTED_NOTES]:
        console.print(plain(note), style="red")
    if more := on_models[PRINTED_NOTES:]:
        console.print(f"… and {len(more)} more such notes in report.html")
