"""Any number of job folders → a table, a trend, figures and a page."""

from collections.abc import Sequence
from pathlib import Path

from cftransfer.errors import plain


def report(folders: Sequence[Path], *, out: Path | None = None) -> Path:
    """Print the table of the jobs under `folders`, write `report.html` and its figures into `out`; return the page.

    out: the first folder by default. InputError if there is no job at all.
    """
    from cftransfer.report import collect, figures, page

    jobs = collect.jobs(folders)
    place = out or Path(folders[0])
    lines = collect.lines(jobs)
    page.show(jobs, lines)
    path = page.write(jobs, lines, figures.save(jobs, lines, place), place)
    print(plain(f"report: {path}"))
    return path
