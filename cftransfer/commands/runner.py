"""What the commands share: one line for every mistake of the user, and a report at the end.

Nothing heavy is imported here, so that --help and tab completion answer at once.
"""

import difflib
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import cftransfer.commands.launchers
import cftransfer.commands.patch  # noqa: F401  (both register resolvers that configs use)
from cftransfer.commands.composition import as_value
from cftransfer.commands.hardware import wait_passively
from cftransfer.commands.secrets import check_words
from cftransfer.errors import LOGGED, InputError, plain, refuse

FULL_ERROR = "HYDRA_FULL_ERROR"


class Landing(Callback):
    """Remembers the folder in which the jobs land; Hydra tells nobody else."""

    folder: Path | None = None
    sweep: bool = False
    rated: bool = False  # whether jobs have a rate to report on, as train.py's have not

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Hydra calls this before a single job."""
        type(self).folder, type(self).rated = Path(config.hydra.run.dir), "counterfactual" in config

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Hydra calls this before the first job of a sweep."""
        subdir = str(OmegaConf.to_container(config.hydra.sweep, resolve=False)["subdir"])  # type: ignore[index, call-overload]
        if Path(subdir).is_absolute() or ".." in Path(subdir).parts:
            refuse(f"hydra.sweep.subdir={subdir}: leads out of the sweep's folder, where its jobs are looked for")
        many = config.hydra.sweeper.get("max_batch_size")
        if many is not None and many < 1:
            refuse(f"hydra.sweeper.max_batch_size={many}: takes a whole number ≥ 1, the jobs at a time")
        type(self).folder, type(self).sweep = Path(config.hydra.sweep.dir), True
        type(self).rated = "counterfactual" in config


def run_command(main: Callable[[], Any]) -> None:
    """Run a Hydra command to its end, report on what its jobs have done, and exit with 1 if either failed.

    A mistake of the user ends in one line on stderr; with HYDRA_FULL_ERROR=1 it keeps its traceback.
    """
    wait_passively()
    full = os.environ.get(FULL_ERROR) == "1"
    if not _succeeds(lambda: check_words(sys.argv[1:]), full=full):
        sys.exit(1)
    os.environ[FULL_ERROR] = "1"  # else Hydra prints an error of its own, over many lines, and exits
    succeeded = _succeeds(main, full=full)
    reported = _succeeds(lambda: _report(expected=succeeded), full=full)
    sys.exit(0 if succeeded and reported and not _lost() else 1)


def _succeeds(action: Callable[[], Any], *, full: bool) -> bool:
    try:
        action()
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except KeyboardInterrupt:  # before a job has begun, or a second time
        print(f"{Path(sys.argv[0]).name}: interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        line = one_line(error)
        if LOGGED in getattr(error, "__notes__", []):
            line = line or f"{type(error).__name__}: {_joined(error)} ({LOGGED})"
        if full or line is None:
            traceback.print_exception(error)
        else:
            print(plain(f"{Path(sys.argv[0]).name}: {line}"), file=sys.stderr)
        return False
    return True


def _report(*, expected: bool) -> None:
    """Report on jobs of which at least one has a rate; else name those that failed, unless that has been said.

    expected: whether Hydra has ended well, as it does where a launcher lets jobs fail. Raises InputError for a sweep
    that went well because it had no jobs.
    """
    if Landing.folder is None:  # --help
        return
    results, lost = any(Landing.folder.rglob("result.json")), _lost() if expected else []
    if results and Landing.rated:
        from cftransfer.report import report
        from cftransfer.tracking import publish_report

        report([Landing.folder], then=partial(publish_report, Landing.folder) if Landing.sweep else None)
    elif lost:
        from cftransfer.jobs.read import why_failed

        for job in lost:
            print(plain(f"{job}: {why_failed(job) or 'ended without a word'}"), file=sys.stderr)
    elif expected and not results:
        raise InputError("no job was run: what was swept over has no values, as a glob(…) that matches no option")


def _lost() -> list[Path]:
    """Return the folders of jobs that have begun and have no result."""
    if Landing.folder is None:
        return []
    jobs = sorted(path.parent.parent for path in Landing.folder.rglob(".hydra/overrides.yaml"))
    return [job for job in jobs if not (job / "result.json").exists()]


def one_line(error: BaseException) -> str | None:  # noqa: PLR0911  (one for each kind of mistake)
    """Return what the user did wrong and the way out, in one line; None if it is no mistake of the user's."""
    if isinstance(error, OverrideParseException):
        return f"{error.override}: cannot be read as key=value ({_joined(error)})"
    for cause in _causes(error):
        if isinstance(cause, InputError):
            return str(cause)
        if isinstance(cause, MissingConfigException):
            if "hydra/launcher/submitit_" in str(cause):
                install = "pip install 'cftransfer[slurm]', or in a clone pip install -e '.[slurm]'"
                return f"hydra/launcher: local and slurm need hydra-submitit-launcher; {install}"
            if cause.options is not None:
                group, _, option = str(cause.missing_cfg_file).rpartition("/")
                return f"{group}={option}: no such option; there are: {', '.join(cause.options)}"
        if isinstance(cause, OmegaConfBaseException) and isinstance(cause.parent_node, DictConfig):
            return _unknown_key(error, cause)
        if type(cause).__module__.startswith("submitit."):  # whose exceptions are there only where it is installed
            return _unfinished(cause)
        if isinstance(cause, OSError) and cause.strerror:
            way_out = "choose a place that can be written, as with hydra.run.dir or hydra.sweep.dir, and run again"
            return f"{cause.filename or 'system'}: {cause.strerror}; {way_out}"
    # Hydra says this one (model=null) with a plain ValueError.
    by_hydra = isinstance(error, HydraException | OmegaConfBaseException) or "Config group override" in str(error)
    return _joined(error) if by_hydra else None


def _unfinished(error: BaseException) -> str:
    """Say in one line that SLURM did not take the jobs, or that one of them ended without an answer."""
    if type(error).__name__ != "UncompletedJobError":
        return f"the jobs could not be submitted, or one broke off: {_joined(error)}"
    first = re.split(r"(No )?error stream", str(error), flags=re.IGNORECASE)[0].splitlines()  # then all it has said
    place = as_value(Landing.folder) if Landing.folder else "…"
    again = f"once no job of this sweep is queued, run the same command again with hydra.sweep.dir={place}"
    return f"{' '.join(' '.join(first).split())}: cancelled, lost, or out of time too often; others go on; {again}"


def _unknown_key(error: BaseException, cause: OmegaConfBaseException) -> str:
    override = re.search(r"Could not override '([^']+)'", str(error))
    key = override[1] if override else str(cause.full_key)
    if "not in struct" not in str(cause):
        return f"{key}: {_joined(cause)}"
    known = [str(name) for name in cause.parent_node if name != "_target_"]
    parent, _, name = str(cause.full_key).rpartition(".")
    close = difflib.get_close_matches(name, known, n=1)
    if key.startswith("extra_"):
        guess = "an experiment brings it: experiment=more_layers has extra_layers"
    elif close:
        guess = f"did you mean {parent + '.' if parent else ''}{close[0]}?"
    else:
        guess = f"a plus adds it: +{key}=…"
    return f"{key}: no such key; {parent or 'the top level'} has: {', '.join(known)}; {guess}"


def _joined(error: BaseException) -> str:
    return " ".join(str(error).split())


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
