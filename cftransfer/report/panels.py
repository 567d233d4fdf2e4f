"""The jobs of one experiment as points: their places, their names, and the jobs that repeat another."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from cftransfer.columns import CONTROLS, matrix
from cftransfer.errors import plain
from cftransfer.jobs.read import Job
from cftransfer.jobs.schema import EXTRA_EPOCHS, is_number
from cftransfer.measuring.over_splits import spread_of
from cftransfer.measuring.statistics import on_logit


@dataclass(frozen=True)
class Point:
    """One place on the x-axis: the rates of its pairs (bases, references), their interval, and the mean controls.

    For several splits, rates are (splits, bases, references). A point that stands for several jobs has their mean
    rates, or their matrices, (jobs, bases, references), if they share models. replicates: the number of jobs.
    """

    x: float
    rates: np.ndarray
    low: float
    high: float
    controls: dict[str, float]
    job: Job
    replicates: int = 1

    @property
    def over(self) -> str:
        """The units of the interval, if the point stands for several jobs."""
        if self.rates.ndim < 3 or self.rates[0].size < 2:
            return "replicates"
        several = (self.job.metrics.get("splits") or 1) > 1  # the jobs' splits; the jobs themselves are averaged
        return f"{'splits' if several else 'replicates'} and models"

    @property
    def rated(self) -> bool:
        """Whether any counterfactual was found, so that there is a rate."""
        return not bool(np.isnan(self.rates).all())


@dataclass(frozen=True)
class Panel:
    """The jobs of one experiment, in the order of their knob.

    knob: the swept number on the x-axis, None without one; series: the other settings that differ between jobs;
    replicates: seeds and draws that differ; jobs that differ only in these are one point. sweep: distinguishes the
    panel from others of the same experiment, "" if there is only one.
    """

    experiment: str
    jobs: list[Job]
    knob: str | None
    series: list[str]
    replicates: tuple[str, ...] = ()
    sweep: str = ""

    @property
    def title(self) -> str:
        """The panel's title among other panels."""
        many = self.experiment.count(", ") + 1
        name = f"{many} experiments" if "experiment" in self.series else self.experiment
        return " · ".join(part for part in (name, self.sweep) if part)

    @property
    def settings(self) -> list[str]:
        """The settings that differ between the jobs, the knob first."""
        return list(dict.fromkeys(name for name in (self.knob, *self.series, *self.replicates) if name))

    @property
    def keys(self) -> str:
        """The keys of `values`: "dataset · model → reference.model"."""
        return " · ".join(" → ".join(map(self.short, together)) for together in self._together())

    def values(self, job: Job) -> str:
        """Return the values that distinguish the job, without their keys; its data set if there are none."""
        told = [
            " → ".join(str(job.settings.get(name, "—")) for name in together)
            for together in self._together()
            if any(name in job.settings for name in together)
        ]
        return " · ".join(told) or self.place(job)

    def called(self, job: Job) -> str:
        """Return a name for a job where no axis or head shows the keys: words alone, numbers with their keys."""
        has_numbers = any(is_number(job.settings.get(name)) for name in self.settings)
        return self.place(job) if has_numbers else self.values(job)

    def short(self, name: str) -> str:
        """Return the last word of a setting's name, or the whole name if two settings of the panel share that word."""
        lasts = [other.rpartition(".")[2] for other in self.settings]
        last = name.rpartition(".")[2]
        return name if lasts.count(last) > 1 else last

    def _together(self) -> list[list[str]]:
        """Return the settings that differ, each setting of the base grouped with the same setting of the reference."""
        pairs = [[name, f"reference.{name}"] for name in self.settings if f"reference.{name}" in self.settings]
        paired = {name: pair for pair in pairs for name in pair}
        return [list(pair) for pair in dict.fromkeys(tuple(paired.get(name, [name])) for name in self.settings)]

    @property
    def doubling(self) -> bool:
        """Whether the steps of the knob are more even as factors than as differences: 2, 4, 8."""
        if self.knob is None or any(job.result.curve for job in self.jobs):
            return False
        places = np.unique([float(job.settings[self.knob]) for job in self.jobs])
        if len(places) < 3 or places[0] <= 0:
            return False
        factors, steps = np.diff(np.log2(places)), np.diff(places)
        return bool(factors.max() / factors.min() < steps.max() / steps.min())

    def along(self, x: float) -> float:
        """Return a knob's value as a place on the x-axis and in the trend: its logarithm if the knob doubles."""
        return float(np.log2(x)) if self.doubling else x

    def label(self, job: Job) -> str:
        """Return the name of the job's series, "" if there is one series."""
        return " ".join(f"{self.short(name)}={job.settings[name]}" for name in self.series if name in job.settings)

    def replicate(self, job: Job) -> str:
        """Return the name of a job as a replicate, "" if there are no replicates."""
        return " ".join(f"{self.short(name)}={job.settings.get(name)}" for name in self.replicates)

    def place(self, job: Job) -> str:
        """Return a name that distinguishes the job within its panel."""
        own = self.knob in job.settings and self.knob not in self.series
        at = [f"{self.short(str(self.knob))}={job.settings[str(self.knob)]}"] if own else []
        return " ".join([*at, self.label(job), self.replicate(job)]).strip() or _data(job)

    def groups(self) -> dict[str, list[Point]]:
        """Return the points by the label of their series."""
        groups: dict[str, list[Point]] = {}
        for job in self.jobs:
            groups.setdefault(self.label(job) if self.knob else "", []).extend(self.points(job))
        return {label: self._pooled(points) for label, points in groups.items()} if self.replicates else groups

    def pooled(self) -> dict[str, Point]:
        """Return each point that stands for several replicates, by its name."""
        if not self.replicates:
            return {}
        together: dict[str, list[Point]] = {}
        for job in self.jobs:
            at = f"{self.short(str(self.knob))}={job.settings[self.knob]}" if self.knob in job.settings else ""
            for point in self.points(job)[-1:]:
                together.setdefault(f"{at} {self.label(job)}".strip(), []).append(point)
        return {where: _as_one(points, self.replicates) for where, points in together.items() if len(points) > 1}

    def rows(self) -> tuple[str, list[tuple[str, Point]]]:
        """Return the keys of the rows' names, and the points with a row each by name; replicates are one point."""
        places = {(self.label(job), str(job.settings.get(str(self.knob)))) for job in self.jobs}
        if len(pooled := self.pooled()) < len(places):  # some job has no replicate
            return self.keys, [(self.values(job), point) for job in self.jobs for point in self.points(job)[-1:]]
        alone = replace(self, replicates=())
        return alone.keys, [(alone.values(point.job), point) for point in pooled.values()]

    def _pooled(self, points: Sequence[Point]) -> list[Point]:
        """Return one point for the replicates of each place, in the order of their seeds."""
        if self.knob is None:
            return list(points)
        places: dict[float, list[Point]] = {}
        for point in sorted(points, key=lambda point: [point.job.settings.get(name) for name in self.replicates]):
            places.setdefault(point.x, []).append(point)
        return [_as_one(some, self.replicates) for _, some in sorted(places.items())]

    def points(self, job: Job) -> list[Point]:
        """Return a job's points: one, or one for every extra epoch if it has a curve."""
        if self.knob == EXTRA_EPOCHS and job.result.curve:
            return [
                _point(point[EXTRA_EPOCHS], pairs, point, job)
                for point, (_, pairs) in zip(job.result.curve, job.pairs.groupby(EXTRA_EPOCHS), strict=True)
            ]
        x = float(job.settings[self.knob]) if self.knob else float(self.jobs.index(job))
        return [_point(x, last(job.pairs), job.metrics, job)]


def _data(job: Job) -> str:
    """Return the name of a job's data: a table's file, or the option of its data set."""
    return plain(str(job.result.data.get("name") or job.settings.get("dataset", job.folder.name)))


def _point(x: Any, pairs: pd.DataFrame, rates: dict[str, Any], job: Job) -> Point:
    low, high = (float("nan") if rates[name] is None else rates[name] for name in ("rate_low", "rate_high"))
    controls = [name for name in (*CONTROLS, "rate_seed") if name in pairs]
    means = {name: float(pairs[name].mean()) for name in controls}
    return Point(float(x), matrix(pairs), low, high, means, job)


def _as_one(points: Sequence[Point], replicates: Sequence[str]) -> Point:
    """Return replicates as one point, with a share's interval over them.

    If every seed was run on every split, the jobs share seeds and splits, so they form a matrix of both. Jobs of one
    `seed` share models, or the models' seeds, so the interval is also over these.
    """
    rated = [point for point in points if point.rated]
    rates = _of_shared_models(rated, replicates)
    if rates is None:
        rates = _means(rated, replicates)
    over = on_logit(spread_of(rates))
    names = dict.fromkeys(name for point in points for name in point.controls)
    known = {name: [p.controls[name] for p in points if not np.isnan(p.controls.get(name, np.nan))] for name in names}
    controls = {name: float(np.mean(values)) if values else float("nan") for name, values in known.items()}
    rates = rates if rated else points[0].rates
    return Point(points[0].x, rates, over.low, over.high, controls, points[0].job, len(rated))


def _means(points: Sequence[Point], replicates: Sequence[str]) -> np.ndarray:
    """Return the jobs' mean rates, (jobs, 1), or (seeds, splits) if every seed was run on every split.

    Further settings, such as a draw of rows, are averaged.
    """
    table = pd.DataFrame({name: [str(point.job.settings.get(name)) for point in points] for name in replicates})
    table["rate"] = np.array([np.nanmean(point.rates) for point in points], dtype=float)
    if len(replicates) > 1 and points:
        wide = table.pivot_table(index=replicates[0], columns=replicates[1], values="rate", sort=False).to_numpy()
        if not np.isnan(wide).any():
            return wide
    return table.rate.to_numpy()[:, None]


def _of_shared_models(points: Sequence[Point], replicates: Sequence[str]) -> np.ndarray | None:
    """Return the rates (jobs, bases, references) of jobs with one `seed`; None if it differs, or numbers of models.

    Settings after the first are averaged, and so are all jobs if each has several splits, which come first then.
    """
    if "seed" in replicates or len({point.rates.shape for point in points}) != 1:
        return None
    first = [str(point.job.settings.get(replicates[0])) for point in points]
    together = [
        np.mean([point.rates for point, at in zip(points, first, strict=True) if at == value], axis=0)
        for value in dict.fromkeys(first)
    ]
    stacked = np.stack(together)
    return stacked.mean(axis=0) if stacked.ndim > 3 else stacked


def last(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the pairs with references as the job's settings say, without earlier numbers of extra epochs."""
    return pairs[pairs[EXTRA_EPOCHS] == pairs[EXTRA_EPOCHS].max()] if EXTRA_EPOCHS in pairs else pairs
