"""Upload the W&B runs of job folders, each once and whole, and say which are already there.

`wandb sync` adds to a run what its file has, even if the run has it already: a job that was requeued offline would have
every step twice, and so would one that lost its server half-way, or whose upload was interrupted. So it is given one
file per job, the last, and only of jobs that W&B has nothing of; the others are continued from what lies in their
folders, as a requeued job continues its.
"""

import functools
import logging
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from cftransfer.errors import InputError, plain
from cftransfer.jobs import provenance
from cftransfer.secrets import unrecorded
from cftransfer.tracking import offline
from cftransfer.tracking.continued import continued, has_result, run_of
from cftransfer.tracking.run import SYNC, ask_server, check_server, unreachable

log = logging.getLogger(__name__)


def sync(folders: Sequence[Path]) -> int:
    """Upload the runs of all jobs under `folders`, print a line for each; return how many could not be uploaded.

    Raises InputError for a folder that is not there, where none of them holds a run, and if W&B cannot be reached.
    """
    found = _found(folders)
    strange = {job for job, files in found.items() if not _is_own(job, files[-1])}
    new = {job: files for job, files in found.items() if job not in strange and not offline.is_marked(files[-1])}
    if new and (reason := _unreached()):
        raise InputError(reason)
    fresh = _by_wandb({job: files[-1] for job, files in new.items() if _is_fresh(job, files)})
    unreached = _unreached() if any(fresh.values()) else None  # else every job would wait for W&B by itself
    lacking = 0
    for job, files in found.items():
        if job not in new and job not in strange:
            _say(job, "already there")
            continue
        reason = fresh.get(job)
        if job in strange:
            reason = _continued(job, files[-1])  # says whose it is, and asks nobody
        elif job not in fresh or (reason and has_result(job)):
            reason = unreached or _continued(job, files[-1])
        lacking += reason is not None
        _say(job, f"not uploaded: {reason}" if reason else _marked(files))
    return lacking


def catch_up(cfg: DictConfig) -> None:
    """Upload what W&B lacks of this job, which has its result, as after it was killed before its upload had ended.

    That is, where it is to be online, and its run there is not marked as whole. What goes wrong is one line.
    """
    settings = OmegaConf.to_container(cfg, resolve=True).get("wandb")  # type: ignore[union-attr]
    if not isinstance(settings, Mapping) or settings.get("mode") != "online":
        return
    job = provenance.job_folder()
    files = offline.files(job, of=run_of(job))
    if not files or not _is_own(job, files[-1]) or offline.is_marked(files[-1]):
        return
    with unrecorded():  # W&B's own process starts with the first question
        reason = _unreached_once() or _continued(job, files[-1], finish_timeout=settings.get("finish_timeout"))
    if reason:
        way_out = f"upload them with: {SYNC} {shlex.quote(str(provenance.shown(job)))}"
        log.warning(
            "W&B lacks some of this run (%s); all results are in %s; %s", reason, provenance.shown(job), way_out
        )
    else:
        log.info("W&B lacked some of this run: %s", _marked(files))


def _found(folders: Sequence[Path]) -> dict[Path, list[Path]]:
    """Return the files of runs by the folders of their jobs, and name what holds none; InputError if nothing does."""
    if absent := [folder for folder in folders if not folder.is_dir()]:
        raise InputError("; ".join(_absent(folder) for folder in absent))
    inside = {folder: dict(_jobs(folder)) for folder in folders}
    empty = [
        _within(folder) or f"{folder}: no W&B run in there; jobs of wandb=disabled have none"
        for folder, jobs in inside.items()
        if not jobs
    ]
    if len(empty) == len(inside):
        raise InputError("; ".join(empty))
    for line in empty:
        print(plain(line))
    return {job: files for jobs in inside.values() for job, files in jobs.items()}


def _absent(folder: Path) -> str:
    if not folder.exists():
        return f"{folder}: no such folder"
    return _within(folder) or f"{folder}: is a file, not a folder"


def _within(path: Path) -> str | None:
    """Say which job a path belongs to that is W&B's own, as one types it for `wandb sync`; None if it is none."""
    whole = path.resolve()
    for above in (whole, *whole.parents):
        if above.name == "wandb" and offline.files(above.parent):
            return f"{path}: is W&B's part of a job; name the job's folder, {provenance.shown(above.parent)}"
    return None


def _jobs(folder: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Yield the folders of jobs, or of sweeps' reports, that have W&B runs, with the files of these, oldest first."""
    inside = {path.parent for path in folder.resolve().rglob("wandb") if path.is_dir()}
    for job in sorted(inside, key=lambda path: [(int(part) if part.isdigit() else -1, part) for part in path.parts]):
        if files := offline.files(job, of=run_of(job)):
            yield job, files


def _is_own(job: Path, file: Path) -> bool:
    """Return whether a run is that of the job's result, or there is no result that would say so."""
    return run_of(job) in (None, offline.run_id(file))


def _is_fresh(job: Path, files: Sequence[Path]) -> bool:
    """Return whether `wandb sync` may have the last file: it is whole, its tables too, and W&B has nothing of the job.

    Where an upload has begun, or could not be marked, W&B may have some. A job that left no result has no steps.
    """
    if not offline.ended(files[-1]) or any(not offline.is_offline(file) or offline.is_marked(file) for file in files):
        return False
    if has_result(job) and not offline.has_its_tables(files[-1], job):
        return False
    begun = any(offline.is_begun(file) or not os.access(file.parent, os.W_OK) for file in files)
    return not (begun and has_result(job))


def _unreached() -> str | None:
    """Return, in one line, why W&B cannot be reached or does not take the key; None if all is well."""
    import wandb
    from pydantic import ValidationError

    try:
        check_server()
        ask_server()
        wandb.Api(timeout=10).viewer  # noqa: B018  (asks)
    except InputError as error:
        return str(error)
    except ConnectionError as error:
        return f"W&B: {error}; try again later, or name your server in WANDB_BASE_URL"
    except ValidationError as error:
        return f"W&B: {unreachable({}, error)}"
    except (wandb.Error, ValueError, OSError) as error:
        if _timed_out(error):
            url = wandb.setup().settings.base_url
            return f"W&B: {url} does not answer; try again later, or name your server in WANDB_BASE_URL"
        reason = " ".join(str(error).split())
        return f"W&B: {reason} (wandb login, or WANDB_API_KEY, gives it a key)"
    return None


def _timed_out(error: BaseException | None) -> bool:
    """Return whether no answer came: W&B's client calls that, too, a key that could not be verified."""
    return error is not None and (isinstance(error, TimeoutError) or _timed_out(error.__cause__ or error.__context__))


_unreached_once = functools.cache(_unreached)  # a sweep that is run again has many jobs, and each would wait


def _by_wandb(fresh: Mapping[Path, Path]) -> dict[Path, str | None]:
    """Let `wandb sync` upload whole files; return by job why not, or None."""
    if not fresh:
        return {}
    words = ["sync", *map(str, fresh.values())]
    done = subprocess.run([sys.executable, "-m", "wandb", *words], capture_output=True, text=True, check=False)
    said = [line for line in (done.stderr + done.stdout).splitlines() if "ERROR" in line or "WARNING" in line]
    return {job: None if offline.is_marked(file) else _why(file, said) for job, file in fresh.items()}


def _why(file: Path, said: Sequence[str]) -> str:
    """Return what `wandb sync` said last of this file, which it calls by its folder, or by its run's id."""
    about_it = [line for line in said if file.parent.name in line or f"/{offline.run_id(file)}]" in line]
    folder = str(provenance.shown(file.parent))
    about_it = [line for line in about_it if folder in line] or about_it  # a copied job has the same names
    return " ".join(about_it[-1].split()) if about_it else "wandb sync did not say why"


def _continued(job: Path, file: Path, **how: Any) -> str | None:
    try:
        return continued(job, file, **how)
    except InputError as error:
        return str(error)


def _marked(files: Sequence[Path]) -> str:
    """Mark a job's files, those of earlier tries, too, lest they be added on top of the last; return what to say."""
    try:
        for file in files:
            offline.mark(file)
    except OSError as error:
        return f"uploaded, but cannot be marked as uploaded ({error.strerror}); the next sync does it once more"
    return "uploaded"


def _say(job: Path, what: str) -> None:
    print(plain(f"{provenance.shown(job)}: {what}"), flush=True)
