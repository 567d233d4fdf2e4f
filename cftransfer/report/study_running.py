"""A study's commands: their names, their runs, and their results."""

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cftransfer import cores
from cftransfer.command_line import typed_command
from cftransfer.errors import InputError, plain
from cftransfer.report.collect import Jobs, Line, jobs, lines

TRAINED = re.compile(r" training \d+ models? ")  # a line of a job's log; each is one training pass


@dataclass(frozen=True)
class Part:
    """One experiment of a study.

    assumption: the trend that the paper assumes; without it, no trend is tested.
    asks: the assumption as a question. Its answer is "yes" if the rate goes in the direction `expected`: +1 up, -1
    down, 0 either way.
    expects: the source of the question, and the answer expected there.
    unit: of the swept key, in words.
    overall_at: the value of the swept key at which this part answers the study's overall question; None without one.
    reference: the kind of reference in words, for the table of findings; without it, the table omits the part.
    beside: data sets in the same figure as the study's, with one command for all; without them, each data set has its
    own command.
    dataset: this part's only data set, instead of the study's.
    """

    name: str
    title: str
    words: str  # of the command
    question: str
    assumption: str = ""
    asks: str = ""
    expects: str = ""
    expected: int = 0
    unit: str = ""
    overall_at: float | None = None
    reference: str = ""
    beside: tuple[str, ...] = ()
    dataset: str = ""


@dataclass(frozen=True)
class Study:
    """One page.

    about: the question and the data, in a sentence or two. overrides: of all its commands. overall: the question that
    a single part answers for all, and the answer that the paper expects. at_once: commands that run in parallel.
    """

    title: str
    about: str
    datasets: tuple[str, ...]
    parts: tuple[Part, ...]
    overrides: tuple[str, ...] = ()
    overall: tuple[str, str] = ("", "")
    at_once: int = 1


@dataclass(frozen=True)
class Outcome:
    """The result of one command of a study, with its seconds of wall time, training passes, and searches.

    began: the start, in seconds of time.perf_counter().
    """

    part: Part
    dataset: str
    command: str
    jobs: Jobs
    lines: list[Line]
    seconds: float
    passes: int
    searches: int
    began: float = 0.0


def datasets_of(part: Part, datasets: Sequence[str]) -> list[str]:
    """Return the data sets of a part's commands, one or several (separated by commas) for each command."""
    if part.dataset:
        return [part.dataset]
    return [",".join([*part.beside, *datasets])] if part.beside else list(datasets)


def combined(overrides: Sequence[str]) -> list[str]:
    """Return the settings; of several with the same key, only the last."""
    return list({word.partition("=")[0]: word for word in overrides}.values())


def outcomes_of(study: Study, datasets: Sequence[str], overrides: Sequence[str], sweeps: Path) -> list[Outcome]:
    """Run all commands of a study, `study.at_once` at a time; after a failure, no further commands begin.

    Commands that run in parallel share the cores: threads that compete for a core wait for each other.
    """
    commands = [(part, dataset) for part in study.parts for dataset in datasets_of(part, datasets)]
    threads = max(cores.share() // study.at_once, 1)
    with ThreadPoolExecutor(study.at_once) as pool:
        running = [pool.submit(outcome_of, part, dataset, overrides, sweeps, threads) for part, dataset in commands]
        try:
            return [each.result() for each in running]
        except BaseException:  # raised again; without this, leaving `with` would run the waiting commands after Ctrl-C
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def outcome_of(part: Part, dataset: str, overrides: Sequence[str], sweeps: Path, threads: int) -> Outcome:
    """Run one command of a study, with its jobs under `sweeps`.

    dataset: one, or several separated by commas. threads: of torch, in the command's process.
    """
    place = sweeps / dataset.replace(",", "-") / part.name
    words = combined([*shlex.split(part.words), f"dataset={dataset}", *overrides])
    command, started = [*typed_command("transfer"), *words], time.perf_counter()
    print(plain(shlex.join(command)), flush=True)
    where = f"hydra.{'sweep' if '-m' in words else 'run'}.dir={place}"
    run = [sys.executable, "-m", "cftransfer", "transfer", *words, where]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(run, env=environment, stderr=subprocess.PIPE, text=True, check=False)
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
        began=started,
    )
