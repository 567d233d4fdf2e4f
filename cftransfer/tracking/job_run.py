"""A job's W&B run: opened before training, and filled from the job's folder once everything is on disk."""

import functools
import logging
import shlex
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from cftransfer.errors import InputError
from cftransfer.jobs import provenance
from cftransfer.jobs.provenance import RunningJob, shown
from cftransfer.jobs.schema import RESULT, Result, as_written, digest, read_result, what
from cftransfer.tracking import names
from cftransfer.tracking.connection import Run, ask_server, begin, checked, end, environment

if TYPE_CHECKING:
    import pandas as pd
    import wandb

log = logging.getLogger(__name__)

TABLES = {"pairs": "rates_by_pair", "survivorship": "survivorship", "examples": "examples"}  # file → its name in W&B
UPLOADED = Path("wandb", "uploaded")  # holds the digest of the uploaded result.json or report


def id_of(job: RunningJob) -> str | None:
    """Return the id of a job's W&B run, fixed by its folder and its settings; None if it has no run."""
    return None if job.config["wandb"]["mode"] == "disabled" else names.run_id(job.folder, what(job.config))


@contextmanager
def opened(job: RunningJob) -> Iterator[Run | None]:
    """Open the W&B run of a job, None with wandb=disabled; a requeued job continues its run.

    If the job fails, its run ends as failed. Raises InputError for settings that W&B would refuse, and if the run
    cannot begin.
    """
    settings = checked(job.config.get("wandb"))
    if settings["mode"] == "disabled":
        yield None
        return
    with environment(job.folder):
        known = names.described(job, git=provenance.code(), versions=provenance.versions())
        run = begin(settings, job.folder, id=id_of(job), **known)
        try:
            yield run
        except BaseException:  # also Ctrl-C, since W&B would show the run as alive; raised again below
            if wrong := end(run, exit_code=1):
                log.warning("W&B does not know how this job ended (%s)", wrong)
            raise


def publish_job(job: RunningJob, run: Run | None) -> None:
    """Publish a job that has just ended to its run, and log the run's address or the failure."""
    if run is None:
        return
    if wrong := publish(job.folder, run=run):
        _log_lacking(job.folder, wrong)
    elif run.run.offline:
        log.info("W&B run kept offline; upload it with: %s", _sync(job.folder))
    else:
        log.info("W&B run: %s", run.run.url)


def catch_up(job: RunningJob) -> None:
    """Upload the rest of a finished job to W&B, for example after a kill during its upload, if the job is online.

    A failure is one line in the log.
    """
    settings = job.config.get("wandb")
    if not isinstance(settings, dict) or settings.get("mode") != "online" or is_published(job.folder):
        return
    if not has_run(read_result(job.folder)):
        return
    wrong = _unreached_once() or publish(job.folder, finish_timeout=settings.get("finish_timeout"))
    if wrong:
        _log_lacking(job.folder, wrong)
    else:
        log.info("W&B lacked some of this run: uploaded")


def publish(folder: Path, *, run: Run | None = None, finish_timeout: Any = 600) -> str | None:
    """Upload the folder of a finished job to W&B; return the failure in one line, or None.

    The whole folder is read and verified first. run: the job's open run; None continues or creates the run of the job's
    id, online, and gives W&B `finish_timeout` seconds to finish the upload. Steps that W&B has are not sent again.
    """
    with ExitStack() as stack:
        try:
            result = read_result(folder)
            tell = _content(folder, result)
            if run is None:
                own = Path(stack.enter_context(TemporaryDirectory(ignore_cleanup_errors=True)))
                stack.enter_context(environment(own))
                settings = checked({**result.config["wandb"], "mode": "online", "finish_timeout": finish_timeout})
                known = names.described(result, git=result.git, versions=result.versions)
                run = begin(settings, own, id=result.wandb or names.run_id(folder.resolve(), result.what), **known)
        except InputError as error:
            if run is not None:
                end(run, exit_code=1)
            return str(error)
        wrong = end(run, tell)
    if wrong is None and not run.run.offline:
        mark_published(folder)
    return wrong


def _content(folder: Path, result: Result) -> Callable[["wandb.Run"], None]:
    """Read a job's history, summary, tables and example pictures; return a function that logs them to a run."""
    import pandas as pd

    from cftransfer.jobs import read

    tables = {
        name: read.table(folder, name, written=result.files[f"{name}.parquet"])
        for name in (TABLES if result.rated else ["curves"])
        if f"{name}.parquet" in result.files
    }
    pictures = [name for name in result.files if name.startswith("examples/") and name.endswith(".png")]
    for name in pictures:
        if not as_written(folder, name, result.files[name]):
            raise InputError(f"{name} is not as it was written; run the job again")
    history = pd.DataFrame(result.curve) if result.curve else None
    if "curves" in tables:  # the mean curve of a population
        history = tables.pop("curves").drop(columns="seed").groupby("epoch", as_index=False).mean()

    def tell(run: "wandb.Run") -> None:
        import wandb

        if history is not None:
            log_history(run, history)
        run.summary.update(result.metrics)
        logged: dict[str, Any] = {TABLES[name]: _table(table) for name, table in tables.items()}
        if paths := [folder / name for name in pictures if read.is_picture(folder, folder / name)]:
            logged["pictures"] = [wandb.Image(str(path), caption=path.stem) for path in paths]
        if logged:
            run.log(logged)

    return tell


def log_history(run: "wandb.Run", table: "pd.DataFrame") -> None:
    """Log every row of `table` as one step of the run's history; the first column is the step and the x-axis.

    Steps that a continued run already has are left out, because W&B takes each step once, in order.
    """
    step = str(table.columns[0])
    run.define_metric(step, hidden=True)
    for name in table.columns.drop(step):
        run.define_metric(str(name), step_metric=step)
    for row in table.to_dict("records"):
        if row[step] >= run.starting_step:  # run.step is 0 until something has been logged
            run.log({str(name): value for name, value in row.items()}, step=int(row[step]))


def _table(table: "pd.DataFrame") -> "wandb.Table":
    import wandb

    # W&B's own conversion of a DataFrame looks up every cell, which takes longer than everything else here.
    return wandb.Table(columns=list(table.columns), data=table.astype(object).to_numpy())


def has_run(result: Result) -> bool:
    """Return whether a job has a W&B run, which it lacks with wandb=disabled."""
    return result.wandb is not None and result.config.get("wandb", {}).get("mode") != "disabled"


def is_published(folder: Path, of: str = RESULT) -> bool:
    """Return whether the whole folder is uploaded to W&B; of: the file that represents it."""
    with suppress(OSError):
        return (folder / UPLOADED).read_text() == digest((folder / of).read_bytes())
    return False


def mark_published(folder: Path, of: str = RESULT) -> None:
    """Mark a folder as uploaded to W&B; if the folder cannot be written, it will be uploaded again.

    W&B's own mark is set as well: otherwise `wandb sync` would add its file of the run a second time.
    """
    with suppress(OSError):
        (folder / UPLOADED).parent.mkdir(exist_ok=True)
        (folder / UPLOADED).write_text(digest((folder / of).read_bytes()))
        for file in folder.glob("wandb/*run-*/run-*.wandb"):
            file.with_suffix(".wandb.synced").touch()


def unreached() -> str | None:
    """Return one line that says why W&B's server cannot be reached, or None."""
    try:
        with environment(Path()):
            ask_server()
    except (OSError, ValueError) as error:
        return f"{error}; try again later, or name your server in WANDB_BASE_URL"
    return None


_unreached_once = functools.cache(unreached)  # once, because every job of a repeated sweep would wait


def _sync(folder: Path) -> str:
    return f"python -m cftransfer.tracking sync {shlex.quote(str(shown(folder)))}"


def _log_lacking(folder: Path, wrong: str) -> None:
    line = "W&B lacks some of this run (%s); all results are in %s; upload them with: %s"
    log.warning(line, wrong, shown(folder), _sync(folder))
