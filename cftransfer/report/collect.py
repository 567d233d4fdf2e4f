"""Job folders → one table of jobs, what was swept over them, and the trend."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cftransfer.errors import InputError
from cftransfer.spec import flat
from cftransfer.statistics import Trend, trend
from cftransfer.transferability import PAIR, matrix, pairs

NOT_SWEPT = ("paths", "wandb", "trainer")  # where a job ran and landed, not what it was


@dataclass(frozen=True)
class Job:
    """One job: its folder, its `result.json`, and its rates as a matrix, bases × references."""

    folder: Path
    result: dict[str, Any]
    rates: np.ndarray

    @property
    def rated(self) -> bool:
        """Whether anything was found, and so can have transferred."""
        return not bool(np.isnan(self.rates).all())


@dataclass(frozen=True)
class Jobs:
    """Jobs in the order of their knob.

    knob: the swept number on the x-axis, None without one; series: the other settings that differ between jobs.
    failed: job folders without a result that can be read, with the reason.
    """

    jobs: list[Job]
    knob: str | None
    series: list[str]
    failed: dict[Path, str]

    def label(self, job: Job) -> str:
        """Return what tells the job's series from the others, "" if there is one series."""
        settings = _settings(job.result)
        return " ".join(f"{name.rpartition('.')[2]}={settings[name]}" for name in self.series if name in settings)

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
    done: list[Job] = []
    failed: dict[Path, str] = {}
    for folder in _job_folders(folders):
        try:
            job = _read(folder)
        except InputError as error:
            failed[folder] = str(error)
            continue
        if job is not None:
            done.append(job)
    if not done:
        lost = "".join(f"; failed: {folder} ({reason})" for folder, reason in failed.items())
        raise InputError(f"{', '.join(map(str, folders))}: holds no finished job of transfer.py{lost}")
    knob, series = _swept(done)
    collected = Jobs(done, knob, series, failed)
    order = sorted(done, key=lambda job: (collected.x(job) if knob else 0.0, _natural(job.folder)))
    return Jobs(order, knob, series, failed)


def trends(collected: Jobs) -> dict[str, Trend]:
    """Return the trend over the knob of every series that has one, by its label."""
    lines = {}
    for label, group in collected.groups().items():
        rated = [job for job in group if job.rated]
        line = trend([collected.x(job) for job in rated], [job.rates for job in rated]) if collected.knob else None
        if line is not None:
            lines[label] = line
    return lines


def rows(collected: Jobs) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return, per job, the settings that differ and the metrics of its `result.json`."""
    names = [name for name in (collected.knob, *collected.series) if name]
    return [
        ({name: _settings(job.result).get(name, "—") for name in names}, job.result["metrics"])
        for job in collected.jobs
    ]


def common(collected: Jobs) -> dict[str, Any]:
    """Return the settings that all jobs share."""
    every = [_settings(job.result) for job in collected.jobs]
    return {name: value for name, value in every[0].items() if all(other.get(name) == value for other in every)}


def _job_folders(folders: Sequence[Path]) -> list[Path]:
    """Return every folder that Hydra made for a job, once, however often and by whatever name it is given."""
    found: dict[Path, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder}: {'is a file, not a folder' if folder.exists() else 'no such folder'}")
        made = [path.parent for path in folder.rglob("result.json")]
        made += [path.parent.parent for path in folder.rglob(".hydra/overrides.yaml")]
        for job in sorted(made, key=_natural):
            found.setdefault(job.resolve(), job)
    return list(found.values())


def _read(folder: Path) -> Job | None:
    """Return a job of transfer.py, or None for one of train.py; InputError, with the reason, for one that failed."""
    path = folder / "result.json"
    if not path.exists():
        overrides = folder / ".hydra" / "overrides.yaml"
        typed = " ".join(overrides.read_text().replace("- ", "").split()) or "no overrides"
        raise InputError(f"{typed}{_reason(folder)}")
    try:
        result = json.loads(path.read_text())
        lacking = {"config", "choices", "overrides", "metrics", "versions", "git"} - set(result or ())
        if lacking:
            raise KeyError(f"no {', '.join(sorted(lacking))}")
        if "rate" not in result["metrics"]:
            return None
        path = folder / "transfers.parquet"
        transfers = pd.read_parquet(path, columns=[*PAIR, "found", "agreement", "transferred"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path.name} cannot be read ({error}); run the job again") from error
    return Job(folder, result, matrix(pairs(transfers)))


def _reason(folder: Path) -> str:
    """Return what a failed job's log says of it: "; failed: …", or "" where it was ended without a word."""
    said = [line for log in folder.glob("*.log") for line in log.read_text().splitlines() if " failed: " in line]
    return f"; failed: {said[-1].partition(' failed: ')[2]}" if said else ""


def _swept(done: Iterable[Job]) -> tuple[str | None, list[str]]:
    """Return the number on the x-axis, a typed one if there is any, and the other settings that differ between jobs.

    What moves along with another setting is none of its own: what an experiment's patch computes from what was typed
    (`extra_layers` moves `reference.model.layers`), and what belongs to an option (`dataset` moves `dataset.rows`).
    """
    results = [job.result for job in done]
    every = [_settings(result) for result in results]
    names = dict.fromkeys(name for settings in every for name in settings)
    differ = [name for name in names if len({_value(settings, name) for settings in every}) > 1]
    typed = {override.lstrip("+~").partition("=")[0] for result in results for override in result["overrides"]}
    options = {name for name in differ if name in results[0]["choices"]}
    kept: list[str] = []
    for name in sorted(differ, key=lambda name: name not in typed):
        dependent = name.startswith("reference.") or name.partition(".")[0] in options - {name}
        if name in typed or not (dependent and _follows(name, kept, every)):
            kept.append(name)
    numbers = [n for n in kept if n != "seed" and all(_is_number(settings.get(n)) for settings in every)]
    knob = numbers[0] if numbers else None
    return knob, [name for name in kept if name != knob]


def _follows(name: str, others: Sequence[str], every: Sequence[dict[str, Any]]) -> bool:
    """Whether the values of `others` fix the value of `name`."""
    together = {(*(_value(settings, other) for other in others), _value(settings, name)) for settings in every}
    return len(together) == len({values[:-1] for values in together})


def _value(settings: dict[str, Any], name: str) -> str:
    return json.dumps(settings.get(name))


def _settings(result: dict[str, Any]) -> dict[str, Any]:
    """Return a job's settings, flat, with one name per group (`model`: mlp) instead of its `_target_`."""
    kept = {name: part for name, part in result["config"].items() if name not in NOT_SWEPT}
    settings = {name: value for name, value in flat(kept).items() if not name.endswith("_target_")}
    return {**result["choices"], **settings}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _natural(folder: Path) -> tuple[str, int, str]:
    return str(folder.parent), int(folder.name) if folder.name.isdigit() else -1, folder.name
