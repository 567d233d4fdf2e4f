"""python -m cftransfer.report.study: one of the paper's two studies, from nothing to its page in docs/results.

Runs the sweeps of every experiment on every data set, and writes down what came out beside what the paper expected.
Every number on the page comes from the jobs.
"""

import argparse
import io
import os
import platform
import re
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

from cftransfer import atomic, cores
from cftransfer.command_line import typed_command
from cftransfer.errors import InputError, as_command, plain
from cftransfer.jobs.read import Job
from cftransfer.measuring.statistics import LEVEL
from cftransfer.measuring.trends import holm
from cftransfer.report.cells import PAGE, cells, curve
from cftransfer.report.collect import Jobs, Line, Panel, jobs, lines
from cftransfer.report.figures import trend
from cftransfer.report.verdict_words import sentence

LEFT_OUT = ("to class 0", "to class 1", "base accuracy", "reference accuracy", "pairs")
BOX = "counterfactual.constraints=box"  # gradient search clipped to the features' ranges
COLUMNS = {head: metrics for head, metrics in PAGE.items() if head not in LEFT_OUT}


TRAINED = re.compile(r" training \d+ models? ")  # of a job's log: one pass


@dataclass(frozen=True)
class Part:
    """One experiment of a study.

    expected: the direction of the trend that the paper assumes. beside: data sets that are put on one figure with those
    of the study, by one command for all; without any, each data set has a command of its own.
    """

    name: str
    title: str
    words: str  # of the command
    question: str
    assumption: str
    expected: int
    beside: tuple[str, ...] = ()


@dataclass(frozen=True)
class Study:
    """One page. about: what was asked and on what, in a sentence or two; overrides: of all its commands."""

    title: str
    about: str
    datasets: tuple[str, ...]
    parts: tuple[Part, ...]
    overrides: tuple[str, ...] = ()


TABULAR_PARTS = (
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


IMAGE_PARTS = (
    replace(
        TABULAR_PARTS[0],
        question="The reference is the base itself, trained for 1 to 20 epochs more than its 20; "
        "after none the rate is 1.",
    ),
    Part(
        name="seed",
        title="Model parameters, tables beside images",
        words="-m experiment=seed counterfactual.confidence=0.5,0.9",
        question="The reference is the base's spec trained from another seed. The search ends when the base gives the "
        "target class a probability of .5, or goes on until .9.",
        assumption="(ours) a counterfactual further beyond the boundary holds more often",
        expected=1,
        beside=("compas",),
    ),
)
STUDIES = {
    "tabular": Study(
        title="Do counterfactuals on tables transfer?",
        about="The paper's four experiments on two data sets.",
        datasets=("compas", "acs_employment"),
        parts=TABULAR_PARTS,
        overrides=(BOX,),
    ),
    "images": Study(
        title="Do counterfactuals on images transfer?",
        about="The paper's two experiments on two data sets of images, each one class against as many images of all "
        "others. The paper expects that far fewer of them transfer than on tables.",
        datasets=("cifar10_airplane", "imagenet_orange"),
        parts=IMAGE_PARTS,
        overrides=("replicates.references=5", BOX),  # half of the default's references: an hour on two cores
    ),
}


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


def command() -> None:
    """Run the study and write its page; a mistake of the user is one line and exit status 1."""
    cores.wait_passively()
    parser = argparse.ArgumentParser(prog="python -m cftransfer.report.study", description=__doc__.partition("\n")[0])
    parser.add_argument("overrides", nargs="*", help="settings for every job, as in replicates.bases=10")
    parser.add_argument("--study", choices=STUDIES, default="tabular", help="which; its page has that name")
    parser.add_argument("--datasets", help="options of conf/dataset, separated by commas, instead of the study's")
    anew = (
        Path("multirun") / f"study-{time.strftime('%Y-%m-%d-%H-%M-%S')}"
    )  # what an earlier study left is not mixed in
    parser.add_argument("--sweeps", type=Path, default=anew, help="where the jobs go")
    parser.add_argument("--out", type=Path, default=Path("docs/results"), help="where the page goes")
    options = parser.parse_intermixed_args()
    study = STUDIES[options.study]
    datasets = options.datasets.split(",") if options.datasets else study.datasets
    overrides = [*study.overrides, *options.overrides]
    with as_command("cftransfer.report.study"):
        outcomes = [
            _outcome(part, dataset, overrides, options.sweeps)
            for part in study.parts
            for dataset in ([",".join([*part.beside, *datasets])] if part.beside else datasets)
        ]
        print(plain(f"study: {write(outcomes, options.out, name=options.study)}"))


def write(outcomes: Sequence[Outcome], out: Path, *, name: str) -> Path:
    """Write the page of the study `name`, and a figure per command, into `out`; return the page."""
    study, found = STUDIES[name], [line for outcome in outcomes for line in outcome.lines]
    adjusted = iter(holm([line.trend.p for line in found]))  # words and titles go by the page's own p
    told = [
        _told(replace(outcome, lines=[replace(line, p_holm=next(adjusted)) for line in outcome.lines]), out)
        for outcome in outcomes
    ]
    every = [job for outcome in outcomes for job in outcome.jobs.jobs]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cftransfer.report", "."),
        undefined=jinja2.StrictUndefined,
        finalize=escaped,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    first = outcomes[0].jobs.jobs[0].result
    text = environment.get_template("study.md.j2").render(
        study=study,
        name=name,
        parts=[(part, [row for row in told if row["part"] == part]) for part in study.parts],
        told=told,
        trends=len(found),
        images=_about(every),
        replicates=first.config["replicates"],
        samples=first.config["samples"],
        versions=first.versions,
        commits=sorted({_commit(job.result.git) for job in every}),
        machine=f"{os.cpu_count()} cores, {platform.machine()}",
        minutes={d: sum(o.seconds for o in outcomes if o.dataset == d) / 60 for d in {o.dataset: 0 for o in outcomes}},
    )
    path = out / f"{name}.md"
    atomic.write(path, text.encode())
    return path


def escaped(value: Any) -> Any:
    """Return words so that Markdown takes them for words, with no tag, link, cell or code of their own."""
    if not isinstance(value, str):
        return value
    for sign, instead in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|"), ("[", "\\["), ("`", "'")):
        value = value.replace(sign, instead)
    return plain(value)


def _outcome(part: Part, dataset: str, overrides: Sequence[str], sweeps: Path) -> Outcome:
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


def _about(every: Sequence[Job]) -> dict[str, str]:
    """Return what was taken of each data set that is read from atomic, in words."""
    told = {str(job.settings.get("dataset")): job.result.data.get("about", "") for job in every}
    return {dataset: about for dataset, about in told.items() if about}


def _told(outcome: Outcome, out: Path) -> dict[str, Any]:
    """Return what the page says of one outcome, and put its figure beside the page."""
    (panel,) = outcome.jobs.panels
    name = f"{outcome.dataset.replace(',', '-')}-{outcome.part.name}"
    picture = io.BytesIO()
    trend(outcome.jobs, outcome.lines).savefig(picture, format="png", dpi=110)
    atomic.write(out / "figures" / f"{name}.png", picture.getvalue())
    heads, rows = cells(panel, COLUMNS)
    aged = [curve(job) for job in panel.jobs if job.result.curve]
    return {
        "part": outcome.part,
        "dataset": outcome.dataset,
        "command": outcome.command,
        "figure": f"figures/{name}.png",
        "heads": heads,
        "rows": _plain(rows),
        "curves": [(heads, _plain(points)) for heads, points in aged],
        "series": [_series(outcome, panel, label) for label in panel.groups()],
        "found": [job.metrics["found"] for job in panel.jobs],
        "minus_seed": [_beside_seed(job.metrics) for job in panel.jobs if "rate_minus_seed" in job.metrics],
        "seconds": outcome.seconds,
        "passes": outcome.passes,
        "searches": outcome.searches,
    }


def _series(outcome: Outcome, panel: Panel, label: str) -> dict[str, Any]:
    """Return what the page says of one line of the figure: the data set it is of, its ends, its trend."""
    line = next((line for line in outcome.lines if line.label == label), None)
    return {
        "dataset": label.removeprefix("dataset=") or outcome.dataset,
        "sentence": sentence(line) if line else "no trend",
        "line": line,
        "verdict": verdict(line, outcome.part.expected),
        "rates": [(point.x, float(np.nanmean(point.rates))) for point in panel.groups()[label]],
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
        return "not shown to differ"
    return "lower" if high < 0 else "higher"


def _commit(git: Mapping[str, Any] | None) -> str:
    return f"{git['commit'][:10]}{' and changes' if git['dirty'] else ''}" if git else "unknown"


if __name__ == "__main__":
    command()
