"""Jobs → panels of points, with the settings that were swept and their trends."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cftransfer.command_line import typed_command
from cftransfer.errors import InputError, plain
from cftransfer.jobs.read import Job, job_folders, natural, read, typed_words, yaml_of
from cftransfer.jobs.schema import is_number, job_digest, version_of
from cftransfer.measuring.trends import Sharing, Trend, holm, trend
from cftransfer.measuring.verdicts import MARGIN, Verdict, verdict
from cftransfer.report.panels import Panel, Point
from cftransfer.report.sections import sections, sweep_of, told_apart
from cftransfer.report.swept import differences, is_size, swept
from cftransfer.settings import check_float
from cftransfer.spec import PARTS

MANY = 4  # experiments with one job each; if there are as many or more, they share a panel


@dataclass(frozen=True)
class Jobs:
    """The jobs of a report.

    failed: job folders without a readable result, with the reason. begun: the number of job folders, including jobs of
    train.py. never: jobs that had not begun when their sweep broke off. copies: repeated runs with the same settings
    and data, which count once. earlier: jobs of an earlier sweep in the folder of a later one.
    """

    panels: list[Panel]
    failed: dict[Path, str]
    begun: int = 0
    never: int = 0
    copies: int = 0
    earlier: tuple[Path, ...] = ()

    @property
    def jobs(self) -> list[Job]:
        """All jobs, panel by panel, each once, since two sweeps may share a job."""
        return list({id(job): job for panel in self.panels for job in panel.jobs}.values())


@dataclass(frozen=True)
class Line:
    """The trend of one series, with p adjusted for all trends of the report (Holm), and the verdict from that p.

    If the knob was swept by factors, the trend is against its logarithm, and the slope is per doubling.
    """

    panel: Panel
    label: str
    points: list[Point]
    trend: Trend
    sharing: Sharing
    p_holm: float
    verdict: Verdict


def jobs(folders: Sequence[Path], *, below: bool = True) -> Jobs:
    """Collect every job of transfer.py under `folders`; InputError, naming the folder or file, if there is none.

    below: whether jobs in folders below them count; otherwise each folder is one job's.
    """
    done: list[Job] = []
    failed: dict[Path, str] = {}
    begun = job_folders(folders) if below else list(folders)
    for folder in begun:
        try:
            job = read(folder)
        except InputError as error:
            failed[folder] = str(error)
            continue
        if job is not None:
            done.append(job)
    if not done:
        lost = "".join(f"; failed: {folder} ({reason})" for folder, reason in failed.items())
        raise InputError(f"{', '.join(map(str, folders))}: holds no finished job of transfer.py{lost}")
    once = {_identity(job): job for job in done}  # the last run counts
    copies = len(done) - len(once)
    panels = _panels([_each_once(some, once) for some in sections(done)])
    done = list(once.values())
    sweeps = _jobs_of_sweeps(begun, folders)
    earlier = tuple(job.folder for job in done if _is_left_over(job, sweeps))
    there = [job.resolve().parent for job in begun if job not in earlier]
    never = sum(max(0, len(known) - there.count(sweep)) for sweep, known in sweeps.items())
    return Jobs(panels, failed, begun=len(begun), never=never, copies=copies, earlier=earlier)


def _panels(sections: Sequence[list[Job]]) -> list[Panel]:
    """Return the panels of each sweep: one per experiment, or one for many experiments with a job each."""
    found = []
    for done in sections:
        kinds = sorted({(experiment_of(job), bool(job.result.curve)) for job in done})
        together = [[job for job in done if (experiment_of(job), bool(job.result.curve)) == kind] for kind in kinds]
        if len(kinds) >= MANY and all(len({_dataset(job) for job in some}) == len(some) for some in together):
            found.append(_side_by_side(done))
        else:
            found += [_panel(name, some) for (name, _), some in zip(kinds, together, strict=True)]
    return told_apart(found)


def _identity(job: Job) -> str:
    """Return the text that two runs of one job share: their settings and options, and the version of their data."""
    return json.dumps([job.result.what, job.result.choices, version_of(job.result.data)], sort_keys=True)


def _each_once(some: Sequence[Job], last: Mapping[str, Job]) -> list[Job]:
    """Return each job once, as its last run."""
    return list({identity: last[identity] for identity in map(_identity, some)}.values())


def experiment_of(job: Job) -> str:
    """Return the name of a job's experiment."""
    return job.result.choices.get("experiment") or ""


def lines(collected: Jobs, *, margin: float = MARGIN) -> list[Line]:
    """Return the trend over the knob of every series that has one; a size of the measurement has none.

    margin: the change of the rate below which a trend is flat. InputError unless it is above 0 and below 1.
    """
    check_float("margin", margin, inside="above 0 and below 1, such as .05", among=lambda one: 0 < one < 1)
    found = []
    for panel in collected.panels:
        for label, points in panel.groups().items():
            rated = [point for point in points if point.rated]
            if not panel.knob or is_size(panel.knob) or not rated:
                continue
            sharing: Sharing = "none" if panel.replicates else _sharing(rated)
            places = [panel.along(point.x) for point in rated]
            fitted = trend(places, [point.rates for point in rated], sharing=sharing)
            if fitted is not None:
                if panel.replicates:  # the rates of replicates take the place of the rates of pairs
                    fitted = replace(fitted, method=fitted.method.replace(*_of_replicates(panel, rated)))
                found.append((panel, label, rated, fitted, sharing))
    adjusted = holm([fitted.p for *_, fitted, _ in found])
    return [
        Line(*parts, p, verdict(parts[3].change, p=p, margin=margin)) for parts, p in zip(found, adjusted, strict=True)
    ]


def _of_replicates(panel: Panel, points: Sequence[Point]) -> tuple[str, str]:
    """Return the units of a trend over the models, and those of a trend over replicates that take their place."""
    named = f"over {' × '.join(panel.replicates)}"
    if points[0].rates.ndim == 3:  # the replicates share models; those of jobs with several splits are averaged
        return ("", "") if points[0].job.metrics.get("splits") else ("over splits", named)
    if points[0].rates.shape[1] == 1:
        return "pairs, over bases", "replicates"
    return "pairs, over bases × references", f"replicates, {named}"


def judged(line: Line, p_holm: float) -> Line:
    """Return a line with p adjusted for another number of trends, and the verdict from that p."""
    return replace(line, p_holm=p_holm, verdict=verdict(line.trend.change, p=p_holm, margin=line.verdict.margin))


def common(some: Sequence[Job]) -> dict[str, Any]:
    """Return the settings that all jobs share."""
    differ = differences(some)
    return {name: value for name, value in some[0].settings.items() if name not in differ}


def commands(some: Sequence[Job]) -> list[str]:
    """Return the commands that made the jobs, as typed: one per sweep, and one per job that was run alone."""
    typed: dict[str, None] = {}
    sweeps = {folder: sweep_of(folder) for folder in {job.folder.resolve().parent for job in some}}
    for job in some:
        words = sweeps[job.folder.resolve().parent] or job.result.overrides
        typed[plain(shlex.join([*typed_command("transfer"), *words]))] = None
    return list(typed)


def _jobs_of_sweeps(begun: Sequence[Path], folders: Sequence[Path]) -> dict[Path, list[str]]:
    """Return the digests of the jobs of the last sweep in each folder, from its multirun.yaml."""
    asked, found = {folder.resolve() for folder in folders}, {}
    for sweep in {job.resolve().parent for job in begun}:
        if asked & {sweep, *sweep.parents}:
            try:
                found[sweep] = str.split(yaml_of(sweep, "multirun.yaml")["hydra"]["callbacks"]["output"]["jobs"])
            except (InputError, KeyError, TypeError):  # no sweep, or one of an earlier version
                continue
    return found


def _is_left_over(job: Job, sweeps: dict[Path, list[str]]) -> bool:
    """Return whether a job is not part of the last sweep in its folder.

    The overrides typed last decide: a result keeps the overrides of the sweep that made it, in that sweep's order.
    """
    if (known := sweeps.get(job.folder.resolve().parent)) is None:
        return False
    try:
        words = typed_words(yaml_of(job.folder, ".hydra/overrides.yaml"))
    except (InputError, TypeError):  # Hydra's own folder is missing
        words = job.result.overrides
    return job_digest(words) not in known


def _side_by_side(some: list[Job]) -> Panel:
    """Return one panel for many experiments with one job each, which compares changes rather than values of a knob."""
    series = ["experiment", *(["dataset"] if len({_dataset(job) for job in some}) > 1 else [])]
    order = sorted(some, key=lambda job: (_dataset(job), natural(job.folder)))
    return Panel(", ".join(dict.fromkeys(map(experiment_of, order))), order, None, series)


def _dataset(job: Job) -> str:
    return str(job.settings.get("dataset"))


def _panel(experiment: str, some: list[Job]) -> Panel:
    knob, series, replicates = swept(some)
    if knob is None and len(some) == 1:  # a single job is placed at its experiment's own value
        knob = next((n for n, value in some[0].settings.items() if n.startswith("extra_") and is_number(value)), None)
    panel = Panel(experiment, some, knob, series, replicates)
    order = sorted(some, key=lambda job: (panel.points(job)[0].x if knob else 0.0, natural(job.folder)))
    return Panel(experiment, order, knob, series, replicates)


def _sharing(points: Sequence[Point]) -> Sharing:
    """Return the models that the jobs share, which decide the exchanges of a permutation test."""

    def same(*names: str) -> bool:
        return len({json.dumps([point.job.result.config.get(name) for name in names]) for point in points}) == 1

    if not same(*PARTS, "seed", "replicates"):
        return "none"
    return "models" if same("reference") else "bases"
