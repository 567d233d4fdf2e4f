"""One job, from its plan to its result: the project's whole data flow on one screen."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from torch import Tensor

from cftransfer.commands.hardware import use
from cftransfer.commands.plan import Plan, Training
from cftransfer.data.dataset import Dataset
from cftransfer.data.feature import Feature
from cftransfer.data.pixels import PixelSpace
from cftransfer.jobs import examples, extremes, splits
from cftransfer.jobs.base_by_base import AllBases, base_by_base
from cftransfer.jobs.schema import EXTRA_EPOCHS
from cftransfer.jobs.write import JobResult
from cftransfer.measuring import rate_intervals, rates
from cftransfer.measuring.accuracy import accuracy, learned_nothing
from cftransfer.measuring.controls import nearest_rows
from cftransfer.measuring.counts import Counts
from cftransfer.measuring.long_tables import counterfactual_table, transfer_tables
from cftransfer.measuring.model_distance import mean_distances, model_distances
from cftransfer.measuring.noisy_execution import invalidation
from cftransfer.measuring.plausibility import plausible
from cftransfer.measuring.reference_answers import OfEachBase
from cftransfer.measuring.split_metrics import SplitAnswers, further_matrices
from cftransfer.measuring.stage_seconds import Stopwatch
from cftransfer.measuring.tails import tails
from cftransfer.models import export as exported
from cftransfer.models.perturbation import perturbed
from cftransfer.models.prediction import Asked, logits, predicted
from cftransfer.searching.candidates import Background, Counterfactuals
from cftransfer.spec import generating_seeds
from cftransfer.store.searched import of_base, searched, searches_file
from cftransfer.store.trained import curves, model_file, trained, trajectory

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OnTestSplit:
    """Accuracy of models on the test split, and distances between them; of references, after each number of epochs.

    distances: one row per pair, from `model_distances`.
    """

    base_accuracy: float
    reference_accuracy: list[float]
    distances: list[pd.DataFrame]


CURVE = ("rate", "rate_conditional", "agreement", "found")  # each with its interval


def run(plan: Plan) -> JobResult:
    """Measure on every split of the rows that the plan names, and return one result for all splits."""
    if not plan.further_splits:
        return _on_split(plan)[0]
    plans = [plan, *plan.further_splits]
    results, answers = [], []
    for number, one in enumerate(plans, 1):
        log.info("split %d of %d: dataset.split_seed=%d", number, len(plans), one.split_seed)
        result, said = _on_split(one)
        results.append(result)
        answers.append(said)
    return splits.over_splits(results, answers, [one.split_seed for one in plans], plan.identity)


def _on_split(plan: Plan) -> tuple[JobResult, SplitAnswers]:
    """Train or load the bases, search on them, train or load the references, and ask these about the counterfactuals.

    Return the result, and the input of its intervals.
    """
    use(plan.hardware, images=isinstance(plan.dataset.space, PixelSpace))
    shared: dict[str, Any] = {"dataset": plan.dataset, "store": plan.store, "hardware": plan.hardware}
    watch = Stopwatch()
    bases = trained(plan.base, plan.base_seeds, **shared, watch=watch)
    searches = _searched(plan, bases, shared, watch)
    references = _references(plan, bases, shared, watch)
    same_spec = [trained(plan.base, plan.reference_seeds, **shared, watch=watch)] if plan.by_seed else []
    nearest = [nearest_rows(found, base, plan.dataset.x_train) for found, base in zip(searches, bases, strict=True)]
    more = _further_questions(plan, bases, searches)
    counterfactuals = counterfactual_table(searches, plan.base_seeds, nearest=nearest, more=more)
    transfers = transfer_tables(
        searches,
        [*references, *same_spec],
        nearest=nearest,
        base_seeds=plan.base_seeds,
        reference_seeds=plan.reference_seeds,
        nested=plan.nested,
        noise=plan.noise,
    )
    with watch.stage("asking", len(bases) * (1 if plan.nested else len(plan.reference_seeds))):
        asked = base_by_base(counterfactuals, transfers, group=len(plan.epochs) - 1)
    of_models, notes = _on_test_split(plan, bases, references)
    metrics, tables, curve, answers = _measured(plan, counterfactuals, asked, of_models)
    if isinstance(plan.dataset.space, PixelSpace):
        metrics["found_as_bytes"] = rates.share_as_bytes(searches, bases)
    shown = examples.examples(searches, asked.first, plan.dataset)
    stable = extremes.extremes(searches, asked.holds, plan.dataset)
    tables |= {"curves": _curves(plan)}
    if shown:
        tables |= {
            name: examples.table(some, plan.dataset) for name, some in (("examples", shown), ("extremes", stable))
        }
    result = JobResult(
        metrics=metrics,
        tables=tables,
        curve=curve,
        pictures=examples.pictures(shown, plan.dataset) | extremes.pictures(stable, plan.dataset),
        features=_features(plan.dataset),
        kept=_kept(plan),
        data=plan.identity,
        notes=notes,
        seconds=watch.seconds(models_each=int(not plan.perturbed) + len(same_spec)),
    )
    return result, answers


def _references(
    plan: Plan, bases: Sequence[Asked], shared: dict[str, Any], watch: Stopwatch
) -> Sequence[Sequence[Any]]:
    """Return the references after each number of epochs; references made from the bases have only one."""
    if plan.perturbed:
        how = plan.reference["perturbation"]
        seeds = plan.reference_seeds
        return [[OfEachBase([perturbed(base, how, seed=seed) for base in bases]) for seed in seeds]]
    theirs = {**shared, "dataset": plan.reference_dataset, "watch": watch}
    return trajectory(plan.reference, plan.reference_seeds, epochs=plan.epochs, **theirs)


def _searched(plan: Plan, bases: Sequence[Asked], shared: dict[str, Any], watch: Stopwatch) -> list[Counterfactuals]:
    return searched(
        bases,
        plan.base_seeds,
        spec=plan.base,
        settings=plan.search,
        samples=plan.samples,
        dataset=plan.dataset,
        store=plan.store,
        generating=lambda seed, count: trained(plan.base, generating_seeds(seed, count), **shared),
        watch=watch,
    )


def _further_questions(
    plan: Plan, bases: Sequence[Asked], searches: Sequence[Counterfactuals]
) -> list[dict[str, Tensor]]:
    """Return, for each base, further columns of its counterfactuals, as the plan requests."""
    columns: list[dict[str, Tensor]] = [{} for _ in searches]
    if plan.plausibility:
        columns = plausible(searches, Background(plan.dataset.x_train, plan.dataset.y_train))
    if plan.noise is not None:
        for some, found, base in zip(columns, searches, bases, strict=True):
            some["invalidation_base"] = invalidation(found, [base], plan.noise)[0]
    return columns


def _measured(
    plan: Plan, counterfactuals: pd.DataFrame, asked: AllBases, of_models: OnTestSplit
) -> tuple[dict[str, Any], dict[str, pd.DataFrame | pa.Table], pd.DataFrame | None, SplitAnswers]:
    """Return metrics, tables, the curve of continued training, and the input of intervals over several splits.

    asked: answers of the references after each number of epochs, and last, with `plan.by_seed`, of other seeds alone.
    """
    by_epoch = asked.counts[: len(plan.epochs)]
    pairs = [
        rates.pairs(counts).merge(apart, on=["base", "reference"], validate="one_to_one")
        for counts, apart in zip(by_epoch, of_models.distances, strict=True)
    ]
    measured = [
        _metrics(counterfactuals, counts, table)
        | {"base_accuracy": of_models.base_accuracy, "reference_accuracy": accuracy}
        for counts, table, accuracy in zip(by_epoch, pairs, of_models.reference_accuracy, strict=True)
    ]
    metrics = measured[-1] | tails(pairs[-1], asked.holds)
    tables: dict[str, pd.DataFrame | pa.Table] = {
        "counterfactuals": counterfactuals,
        "transfers": asked.transfers[len(plan.epochs) - 1],
        "pairs": pairs[-1],
        "holds": asked.holds,
        "survivorship": rate_intervals.survivorship(counterfactuals, asked.by_cap),
    }
    if plan.by_seed:
        tables["transfers_seed"] = asked.transfers[-1]
        pairs[-1]["rate_seed"] = rates.pairs(asked.counts[-1]).rate
        metrics |= rate_intervals.minus_seed(pairs[-1])
    ages = [rate_intervals.matrices(counterfactuals, counts) for counts in by_epoch]
    matrices = ages[-1] | further_matrices(counterfactuals, pairs[-1], asked.holds)
    answers = SplitAnswers(matrices, counterfactuals, asked.by_cap, ages)
    if not plan.continued:
        return metrics, tables, None, answers
    joined = partial(_by_epoch, plan)
    names = [*(name + end for name in CURVE for end in ("", "_low", "_high")), "reference_accuracy"]
    curve = joined([pd.DataFrame([numbers])[names] for numbers in measured])
    return metrics, tables | {"transfers": joined(asked.transfers), "pairs": joined(pairs)}, curve, answers


def _metrics(counterfactuals: pd.DataFrame, counts: Counts, pairs: pd.DataFrame) -> dict[str, Any]:
    return (
        rates.rates(counterfactuals, counts)
        | rate_intervals.intervals(counterfactuals, counts)
        | rate_intervals.base_intervals(counterfactuals)
        | rates.before_projection(counterfactuals, counts)
        | mean_distances(pairs)
    )


def _by_epoch(plan: Plan, tables: Sequence[Any]) -> Any:
    """Return the tables of all epochs in one; its first column is the references' number of extra epochs."""
    extra = [epochs - plan.base["training"]["epochs"] for epochs in plan.epochs]
    if isinstance(tables[0], pa.Table):
        parts = zip(extra, tables, strict=True)
        return pa.concat_tables(
            part.add_column(0, EXTRA_EPOCHS, pa.array(np.full(len(part), many))) for many, part in parts
        )
    return pd.concat(dict(zip(extra, tables, strict=True)), names=[EXTRA_EPOCHS]).reset_index(level=0)


def _curves(plan: Plan) -> pd.DataFrame:
    """Return the training curves of bases and references: one row per role, seed and epoch."""
    roles = (("base", plan.base, plan.base_seeds), ("reference", plan.reference, plan.reference_seeds))
    trained_ones = roles[: 1 if plan.perturbed else 2]
    tables = [curves(spec, seeds, store=plan.store).assign(role=role) for role, spec, seeds in trained_ones]
    return pd.concat(tables, ignore_index=True)


def _on_test_split(
    plan: Plan, bases: Sequence[Asked], references: Sequence[Sequence[Any]]
) -> tuple[OnTestSplit, list[str]]:
    """Return the accuracy of models and their distances, and notes on models that have learned nothing."""
    x, y, names = plan.dataset.x_test, plan.dataset.y_test, plan.dataset.classes
    of_bases = [logits(model, x) for model in bases]
    of_references = [[_logits_of_each(model, x) for model in models] for models in references]
    classes = [torch.stack([predicted(said) for some in models for said in some]) for models in of_references]
    base_classes = torch.stack([predicted(said) for said in of_bases])
    notes = learned_nothing(base_classes, y, plan.base_seeds, role="base", names=names)
    if not plan.perturbed:
        notes += learned_nothing(classes[-1], y, plan.reference_seeds, role="reference", names=names)
    for note in notes:
        log.warning("%s", note)
    distances = [model_distances(of_bases, models, nested=plan.nested) for models in of_references]
    accuracies = [accuracy(some, y) for some in classes]
    return OnTestSplit(accuracy(base_classes, y), accuracies, distances), notes


def _logits_of_each(model: Any, x: Tensor) -> list[Tensor]:
    """Return a reference's logits of x: one tensor, or one per base if it is made from the bases."""
    return [logits(one, x) for one in (model.models if isinstance(model, OfEachBase) else [model])]


def _features(dataset: Dataset) -> Sequence[Feature]:
    return () if isinstance(dataset.space, PixelSpace) else dataset.space.features


def _kept(plan: Plan) -> list[str]:
    """Return the files of the store that hold the counterfactuals of each base."""
    many = len(plan.dataset.x_test[: plan.samples])
    files = [
        searches_file(
            plan.base, seed, settings=of_base(plan.search, base), many=many, dataset=plan.dataset, store=plan.store
        )
        for base, seed in enumerate(plan.base_seeds)
    ]
    return [path.relative_to(plan.store).as_posix() for path in files]


def train(plan: Training) -> JobResult:
    """Train, or load, the models of a pool."""
    use(plan.hardware, images=isinstance(plan.dataset.space, PixelSpace))
    trained(plan.spec, plan.seeds, dataset=plan.dataset, store=plan.store, hardware=plan.hardware)
    table = curves(plan.spec, plan.seeds, store=plan.store)
    last = table[table.epoch == table.epoch.max()].drop(columns=["epoch", "seed"]).mean()
    many = f"{len(plan.seeds)} models" if len(plan.seeds) > 1 else "1 model"
    log.info("%s: test accuracy %.3f, AUROC %.3f on average", many, last.test_accuracy, last.test_auroc)
    for seed in plan.seeds:
        file = model_file(plan.spec, seed, store=plan.store)
        log.info("seed %d: %s, its curve in %s", seed, file, file.with_suffix(".csv").name)
    metrics = {**last.to_dict(), "models": len(plan.seeds)}
    return JobResult(
        metrics=metrics, tables={"curves": table}, features=_features(plan.dataset), data=plan.dataset.identity
    )


def export(plan: Training) -> None:
    """Write the models of a pool into the folder `export`; models that the store lacks are trained first."""
    if plan.export is None:
        raise ValueError("the plan has no folder to export to")
    models = trained(plan.spec, plan.seeds, dataset=plan.dataset, store=plan.store, hardware=plan.hardware)
    exported.export(plan.export, dict(zip(plan.seeds, models, strict=True)), plan.dataset)
    log.info("exported models %s to %s; its load.py loads them", ", ".join(map(str, plan.seeds)), plan.export)
