"""Notes for the reader beside the numbers: which jobs count, and faults of data or models."""

import os
from collections.abc import Sequence

from cftransfer.errors import plain
from cftransfer.jobs.read import Job
from cftransfer.report.collect import Jobs


def lacking(jobs: Jobs) -> str:
    """Return in words how many jobs have no result, and why; "" if all have one."""
    if not jobs.failed and not jobs.never:
        return ""
    every = jobs.begun - len(jobs.earlier) + jobs.never
    why = [(len(jobs.failed), "failed or did not end"), (jobs.never, "never began")]
    said = ", ".join(f"{many} {what}" for many, what in why if many)
    return f"{every - len(jobs.failed) - jobs.never} of {every} jobs have a result; {said}"


def notes(jobs: Jobs) -> list[str]:
    """Return notes for the reader on the jobs that count."""
    found = []
    if jobs.copies:
        run = "1 job was" if jobs.copies == 1 else f"{jobs.copies} jobs were"
        found.append(f"{run} run again with the same settings and data; each job counts once")
    if jobs.earlier:
        left = ", ".join(folder.name for folder in jobs.earlier)
        found.append(f"counted although an earlier sweep left them in the same folder: {left}; remove unwanted ones")
    if many := sum(job.metrics["pairs"] == 1 for job in jobs.jobs):
        where = "" if many == len(jobs.jobs) else f"{many} of {len(jobs.jobs)} jobs: "
        found.append(f"{where}one pair of models; the interval is over its counterfactuals, not over models")
    found += [_on_splits(name, job, several=len(jobs.jobs) > 1) for name, job in _of_splits(jobs.jobs)]
    if many := sum("n_proposals" in job.metrics for job in jobs.jobs):
        where = "" if many == len(jobs.jobs) else f"in {many} of {len(jobs.jobs)} jobs "
        found.append(f"{where}factuals have several counterfactuals; every factual weighs the same in all numbers")
    return found


def _of_splits(some: Sequence[Job]) -> list[tuple[str, Job]]:
    """Return the jobs of several splits, each with its name."""
    named = zip(names(some), some, strict=True)
    return [(name, job) for name, job in named if job.metrics.get("splits") is not None]


def _on_splits(name: str, job: Job, *, several: bool) -> str:
    """Return the number of a job's splits in words, and the standard deviation of a pair's rate due to each factor."""
    varied = {part: job.metrics.get(f"rate_variance_{part}") for part in ("split", "base", "reference", "pair")}
    known = {part: f"{size**0.5:.3f}" if size > 0 else "not shown" for part, size in varied.items() if size is not None}
    sizes = ", ".join(f"{part} {size}" for part, size in known.items())
    said = f"{job.metrics['splits']} splits of the rows, each with its own models"
    moved = f"; standard deviation of a pair's rate by {sizes}" if sizes else ""
    return f"{f'job {name}: ' if several else ''}{said}{moved}"


def data_notes(some: Sequence[Job]) -> list[str]:
    """Return the notes on the data of the jobs, each once, with the name of the data set if there are several."""
    found = [(str(job.settings.get("dataset")), note) for job in some for note in job.result.data.get("notes", [])]
    several = len({job.settings.get("dataset") for job in some}) > 1
    return list(dict.fromkeys(f"{name}: {note}" if several else note for name, note in found))


def model_notes(some: Sequence[Job]) -> list[str]:
    """Return the notes on the models of the jobs, each with the name of its job if there are several."""
    named = zip(names(some), some, strict=True)
    return [f"job {name}: {note}" if len(some) > 1 else note for name, job in named for note in job.result.notes]


def names(some: Sequence[Job]) -> list[str]:
    """Return a name for each job: its folder, relative to the folder that all jobs share."""
    if len(some) == 1:
        return [plain(some[0].folder.name)]
    above = os.path.commonpath([job.folder.resolve() for job in some])
    return [plain(job.folder.resolve().relative_to(above).as_posix()) for job in some]
