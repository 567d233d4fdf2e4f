"""python -m cftransfer.report.study: a study, from nothing to its page in docs/results.

Runs the sweeps of every experiment on every data set, and writes the results; for the paper's two studies, beside the
paper's expectations. Every number on a page comes from the jobs.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cftransfer import cores
from cftransfer.errors import as_command, plain
from cftransfer.report.study_changes import write_changes
from cftransfer.report.study_running import Outcome, Part, Study, combined, outcomes_of
from cftransfer.report.study_trends import write_trends
from cftransfer.report.study_why import write_why

BOTH = "counterfactual.constraints=none,possible"  # the paper's own search, and possible inputs only
MODELS = ("replicates.bases=20", "replicates.references=40")  # enough to decide most trends
TABULAR_PARTS = (
    Part(
        name="continued_training",
        title="Continued training",
        words="-m experiment=continued_training",
        question="The reference is the base itself, trained for 1 to 20 epochs more than its 10.",
        assumption="with every extra epoch, fewer counterfactuals hold",
        asks="Do fewer counterfactuals hold with every epoch that the base is trained on?",
        expects="the paper expects yes",
        expected=-1,
        unit="extra epochs",
        reference="the base itself, 20 epochs later",
    ),
    Part(
        name="seed",
        title="Model parameters",
        words="-m experiment=seed model.layers=1,2,4,8,16",
        question="Base and reference differ only in the seed of their training; both have 1 to 16 hidden layers.",
        assumption="the more parameters both models have, the fewer counterfactuals hold",
        asks="Do fewer counterfactuals hold between larger models that differ only in their seed?",
        expects="the paper expects yes",
        expected=-1,
        unit="hidden layers",
        overall_at=4,
        reference="another seed",
    ),
    Part(
        name="more_layers",
        title="More layers",
        words="-m experiment=more_layers extra_layers=1,2,4,8",
        question="The reference has 1 to 8 hidden layers more than the base, which has 4.",
        assumption="the rate may depend on the number of layers; the direction is left open",
        asks="Does the number of additional layers of the reference matter?",
        expects="the paper leaves it open",
        unit="extra layers",
        reference="another seed and 8 more layers",
    ),
    Part(
        name="more_features",
        title="More features per layer",
        words="-m experiment=more_features extra_features=16,64,192",
        question="The reference has 16 to 192 features per hidden layer more than the base, which has 64.",
        assumption="the wider the reference, the fewer counterfactuals hold",
        asks="Do fewer counterfactuals hold on references with wider layers than the base?",
        expects="the paper expects yes",
        expected=-1,
        unit="extra features per layer",
        reference="another seed and 192 more features per layer",
    ),
    Part(
        name="confidence",
        title="Confidence of the search",
        words="-m sweep=confidence",
        question="The models stay the same; the search continues until the base gives the target class a "
        "probability of .5 to .9.",
        assumption="a counterfactual further beyond the boundary holds more often (not one of the paper's)",
        asks="Do more counterfactuals hold if the search continues until the base is more confident?",
        expects="not in the paper; we expect yes",
        expected=1,
        unit="confidence of the base",
        reference="another seed, search until the base is 90 % sure",
    ),
)


IMAGE_PARTS = (
    replace(
        TABULAR_PARTS[0],
        question="The reference is the base itself, trained for 1 to 20 epochs more than its 20.",
    ),
    Part(
        name="seed",
        title="Model parameters, tables beside images",
        words="-m experiment=seed counterfactual.confidence=0.5,0.9",
        question="Base and reference differ only in the seed of their training. The search ends when the base gives "
        "the target class a probability of .5, or continues until .9.",
        assumption="a counterfactual further beyond the boundary holds more often (not one of the paper's)",
        asks="Do more counterfactuals hold if the search continues until the base is more confident?",
        expects="not in the paper; we expect yes",
        expected=1,
        unit="confidence of the base",
        beside=("compas",),
        overall_at=0.5,
    ),
)
CHANGES_PARTS = (
    Part(
        name="changes",
        title="Every kind of change",
        words="-m sweep=changes",
        question="In each job, base and reference differ in one way. "
        "How many of the base's counterfactuals still hold?",
    ),
    Part(
        name="audit",
        title="An audit's families of changes",
        words="-m sweep=audit",
        question="The same kinds of change as in a published audit. How wide is its interval, and how wide is ours?",
        dataset="sklearn",
    ),
)
STUDIES = {
    "tabular": Study(
        title="Do counterfactuals on tables transfer?",
        about="The paper's four experiments and one of ours, on two data sets.",
        datasets=("compas", "acs_employment"),
        parts=TABULAR_PARTS,
        overrides=(BOTH, *MODELS, "plausibility=true"),  # why.md needs the density of training rows
        overall=(
            "Do counterfactuals on tables hold on other models at all?",
            "the paper expects: at least to some extent",
        ),
        at_once=2,
    ),
    "images": Study(
        title="Do counterfactuals on images transfer?",
        about="The paper's two experiments on two data sets of images, each one class against as many images of all "
        "others.",
        datasets=("cifar10_airplane", "imagenet_orange"),
        parts=IMAGE_PARTS,
        overrides=(BOTH, "replicates.bases=6", "replicates.references=6"),  # fits an hour on two cores
        overall=("Do counterfactuals on images hold on other models at all?", "the paper expects no, unlike on tables"),
        at_once=2,
    ),
    "changes": Study(
        title="What changed between the two models?",
        about="Eleven kinds of change on one axis, the disagreement of the two models. Then the kinds of change of a "
        "published audit, with its interval beside ours.",
        datasets=("compas", "acs_employment"),
        parts=CHANGES_PARTS,
        overrides=("counterfactual.constraints=possible",),
    ),
}


def command() -> None:
    """Run the study and write its page; a user's mistake is one line and exit status 1."""
    cores.wait_passively()
    parser = argparse.ArgumentParser(prog="python -m cftransfer.report.study", description=__doc__.partition("\n")[0])
    parser.add_argument("overrides", nargs="*", help="settings for every job, such as replicates.bases=10")
    parser.add_argument("--study", choices=STUDIES, default="tabular", help="the study, and the name of its page")
    parser.add_argument("--datasets", help="options of conf/dataset, separated by commas, instead of the study's")
    fresh = (
        Path("multirun") / f"study-{time.strftime('%Y-%m-%d-%H-%M-%S')}"
    )  # a new folder, so that an earlier study's jobs do not count
    parser.add_argument("--sweeps", type=Path, default=fresh, help="folder for the jobs")
    parser.add_argument("--out", type=Path, default=Path("docs/results"), help="folder for the page")
    parser.add_argument("--readme", type=Path, help="a page that gets the table of findings, between its comments")
    options = parser.parse_intermixed_args()
    study = STUDIES[options.study]
    datasets = options.datasets.split(",") if options.datasets else study.datasets
    overrides = combined([*study.overrides, *options.overrides])
    with as_command("cftransfer.report.study"):
        outcomes = outcomes_of(study, datasets, overrides, options.sweeps)
        print(plain(f"study: {write(outcomes, options.out, name=options.study, readme=options.readme)}"))


def write(outcomes: Sequence[Outcome], out: Path, *, name: str, readme: Path | None = None) -> Path:
    """Write the page of the study `name`, and a figure per command, into `out`; return the page.

    readme: another page to put the table of findings into.
    """
    path, study = out / f"{name}.md", STUDIES[name]
    if name == "changes":
        write_changes(outcomes, path, study=study)
    else:
        write_trends(outcomes, path, study=study, readme=readme)
        if name == "tabular":
            write_why(outcomes, out / "why.md")
    return path


if __name__ == "__main__":
    command()
