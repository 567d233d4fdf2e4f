"""Which jobs of a sweep lack a result, why, and the command that makes it."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper  # what Hydra itself lists a sweep's jobs with
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from cftransfer.errors import InputError, plain
from cftransfer.finished import RESULT
from cftransfer.report.collect import job_folders, read, typed_words, why_failed, yaml_of

NEVER = "never began"
HERE = ("hydra.mode=", "hydra.sweep.dir=")  # said otherwise in the commands
KILLED = "ended without a word, or still runs"


@dataclass(frozen=True)
class Missing:
    """A job without a result: its folder, what is known of the reason, and the command that makes its result."""

    folder: Path
    reason: str
    command: str


@dataclass(frozen=True)
class Sweep:
    """A folder of jobs: how many there are, which lack a result, and the command that makes all of these."""

    folder: Path
    jobs: int
    missing: list[Missing]
    command: str | None


def sweeps(folders: Sequence[Path]) -> list[Sweep]:
    """Return the sweeps under `folders`, and the jobs that were run alone as if each were one; InputError for none."""
    below = job_folders(folders)
    roots = {path.parent for folder in folders for path in folder.rglob("multirun.yaml")}
    roots |= {job.parent for job in below if (job.parent / "multirun.yaml").exists()}
    found = [_sweep(root) for root in sorted(roots)]
    listed = {root.resolve() for root in roots}
    found += [_alone(job) for job in below if job.parent.resolve() not in listed]
    if not found:
        raise InputError(f"{', '.join(map(str, folders))}: holds no job of transfer.py or train.py")
    return found


def show(some: Sequence[Sweep]) -> None:
    """Print what is missing, and the commands that make it."""
    for sweep in some:
        lacking = len(sweep.missing)
        print(plain(f"{sweep.folder}: {sweep.jobs - lacking} of {sweep.jobs} jobs have their result"))
        for job in sweep.missing:
            print(plain(f"  {job.folder}: {job.reason}"))
            print(plain(f"    {job.command}"))
        if lacking and sweep.command:
            print(f"  all of them, done ones being passed over (hydra/launcher=… may be another):\n    {sweep.command}")


def _sweep(root: Path) -> Sweep:
    try:
        hydra = yaml_of(root, "multirun.yaml")["hydra"]
        name, typed = hydra["job"]["name"], typed_words(hydra["overrides"]["task"])
        more = [word for word in typed_words(hydra["overrides"]["hydra"]) if not word.startswith(HERE)]
        jobs = {root / str(number): words for number, words in enumerate(_jobs(hydra))}
    except (KeyError, TypeError, ValueError, AttributeError, HydraException) as error:
        raise InputError(f"{root / 'multirun.yaml'}: its jobs cannot be listed ({error})") from error
    jobs |= {job: _overrides(job) for job in job_folders([root]) if job not in jobs and job.parent == root}
    missing = [
        # hydra.mode: an option of conf/sweep, which is among the words, would sweep again
        Missing(folder, reason, _command(name, *words, f"hydra.run.dir={folder}", "hydra.mode=RUN"))
        for folder, words in jobs.items()
        if (reason := _reason(folder)) is not None
    ]
    return Sweep(root, len(jobs), missing, _command(name, "-m", *typed, *more, f"hydra.sweep.dir={root}"))


def _alone(folder: Path) -> Sweep:
    reason = _reason(folder)
    if reason is None:
        return Sweep(folder, 1, [], None)
    try:
        name = yaml_of(folder, ".hydra/hydra.yaml")["hydra"]["job"]["name"]
    except (KeyError, TypeError) as error:
        raise InputError(f"{folder / '.hydra/hydra.yaml'}: does not say what was run ({error})") from error
    command = _command(name, *_overrides(folder), f"hydra.run.dir={folder}")
    return Sweep(folder, 1, [Missing(folder, reason, command)], None)


def _jobs(hydra: Mapping[str, Any]) -> list[list[str]]:
    """Return the overrides of every job, as Hydra's sweeper makes them of what was typed and of conf/sweep."""
    words = [f"{name}={values}" for name, values in (hydra["sweeper"].get("params") or {}).items()]
    conf = [source["path"] for source in hydra["runtime"]["config_sources"] if source["provider"] == "main"]
    if len(conf) != 1:
        raise ValueError("its config_sources name no folder of configs")
    with initialize_config_dir(conf[0], version_base=hydra["runtime"]["version_base"]):
        parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
        parsed = parser.parse_overrides([*words, *hydra["overrides"]["task"]])
        (jobs,) = BasicSweeper.split_arguments(parsed, None)
    return jobs


def _reason(folder: Path) -> str | None:
    """Return why a job has no result that a report can use, None if it has one."""
    if not (folder / ".hydra" / "overrides.yaml").exists() and not (folder / RESULT).exists():
        return NEVER
    try:
        read(folder)
    except InputError as error:
        if (folder / RESULT).exists():
            return str(error)
        return why_failed(folder) or KILLED
    return None


def _overrides(folder: Path) -> list[str]:
    name = ".hydra/overrides.yaml"
    try:
        return typed_words(yaml_of(folder, name))
    except (TypeError, ValueError) as error:
        raise InputError(f"{folder / name}: cannot be read ({error})") from error


def _command(name: str, *words: str) -> str:
    return plain(shlex.join(["python", f"{name}.py", *map(str, words)]))
