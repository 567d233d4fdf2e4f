"""The swept settings of some jobs: those that differ, and the one that is the number on the x-axis."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from cftransfer.jobs.read import Job
from cftransfer.jobs.schema import EXTRA_EPOCHS, is_number

DRAWN = ("seed", "split_seed", "draw")  # last words of settings that number random draws
SIZES = ("replicates.bases", "replicates.references", "replicates.splits", "samples", "execution.draws")


def is_replicate(name: str) -> bool:
    """Return whether jobs that differ only in this setting repeat one job: it is the number of a random draw."""
    return name.rpartition(".")[2] in DRAWN


def is_size(name: str) -> bool:
    """Return whether the setting is a size of the measurement: it moves the interval's width and not the rate."""
    return name in SIZES


def differences(some: Sequence[Job]) -> list[str]:
    """Return the names of the settings that are not the same in all jobs."""
    every = [job.settings for job in some]
    names = dict.fromkeys(name for settings in every for name in settings)
    return [name for name in names if len({_value(settings, name) for settings in every}) > 1]


def swept(done: Iterable[Job]) -> tuple[str | None, list[str], tuple[str, ...]]:
    """Return the number on the x-axis, the other settings that differ between jobs, and those that number replicates.

    On the x-axis, a typed number is preferred, and a size of the measurement comes last.

    A setting that follows from another one does not count: an experiment's patch computes `reference.model.layers`
    from `extra_layers`, and an option brings its own settings (`dataset` brings `dataset.rows`).
    """
    some = list(done)
    results, every, differ = [job.result for job in some], [job.settings for job in some], differences(some)
    words = [override.lstrip("+~").partition("=")[0] for result in results for override in result.overrides]
    typed = {word.rpartition("@")[2] for word in words}  # model@reference.model becomes reference.model
    options = {name for name in differ if name in results[0].choices}
    kept: list[str] = []
    for name in sorted(differ, key=lambda name: name not in typed):
        if name in typed or not (_dependent(name, options, typed) and _follows(name, kept, every)):
            kept.append(name)
    replicates = [name for name in differ if name in kept and is_replicate(name)]
    replicates.sort(key=lambda name: name.endswith("draw"))  # a draw is one of a seed's
    kept = [name for name in kept if name not in replicates]
    numbers = [n for n in kept if all(is_number(settings.get(n)) for settings in every)]
    # Distances of the reference from the base come first.
    numbers.sort(key=lambda name: (is_size(name), not name.startswith("extra_")))
    if all(result.curve for result in results):
        return EXTRA_EPOCHS, kept, tuple(replicates)
    knob = numbers[0] if numbers else None
    return knob, [name for name in kept if name != knob], tuple(replicates)


def _dependent(name: str, options: set[str], typed: set[str]) -> bool:
    """Whether a setting that was not typed may be a consequence of a typed one.

    A setting of the patch may be, and a setting that belongs to an option that differs, but not the option itself. If
    data sets differ, any setting may be, since data sets choose the search's step and their rows.
    """
    chosen = "dataset" in typed & options
    return name.startswith("reference.") or name.partition(".")[0] in options - {name} or chosen


def _follows(name: str, others: Sequence[str], every: Sequence[dict[str, Any]]) -> bool:
    """Whether the values of `others` determine the value of `name`."""
    together = {(*(_value(settings, other) for other in others), _value(settings, name)) for settings in every}
    return len(together) == len({values[:-1] for values in together})


def _value(settings: dict[str, Any], name: str) -> str:
    return json.dumps(settings.get(name))
