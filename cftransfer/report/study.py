"""python -m cftransfer.report.study: the paper's tabular study, from nothing to docs/results/tabular.md.

Runs the sweeps of every experiment on every data set, and writes down what came out beside what the paper expected.
Every number on the page comes from the jobs.
"""

import argparse
import io
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from cftransfer import store
from cftransfer.errors import InputError
from cftransfer.report.collect import Jobs, Line, jobs, lines
from cftransfer.report.figures import sentence, trend
from cftransfer.report.page import PAGE, cells, curve
from cftransfer.statistics import LEVEL, holm

DATASETS = ("compas", "acs_employment")
LEFT_OUT = ("to class 0", "to class 1", "base accuracy", "reference accuracy", "pairs")
COLUMNS = {head: metrics for head, metrics in PAGE.items() if head not in LEFT_OUT}


@dataclass(frozen=True)
class Part:
    """One experiment of the study. expected: the direction of the trend that the paper assumes, 0 where it has none."""

    name: str
    title: str
    words: str  # of the command
    question: str
    assumption: str
    expected: int


PARTS_OF_STUDY = (
    Part(
        name="continued_training",
        title="Continued training",
        words="experiment=continued_training",
        question="The reference is the base itself, trained for 1 to 20 epochs more; after none the rate is 1.",
        assumption="the longer the model is trained on, the fewer counterfactuals still hold",
        expected=-1,
    ),
    Part(
        name="seed",
        title="Model parameters",
        words="-m experiment=seed model.layers=1,2,4,8",
        question="The reference is the base's spec trained from another seed; the same at four depths.",
        assumption="other parameters alone make counterfactuals fail, the more so the more of them there are",
        expected=-1,
    ),
    Part(
        name="more_layers",
        title="More layers",
        words="-m experiment=more_layers extra_layers=1,2,4",
        question="The reference has 1, 2 or 4 hidden layers more than the base's 4.",
        assumption="the more layers are added, the fewer counterfactuals hold",
        expected=-1,
    ),
    Part(
        name="more_features",
        title="More features per layer",
        words="-m experiment=more_features extra_features=16,64,192",
        question="The reference has 16, 64 or 192 features per hidden layer more than the base's 64.",
        assumption="the more features are added, the fewer counterfactuals hold",
        expected=-1,
    ),
    Part(
        name="confidence",
        title="Confidence of the search",
        words="-m sweep=confidence",
        question="The same models throughout; the search goes on until the base gives the target class a "
        "probability of .5 to .9. Not one of the paper's experiments.",
        assumption="(ours) a counterfactual further beyond the boundary holds more often",
        expected=1,
    ),
)


@dataclass(frozen=True)
class Outcome:
    """What one command of the study gave, and what it took: seconds of wall time, training passes, searches."""

    part: Part
    dataset: str
    command: str
    jobs: Jobs
    line: Line | None
    seconds: float
    passes: int
    searches: int


def main() -> None:
    """Run the study and write its page; a mistake of the user is one line and exit status 1."""
    parser = argparse.ArgumentParser(prog="python -m cftransfer.report.study", description=__doc__.partition("\n")[0])
    parser.add_argument("overrides", nargs="*", help="settings for every job, as in replicates.bases=10")
    parser.add_argument("--datasets", default=",".join(DATASETS), help="options of conf/dataset, separated by commas")
    anew = (
        Path("multirun") / f"study-{time.strftime('%Y-%m-%d-%H-%M-%S')}"
    )  # what an earlier study left is not mixed in
    parser.add_argument("--sweeps", type=Path, default=anew, help="where the jobs go")
    parser.add_argument("--out", type=Path, default=Path("docs/results"), help="where tabular.md goes")
    options = parser.parse_intermixed_args()
    try:
        outcomes = [
            _outcome(part, dataset, options.overrides, options.sweeps)
            for dataset in options.datasets.split(",")
            for part in PARTS_OF_STUDY
        ]
        print(f"study: {write(outcomes, options.out)}")
    except InputError as error:
        sys.exit(f"cftransfer.report.study: {error}")


def write(outcomes: Sequence[Outcome], out: Path) -> Path:
    """Write `tabular.md`, and a figure per experiment and data set, into `out`; return the page."""
    adjusted = holm([outcome.line.trend.p if outcome.line else float("nan") for outcome in outcomes])
    told = [_told(outcome, p, out) for outcome, p in zip(outcomes, adjusted, strict=True)]
    told.sort(key=lambda row: PARTS_OF_STUDY.index(row["part"]))
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cftransfer.report", "."),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    first = outcomes[0].jobs.jobs[0].result
    text = environment.get_template("tabular.md.j2").render(
        parts=[(part, [row for row in told if row["part"] == part]) for part in PARTS_OF_STUDY],
        told=told,
        trends=sum(outcome.line is not None for outcome in outcomes),
        replicates=first["config"]["replicates"],
        samples=first["config"]["samples"],
        versions=first["versions"],
        commits=sorted({_commit(job.result["git"]) for outcome in outcomes for job in outcome.jobs.jobs}),
        machine=f"{os.cpu_count()} cores, {platform.machine()}",
        minutes={d: sum(o.seconds for o in outcomes if o.dataset == d) / 60 for d in {o.dataset: 0 for o in outcomes}},
    )
    path = out / "tabular.md"
    store.write(path, text.encode())
    return path


def _outcome(part: Part, dataset: str, overrides: Sequence[str], sweeps: Path) -> Outcome:
    """Run one command of the study, its jobs under `sweeps`."""
    place = sweeps / dataset / part.name
    words = [*shlex.split(part.words), f"dataset={dataset}", *overrides]
    command, started = ["python", "transfer.py", *words], time.perf_counter()
    print(shlex.join(command), flush=True)
    where = f"hydra.{'sweep' if '-m' in words else 'run'}.dir={place}"
    done = subprocess.run([sys.executable, *command[1:], where], stderr=subprocess.PIPE, text=True, check=False)
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
        line=next(iter(lines(collected)), None),
        seconds=seconds,
        passes=sum(" training " in line for line in said),
        searches=sum(" searched " in line for line in said),
    )


def _told(outcome: Outcome, p_holm: float, out: Path) -> dict[str, Any]:
    """Return what the page says of one outcome, and put its figure beside the page."""
    (panel,) = outcome.jobs.panels
    name = f"{outcome.dataset}-{outcome.part.name}"
    picture = io.BytesIO()
    line = replace(outcome.line, p_holm=p_holm) if outcome.line else None  # words and titles go by the page's own p
    trend(outcome.jobs, [line] if line else []).savefig(picture, format="png", dpi=110)
    store.write(out / "figures" / f"{name}.png", picture.getvalue())
    heads, rows = cells(panel, COLUMNS)
    aged = [curve(job) for job in panel.jobs if "curve" in job.result]
    return {
        "part": outcome.part,
        "dataset": outcome.dataset,
        "command": outcome.command,
        "figure": f"figures/{name}.png",
        "heads": heads,
        "rows": _plain(rows),
        "curves": [(heads, _plain(points)) for heads, points in aged],
        "sentence": sentence(line) if line else "no trend",
        "line": line,
        "verdict": verdict(line, outcome.part.expected),
        "rates": [(point.x, float(np.nanmean(point.rates))) for points in panel.groups().values() for point in points],
        "found": [job.metrics["found"] for job in panel.jobs],
        "minus_seed": [_beside_seed(job.metrics) for job in panel.jobs if "rate_minus_seed" in job.metrics],
        "seconds": outcome.seconds,
        "passes": outcome.passes,
        "searches": outcome.searches,
    }


def _plain(rows: Sequence[Sequence[tuple[str, str]]]) -> list[list[str]]:
    return [[f"{number} ({of})" if of else number for number, of in row] for row in rows]


def verdict(line: Line | None, expected: int) -> str:
    """Return how the trend that was found stands to the one that was expected: +1 for rising, -1 for falling."""
    if line is None:
        return "no trend"
    if not line.p_holm < 1 - LEVEL:
        return "not shown either way"
    return "as expected" if line.trend.slope * expected > 0 else "the opposite"


def _beside_seed(metrics: Mapping[str, Any]) -> str:
    """Return which way a job's rate differs from that of references which differ in their seed alone."""
    low, high = metrics["rate_minus_seed_low"], metrics["rate_minus_seed_high"]
    if low is None or low <= 0 <= high:
        return "no different"
    return "lower" if high < 0 else "higher"


def _commit(git: Mapping[str, Any] | None) -> str:
    return f"{git['commit'][:10]}{' and changes' if git['dirty'] else ''}" if git else "unknown"


if __name__ == "__main__":
    main()
