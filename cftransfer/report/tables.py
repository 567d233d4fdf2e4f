"""The tables of a report's page: the rate first, then all numbers by topic, each table no wider than a screen."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cftransfer.measuring.verdicts import Verdict
from cftransfer.report.cells import by_class, cells, change_of, text_of
from cftransfer.report.panels import Panel
from cftransfer.report.verdict_words import against_first, difference

KEYS = 3  # settings that have a column each; if there are more, one column holds all
WIDEST = 9  # columns of a table, without the names of its rows
FIRST = ("rate", "− seed", "than seed alone", "found", "agreement", "random")
MINUS_FIRST = ("− first", "than the first")  # in the first table, after `than seed alone`
TOPICS = {
    "Searching and transferring": ("found", "agreement", "rate", "conditional", "end-to-end", "pairs", "splits"),
    "Controls": ("− random", "random", "nearest", "prior", "− seed", "than seed alone"),
    "By target class": ("to class",),
    "Counterfactuals": (
        "distance L2", "L2 per pixel", "L∞", "found as bytes", "5 nearest: L2", "5 nearest: of the class", "LOF",
    ),
    "Before projection onto the constraint": ("found before", "L2 before", "rate before"),
    "Models": ("base accuracy", "reference accuracy", "disagreement", "|Δp|"),
    "Stability": ("accepted by all", "least rate", "lost to noise", "lost on the base"),
}  # fmt: skip


@dataclass(frozen=True)
class Table:
    """A table of the page.

    names: heads of the columns that name a row; heads: of its numbers; rows: names of a row, and its cells, each a
    number as text and the denominator of the share.
    """

    title: str
    names: list[str]
    heads: list[str]
    rows: list[tuple[list[str], list[tuple[str, str]]]]


def first(panel: Panel) -> Table:
    """Return the reader's first table: each job with its rate and interval, and the numbers to compare it with."""
    table, compared = _table(panel, "", FIRST), against_first(panel)
    if not compared:
        return table
    at = sum(head in FIRST[:3] for head in table.heads)
    rows = [
        (names, [*row[:at], *((text, "") for text in _minus_first(of)), *row[at:]])
        for (names, row), of in zip(table.rows, compared, strict=True)
    ]
    return replace(table, heads=[*table.heads[:at], *MINUS_FIRST, *table.heads[at:]], rows=rows)


def _minus_first(of: Verdict | None) -> tuple[str, str]:
    return ("—", "—") if of is None else (change_of(of.change), difference(of))


def rest(panel: Panel, folders: Sequence[str]) -> list[Table]:
    """Return all numbers of the jobs, one or more tables per topic. folders: names of the jobs."""
    _, heads, _ = _all(panel)
    found = [_table(panel, topic, [head for head in heads if _topic(head) == topic]) for topic in TOPICS]
    names, named = _names(panel)
    where = [(name, [(folder, "")]) for name, folder in zip(named, folders, strict=True)]
    return [*(part for table in found for part in _parts(table)), Table("Folders", names, ["job"], where)]


def settings(differ: tuple[list[str], list[list[str]]]) -> list[Table]:
    """Return the settings that differ in narrow tables. differ: heads, and rows that begin with the job's name."""
    heads, rows = differ
    if not heads:
        return []
    return _parts(Table("", ["job"], heads, [([name], [(value, "") for value in values]) for name, *values in rows]))


def _table(panel: Panel, title: str, wanted: Sequence[str]) -> Table:
    names, heads, rows = _all(panel)
    kept = [head for head in wanted if head in heads]
    return Table(title, names, kept, [(name, [row[heads.index(head)] for head in kept]) for name, row in rows])


def _all(panel: Panel) -> tuple[list[str], list[str], list[tuple[list[str], list[tuple[str, str]]]]]:
    """Return the heads of names and numbers, and the rows."""
    names, named = _names(panel)
    heads, rows = cells(panel, by_class(panel))
    settings = len(_settings(panel))
    return names, heads[settings:], [(name, row[settings:]) for name, row in zip(named, rows, strict=True)]


def _settings(panel: Panel) -> list[str]:
    """Return the settings that `cells` puts first."""
    return [name for name in panel.settings if any(name in job.settings for job in panel.jobs)]


def _names(panel: Panel) -> tuple[list[str], list[list[str]]]:
    """Return the heads of a job's names, and the names of each job."""
    keys = _settings(panel)
    if not keys or len(keys) > KEYS:
        return [panel.keys if keys else "data set"], [[panel.values(job)] for job in panel.jobs]
    return keys, [[text_of(job.settings.get(key, "—")) for key in keys] for job in panel.jobs]


def _topic(head: str) -> str:
    whole = "to class" if head.startswith("to class ") else head
    return next((topic for topic, heads in TOPICS.items() if whole in heads), "Models")


def _parts(table: Table) -> list[Table]:
    """Return a table as several of at most `WIDEST` columns each; [] without columns."""
    starts = range(0, len(table.heads), WIDEST)
    return [
        Table(
            table.title if start == 0 else "",
            table.names,
            table.heads[start : start + WIDEST],
            [(name, row[start : start + WIDEST]) for name, row in table.rows],
        )
        for start in starts
    ]
