"""A job's W&B run: opened before anything is trained, told when everything is on disk.

W&B may fail in between: its server may go, or the disk fill up. No job ends for that; one line says what W&B lacks,
where the results are, and how to upload them.
"""

import hashlib
import logging
import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from cftransfer.errors import InputError
from cftransfer.jobs import provenance, resume
from cftransfer.secrets import holds_credentials, unrecorded
from cftransfer.settings import check_choice, check_float
from cftransfer.tracking import names, offline

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import wandb

    from cftransfer.report.collect import Jobs, Line

log = logging.getLogger(__name__)

TABLES = {"pairs": "rates_by_pair", "survivorship": "survivorship", "examples": "examples"}  # a file: its name in W&B
LOSSES = ("not be synced", "not synced", "ignored", "timed out", "dropped")  # W&B's words where data is missing
ANSWER = 10  # seconds that W&B's server has for its first answer
DAY = 86400  # seconds: no upload is waited for longer, and W&B takes no number without end
SYNC = "python -m cftransfer.tracking sync"
DATA_DIR = "WANDB_DATA_DIR"  # where W&B copies tables to, and uploads them from


@dataclass
class Tracked:
    """A job's W&B run, and what went wrong with it since it began, in words."""

    run: "wandb.Run"
    troubles: list[str] = field(default_factory=list)

    def attempt(self, action: Callable[[], Any]) -> None:
        """Call what W&B may refuse; an exception is kept in words, and nothing more is asked of the run."""
        if self.troubles:
            return
        try:
            action()
        except Exception as error:
            log.debug("W&B failed", exc_info=True)
            self.troubles.append(_line(f"{type(error).__name__}: {error}"))

    def info(self, message: str) -> None:
        """W&B says something: it takes this object for the terminal."""
        log.debug("W&B: %s", message)

    def warning(self, message: str) -> None:
        """W&B warns, often from a thread of its own."""
        if any(word in message.lower() for word in LOSSES):
            self.troubles.append(_line(message))
        else:
            log.warning("W&B: %s", _line(message))

    error = warning


def _line(message: str) -> str:
    """Return what W&B says in one line, without its colours and its name."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m|wandb: (WARNING|ERROR) ", "", message).split())


@contextmanager
def wandb_run(cfg: DictConfig) -> Iterator[Tracked]:
    """Open the W&B run of this job, and close it with the job, so that every job of a process has its own.

    Its id comes from the job's folder and settings: a job that is requeued continues its run, and one that is run there
    with others has a run of its own. Jobs of a sweep share a group.

    Raises InputError for settings that W&B would refuse, and where the run cannot begin.
    """
    with _staged_in(provenance.job_folder()), _wandb_run(cfg) as tracked:
        yield tracked


@contextmanager
def _staged_in(folder: Path) -> Iterator[None]:
    """Have W&B keep the tables that it is to upload beside the run: its own place is in one's home.

    That may be read-only, or another one on the machine that uploads; and what is offline is to stay in the folder.
    """
    if DATA_DIR in os.environ:  # the user has said where
        yield
        return
    os.environ[DATA_DIR] = str(folder.resolve() / "wandb" / "staged")
    try:
        yield
    finally:
        os.environ.pop(DATA_DIR, None)


@contextmanager
def _wandb_run(cfg: DictConfig) -> Iterator[Tracked]:
    import wandb

    provenance.code()  # what runs now; an edit or a commit during a long job must not be recorded in its place
    out = provenance.job_folder()
    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    settings = checked(config["wandb"])
    known = _about(config) | {"group": settings["group"] or _sweep()}
    place = where(settings, out, id_=_id(out, resume.what(config)))
    own = _settings(settings["finish_timeout"], disable_git=provenance.remotes_hold_credentials())
    try:
        run = _begun(**known, **place, settings=own)
    except (wandb.Error, OSError, ValueError) as error:
        raise InputError(unreachable(settings, error)) from error
    tracked = Tracked(run)
    wandb.termsetup(wandb.Settings(silent=True), tracked)  # else its warnings go nowhere
    try:
        yield tracked
    except BaseException:
        _close(tracked, exit_code=1)  # not `with run`, which would print a traceback of its own
        _say(tracked, out, failed=True)
        raise
    _close(tracked, exit_code=0)
    _say(tracked, out, failed=False)


def checked(settings: Any) -> dict[str, Any]:
    """Return the settings under `wandb`, words stripped; InputError, naming the key, for what W&B would refuse."""
    if not isinstance(settings, Mapping):
        raise InputError(f"wandb={settings}: takes online, offline or disabled")
    mode, seconds = settings.get("mode"), settings.get("finish_timeout")
    check_choice(_source("mode", mode), mode, ("online", "offline", "disabled"))
    if mode != "disabled":
        check_server()
    most = f"> 0 and ≤ {DAY} (a day)"
    check_float("wandb.finish_timeout", seconds, inside=most, among=lambda seconds: 0 < seconds <= DAY)
    if not isinstance(settings.get("notes"), str | None):
        raise InputError(f"wandb.notes={settings['notes']}: takes a sentence, or null")
    words = {name: names.word(f"wandb.{name}", settings.get(name)) for name in ("entity", "group")}
    project = settings.get("project")
    return {**settings, **words, "project": names.project(_source("project", project), project)}


def _source(name: str, value: Any) -> str:
    """Return what is to be mended where a setting's value is wrong: the variable, if it comes from there."""
    variable = f"WANDB_{name.upper()}"
    return variable if value is not None and value == os.environ.get(variable) else f"wandb.{name}"


def check_server() -> None:
    """Raise InputError for a password or a token in the address of W&B's server, which W&B logs and shows."""
    if holds_credentials(os.environ.get("WANDB_BASE_URL", "")):
        way_out = "give the server's address alone, and the key to wandb login or WANDB_API_KEY"
        raise InputError(f"WANDB_BASE_URL: takes no user or password, which would be written down; {way_out}")


def _begun(**how: Any) -> "wandb.Run":
    import wandb

    with unrecorded():
        if how["mode"] == "online":
            ask_server()
        return wandb.init(**how)


def ask_server() -> None:
    """Raise ConnectionError if W&B's server does not answer; any answer is one.

    W&B's client is not what asks: its own process may never end once it has asked a server that is not there, and
    the command waits for it.
    """
    import wandb

    url = wandb.setup().settings.base_url
    try:
        urlopen(url, timeout=ANSWER).close()
    except HTTPError:
        pass
    except (OSError, HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        said = getattr(reason, "strerror", None) or reason
        raise ConnectionError(f"{url} does not answer ({_line(str(said))})") from error


def _about(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the run of this job is called, how it is filed, and its config."""
    chosen, typed = provenance.choices(), list(HydraConfig.get().overrides.task)
    return about(config, chosen, typed, git=provenance.code(), versions=provenance.versions())


def _sweep() -> str | None:
    hydra = HydraConfig.get()
    if hydra.mode == RunMode.MULTIRUN:
        return names.group(Path(hydra.sweep.dir))
    return sweep_of(provenance.job_folder())


def sweep_of(job: Path) -> str | None:
    """Return the group of the sweep that has a folder for this job, which may be run alone in there; None without."""
    return names.group(job.parent) if (job.parent / "multirun.yaml").exists() else None


def about(
    config: Mapping[str, Any],
    chosen: Mapping[str, Any],
    typed: list[str],
    *,
    git: Mapping[str, Any] | None,
    versions: Mapping[str, str],
) -> dict[str, Any]:
    """Return what wandb.init is to know of a job, but for its group, from what `result.json` has of it, too."""
    return {
        "job_type": names.job_type(chosen),
        "name": names.name(config, chosen, typed),
        "tags": names.tags(config, chosen),
        "notes": config["wandb"].get("notes"),
        "config": {
            **config,
            "choices": dict(chosen),
            "code": git or {"commit": None, "dirty": None},
            "versions": dict(versions),
        },
    }


def where(settings: Mapping[str, Any], folder: Path, *, id_: str) -> dict[str, Any]:
    """Return where a run lands; one that is there already is continued, and not made anew."""
    place = {name: settings[name] for name in ("mode", "project", "entity")}
    return {**place, "id": id_, "resume": "allow", "dir": folder}


def _id(folder: Path, *what: str) -> str:
    return hashlib.sha256("\n".join([str(folder), *what]).encode()).hexdigest()[:12]


def unreachable(settings: Mapping[str, Any], error: Exception) -> str:
    """Return one line on why a run could not begin, and what to do."""
    from pydantic import ValidationError

    if isinstance(error, ValidationError):  # of W&B's own settings; ours have been checked. Values may be secret
        wrong = {f"WANDB_{'_'.join(map(str, one['loc'])).upper()}: {one['msg']}" for one in error.errors()}
        return f"{'; '.join(sorted(wrong))} (in the environment, or in W&B's own settings; mend or remove it)"
    if isinstance(error, OSError) and error.filename:
        way_out = "move what is in the way of W&B's files, or say wandb=disabled"
        return f"{error.filename}: {error.strerror}; {way_out}"
    reason = " ".join(str(error).split())
    place = f"wandb.mode={settings['mode']} wandb.project={settings['project']}"
    return f"{place}: {reason} (wandb login gives a key; wandb=offline works without a network)"


def _settings(finish_timeout: float, *, disable_git: bool) -> "wandb.Settings":
    """Return W&B's own settings. disable_git: it then records no commit and no remote of where the command is typed."""
    import wandb

    # Of W&B's measurements of its own client: where its server has gone, they would fill the log with tries.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    return wandb.Settings(
        console="off",
        silent=True,
        finish_timeout=finish_timeout,
        finish_timeout_raises=True,
        disable_git=disable_git,  # `code` has the commit all the same
        x_save_requirements=False,  # of all that is installed, a tenth of a second a job; `versions` has what matters
    )


def publish(
    run: "wandb.Run",
    *,
    metrics: Mapping[str, Any],
    tables: Mapping[str, "pd.DataFrame"],
    pictures: Mapping[str, "np.ndarray | str"],
    history: "pd.DataFrame | None",
) -> None:
    """Tell a run what a job has found: its history, its summary, its tables, its pictures of examples."""
    import wandb

    if run.disabled:
        return
    if history is not None:
        log_history(run, history)
    run.summary.update(dict(metrics))
    shown: dict[str, Any] = {called: _table(tables[name]) for name, called in TABLES.items() if name in tables}
    if pictures:
        shown["pictures"] = [wandb.Image(picture, caption=name) for name, picture in pictures.items()]
    if shown:
        run.log(shown)


def _table(table: "pd.DataFrame") -> "wandb.Table":
    import wandb

    # W&B's own way from a DataFrame looks every cell up by itself, which takes longer than all the rest of it.
    return wandb.Table(columns=list(table.columns), data=table.astype(object).to_numpy())


def mean_curve(curves: "pd.DataFrame") -> "pd.DataFrame":
    """Return the mean over seeds of training curves: one row per epoch."""
    return curves.drop(columns="seed").groupby("epoch", as_index=False).mean()


def log_history(run: "wandb.Run", table: "pd.DataFrame") -> None:
    """Log every row of `table` as one step of the run's history; its first column counts them, and is the x-axis.

    Steps that a continued run has already are left out: W&B takes each once, in order.
    """
    step = str(table.columns[0])
    run.define_metric(step, hidden=True)
    for name in table.columns.drop(step):
        run.define_metric(str(name), step_metric=step)
    for row in table.to_dict("records"):
        if row[step] >= run.starting_step:  # run.step is 0 until something has been logged
            run.log({str(name): value for name, value in row.items()}, step=int(row[step]))


def _close(tracked: Tracked, *, exit_code: int) -> None:
    """End the run, in at most `wandb.finish_timeout` seconds; see to it that its file is whole: W&B does not."""
    run = tracked.run
    try:
        run.finish(exit_code=exit_code)
    except Exception as error:
        tracked.troubles.append(_line(f"{type(error).__name__}: {error}"))
    if run.disabled:
        return
    file = Path(run.settings.sync_file)
    if not tracked.troubles and not offline.ended(file, patience=5):
        tracked.troubles.append(f"{file.name} is cut short, as by a full disk")
    if not tracked.troubles and not run.offline:
        with suppress(OSError):  # without the mark it would be uploaded once more
            offline.mark(file)


def _say(tracked: Tracked, out: Path, *, failed: bool) -> None:
    folder = provenance.shown(out)
    sync = f"{SYNC} {shlex.quote(str(folder))}"
    if tracked.troubles:
        reason = tracked.troubles[0]  # others follow from it
        if failed:
            log.warning("W&B was not told how this job ended (%s)", reason)
        else:
            way_out = f"upload them with: {sync}"
            log.warning("W&B lacks some of this run (%s); all results are in %s; %s", reason, folder, way_out)
    elif tracked.run.disabled:
        pass
    elif tracked.run.offline:
        log.info("W&B run kept offline; upload it with: %s", sync)
    else:
        log.info("W&B run: %s", tracked.run.url)


def tell(
    action: Callable[["wandb.Run"], Any], settings: Mapping[str, Any], place: Mapping[str, Any], **known: Any
) -> str | None:
    """Begin a run, or go on with it, let `action` tell it, end it; return, in one line, what W&B lacks of it, or None.

    That it is told afterwards, from some other folder: W&B records nothing of that one.
    """
    with _staged_in(place["dir"]):
        return _told(action, settings, place, known)


def _told(
    action: Callable[["wandb.Run"], Any],
    settings: Mapping[str, Any],
    place: Mapping[str, Any],
    known: Mapping[str, Any],
) -> str | None:
    import wandb

    own = _settings(settings["finish_timeout"], disable_git=True)
    try:
        run = _begun(**known, **place, settings=own)
    except (wandb.Error, OSError, ValueError) as error:
        return unreachable(settings, error)
    tracked = Tracked(run)
    wandb.termsetup(wandb.Settings(silent=True), tracked)
    tracked.attempt(lambda: action(run))
    _close(tracked, exit_code=1 if tracked.troubles else 0)
    return tracked.troubles[0] if tracked.troubles else None


def report_run(folder: Path) -> str | None:
    """Log a sweep's figures and trends as one more run of its group; return, and log, what W&B lacks of it."""
    try:
        lacking = upload_report(folder)
    except InputError as error:
        lacking = str(error)
    if lacking:
        log.warning("W&B lacks the report of %s (%s); it is there as report.html", provenance.shown(folder), lacking)
    return lacking


def upload_report(folder: Path, *, mode: str | None = None, group: str | None = None) -> str | None:
    """Log them, and return what W&B lacks; InputError where no job has a result, or its settings are odd.

    mode, group: others than those of the sweep's jobs.
    """
    from cftransfer.report import collect

    jobs = collect.jobs([folder])
    told = jobs.jobs[0].result["config"].get("wandb") or {}
    wanted = mode or (told.get("mode") if isinstance(told, Mapping) else None)
    if wanted not in ("online", "offline"):
        return None
    settings, whole = checked({**told, "mode": wanted}), folder.resolve()
    return tell(
        lambda run: run.log(_figures(folder, jobs)),
        settings,
        where(settings, whole, id_=_id(whole)),
        name=f"report {whole.name}"[: names.LONGEST_NAME],
        group=group or settings["group"] or names.group(folder),
        job_type="report",
        tags=["report"],
    )


def _figures(folder: Path, jobs: "Jobs") -> dict[str, Any]:
    """Return a report's figures and trends, by what they are called in W&B, where jobs have tables, too."""
    import pandas as pd
    import wandb

    from cftransfer.jobs.read import is_picture
    from cftransfer.report import collect

    figures = [path for path in sorted(folder.glob("*.png")) if is_picture(folder, path)]
    shown: dict[str, Any] = {f"figure_{path.stem}": wandb.Image(str(path)) for path in figures}
    if trends := [_trend(line) for line in collect.lines(jobs)]:
        shown["trends"] = wandb.Table(dataframe=pd.DataFrame(trends))
    return shown


def _trend(line: "Line") -> dict[str, Any]:
    fitted, panel = line.trend, line.panel
    where_ = {"experiment": panel.experiment, "series": line.label, "knob": panel.knob}
    slope = {"slope": fitted.slope, "slope_low": fitted.low, "slope_high": fitted.high}
    return {**where_, **slope, "p": fitted.p, "p_holm": line.p_holm}
