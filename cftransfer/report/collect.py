"""Job folders → one table of jobs, what was swept over them, and the trend."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cftransfer.errors import InputError
from cftransfer.statistics import Trend, trend
from cftransfer.transferability import PAIR, matrix, pairs

NOT_SWEPT = ("paths", "wandb", "trainer")  # where a job ran and landed, not what it was


@dataclass(frozen=True)
class Job:
    """One job: its folder, its `result.json`, and its rates as a matrix, bases × references."""

    folder: Path
    result: dict[str, Any]
    rates: np.ndarray


@dataclass(frozen=True)
class Jobs:
    """Jobs in the order of their knob.

    knob: the swept number on the x-axis, None without one; series: the other settings that differ between jobs.
    failed: job folders without a `result.json`, with their overrides.
    """

    jobs: list[Job]
    knob: str | None
    series: list[str]
    failed: dict[Path, str]

    def label(self, job: Job) -> str:
        """Return what tells the job's series from the others, "" if there is one series."""
        settings = _settings(job.result)
        return " ".join(f"{name.rpartition('.')[2]}={settings.get(name)}" for name in self.series)

    def x(self, job: Job) -> float:
        """Return the job's place on the x-axis."""
        return float(_settings(job.result)[self.knob]) if self.knob else float(self.jobs.index(job))

    def groups(self) -> dict[str, list[Job]]:
        """Return the jobs by the label of their series."""
        groups: dict[str, list[Job]] = {}
        for job in self.jobs:
            groups.setdefault(self.label(job) if self.knob else "", []).append(job)
        return groups


def jobs(folders: Sequence[Path]) -> Jobs:
    """Collect every job of transfer.py under `folders`; InputError, naming the folder or file, if there is none."""
    found: dict[Path, Path] = {}
    failed: dict[Path, str] = {}
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder")
        found |= {path.resolve(): path for path in folder.rglob("result.json")}
        for overrides in folder.rglob(".hydra/overrides.yaml"):
            job = overrides.parent.parent
            if not (job / "result.json").exists():
                failed[job] = " ".join(overrides.read_text().replace("- ", "").split())
    read = [_read(path.parent) for path in found.values()]
    done = [job for job in read if job is not None]
    if not done:
        lost = f"; {len(failed)} failed: {', '.join(map(str, failed))}" if failed else ""
        raise InputError(f"{', '.join(map(str, folders))}: holds no finished job of transfer.py{lost}")
    knob, series = _swept(done)
    collected = Jobs(done, knob, series, failed)
    order = sorted(done, key=lambda job: (collected.x(job) if knob else 0.0, _natural(job.folder)))
    return Jobs(order, knob, series, failed)


def trends(collected: Jobs) -> dict[str, Trend]:
    """Return the trend over the knob of every series that has one, by its label."""
    lines = {}
    for label, group in collected.groups().items():
        rated = [job for job in group if job.rates.size]
        line = trend([collected.x(job) for job in rated], [job.rates for job in rated]) if collected.knob else None
        if line is not None:
            lines[label] = line
    return lines


def table(collected: Jobs) -> pd.DataFrame:
    """One row per job: the settings that differ, and every metric of its `result.json`."""
    names = [name for name in (collected.knob, *collected.series) if name]
    return pd.DataFrame(
        [
            {**{name: _settings(job.result).get(name) for name in names}, **job.result["metrics"]}
            for job in collected.jobs
        ]
    )


def common(collected: Jobs) -> dict[str, Any]:
    """Return the settings that all jobs share."""
    every = [_settings(job.result) for job in collected.jobs]
    return {name: value for name, value in every[0].items() if all(other.get(name) == value for other in every)}


def _read(folder: Path) -> Job | None:
    """Return a job of transfer.py; None for one of train.py."""
    path = folder / "result.json"
    try:
        result = json.loads(path.read_text())
        if lacking := {"config", "choices", "overrides", "metrics", "versions", "git"} - set(result):
            raise KeyError(f"no {', '.join(sorted(lacking))}")
        if "rate" not in result["metrics"]:
            return None
        path = folder / "transfers.parquet"
        transfers = pd.read_parquet(path, columns=[*PAIR, "found", "agreement", "transferred"])
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: cannot be read ({error}); run its job again, or leave its folder out") from error
    return Job(folder, result, matrix(pairs(transfers)))


def _swept(done: Iterable[Job]) -> tuple[str | None, list[str]]:
    """Return the number on the x-axis and the other settings that differ between jobs.

    What was typed goes first: an experiment moves other settings along (`extra_layers` moves `reference.model.layers`).
    """
    results = [job.result for job in done]
    every = [_settings(result) for result in results]
    names = dict.fromkeys(name for settings in every for name in settings)
    differ = [name for name in names if len({json.dumps(settings.get(name)) for settings in every}) > 1]
    typed = {override.lstrip("+").partition("=")[0] for result in results for override in result["overrides"]}
    differ = [name for name in differ if name in typed] or differ
    numbers = [name for name in differ if name != "seed" and all(_is_number(settings.get(name)) for settings in every)]
    knob = numbers[0] if numbers else None
    return knob, [name for name in differ if name != knob]


def _settings(result: dict[str, Any]) -> dict[str, Any]:
    """Return a job's settings, flat, with one name per group (`model`: mlp) instead of its `_target_`."""
    from cftransfer.tracking import flat

    kept = {name: part for name, part in result["config"].items() if name not in NOT_SWEPT}
    settings = {name: value for name, value in flat(kept).items() if not name.endswith("_target_")}
    return {**result["choices"], **settings}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _natural(folder: Path) -> tuple[str, int, str]:
    return str(folder.parent), int(folder.name) if folder.name.isdigit() else -1, folder.name
