"""The files that a report writes into its folder; a user's files of the same names are not replaced."""

import os
from pathlib import Path

from cftransfer.jobs.own_files import refuse_foreign

REPORT = "report.html"
FIGURES = ("trend", "survivorship", "training", "frontier", "matrix", "changes", "accepted")  # each as PNG and SVG
TITLE = b"<title>Transferability of counterfactuals"  # in every page that a report has written
HEAD = 2**10  # bytes of a page that hold its title


def check(folder: Path) -> None:
    """Raise InputError for a folder with files of a report's names, unless the page there is a report."""
    if _is_report(folder / REPORT):
        return
    names = [REPORT, *(f"{figure}.{kind}" for figure in FIGURES for kind in ("png", "svg"))]
    refuse_foreign([folder / name for name in names if os.path.lexists(folder / name)])


def _is_report(page: Path) -> bool:
    if not page.is_file():
        return False
    with page.open("rb") as file:
        return TITLE in file.read(HEAD)
