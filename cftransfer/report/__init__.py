"""Any number of job folders → a table, a trend, figures and a page."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cftransfer.errors import plain, printing

if TYPE_CHECKING:
    from cftransfer.report.collect import Jobs, Line


def report(
    folders: Sequence[Path],
    *,
    out: Path | None = None,
    below: bool = True,
    margin: float = 0.05,
    then: "Callable[[Jobs, list[Line]], None] | None" = None,
) -> Path:
    """Print the table of the jobs under `folders`, write `report.html` and its figures into `out`; return the page.

    out: the first folder by default. below: whether jobs in folders below `folders` count. margin: the change of the
    rate below which a trend is flat, above 0 and below 1. then: called with the jobs and their trends, for other views
    of them.
    InputError for another margin, if there are no jobs, and for a folder in which the report would replace a user's
    file.
    """
    from cftransfer.report import collect, figures, page, place, terminal

    folder = out or Path(folders[0])
    place.check(folder)
    jobs = collect.jobs(folders, below=below)
    lines = collect.lines(jobs, margin=margin)
    pictures = figures.pictures(jobs, lines)
    path = page.write(jobs, lines, pictures, folder)  # first: the page marks the figures as a report's
    figures.save(pictures, folder)
    try:
        with printing(f"the results are on disk, and the report is {path}"):
            terminal.show(jobs, lines)
            print(plain(f"report: {path}"))
    finally:
        if then is not None:
            then(jobs, lines)
    return path
