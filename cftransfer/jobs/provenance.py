"""What is known about the job that runs: its folder, the options it chose, the code that it runs."""

import functools
import logging
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig

from cftransfer.secrets import holds_credentials

log = logging.getLogger(__name__)

PACKAGES = ("cftransfer", "torch", "pytorch-lightning", "hydra-core", "omegaconf", "numpy", "pandas", "scipy", "wandb")
GROUPS = ("experiment", "dataset", "model", "training", "counterfactual", "model@reference.model")


def job_folder() -> Path:
    """Return the folder that Hydra made for this job."""
    return Path(HydraConfig.get().runtime.output_dir)


def choices() -> dict[str, Any]:
    """Return the options chosen, by the names of their groups, or of where they are put (reference.model)."""
    chosen = HydraConfig.get().runtime.choices
    return {name.rpartition("@")[2]: chosen[name] for name in GROUPS if name in chosen}


def git_state() -> dict[str, Any] | None:
    """Return the commit of the code that runs and whether it has uncommitted changes; None outside a repository."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError) as error:
        log.debug("no git state: %s", error)
        return None


code = functools.cache(git_state)  # once per process: modules are read once


@functools.cache
def remotes_hold_credentials() -> bool:
    """Return whether a git remote of the folder one works in has a user or a token in its URL, which W&B would record.

    W&B strips a password, but not a token that stands in the user's place.
    """
    try:
        words = ["git", "remote", "--verbose"]
        remotes = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):  # no git, or no repository: nothing that W&B could record
        return False
    return any(map(holds_credentials, remotes.split()))


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of what numbers depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def shown(path: Path) -> Path:
    """Return a path as one would type it here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
