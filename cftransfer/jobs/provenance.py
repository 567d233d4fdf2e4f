"""Facts about the running job: its folder, its settings, its code."""

import functools
import logging
import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

PACKAGES = ("cftransfer", "torch", "pytorch-lightning", "hydra-core", "omegaconf", "numpy", "pandas", "scipy", "wandb")
PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class RunningJob:
    """A running job, as its command knows it.

    config: resolved. choices: the option of each group. overrides: the words typed. sweep: the folder of its sweep, as
    a user would type it.
    """

    folder: Path
    config: dict[str, Any]
    choices: dict[str, Any]
    overrides: list[str]
    sweep: str | None = None


def git_state(package: Path = PACKAGE) -> dict[str, Any] | None:
    """Return the commit of the running code, and whether it has uncommitted changes.

    None if no repository tracks the package: a package installed below a user's repository is not part of its commit.
    """

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=package, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError) as error:
        log.debug("no git state: %s", error)
        return None


code = functools.cache(git_state)  # once per process: modules are imported once, so later edits do not change the code


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that numbers depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def shown(path: Path) -> Path:
    """Return a path as a user would type it here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
