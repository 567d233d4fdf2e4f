"""One job, from its config to its result: the data flow of the whole project, top to bottom."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from omegaconf import DictConfig, OmegaConf

from cftransfer import store, training, transferability
from cftransfer.counterfactuals.search import check, searched
from cftransfer.data.dataset import Dataset, load
from cftransfer.errors import InputError
from cftransfer.models.prediction import Model, logits, predicted
from cftransfer.spec import POOL_SIZE, Spec, base_spec, known, member_seeds, one_of, reference_spec, whole
from cftransfer.statistics import rate_interval

log = logging.getLogger(__name__)

PARTS = {
    "trainer": ("accelerator", "threads"),
    "paths": ("data", "store"),
    "wandb": ("mode", "project", "entity", "group"),
}
THREADS = torch.get_num_threads()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything a job needs, checked: nothing has been trained, searched or written when a bad setting is refused."""

    base: Spec
    reference: Spec
    base_seeds: list[int]
    reference_seeds: list[int]
    nested: bool  # each base meets a reference of its own seed alone, instead of all references
    search: dict[str, Any]
    samples: int | None
    dataset: Dataset
    store: Path
    accelerator: str


@dataclass(frozen=True)
class Result:
    """The metrics by name, the tables by the name of their file, and the rates of each pair of models."""

    metrics: dict[str, Any]
    tables: dict[str, pd.DataFrame]
    pairs: pd.DataFrame = field(default_factory=pd.DataFrame)


def plan(cfg: DictConfig) -> Plan:
    """Return the plan of a composed config; InputError, naming the key, for what cannot be done."""
    _check_parts(cfg)
    known("replicates", cfg.replicates, ("bases", "references"))
    base, reference, nested = base_spec(cfg), reference_spec(cfg), cfg.reference.seeds == "base"
    bases = whole("replicates.bases", cfg.replicates.bases, least=1, most=POOL_SIZE)
    references = whole("replicates.references", cfg.replicates.references, least=1, most=POOL_SIZE)
    dataset = load(base["dataset"])
    settings: dict[str, Any] = OmegaConf.to_container(cfg.counterfactual, resolve=True)  # type: ignore[assignment]
    training.check(base, dataset)
    try:
        training.check(reference, dataset)
    except InputError as error:
        raise InputError(f"reference.{error}") from error
    check(settings, dataset)
    if cfg.samples is not None and whole("samples", cfg.samples, least=1) > len(dataset.x_test):
        log.info("samples=%d: the test split has %d factuals; taking all", cfg.samples, len(dataset.x_test))
    return Plan(
        base=base,
        reference=reference,
        base_seeds=member_seeds(cfg.seed, "base", bases),
        reference_seeds=member_seeds(cfg.seed, *(("base", bases) if nested else ("reference", references))),
        nested=nested,
        search=settings,
        samples=cfg.samples,
        dataset=dataset,
        store=store.prepare(cfg.paths.store),
        accelerator=cfg.trainer.accelerator,
    )


def run(plan: Plan) -> Result:
    """Train or fetch the bases, search on them, train or fetch the references, and ask these about what was found."""
    place: dict[str, Any] = {"dataset": plan.dataset, "store": plan.store}
    bases = training.trained(plan.base, plan.base_seeds, accelerator=plan.accelerator, **place)
    searches = searched(bases, plan.base_seeds, spec=plan.base, settings=plan.search, samples=plan.samples, **place)
    references = training.trained(plan.reference, plan.reference_seeds, accelerator=plan.accelerator, **place)
    counterfactuals = transferability.counterfactual_table(searches, plan.base_seeds)
    transfers = transferability.transfer_table(
        searches,
        references,
        base_seeds=plan.base_seeds,
        reference_seeds=plan.reference_seeds,
        nested=plan.nested,
    )
    pairs = transferability.pairs(transfers)
    interval = rate_interval(transferability.matrix(pairs), found=int(counterfactuals.found.sum()))
    metrics = transferability.rates(counterfactuals, transfers) | {
        "rate_low": interval.low,
        "rate_high": interval.high,
        "interval": interval.method,
        "base_accuracy": _accuracy(bases, plan.dataset),
        "reference_accuracy": _accuracy(references, plan.dataset),
    }
    tables = {"counterfactuals": counterfactuals, "transfers": transfers}
    return Result(metrics, tables, pairs)


def population(cfg: DictConfig) -> Callable[[], Result]:
    """Check a composed config of train.py; return what trains, or fetches, its population."""
    _check_parts(cfg)
    known("population", cfg.population, ("pool", "size"))
    spec, settings = base_spec(cfg), cfg.population
    one_of("population.pool", settings.pool, ("base", "reference"))
    seeds = member_seeds(cfg.seed, settings.pool, whole("population.size", settings.size, least=1, most=POOL_SIZE))
    dataset, place = load(spec["dataset"]), store.prepare(cfg.paths.store)
    training.check(spec, dataset)

    def train() -> Result:
        training.trained(spec, seeds, dataset=dataset, store=place, accelerator=cfg.trainer.accelerator)
        curves = training.curves(spec, seeds, store=place)
        last = curves[curves.epoch == curves.epoch.max()].drop(columns=["epoch", "seed"]).mean()
        many = f"{len(seeds)} models" if len(seeds) > 1 else "1 model"
        log.info("%s: test accuracy %.3f, AUROC %.3f on average", many, last.test_accuracy, last.test_auroc)
        for seed in seeds:
            file = training.model_file(spec, seed, store=place)
            log.info("seed %d: %s, its curve in %s", seed, file, file.with_suffix(".csv").name)
        return Result({**last.to_dict(), "models": len(seeds)}, {"curves": curves})

    return train


def _check_parts(cfg: DictConfig) -> None:
    """Refuse what the shared parts of the config do not know; use as many threads as they say."""
    for part, names in PARTS.items():
        if not isinstance(cfg[part], DictConfig):
            raise InputError(f"{part}={cfg[part]}: takes the keys {', '.join(names)}")
        known(part, cfg[part], names)
    one_of("trainer.accelerator", cfg.trainer.accelerator, ("cpu",))
    threads = cfg.trainer.threads
    torch.set_num_threads(THREADS if threads is None else whole("trainer.threads", threads, least=1))


def _accuracy(models: Sequence[Model], dataset: Dataset) -> float:
    """Mean over models of the share of the test split that a model puts in its class."""
    right = [(predicted(logits(model, dataset.x_test)) == dataset.y_test).float().mean() for model in models]
    return float(torch.stack(right).mean())
