"""python -m cftransfer.report multirun/…: remakes the report of any job folders."""

import argparse
from pathlib import Path

from cftransfer import cores
from cftransfer.errors import as_command
from cftransfer.measuring.verdicts import MARGIN
from cftransfer.report import report


def command() -> None:
    """Parse the folders and make the report; a user's mistake is one line and exit status 1."""
    cores.wait_passively()
    parser = argparse.ArgumentParser(prog="python -m cftransfer.report", description="Report on jobs of transfer.py.")
    parser.add_argument("folder", nargs="+", type=Path, help="job folders, or folders that contain some at any depth")
    parser.add_argument("--out", type=Path, help="folder for report.html and its figures; default: the first folder")
    margin = "change of the rate below which a trend is flat; default: %(default)s"
    parser.add_argument("--margin", type=float, default=MARGIN, help=margin)
    options = parser.parse_args()
    with as_command("cftransfer.report"):
        report(options.folder, out=options.out, margin=options.margin)


if __name__ == "__main__":
    command()
