"""A home folder for a process that has none, as in a container that runs under a number without a name."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path


def provide_home() -> None:
    """Set HOME, to a temporary folder where there is no home: Matplotlib and W&B would complain over many lines."""
    home = os.path.expanduser("~")  # noqa: PTH111  (Path raises an exception where there is none)
    if Path(home).is_dir():
        os.environ.setdefault("HOME", home)
    else:
        os.environ["HOME"] = tempfile.mkdtemp(prefix="cftransfer-home-")
        atexit.register(shutil.rmtree, os.environ["HOME"], ignore_errors=True)
