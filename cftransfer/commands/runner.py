"""The frame of all commands: one line for every mistake of the user, and a report at the end.

Heavy imports are avoided here, so that --help and tab completion answer at once.
"""

import os
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

import cftransfer.commands.resolvers  # noqa: F401  (registers the functions that configs call)
from cftransfer import cores
from cftransfer.commands.home import provide_home
from cftransfer.commands.mistakes import joined, one_line, reason_of
from cftransfer.commands.secrets import check_words
from cftransfer.errors import LOGGED, InputError, drop_stdout, plain, print_in_any_encoding, refuse
from cftransfer.jobs import own_files
from cftransfer.jobs.schema import RESULT, job_digest
from cftransfer.report import place

FULL_ERROR = "HYDRA_FULL_ERROR"


class OutputFolder(Callback):
    """Remembers the folder of the jobs for `run_command`, because Hydra gives the folder only to its callbacks."""

    last: ClassVar["OutputFolder | None"] = None  # the last one in this process; None after --help
    path: Path
    sweep: bool
    rated: bool  # whether its jobs have a rate to report; jobs of train.py have none
    reasons: ClassVar[dict[Path, str]] = {}  # why jobs have no result, if launchers know

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Remember the folder; Hydra calls this before a single job, for which it ignores the launcher."""
        if (launcher := config.hydra.runtime.choices["hydra/launcher"]) in ("local", "slurm"):
            refuse(f"hydra/launcher={launcher}: launches sweeps; add -m (a sweep may have one job)")
        self._remember(config, config.hydra.run.dir, sweep=False)
        self._refuse_foreign_files()

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Check and remember the sweep; Hydra calls this before its first job."""
        subdir = str(OmegaConf.to_container(config.hydra.sweep, resolve=False)["subdir"])  # type: ignore[index, call-overload]
        if Path(subdir).is_absolute() or ".." in Path(subdir).parts:
            refuse(f"hydra.sweep.subdir={subdir}: leads out of the sweep's folder; choose a subfolder")
        many = config.hydra.sweeper.get("max_batch_size")
        if many is not None and many < 1:
            refuse(f"hydra.sweeper.max_batch_size={many}: must be a whole number ≥ 1, the jobs at a time")
        tasks = OmegaConf.to_container(config.hydra.overrides, resolve=False)["task"]  # type: ignore[index, call-overload]
        for word in tasks:
            if word.startswith("sweep=") and "," in word:
                refuse(f"{word}: takes one named sweep; give the command once for each")
        with read_write(config.hydra), open_dict(config.hydra):  # for multirun.yaml, which reports read
            config.hydra.callbacks.output.jobs = _jobs_of(config.hydra)
        self._remember(config, config.hydra.sweep.dir, sweep=True)
        self._refuse_foreign_files()

    def _remember(self, config: DictConfig, path: str, *, sweep: bool) -> None:
        self.path, self.sweep, self.rated = Path(path), sweep, "counterfactual" in config
        OutputFolder.last = self

    def _refuse_foreign_files(self) -> None:
        """Refuse a folder with a user's own files that would be replaced, before Hydra writes there."""
        try:
            if not self.sweep:  # each job of a sweep checks its own folder
                own_files.check(self.path)
            if self.rated:
                place.check(self.path)
        except InputError as error:
            refuse(str(error))

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Note a failure; Hydra calls this after a job."""
        self.note_failure(config, job_return)

    @classmethod
    def note_failure(cls, config: DictConfig, job_return: JobReturn) -> None:
        """Note why a job of a sweep has failed, if it has."""
        if job_return.status == JobStatus.FAILED and config.hydra.mode == RunMode.MULTIRUN:
            cls.note(config, f"failed: {reason_of(job_return._return_value)}")

    @classmethod
    def note(cls, config: DictConfig, reason: str) -> Path:
        """Note why a job of a sweep has no result; return its folder."""
        folder = Path(str(config.hydra.sweep.dir)) / str(config.hydra.sweep.subdir)
        cls.reasons[folder] = reason
        return folder

    def jobs(self) -> list[Path]:
        """Return the folders of jobs that have begun or ended, or that launchers know.

        The folder of a single job is its own, even if other jobs lie below it.
        """
        if not self.sweep:
            return [self.path]
        begun = {path.parent.parent for path in self.path.rglob(".hydra/overrides.yaml")}
        ended = {path.parent for path in self.path.rglob(RESULT)}  # also with hydra.output_subdir=null
        return sorted(begun | ended | set(self.reasons))


def _jobs_of(settings: DictConfig) -> str | None:
    """Return the digests of the jobs that Hydra's own sweeper makes from the command and conf/sweep.

    None if they are unknown. They are a single string, because Hydra copies settings often.
    """
    if not str(settings.sweeper._target_).endswith(".BasicSweeper"):
        return None
    plain_settings: Any = OmegaConf.to_container(settings, resolve=False)
    words = [f"{name}={values}" for name, values in (plain_settings["sweeper"].get("params") or {}).items()]
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    try:
        overrides = parser.parse_overrides([*words, *plain_settings["overrides"]["task"]])
        (jobs,) = BasicSweeper.split_arguments(overrides, None)
    except HydraException:  # Hydra itself will report it
        return None
    return " ".join(map(job_digest, jobs))


def run_command(main: Callable[[], Any]) -> None:
    """Run a Hydra command, report on its jobs, and exit with 1 if either failed.

    A mistake of the user ends in one line on stderr; with HYDRA_FULL_ERROR=1 it keeps its traceback.
    """
    cores.wait_passively()
    provide_home()
    print_in_any_encoding()
    full = os.environ.get(FULL_ERROR) == "1"
    if not _succeeds(lambda: check_words(sys.argv[1:]), full=full):
        sys.exit(1)
    sys.argv[1:] = sorted(sys.argv[1:], key=lambda word: word not in ("-m", "--multirun"))  # Hydra needs it up front
    os.environ[FULL_ERROR] = "1"  # otherwise Hydra prints its own long error and exits
    succeeded = _succeeds(main, full=full)
    reported = _succeeds(lambda: _report(expected=succeeded), full=full)
    sys.exit(0 if succeeded and reported else 1)


def _succeeds(action: Callable[[], Any], *, full: bool) -> bool:
    try:
        return action() is not False
    except BrokenPipeError:  # the reader closed the pipe, for example `| head`
        drop_stdout()
        sys.exit(141)
    except KeyboardInterrupt:  # before a job has begun, or a second time
        print(f"{Path(sys.argv[0]).name}: interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        line = one_line(error, folder=OutputFolder.last.path if OutputFolder.last else None)
        if LOGGED in getattr(error, "__notes__", []):
            line = line or f"{type(error).__name__}: {joined(error)} ({LOGGED})"
        if full or line is None:
            traceback.print_exception(error)
        else:
            print(plain(f"{Path(sys.argv[0]).name}: {line}"), file=sys.stderr)
        return False


def _report(*, expected: bool) -> bool:
    """Report on jobs if at least one has a rate; name failed jobs that are not in the report.

    Returns whether every known job has a result. Raises InputError for a sweep without jobs.

    expected: whether Hydra ended without an error, as it does when a launcher lets jobs fail.
    """
    if (output := OutputFolder.last) is None:
        return True
    jobs = output.jobs()
    lost = [job for job in jobs if not (job / RESULT).exists()]
    results = len(lost) < len(jobs)
    if results and output.rated:
        from cftransfer.report import report
        from cftransfer.tracking import publish_report

        then = partial(publish_report, output.path) if output.sweep else None
        report([output.path], below=output.sweep, then=then)
        _name([job for job in lost if job in output.reasons and not _is_in_report(job)])
    elif expected:
        _name(lost)
        if not results and not lost:
            raise InputError("no job was run: a swept setting has no values; a glob(…) may match no option")
    return not lost


def _is_in_report(job: Path) -> bool:
    """Return whether a report finds the folder of a failed job, and the reason in its log."""
    from cftransfer.jobs.read import why_failed

    return (job / ".hydra" / "overrides.yaml").exists() and why_failed(job) is not None


def _name(jobs: list[Path]) -> None:
    from cftransfer.jobs.read import why_failed

    for job in jobs:
        reason = OutputFolder.reasons.get(job) or why_failed(job) or "ended without a word"
        print(plain(f"{job}: {reason}"), file=sys.stderr)
