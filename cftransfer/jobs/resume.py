"""Check whether a job's folder already has its result, so that a sweep that runs again does only the missing jobs.

Nothing heavy is imported here, so that skipping a finished job costs almost nothing.
"""

import logging
import os
from pathlib import Path

from cftransfer.atomic import disk
from cftransfer.errors import InputError
from cftransfer.jobs.provenance import RunningJob
from cftransfer.jobs.schema import DAMAGED, REPLACED, RESULT, Result, as_written, read_result, version_of, what

log = logging.getLogger(__name__)

OTHER, OTHER_DATA = "of other settings", "of other data"


def earlier_metric(job: RunningJob, metric: str, *, version: str | None = None) -> float | None:
    """Return a metric of this job's earlier result, and log it; None if there is no result, or another job's.

    A result of other settings is renamed with a warning, so that it cannot pass for this job's if this job fails. A
    result with changed tables is renamed as well. A renamed result that turns out to be this job's is restored.

    version: of the data, as `Dataset.version`. Without it, a result on data from files is not accepted, because the
    files must first be read to know whether they have changed.
    """
    name = RESULT if os.path.lexists(job.folder / RESULT) else REPLACED
    if not os.path.lexists(job.folder / name):
        return None
    try:
        result = read_result(job.folder, name)
        reason = _foreign(job, result, metric, version)
    except (InputError, OSError) as error:
        reason = f"invalid ({error})"
    if reason:
        if name == RESULT:
            _set_aside(job.folder, reason)
        return None
    if version is None and result.data.get("from_files", True):
        return None
    if name == REPLACED:
        with disk(job.folder / RESULT):
            (job.folder / REPLACED).replace(job.folder / RESULT)
    commit = (result.git or {"commit": ""})["commit"][:8] or "unknown code"
    log.info("has its result already (of %s); delete its %s to run it again", commit, RESULT)
    value = result.metrics[metric]
    return float("nan") if value is None else float(value)


def _foreign(job: RunningJob, result: Result, metric: str, version: str | None) -> str:
    """Return why a result is not this job's, or ""."""
    if result.what != what(job.config):
        return OTHER
    if metric not in result.metrics or not result.files:
        return f"invalid (no {metric}, or no files)"
    for file, written in result.files.items():
        if not as_written(job.folder, file, written):
            return f"damaged ({file} is missing or has changed)"
    return OTHER_DATA if version not in (None, version_of(result.data)) else ""


def _set_aside(folder: Path, reason: str) -> None:
    name = REPLACED if reason in (OTHER, OTHER_DATA) else DAMAGED  # a damaged result is never restored
    with disk(folder / RESULT):
        (folder / RESULT).replace(folder / name)
    log.warning(
        "%s: the earlier result is %s; it is kept as %s. Its tables are overwritten when this job ends",
        folder,
        reason,
        name,
    )
