"""Upload job folders to W&B, each once, and list runs that are already there."""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from cftransfer.errors import InputError, plain
from cftransfer.jobs.provenance import shown
from cftransfer.jobs.read import job_folders, natural
from cftransfer.jobs.schema import RESULT, read_result
from cftransfer.report.place import REPORT
from cftransfer.tracking.job_run import has_run, is_published, publish, unreached
from cftransfer.tracking.report_run import sync_report


def sync(folders: Sequence[Path]) -> int:
    """Upload the runs of all jobs and reports of sweeps under `folders`, and print a line for each.

    Returns the number of failed uploads. Raises InputError for a missing folder, for folders without jobs, and if W&B
    cannot be reached.
    """
    jobs = job_folders(folders)
    if not jobs:
        raise InputError(f"{', '.join(map(str, folders))}: no job in there")
    sweeps = {path.parent for folder in folders for path in folder.rglob("multirun.yaml")}
    uploads: list[tuple[Path, Callable[[Path], str | None], str | None]] = [
        *((sweep, sync_report, _why_no_report(sweep)) for sweep in sorted(sweeps, key=natural)),
        *((job, publish, _why_not(job)) for job in jobs),
    ]
    if not all(why for *_, why in uploads) and (reason := unreached()):
        raise InputError(f"W&B: {reason}")
    lacking = 0
    for folder, upload, why in uploads:
        wrong = None if why else upload(folder)
        lacking += wrong is not None
        said = f"not uploaded: {wrong}" if wrong else why or "uploaded"
        print(plain(f"{shown(folder.absolute())}: {said}"), flush=True)
    return lacking


def _why_not(job: Path) -> str | None:
    """Return why a job has nothing to upload; None if it has, or if it cannot be read."""
    if not (job / RESULT).exists():
        kept = sorted({file.parent for file in job.glob("wandb/offline-run-*/*.wandb")})
        failed = f", or upload how it failed: wandb sync {shlex.quote(str(shown(kept[-1].absolute())))}" if kept else ""
        return f"has no result; run it again{failed}"
    if is_published(job):
        return "already there"
    try:
        return None if has_run(read_result(job)) else "has no run in W&B (wandb=disabled)"
    except InputError:
        return None


def _why_no_report(sweep: Path) -> str | None:
    if not (sweep / "wandb").is_dir():
        return "has no report in W&B"
    return "already there" if is_published(sweep, REPORT) else None
