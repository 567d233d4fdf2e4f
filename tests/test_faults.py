"""Every fault of faults.py, done to real jobs, leaves the numbers of an undisturbed run, and nothing else.

Here jobs are killed; the faults of the store and of a job's surroundings have files of their own, so that workers share
them.
"""

import os
import re
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT


def needs_root(test, suite=pytest.mark.slow):
    """Mark a test of some minutes, of small disks and host names."""
    can = os.geteuid() == 0 and shutil.which("mount") is not None
    for mark in (suite, pytest.mark.timeout(1500), pytest.mark.skipif(not can, reason="needs root")):
        test = mark(test)
    return test


def survived(topic: str) -> list[re.Match]:
    """Do the faults of a topic; return the rows of its table, after checking that all faults were survived."""
    words = [sys.executable, ROOT / "tests" / "faults.py", "--only", topic]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [re.fullmatch(r"(.{36}) +(\d+) +(\d+) +(\d+) +(\d+)", line) for line in done.stdout.splitlines()[1:]]
    assert all(row and len({*row.groups()[1:]}) == 1 for row in rows)
    return rows


@needs_root
def test_every_kill_is_survived():
    rows = survived("kills")
    assert len(rows) == 6
    assert sum(int(row[2]) for row in rows if "SIGKILL" in row[1]) >= 20
