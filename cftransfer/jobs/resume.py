"""Whether a job's folder has its result already, so that a sweep that is run again does only what is missing.

Nothing heavy is imported here: a finished job is passed over before it costs anything.
"""

import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cftransfer.atomic import disk, inside
from cftransfer.jobs.schema import check_result

log = logging.getLogger(__name__)

RESULT = "result.json"  # written last: a job folder without it is a job that has not ended well
REPLACED = "result-replaced.json"  # what was there before, of another job
DAMAGED = "result-damaged.json"  # what cannot be read, or has lost a table
OTHER, OTHER_DATA = "of other settings", "of other data"
ELSEWHERE = ("paths", "wandb", "trainer")  # where a job runs and lands, not what it is


class _Earlier(NamedTuple):
    value: float
    version: str  # of the data
    from_files: bool  # whether these could have been replaced since
    commit: str


def earlier_metric(cfg: DictConfig, metric: str, *, version: str | None = None) -> float | None:
    """Return a metric of this job's earlier result, and say so; None if there is none, or one of something else.

    That one is renamed with a warning, lest it be taken for this job's should this job fail. So is one whose tables are
    not as they were written. One of this job that was renamed so is named back: what came between has failed.

    version: of the data, as `Dataset.version`. Without it, a result whose data came out of files is not taken: somebody
    has to read these first to know whether they are the same.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    name = RESULT if os.path.lexists(folder / RESULT) else REPLACED
    if not os.path.lexists(folder / name):
        return None
    earlier = _earlier(cfg, folder, name, metric)
    if isinstance(earlier, str) or (version is not None and version != earlier.version):
        if name == RESULT:
            _set_aside(folder, earlier if isinstance(earlier, str) else OTHER_DATA)
        return None
    if version is None and earlier.from_files:
        return None
    if name == REPLACED:
        with disk(folder / RESULT):
            (folder / REPLACED).replace(folder / RESULT)
    log.info("has its result already (of %s); delete its %s to do it again", earlier.commit or "unknown code", RESULT)
    return earlier.value


def _earlier(cfg: DictConfig, folder: Path, name: str, metric: str) -> _Earlier | str:
    """Return what an earlier result says, or why it is none of this job."""
    try:
        if not inside(folder, folder / name):
            raise OSError("no file in this folder")
        result = json.loads((folder / name).read_text())
        check_result(result)
        same = what(result["config"]) == what(OmegaConf.to_container(cfg, resolve=True))
        damaged = [file for file, digest in result["files"].items() if _digest(folder, file) != digest]
        found = result["metrics"][metric]
        read = _Earlier(
            float("nan") if found is None else float(found),
            str(result["data"].get("version", "")),
            bool(result["data"].get("from_files", True)),
            str((result["git"] or {}).get("commit") or "")[:8],
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        return f"not one of ours ({' '.join(str(error).split())})"
    except OmegaConfBaseException:  # settings that cannot be resolved, as the job itself will say
        return OTHER
    if not same:
        return OTHER
    return f"without {damaged[0]} as it was written" if damaged else read


def digest(content: bytes) -> str:
    """Return what `result.json` keeps of each file, so that a damaged one is noticed."""
    return hashlib.sha256(content).hexdigest()


def _digest(folder: Path, name: str) -> str | None:
    return digest((folder / name).read_bytes()) if inside(folder, folder / name) else None


def _set_aside(folder: Path, reason: str) -> None:
    name = REPLACED if reason in (OTHER, OTHER_DATA) else DAMAGED  # which is never named back
    with disk(folder / RESULT):
        (folder / RESULT).replace(folder / name)
    log.warning(
        "the result in %s is %s; it is kept as %s until the next, its tables until this job ends",
        folder,
        reason,
        name,
    )


def what(config: Any) -> str:
    """Return the resolved settings that make a job what it is, as text to compare."""
    return json.dumps({name: part for name, part in config.items() if name not in ELSEWHERE}, sort_keys=True)
