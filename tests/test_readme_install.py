"""README's first commands, typed in a new clone and an empty environment, print README's table.

They need a package index, so the test is not in CI, where `make setup` installs the clone in the same way.
"""

import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT
from release import table_faults


@pytest.mark.long
def test_the_first_commands_print_the_table(tmp_path):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    typed = re.search(r"```bash\n(.*?)```", readme, re.DOTALL).group(1)
    subprocess.run(["git", "clone", "-q", ROOT, "clone"], cwd=tmp_path, check=True)
    subprocess.run([sys.executable, "-m", "venv", "env"], cwd=tmp_path, check=True)
    path = {**os.environ, "PATH": f"{tmp_path / 'env' / 'bin'}:{os.environ['PATH']}", "WANDB_MODE": "disabled"}
    done = subprocess.run(
        ["bash", "-ec", typed], cwd=tmp_path / "clone", env=path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert table_faults(done.stdout, readme) == []
