"""A study's commands: what each is called, and what running it gave."""

import re
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cftransfer.command_line import typed_command
from cftransfer.errors import InputError, plain
from cftransfer.report.collect import Jobs, Line, jobs, lines

TRAINED = re.compile(r" training \d+ models? ")  # of a job's log: one pass


@dataclass(frozen=True)
class Part:
    """One experiment of a study.

    assumption, expected: the trend that the paper assumes, and its direction; without them, no trend is looked for.
    beside: data sets that are put on one figure with those of the study, by one command for all; without any, each data
    set has a command of its own. dataset: the only one of this part, whatever the study's are.
    """

    name: str
    title: str
    words: str  # of the command
    question: str
    assumption: str = ""
    expected: int = 0
    beside: tuple[str, ...] = ()
    dataset: str = ""


@dataclass(frozen=True)
class Study:
    """One page. about: what was asked and on what, in a sentence or two; overrides: of all its commands."""

    title: str
    about: str
    datasets: tuple[str, ...]
    parts: tuple[Part, ...]
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What one command of a study gave, and what it took: seconds of wall time, training passes, searches."""

    part: Part
    dataset: str
    command: str
    jobs: Jobs
    lines: list[Line]
    seconds: float
    passes: int
    searches: int


def datasets_of(part: Part, datasets: Sequence[str]) -> list[str]:
    """Return the data sets of a part's commands, one or several (separated by commas) for each command."""
    if part.dataset:
        return [part.dataset]
    return [",".join([*part.beside, *datasets])] if part.beside else list(datasets)


def outcome_of(part: Part, dataset: str, overrides: Sequence[str], sweeps: Path) -> Outcome:
    """Run one command of a study, its jobs under `sweeps`; dataset: one, or several separated by commas."""
    place = sweeps / dataset.replace(",", "-") / part.name
    words = [*shlex.split(part.words), f"dataset={dataset}", *overrides]
    command, started = [*typed_command("transfer"), *words], time.perf_counter()
    print(plain(shlex.join(command)), flush=True)
    where = f"hydra.{'sweep' if '-m' in words else 'run'}.dir={place}"
    run = [sys.executable, "-m", "cftransfer", "transfer", *words, where]
    done = subprocess.run(run, stderr=subprocess.PIPE, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise InputError(
            f"{shlex.join(command)}: failed; {(done.stderr.strip() or 'no reason given').splitlines()[-1]}"
        )
    collected = jobs([place])
    said = done.stderr.splitlines()
    return Outcome(
        part=part,
        dataset=dataset,
        command=shlex.join(command),
        jobs=collected,
        lines=lines(collected),
        seconds=seconds,
        passes=sum(bool(TRAINED.search(line)) for line in said),
        searches=sum(" searched " in line for line in said),
    )
