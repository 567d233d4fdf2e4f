"""Which jobs of a sweep lack a result, why, and the command that makes it."""

import os
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

from cftransfer.commands.composition import as_value
from cftransfer.errors import InputError, plain
from cftransfer.jobs.read import job_folders, read, typed_words, why_failed, yaml_of
from cftransfer.jobs.resume import RESULT

NEVER = "never began"
HERE = ("hydra.mode=", "hydra.sweep.dir=")  # said otherwise in the commands
KILLED = "ended without a word, or still runs"
OTHER = "was run with other settings in this folder"
NUMBERED = "${hydra.job.num}"  # hydra.sweep.subdir, as it is by default


@dataclass(frozen=True)
class Missing:
    """A job without a result: its folder, what is known of the reason, and the command that makes its result.

    folder: the sweep's, without a command, of a job that never began where jobs have no folders known beforehand.
    """

    folder: Path
    reason: str
    command: str | None


@dataclass(frozen=True)
class Sweep:
    """A folder of jobs: how many there are, which lack a result, and the command that makes all of these.

    trouble: why its jobs cannot be listed; then only those are known that have begun.
    """

    folder: Path
    jobs: int
    missing: list[Missing]
    command: str | None
    trouble: str | None = None


def sweeps(folders: Sequence[Path]) -> list[Sweep]:
    """Return the sweeps under `folders`, and the jobs that were run alone as if each were one; InputError for none."""
    below = job_folders(folders)
    roots = {path.parent for folder in folders for path in folder.rglob("multirun.yaml")}
    roots |= {job.parent for job in below if (job.parent / "multirun.yaml").exists()}
    found = [_sweep(root) for root in sorted(roots)]
    listed = {root.resolve() for root in roots}
    found += [_alone(job) for job in below if not listed & set(job.resolve().parents)]
    if not found:
        raise InputError(f"{', '.join(map(str, folders))}: holds no job of transfer.py or train.py")
    return found


def show(some: Sequence[Sweep]) -> None:
    """Print what is missing, and the commands that make it."""
    for sweep in some:
        lacking = len(sweep.missing)
        print(plain(f"{sweep.folder}: {sweep.jobs - lacking} of {sweep.jobs} jobs have their result"))
        if sweep.trouble:
            print(plain(f"  {sweep.trouble}"))
        for job in sweep.missing:
            print(plain(f"  {job.folder}: {job.reason}"))
            if job.command:
                print(plain(f"    {job.command}"))
        if lacking and sweep.command:
            print("  all of them, done ones being passed over (hydra/launcher=… may be another):")
            print(plain(f"    {sweep.command}"))


def _sweep(root: Path) -> Sweep:
    begun = {job: _overrides(job) for job in job_folders([root])}
    try:
        hydra = yaml_of(root, "multirun.yaml")["hydra"]
        name, typed = hydra["job"]["name"], typed_words(hydra["overrides"]["task"])
        more = [word for word in typed_words(hydra["overrides"]["hydra"]) if not word.startswith(HERE)]
        jobs = _places(root, _jobs(hydra), begun, numbered=hydra["sweep"]["subdir"] == NUMBERED)
    except (InputError, KeyError, TypeError, ValueError, AttributeError, HydraException) as error:
        why = f"{root / 'multirun.yaml'}: its jobs cannot be listed ({' '.join(str(error).split())})"
        again = f"give the sweep's command again, with hydra.sweep.dir={as_value(root)}"
        jobs = {job: words or [] for job, words in begun.items()}
        return Sweep(root, len(jobs), _missing(jobs, begun, None), None, f"{why}; {again}")
    jobs |= {job: words or [] for job, words in begun.items() if job not in jobs and job.parent == root}
    command = _command(name, "-m", *typed, *more, f"hydra.sweep.dir={as_value(root)}")
    return Sweep(root, len(jobs), _missing(jobs, begun, name), command)


def _places(
    root: Path, jobs: Sequence[list[str]], begun: Mapping[Path, list[str] | None], *, numbered: bool
) -> dict[Path, list[str]]:
    """Return the words of every job by the folder that it has, or would have.

    Of folders that are called otherwise, those of jobs that have begun are known by their words.
    """
    if numbered:
        return {root / str(number): words for number, words in enumerate(jobs)}
    known = {tuple(sorted(words)): job for job, words in begun.items() if words is not None}
    return {known.get(tuple(sorted(words)), root / f"job {number}"): words for number, words in enumerate(jobs)}


def _missing(jobs: Mapping[Path, list[str]], begun: Mapping[Path, list[str] | None], name: str | None) -> list[Missing]:
    """jobs, begun: the words of jobs by their folders. name: of what runs them, None if that is not known."""
    missing = []
    for folder, words in jobs.items():
        if (reason := _reason(folder, words, begun)) is not None:
            # hydra.mode: an option of conf/sweep, which is among the words, would sweep again
            place = [f"hydra.run.dir={as_value(folder)}", "hydra.mode=RUN"]
            known = name is not None and (begun[folder] is not None if folder in begun else folder.name.isdigit())
            missing.append(Missing(folder, reason, _command(str(name), *words, *place) if known else None))
    return missing


def _alone(folder: Path) -> Sweep:
    words = _overrides(folder)
    reason = _reason(folder, words or [], {folder: words})
    if reason is None:
        return Sweep(folder, 1, [], None)
    try:
        name = yaml_of(folder, ".hydra/hydra.yaml")["hydra"]["job"]["name"]
    except (InputError, KeyError, TypeError):
        name = None
    if name is None or words is None:
        trouble = f"{folder / '.hydra'}: does not say what was run"
        return Sweep(folder, 1, [Missing(folder, reason, None)], None, trouble)
    command = _command(name, *words, f"hydra.run.dir={as_value(folder)}")
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


def _reason(folder: Path, words: Sequence[str], begun: Mapping[Path, Sequence[str] | None]) -> str | None:
    """Return why a job has no result that a report can use, None if it has one."""
    if folder not in begun:
        return NEVER
    if (own := begun[folder]) is not None and sorted(own) != sorted(words):
        return OTHER
    try:
        read(folder)
    except InputError as error:
        if not os.access(folder, os.X_OK) or (folder / RESULT).exists():
            return str(error)
        return why_failed(folder) or KILLED
    return None


def _overrides(folder: Path) -> list[str] | None:
    """Return the words of a job that has begun, None if they cannot be read."""
    try:
        return typed_words(yaml_of(folder, ".hydra/overrides.yaml"))
    except (InputError, TypeError, ValueError):
        return None


def _command(name: str, *words: str) -> str:
    return plain(shlex.join(["python", f"{name}.py", *map(str, words)]))
