"""Every fault of faults.py, done to real jobs, leaves the numbers of an undisturbed run, and nothing else."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT

FAULTS = 24  # rows of the table


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="small disks and host names need root")
def test_every_fault_is_survived():
    done = subprocess.run([sys.executable, ROOT / "tests" / "faults.py"], capture_output=True, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [re.fullmatch(r"(.{36}) +(\d+) +(\d+) +(\d+) +(\d+)", line) for line in done.stdout.splitlines()[1:]]
    assert len(rows) == FAULTS
    assert all(row and len({*row.groups()[1:]}) == 1 for row in rows)
    assert sum(int(row[2]) for row in rows if "SIGKILL" in row[1]) >= 20
