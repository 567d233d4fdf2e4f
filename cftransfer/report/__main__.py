"""python -m cftransfer.report multirun/…: the report of any job folders, made again."""

import argparse
from pathlib import Path

from cftransfer.errors import as_command
from cftransfer.report import missing, report


def command() -> None:
    """Parse the folders, make the report; a mistake of the user is one line and exit status 1."""
    parser = argparse.ArgumentParser(prog="python -m cftransfer.report", description="Report on jobs of transfer.py.")
    parser.add_argument("folder", nargs="+", type=Path, help="job folders, or folders that hold some at any depth")
    parser.add_argument("--out", type=Path, help="where report.html and trend.png go; default: the first folder")
    parser.add_argument(
        "--missing", action="store_true", help="print which jobs lack a result, why, and the commands that make it"
    )
    options = parser.parse_args()
    with as_command("cftransfer.report"):
        if options.missing:
            missing.show(missing.sweeps(options.folder))
        else:
            report(options.folder, out=options.out)


if __name__ == "__main__":
    command()
