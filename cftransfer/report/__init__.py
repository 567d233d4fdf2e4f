"""Any number of job folders → a table, a trend, figures and a page."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cftransfer.errors import plain

if TYPE_CHECKING:
    from cftransfer.report.collect import Jobs, Line


def report(
    folders: Sequence[Path], *, out: Path | None = None, then: "Callable[[Jobs, list[Line]], None] | None" = None
) -> Path:
    """Print the table of the jobs under `folders`, write `report.html` and its figures into `out`; return the page.

    out: the first folder by default. then: called with what was read and fitted, for other views of the same jobs.

    Raises InputError if there is no job at all.
    """
    from cftransfer.report import collect, figures, page

    jobs = collect.jobs(folders)
    place = out or Path(folders[0])
    lines = collect.lines(jobs)
    page.show(jobs, lines)
    path = page.write(jobs, lines, figures.save(jobs, lines, place), place)
    print(plain(f"report: {path}"))
    if then is not None:
        then(jobs, lines)
    return path
