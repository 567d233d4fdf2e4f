"""Jobs → panels of points, what was swept over them, and their trends."""

import json
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cftransfer.columns import CONTROLS, matrix
from cftransfer.command_line import typed_command
from cftransfer.errors import InputError, plain
from cftransfer.jobs.read import Job, job_folders, natural, read, typed_words, yaml_of
from cftransfer.jobs.schema import EXTRA_EPOCHS, is_number, job_digest, version_of
from cftransfer.measuring.trends import Sharing, Trend, holm, trend
from cftransfer.measuring.verdicts import MARGIN, Verdict, verdict
from cftransfer.spec import PARTS

MANY = 4  # experiments with a job each, from which on they share a panel


@dataclass(frozen=True)
class Point:
    """One place on the x-axis: the rates of its pairs (bases, references), their interval, and the mean controls."""

    x: float
    rates: np.ndarray
    low: float
    high: float
    controls: dict[str, float]
    job: Job

    @property
    def rated(self) -> bool:
        """Whether anything was found, and so can have transferred."""
        return not bool(np.isnan(self.rates).all())


@dataclass(frozen=True)
class Panel:
    """The jobs of one experiment, in the order of their knob.

    knob: the swept number on the x-axis, None without one; series: the other settings that differ between jobs.
    """

    experiment: str
    jobs: list[Job]
    knob: str | None
    series: list[str]

    @property
    def doubling(self) -> bool:
        """Whether the knob was swept in steps that are more even as factors than as differences: 2, 4, 8."""
        if self.knob is None or any(job.result.curve for job in self.jobs):
            return False
        places = np.unique([float(job.settings[self.knob]) for job in self.jobs])
        if len(places) < 3 or places[0] <= 0:
            return False
        factors, steps = np.diff(np.log2(places)), np.diff(places)
        return bool(factors.max() / factors.min() < steps.max() / steps.min())

    def along(self, x: float) -> float:
        """Return where a value of the knob stands on the x-axis, and in the trend: at its logarithm if doubling."""
        return float(np.log2(x)) if self.doubling else x

    def label(self, job: Job) -> str:
        """Return what tells the job's series from the others, "" if there is one series."""
        return " ".join(
            f"{name.rpartition('.')[2]}={job.settings[name]}" for name in self.series if name in job.settings
        )

    def place(self, job: Job) -> str:
        """Return what tells the job from the others of its panel, in words."""
        own = self.knob in job.settings and self.knob not in self.series
        at = [f"{str(self.knob).rpartition('.')[2]}={job.settings[str(self.knob)]}"] if own else []
        return " ".join([*at, self.label(job)]).strip() or str(job.settings.get("dataset", job.folder.name))

    def groups(self) -> dict[str, list[Point]]:
        """Return the points by the label of their series."""
        groups: dict[str, list[Point]] = {}
        for job in self.jobs:
            groups.setdefault(self.label(job) if self.knob else "", []).extend(self.points(job))
        return groups

    def points(self, job: Job) -> list[Point]:
        """Return where a job stands: at one place, or, with a curve, at one for every extra epoch."""
        if self.knob == EXTRA_EPOCHS and job.result.curve:
            return [
                _point(point[EXTRA_EPOCHS], pairs, point, job)
                for point, (_, pairs) in zip(job.result.curve, job.pairs.groupby(EXTRA_EPOCHS), strict=True)
            ]
        x = float(job.settings[self.knob]) if self.knob else float(self.jobs.index(job))
        return [_point(x, _last(job.pairs), job.metrics, job)]


@dataclass(frozen=True)
class Jobs:
    """What a report is about.

    failed: job folders without a result that can be read, with the reason. begun: jobs that have a folder, those of
    train.py among them. never: jobs of sweeps that broke off before these began. copies: jobs that were run once more
    with the same settings and data, and count once. earlier: jobs that an earlier sweep has left in the folder of a
    later one.
    """

    panels: list[Panel]
    failed: dict[Path, str]
    begun: int = 0
    never: int = 0
    copies: int = 0
    earlier: tuple[Path, ...] = ()

    @property
    def jobs(self) -> list[Job]:
        """All jobs, panel by panel."""
        return [job for panel in self.panels for job in panel.jobs]


@dataclass(frozen=True)
class Line:
    """The trend of one series, with its p adjusted for all the trends of the report (Holm), and the verdict by it.

    Where the knob was swept by factors, the trend is one against its logarithm, and its slope is per doubling.
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

    below: whether folders below them count; else each of them is one job's.
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
    once = {_identity(job): job for job in done}  # the last one counts
    done, copies = list(once.values()), len(done) - len(once)
    kinds = sorted({(experiment_of(job), bool(job.result.curve)) for job in done})
    together = [[job for job in done if (experiment_of(job), bool(job.result.curve)) == kind] for kind in kinds]
    if len(kinds) >= MANY and all(len({_dataset(job) for job in some}) == len(some) for some in together):
        panels = [_side_by_side(done)]
    else:
        panels = [_panel(name, some) for (name, _), some in zip(kinds, together, strict=True)]
    sweeps = _jobs_of_sweeps(begun, folders)
    earlier = tuple(job.folder for job in done if _is_left_over(job, sweeps))
    there = [job.resolve().parent for job in begun if job not in earlier]
    never = sum(max(0, len(known) - there.count(sweep)) for sweep, known in sweeps.items())
    return Jobs(panels, failed, begun=len(begun), never=never, copies=copies, earlier=earlier)


def _identity(job: Job) -> str:
    """Return what two runs of one job share: their settings and options, and the content of their data."""
    return json.dumps([job.result.what, job.result.choices, version_of(job.result.data)], sort_keys=True)


def experiment_of(job: Job) -> str:
    """Return the name of a job's experiment."""
    return job.result.choices.get("experiment") or ""


def lines(collected: Jobs, *, margin: float = MARGIN) -> list[Line]:
    """Return the trend over the knob of every series that has one; margin: of the rate, up to which it is flat."""
    found = []
    for panel in collected.panels:
        for label, points in panel.groups().items():
            rated = [point for point in points if point.rated]
            if not panel.knob or not rated:
                continue
            sharing = _sharing(rated)
            places = [panel.along(point.x) for point in rated]
            fitted = trend(places, [point.rates for point in rated], sharing=sharing)
            if fitted is not None:
                found.append((panel, label, rated, fitted, sharing))
    adjusted = holm([fitted.p for *_, fitted, _ in found])
    return [
        Line(*parts, p, verdict(parts[3].change, p=p, margin=margin)) for parts, p in zip(found, adjusted, strict=True)
    ]


def judged(line: Line, p_holm: float) -> Line:
    """Return a line among other trends, by whose number its p is adjusted, with the verdict that follows."""
    return replace(line, p_holm=p_holm, verdict=verdict(line.trend.change, p=p_holm, margin=line.verdict.margin))


def differences(some: Sequence[Job]) -> list[str]:
    """Return the names of the settings that are not the same in all jobs."""
    every = [job.settings for job in some]
    names = dict.fromkeys(name for settings in every for name in settings)
    return [name for name in names if len({_value(settings, name) for settings in every}) > 1]


def common(some: Sequence[Job]) -> dict[str, Any]:
    """Return the settings that all jobs share."""
    differ = differences(some)
    return {name: value for name, value in some[0].settings.items() if name not in differ}


def commands(some: Sequence[Job]) -> list[str]:
    """Return the commands that made the jobs, as they were typed: one per sweep, one per job that was run alone."""
    typed: dict[str, None] = {}
    sweeps = {folder: _of_sweep(folder) for folder in {job.folder.resolve().parent for job in some}}
    for job in some:
        words = sweeps[job.folder.resolve().parent] or job.result.overrides
        typed[plain(shlex.join([*typed_command("transfer"), *words]))] = None
    return list(typed)


def _jobs_of_sweeps(begun: Sequence[Path], folders: Sequence[Path]) -> dict[Path, list[str]]:
    """Return the digests of the jobs of the last sweep in each folder of jobs, which its multirun.yaml has."""
    asked, found = {folder.resolve() for folder in folders}, {}
    for sweep in {job.resolve().parent for job in begun}:
        if asked & {sweep, *sweep.parents}:
            try:
                found[sweep] = str.split(yaml_of(sweep, "multirun.yaml")["hydra"]["callbacks"]["output"]["jobs"])
            except (InputError, KeyError, TypeError):  # no sweep, or of an earlier version
                continue
    return found


def _is_left_over(job: Job, sweeps: dict[Path, list[str]]) -> bool:
    """Return whether a job is none of the last sweep in its folder.

    What was typed last counts: the words of its result are those of the sweep that made it, in that one's order.
    """
    if (known := sweeps.get(job.folder.resolve().parent)) is None:
        return False
    try:
        words = typed_words(yaml_of(job.folder, ".hydra/overrides.yaml"))
    except (InputError, TypeError):  # without Hydra's own folder
        words = job.result.overrides
    return job_digest(words) not in known


def _of_sweep(folder: Path) -> list[str]:
    """Return the words of the sweep that landed in a folder, as typed; [] without one."""
    try:
        overrides = yaml_of(folder, "multirun.yaml")["hydra"]["overrides"]
        hydra = [word for word in typed_words(overrides["hydra"]) if word != "hydra.mode=MULTIRUN"]
        return ["-m", *typed_words(overrides["task"]), *hydra]
    except (InputError, KeyError, TypeError, ValueError):
        return []


def _side_by_side(some: list[Job]) -> Panel:
    """Return one panel for many experiments with a job each: it tells apart changes, not values of one of them."""
    series = ["experiment", *(["dataset"] if len({_dataset(job) for job in some}) > 1 else [])]
    order = sorted(some, key=lambda job: (_dataset(job), natural(job.folder)))
    return Panel(", ".join(dict.fromkeys(map(experiment_of, order))), order, None, series)


def _dataset(job: Job) -> str:
    return str(job.settings.get("dataset"))


def _panel(experiment: str, some: list[Job]) -> Panel:
    knob, series = _swept(some)
    if knob is None and len(some) == 1:  # a single job stands where its experiment put it
        knob = next((n for n, value in some[0].settings.items() if n.startswith("extra_") and is_number(value)), None)
    panel = Panel(experiment, some, knob, series)
    order = sorted(some, key=lambda job: (panel.points(job)[0].x if knob else 0.0, natural(job.folder)))
    return Panel(experiment, order, knob, series)


def _point(x: Any, pairs: pd.DataFrame, rates: dict[str, Any], job: Job) -> Point:
    low, high = (float("nan") if rates[name] is None else rates[name] for name in ("rate_low", "rate_high"))
    controls = [name for name in (*CONTROLS, "rate_seed") if name in pairs]
    means = {name: float(pairs[name].mean()) for name in controls}
    return Point(float(x), matrix(pairs), low, high, means, job)


def _last(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the pairs whose references are as the job's settings say, leaving out those on the way there."""
    return pairs[pairs[EXTRA_EPOCHS] == pairs[EXTRA_EPOCHS].max()] if EXTRA_EPOCHS in pairs else pairs


def _sharing(points: Sequence[Point]) -> Sharing:
    """Return what the jobs have in common: it decides what may be exchanged in a permutation."""

    def same(*names: str) -> bool:
        return len({json.dumps([point.job.result.config.get(name) for name in names]) for point in points}) == 1

    if not same(*PARTS, "seed", "replicates"):
        return "none"
    return "models" if same("reference") else "bases"


def _swept(done: Iterable[Job]) -> tuple[str | None, list[str]]:
    """Return the number on the x-axis, a typed one if there is any, and the other settings that differ between jobs.

    A setting that moves along with another one does not count: an experiment's patch computes `reference.model.layers`
    from `extra_layers`, and an option brings its own settings (`dataset` brings `dataset.rows`).
    """
    some = list(done)
    results, every, differ = [job.result for job in some], [job.settings for job in some], differences(some)
    words = [override.lstrip("+~").partition("=")[0] for result in results for override in result.overrides]
    typed = {word.rpartition("@")[2] for word in words}  # model@reference.model is called reference.model
    options = {name for name in differ if name in results[0].choices}
    kept: list[str] = []
    for name in sorted(differ, key=lambda name: name not in typed):
        if name in typed or not (_dependent(name, options, typed) and _follows(name, kept, every)):
            kept.append(name)
    numbers = [n for n in kept if n != "seed" and all(is_number(settings.get(n)) for settings in every)]
    numbers.sort(key=lambda name: not name.startswith("extra_"))  # how far the reference is from the base comes first
    if all(result.curve for result in results):
        return EXTRA_EPOCHS, kept
    knob = numbers[0] if numbers else None
    return knob, [name for name in kept if name != knob]


def _dependent(name: str, options: set[str], typed: set[str]) -> bool:
    """Whether a setting that nobody typed may be a consequence of one that somebody did.

    A patch is, and what belongs to an option that differs; options themselves, and the input's step and rows in the
    search, where data sets differ, since these choose their own.
    """
    chosen = "dataset" in typed & options
    return name.startswith("reference.") or name.partition(".")[0] in options - {name} or chosen


def _follows(name: str, others: Sequence[str], every: Sequence[dict[str, Any]]) -> bool:
    """Whether the values of `others` fix the value of `name`."""
    together = {(*(_value(settings, other) for other in others), _value(settings, name)) for settings in every}
    return len(together) == len({values[:-1] for values in together})


def _value(settings: dict[str, Any], name: str) -> str:
    return json.dumps(settings.get(name))
