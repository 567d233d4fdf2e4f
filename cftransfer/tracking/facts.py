"""What is known about the job that runs: its folder, the options it chose, the code that it runs."""

import functools
import logging
import subprocess
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig

log = logging.getLogger(__name__)

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


def shown(path: Path) -> Path:
    """Return a path as one would type it here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
