"""`cftransfer validate`, or python -m cftransfer.validate: run the checks and print their measurements."""

import argparse
import sys
import time

from cftransfer.errors import as_command, plain
from cftransfer.validate.check import Row

WIDTH = 74  # of the column of names; longer names push the other columns to the right


def command() -> None:
    """Run the chosen checks; exit status 1 if one failed."""
    parser = argparse.ArgumentParser(
        prog="cftransfer validate",
        description="Check the library against closed forms, published numbers, and traps of published code.",
    )
    parser.add_argument("--only", default="", metavar="WORD", help="only checks with this word in their family or name")
    options = parser.parse_args()
    with as_command("cftransfer validate"):
        failed = _run(options.only)
    sys.exit(1 if failed else 0)


def _run(only: str) -> int:
    """Print the table row by row; return the number of failed rows."""
    import torch

    from cftransfer.validate.suite import checks, rows

    torch.set_num_threads(1)  # the same numbers on any number of cores; the checks are small
    began, verdicts, last = time.perf_counter(), [], ""
    for family, name, measure in checks(only):
        if family != last:
            print(f"\n{family}\n{_line('check', 'expected', 'measured', 'tolerance', 'verdict')}")
        for said, row in rows(name, measure):
            verdicts.append(row.passed)
            print(_said(said, row), flush=True)
        last = family
    failed = verdicts.count(False)
    counted = f"{failed} of {len(verdicts)} checks failed" if failed else f"all {len(verdicts)} checks passed"
    print(f"\n{counted}, {time.perf_counter() - began:.0f} s")
    return failed


def _said(name: str, row: Row) -> str:
    expected, tolerance = f"{row.expected:.4g}", f"± {row.tolerance:.2g}" if row.tolerance else "none"
    if row.sense != "=":
        expected, tolerance = f"{row.sense} {expected}", "–"
    return _line(plain(name), expected, f"{row.measured:.4g}", tolerance, "ok" if row.passed else "FAILED")


def _line(name: str, expected: str, measured: str, tolerance: str, verdict: str) -> str:
    return f"  {name:{WIDTH}}  {expected:>9}  {measured:>9}  {tolerance:>9}  {verdict}"


if __name__ == "__main__":
    command()
