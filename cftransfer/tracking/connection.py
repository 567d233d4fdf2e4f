"""One W&B run, from its settings to its end: a failure of W&B ends no job and becomes one line."""

import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import urlopen

from cftransfer.errors import InputError
from cftransfer.settings import check_choice, check_float
from cftransfer.tracking import names

if TYPE_CHECKING:
    import wandb

log = logging.getLogger(__name__)

ANSWER = 10  # seconds for the first answer of W&B's server
DAY = 86400  # seconds; the longest wait for an upload, since W&B accepts no infinite one
ROOM = 2**15  # bytes of a block in a run's file
# Removed from the environment: a W&B service that may be dead, a sweep that would rename runs, and more.
FOREIGN = ("WANDB_SERVICE", "WANDB_SWEEP_ID", "WANDB_MODE", "WANDB_GIT_REMOTE_URL")
# W&B records SLURM's variables with a run; these may hold a key, or all variables of the submitting user.
SECRET = re.compile(r"SLURM_(EXPORT_ENV|.*(JWT|TOKEN|KEY|SECRET|PASS).*)")


class Run(NamedTuple):
    """An open W&B run, and W&B's warnings since then, often from its own threads."""

    run: "wandb.Run"
    warnings: list[str]


def checked(settings: Any) -> dict[str, Any]:
    """Return the settings under `wandb`, words stripped; InputError, naming the key, if W&B would refuse a value."""
    if not isinstance(settings, Mapping):
        raise InputError(f"wandb={settings}: takes online, offline or disabled")
    mode, seconds, project = (settings.get(name) for name in ("mode", "finish_timeout", "project"))
    check_choice(_source("mode", mode), mode, ("online", "offline", "disabled"))
    if mode != "disabled":
        check_server()
    most = f"> 0 and ≤ {DAY} (a day)"
    check_float("wandb.finish_timeout", seconds, inside=most, among=lambda seconds: 0 < seconds <= DAY)
    if not isinstance(settings.get("notes"), str | None):
        raise InputError(f"wandb.notes={settings['notes']}: must be a sentence, or null")
    words = {name: names.word(f"wandb.{name}", settings.get(name)) for name in ("entity", "group")}
    return {**settings, **words, "project": names.project(_source("project", project), project)}


def _source(name: str, value: Any) -> str:
    """Return the name to report for a wrong value: the environment variable that it comes from, or the key."""
    variable = f"WANDB_{name.upper()}"
    return variable if value is not None and value == os.environ.get(variable) else f"wandb.{name}"


def check_server() -> None:
    """Raise InputError for a password or token in the address of W&B's server, which W&B logs and shows."""
    if "@" in os.environ.get("WANDB_BASE_URL", "").partition("://")[2].partition("/")[0]:
        way_out = "give the server's address alone, and the key to wandb login or WANDB_API_KEY"
        raise InputError(f"WANDB_BASE_URL: must not hold a user or password, which would be logged; {way_out}")


def ask_server() -> None:
    """Raise ConnectionError if W&B's server does not answer; any answer counts.

    W&B's own client is not used, because its process may never end after a request to a dead server, and the command
    would wait for it.
    """
    import wandb

    url = wandb.setup().settings.base_url
    try:
        urlopen(url, timeout=ANSWER).close()
    except HTTPError:
        pass
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise ConnectionError(f"{url} does not answer ({getattr(reason, 'strerror', None) or reason})") from error


@contextmanager
def environment(folder: Path) -> Iterator[None]:
    """Hide other runs' variables from W&B, and put its copies of tables in `folder`.

    W&B's default place is the home folder, which may be read-only or full on a cluster; WANDB_DATA_DIR sets another.
    """
    staged = os.environ.get("WANDB_DATA_DIR") or str(folder.resolve() / "wandb" / "staged")
    with _changed({**dict.fromkeys(FOREIGN), "WANDB_DATA_DIR": staged}):
        yield


@contextmanager
def _changed(variables: Mapping[str, str | None]) -> Iterator[None]:
    """Set environment variables temporarily; None removes a variable."""
    before = {name: os.environ.get(name) for name in variables}
    _set(variables)
    try:
        yield
    finally:
        _set(before)


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def begin(settings: Mapping[str, Any], folder: Path, **known: Any) -> Run:
    """Open a run, or continue the run of that id; InputError if W&B refuses it or cannot be reached.

    settings: from `checked`. folder: the folder for W&B's files. known: id, name and so on, for wandb.init.
    """
    import wandb

    # Telemetry of W&B's client would fill the log if the server is gone.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    own = wandb.Settings(
        console="off",
        silent=True,
        finish_timeout=settings["finish_timeout"],
        finish_timeout_raises=True,
        disable_git=True,  # it would record the current folder's repository; `code` has the commit
        x_save_requirements=False,  # a tenth of a second per job; `versions` has the packages that matter
    )
    place = {name: settings[name] for name in ("mode", "project", "entity")}
    warnings: list[str] = []
    try:
        with _changed({name: None for name in os.environ if SECRET.fullmatch(name)}):
            wandb.setup()
            terminal = SimpleNamespace(info=log.debug, warning=warnings.append, error=warnings.append)
            wandb.termsetup(wandb.Settings(silent=True), terminal)
            if settings["mode"] == "online":
                ask_server()
            run = wandb.init(**place, **known, resume="allow", dir=folder, settings=own)
    except (wandb.Error, OSError, ValueError) as error:
        raise InputError(unreachable(settings, error)) from error
    return Run(run, warnings)


def unreachable(settings: Mapping[str, Any], error: Exception) -> str:
    """Return one line: why a run could not begin, and the way out."""
    from pydantic import ValidationError

    if isinstance(error, ValidationError):  # in W&B's own settings; ours are checked. Values may be secret
        wrong = {f"WANDB_{'_'.join(map(str, one['loc'])).upper()}: {one['msg']}" for one in error.errors()}
        return f"{'; '.join(sorted(wrong))} (in the environment, or in W&B's own settings; fix or remove it)"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}; move it out of the way of W&B's files, or set wandb=disabled"
    place = f"wandb.mode={settings['mode']} wandb.project={settings['project']}"
    return f"{place}: {_line(error)} (wandb login gives a key; wandb=offline works without a network)"


def end(run: Run, tell: Callable[["wandb.Run"], Any] | None = None, *, exit_code: int = 0) -> str | None:
    """Call `tell` with the run, then end the run; return the failure in one line, or None.

    On a full disk W&B drops data without an error, so this tests the disk by writing.
    """
    wrong: list[str] = []
    steps = [lambda: tell and tell(run.run), lambda: run.run.finish(exit_code=1 if wrong else exit_code)]
    for step in [*steps, lambda: _check_room(Path(run.run.settings.sync_dir))]:
        try:
            step()
        except Exception as error:
            log.debug("W&B failed", exc_info=True)
            wrong.append(f"{type(error).__name__}: {error}")
    return next((_line(said) for said in [*run.warnings, *wrong]), None)


def _check_room(folder: Path) -> None:
    probe = folder / "room"
    try:
        probe.write_bytes(os.urandom(ROOM))
    finally:
        probe.unlink(missing_ok=True)


def _line(said: Any) -> str:
    """Return a message of W&B in one line, without its colours and its name."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m|wandb: (WARNING|ERROR) ", "", str(said)).split())
