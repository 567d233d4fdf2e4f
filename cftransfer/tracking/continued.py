"""A run that is continued, or made, from what lies in a folder: a job's, or that of a sweep for its figures.

It is told what W&B does not have yet, as that of a requeued job is. All is read, and found to be the job's own, before
W&B is asked: a damaged job is one line, and leaves no half of a run there.
"""

import io
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cftransfer.atomic import inside
from cftransfer.errors import InputError
from cftransfer.jobs import resume
from cftransfer.tracking import offline
from cftransfer.tracking.run import TABLES, about, checked, mean_curve, publish, sweep_of, tell, upload_report, where

RESULT = "result.json"
AGAIN = "run the job again"  # which makes anew what is not as it was written


def continued(folder: Path, file: Path, *, finish_timeout: float = 600) -> str | None:
    """Upload what lies in a folder to the run whose file of W&B's it has; return what W&B lacks, or None.

    finish_timeout: seconds to wait for the end of the upload.

    Raises InputError, naming the file, for a job that has not ended, and for a result that cannot be read.
    """
    group = _group(file)
    if is_report(folder):
        return upload_report(folder, mode="online", group=group)
    result = _result(folder)
    if result.get("wandb") != offline.run_id(file):
        raise InputError(f"{RESULT}: is of another run than {file.name}, whose result is gone")
    with _readable(RESULT):
        settings = checked({**result["config"]["wandb"], "mode": "online", "finish_timeout": finish_timeout})
        known = about(
            result["config"], result["choices"], result["overrides"], git=result["git"], versions=result["versions"]
        )
        told = _told(folder, result)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as own:
        place = where(settings, Path(own), id_=result["wandb"])
        group = group or settings["group"] or sweep_of(folder)
        return tell(lambda run: publish(run, **told), settings, place, group=group, **known)


def is_report(folder: Path) -> bool:
    """Return whether it is a sweep's, whose run has figures, and no job's."""
    return (folder / "multirun.yaml").exists() and not (folder / RESULT).exists()


def has_result(folder: Path) -> bool:
    """Return whether there is something to continue a run from."""
    return is_report(folder) or (folder / RESULT).exists()


def run_of(folder: Path) -> str | None:
    """Return the id of the run that a job's result is of; None without a result, or one that cannot be read."""
    try:
        id_ = _result(folder).get("wandb")
    except InputError:
        return None
    return id_ if isinstance(id_, str) else None


def _group(file: Path) -> str | None:
    """Return the group that the run was begun with, as far as its file can be read."""
    try:
        return next(
            (one.run.run_group for one in offline.records(file) if one.WhichOneof("record_type") == "run"), None
        )
    except OSError:
        return None


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """Turn whatever an odd or damaged file makes its readers raise into an InputError that names it."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{name}: cannot be read ({reason}); {AGAIN}") from error


def _result(job: Path) -> dict[str, Any]:
    if not (job / RESULT).exists():
        raise InputError("the job has not ended; run it again")
    with _readable(RESULT):
        result: dict[str, Any] = json.loads(_own(job, RESULT).read_text(encoding="utf-8"))
        result.keys()  # a list has none
    return result


def _told(job: Path, result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `publish` takes, as it lies in a job's folder."""
    import pandas as pd

    from cftransfer.jobs.read import is_picture
    from cftransfer.jobs.tables import check_size

    learned = "experiment" not in result["choices"]  # train.py
    wanted = {*TABLES, *(["curves"] if learned else [])}
    tables, pictures = {}, {}
    for name, digest in result["files"].items():
        path = _own(job, name)
        if path.suffix == ".parquet" and path.stem not in wanted:
            continue
        with _readable(name):
            if path.suffix == ".parquet":
                check_size(path)
            if resume.digest(content := path.read_bytes()) != digest:
                raise InputError(f"{name}: is not as it was written; {AGAIN}")
            if path.suffix == ".parquet":
                tables[path.stem] = pd.read_parquet(io.BytesIO(content))
            elif is_picture(job, path):
                pictures[path.stem] = str(path)
    history = pd.DataFrame(result["curve"]) if "curve" in result else None
    if learned:
        history = mean_curve(tables["curves"])
    return {"metrics": dict(result["metrics"]), "tables": tables, "pictures": pictures, "history": history}


def _own(job: Path, name: str) -> Path:
    """Return the path of a job's file; InputError if it is not there, or leads elsewhere: it would be in W&B."""
    if not inside(job, job / name):
        raise InputError(f"{name}: is no file in the job's folder; {AGAIN}")
    return job / name
