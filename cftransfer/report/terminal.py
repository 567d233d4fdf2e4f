"""The table of a report in the terminal, with its trends, failures and notes."""

from collections.abc import Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from cftransfer.errors import plain
from cftransfer.report.answer import lowest_and_highest
from cftransfer.report.cells import cells, printed_columns
from cftransfer.report.collect import Jobs, Line
from cftransfer.report.notes import lacking, model_notes, notes
from cftransfer.report.trends_table import of_what
from cftransfer.report.verdict_words import pooled, sentence

PRINTED_NOTES = 5  # notes on models in the terminal; the page has all of them


def show(jobs: Jobs, lines: Sequence[Line]) -> None:
    """Print one row per job, then trends or the difference between the extremes, failed jobs and notes."""
    console = Console(markup=False, highlight=False, soft_wrap=True)
    if missing := lacking(jobs):
        console.print(missing, style="red")
    for panel in jobs.panels:
        if len(jobs.panels) > 1:
            console.print(f"\n{panel.title}", style="bold")
        heads, rows = cells(panel, printed_columns(panel))
        printed = Table(box=None, padding=(0, 1), header_style="bold")
        for head in heads:
            printed.add_column(Text(head), justify="right", no_wrap=True)
        for row in rows:
            printed.add_row(*(Text(number) for number, _ in row))
        natural = Measurement.get(console, console.options.update(max_width=10_000), printed).maximum
        console.width = max(natural, console.width)  # so that a pipe, which has no width, does not cut the table
        console.print(printed)
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


def _show_model_notes(console: Console, on_models: Sequence[str]) -> None:
    for note in on_models[:PRINTED_NOTES]:
        console.print(plain(note), style="red")
    if more := on_models[PRINTED_NOTES:]:
        console.print(f"… and {len(more)} more such notes in report.html")
