"""python -m cftransfer.report multirun/…: the report of any job folders, made again."""

import argparse
from pathlib import Path

from cftransfer import cores
from cftransfer.errors import as_command
from cftransfer.measuring.verdicts import MARGIN
from cftransfer.report import report


def command() -> None:
    """Parse the folders, make the report; a mistake of the user is one line and exit status 1."""
    cores.wait_passively()
    parser = argparse.ArgumentParser(prog="python -m cftransfer.report", description="Report on jobs of transfer.py.")
    parser.add_argument("folder", nargs="+", type=Path, help="job folders, or folders that hold some at any depth")
    parser.add_argument("--out", type=Path, help="where report.html and trend.png go; default: the first folder")
    margin = "of the rate: a trend that stays below it either way is flat; default: %(default)s"
    parser.add_argument("--margin", type=float, default=MARGIN, help=margin)
    options = parser.parse_args()
    with as_command("cftransfer.report"):
        report(options.folder, out=options.out, margin=options.margin)


if __name__ == "__main__":
    command()
