"""Whether a job's folder has its result already, so that a sweep that is run again does only what is missing.

Nothing heavy is imported here: a finished job is passed over before it costs anything.
"""

import json
import logging
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

log = logging.getLogger(__name__)

RESULT = "result.json"  # written last: a job folder without it is a job that has not ended well
ELSEWHERE = ("paths", "wandb", "trainer")  # where a job runs and lands, not what it is


def value(cfg: DictConfig, metric: str, *, version: str | None = None) -> float | None:
    """Return a metric of this job's earlier result, and say so; None if there is none, or one of something else.

    That one is removed, lest it be taken for this job's should this job fail.

    version: of the data, as `Dataset.version`. Without it, a result whose data came out of files is not taken: somebody
    has to read these first to know whether they are the same.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    result = _earlier(cfg, folder)
    its_version = result.get("data", {}).get("version", "") if result else None
    if result is None or (version is not None and version != its_version):
        (folder / RESULT).unlink(missing_ok=True)
        return None
    if version is None and its_version:
        return None
    commit = (result.get("git") or {}).get("commit", "")[:8] or "unknown code"
    log.info("has its result already (of %s); delete its %s to do it again", commit, RESULT)
    found = result["metrics"][metric]
    return float("nan") if found is None else float(found)


def _earlier(cfg: DictConfig, folder: Path) -> dict[str, Any] | None:
    try:
        result: dict[str, Any] = json.loads((folder / RESULT).read_text())
        same = _what(result["config"]) == _what(OmegaConf.to_container(cfg, resolve=True))
        whole = all((folder / name).exists() for name in result["files"])
    except (OSError, ValueError, KeyError, TypeError, OmegaConfBaseException):
        return None  # no result of ours, or settings that cannot be resolved, which the job itself will say
    return result if same and whole else None


def _what(config: Any) -> str:
    return json.dumps({name: part for name, part in config.items() if name not in ELSEWHERE}, sort_keys=True)
