"""A home folder for a process without one, for example in a container that runs under an unnamed user id."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path


def provide_home() -> None:
    """Set HOME, to a temporary folder if there is no home: Matplotlib and W&B would print many lines of warnings."""
    home = os.path.expanduser("~")  # noqa: PTH111  (Path raises an exception without a home)
    if Path(home).is_dir():
        os.environ.setdefault("HOME", home)
    else:
        os.environ["HOME"] = tempfile.mkdtemp(prefix="cftransfer-home-")
        atexit.register(shutil.rmtree, os.environ["HOME"], ignore_errors=True)
