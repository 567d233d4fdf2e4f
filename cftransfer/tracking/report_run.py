"""A sweep's figures and trends, as an additional W&B run in its group."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cftransfer.errors import InputError
from cftransfer.jobs.provenance import shown
from cftransfer.report.place import REPORT
from cftransfer.tracking import names
from cftransfer.tracking.connection import begin, checked, end, environment
from cftransfer.tracking.job_run import mark_published

if TYPE_CHECKING:
    from cftransfer.report.collect import Jobs, Line

log = logging.getLogger(__name__)


def publish_report(sweep: Path, jobs: "Jobs", lines: "Sequence[Line]") -> None:
    """Publish the report of a sweep that has just ended, in its jobs' mode; a failure is logged as a warning."""
    settings = _settings(jobs)
    if settings.get("mode") in ("online", "offline") and (wrong := upload_report(sweep, jobs, lines, settings)):
        log.warning("W&B lacks the report of %s (%s); it is there as %s", shown(sweep), wrong, REPORT)


def sync_report(sweep: Path) -> str | None:
    """Publish the report of a sweep later, online; return the failure in one line, or None."""
    from cftransfer.report import collect

    try:
        jobs = collect.jobs([sweep])
    except InputError as error:
        return str(error)
    return upload_report(sweep, jobs, collect.lines(jobs), {**_settings(jobs), "mode": "online"})


def upload_report(sweep: Path, jobs: "Jobs", lines: "Sequence[Line]", settings: dict[str, Any]) -> str | None:
    """Log a sweep's figures and trends to their own run; return the failure in one line, or None."""
    whole, group = sweep.resolve(), jobs.jobs[0].result.sweep or shown(sweep.absolute()).as_posix()
    try:
        known = checked(settings)
        with environment(whole):
            run = begin(
                known,
                whole,
                id=names.run_id(whole),
                name=f"report {whole.name}"[: names.LONGEST_NAME],
                group=known["group"] or names.group(group),
                job_type="report",
                tags=["report"],
            )
            wrong = end(run, lambda run: run.log(figures(sweep, lines) | words(jobs, lines)))
    except InputError as error:
        return str(error)
    if wrong is None and not run.run.offline:
        mark_published(sweep, REPORT)
    return wrong


def _settings(jobs: "Jobs") -> dict[str, Any]:
    return jobs.jobs[0].result.config.get("wandb", {})


def figures(sweep: Path, lines: "Sequence[Line]") -> dict[str, Any]:
    """Return a report's figures and trends, by their names in W&B."""
    import pandas as pd
    import wandb

    from cftransfer.jobs.read import is_picture

    paths = [path for path in sorted(sweep.glob("*.png")) if is_picture(sweep, path)]
    shown: dict[str, Any] = {f"figure_{path.stem}": wandb.Image(str(path)) for path in paths}
    if trends := [_trend(line) for line in lines]:
        shown["trends"] = wandb.Table(dataframe=pd.DataFrame(trends))
    return shown


def words(jobs: "Jobs", lines: "Sequence[Line]") -> dict[str, str]:
    """Return a report's findings in words, by their names in W&B; a kind that the report lacks is left out.

    verdict: of the trends; lowest_and_highest: whether these rates differ, in a panel without a trend; pooled: the
    rates of replicates; than_seed_alone: the verdict on each job's rate minus that
    of references that differ in their seed alone.
    """
    from cftransfer.report.answer import lowest_and_highest
    from cftransfer.report.trends_table import of_what
    from cftransfer.report.verdict_words import against_seed, pooled, sentence

    several = len(jobs.panels) > 1
    without = [panel for panel in jobs.panels if not any(line.panel is panel for line in lines)]
    apart = [(panel.title, said) for panel in without if (said := lowest_and_highest(panel))]
    compared = [
        f"{panel.title if several else ''} {panel.called(job)}".strip() + f": {said}"
        for panel in jobs.panels
        for job, said in zip(panel.jobs, against_seed(panel.jobs), strict=True)
        if said != "—"
    ]
    repeated = [f"{panel.title}: {said}" if several else said for panel in jobs.panels for said in pooled(panel)]
    told = {
        "verdict": ". ".join(f"{of_what(line, jobs).removeprefix(' of ')} {sentence(line)}".strip() for line in lines),
        "lowest_and_highest": ". ".join(f"{title}: {said}" if several else said for title, said in apart),
        "pooled": ". ".join(repeated),
        "than_seed_alone": ". ".join(compared),
    }
    return {name: text for name, text in told.items() if text}


def _trend(line: "Line") -> dict[str, Any]:
    from cftransfer.report.verdict_words import sentence

    fitted, panel = line.trend, line.panel
    where = {"experiment": panel.experiment, "series": line.label, "knob": panel.knob}
    slope = {"slope": fitted.slope, "slope_low": fitted.low, "slope_high": fitted.high}
    change = line.verdict.change
    size = {"change": change.mean, "change_low": change.low, "change_high": change.high}
    verdict = {"verdict": line.verdict.direction, "sentence": sentence(line)}
    return {**where, **verdict, **size, **slope, "p": fitted.p, "p_holm": line.p_holm}
