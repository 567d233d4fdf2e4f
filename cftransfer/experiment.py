"""One job, from its config to its result: the data flow of the whole project, top to bottom."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from cftransfer import examples, store, training, transferability
from cftransfer.controls import nearest_rows
from cftransfer.counterfactuals.search import check, searched
from cftransfer.counterfactuals.search import file as search_file
from cftransfer.data.dataset import Dataset, load
from cftransfer.data.pixels import PixelSpace
from cftransfer.errors import InputError
from cftransfer.models.prediction import Model, build, logits, predicted
from cftransfer.results import MOST
from cftransfer.secrecy import check_config, leaves
from cftransfer.spec import (
    POOL_SIZE,
    Spec,
    after,
    base_spec,
    family_key,
    generating_seeds,
    identified,
    known,
    member_seeds,
    one_of,
    reference_spec,
    unread,
    whole,
)

log = logging.getLogger(__name__)

PARTS = {
    "trainer": ("accelerator", "threads", "stacked"),
    "input": ("step", "rows", "distance_weight"),
    "paths": ("data", "store"),
    "wandb": ("mode", "project", "entity", "group", "tags", "notes", "finish_timeout"),
}
THREADS = torch.get_num_threads()
CURVE = ["rate", "rate_low", "rate_high", "rate_conditional", "agreement", "found", "reference_accuracy"]


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
    hardware: training.Hardware

    @property
    def continued(self) -> bool:
        """Whether the references are the bases themselves, trained on."""
        return self.nested and after(self.reference, self.base["training"]["epochs"]) == self.base

    @property
    def ages(self) -> list[int]:
        """Epochs after which references are asked: once, or, of bases trained on, after every extra one."""
        first, last = (spec["training"]["epochs"] for spec in (self.base, self.reference))
        return list(range(first + 1, last + 1)) if self.continued else [last]

    @property
    def by_seed(self) -> bool:
        """Whether references of the bases' own spec are to be asked too.

        A new architecture is also a new seed: what would the seed alone have done to the same counterfactuals?
        """
        return not self.nested and self.reference != self.base


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a job leaves: metrics by name, tables by the name of their file, and, of continued training, the curve.

    pictures: (height, width, 3) bytes by name, of images. kept: the files of the store that hold the counterfactuals.
    data: what identifies the data, and what of it was taken, in words.
    """

    metrics: dict[str, Any]
    tables: dict[str, pd.DataFrame]
    curve: pd.DataFrame | None = None
    pictures: dict[str, np.ndarray] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)


def plan(cfg: DictConfig) -> Plan:
    """Return the plan of a composed config; InputError, naming the key, for what cannot be done."""
    _check_parts(cfg)
    known("replicates", cfg.replicates, ("bases", "references"))
    bases = whole("replicates.bases", cfg.replicates.bases, least=1, most=POOL_SIZE)
    references = whole("replicates.references", cfg.replicates.references, least=1, most=POOL_SIZE)
    for name in map(str, cfg):
        if name.startswith("extra_"):
            whole(name, cfg[name], least=1)
            if unread(cfg, name) and name in _typed():
                raise InputError(f"{name}: nothing in this experiment's patch depends on it; choose another experiment")
    specs, nested = (base_spec(cfg), reference_spec(cfg)), cfg.reference.seeds == "base"
    dataset = _dataset(cfg)  # late, since it may have to be downloaded
    base, reference = (identified(spec, dataset.version) for spec in specs)
    settings: dict[str, Any] = OmegaConf.to_container(cfg.counterfactual, resolve=True)  # type: ignore[assignment]
    training.check(base, dataset)
    try:
        training.check(reference, dataset)
    except InputError as error:
        raise InputError(f"reference.{error}") from error
    if base["model"] == reference["model"] and base != reference and training.without_epochs(base, dataset):
        name = base["model"]["_target_"].rpartition(".")[2]
        way_out = "choose a network, as in model=mlp, or another experiment"
        raise InputError(f"model={name}: is fitted without epochs, and reference.training changes nothing; {way_out}")
    if nested and reference["training"]["epochs"] < base["training"]["epochs"]:
        raise InputError("reference.training.epochs: with reference.seeds=base, takes no fewer than training.epochs")
    base_seeds = member_seeds(cfg.seed, "base", bases)
    check(settings, dataset, build(base["model"], input_shape=dataset.input_shape, seed=0), base_seeds)
    if cfg.samples is not None and whole("samples", cfg.samples, least=1) > len(dataset.x_test):
        log.info("samples=%d: the test split has %d factuals; taking all", cfg.samples, len(dataset.x_test))
    return Plan(
        base=base,
        reference=reference,
        base_seeds=base_seeds,
        reference_seeds=base_seeds if nested else member_seeds(cfg.seed, "reference", references),
        nested=nested,
        search=settings,
        samples=cfg.samples,
        dataset=dataset,
        store=store.prepare(cfg.paths.store),
        hardware=_hardware(cfg),
    )


def run(plan: Plan) -> Result:
    """Train or fetch the bases, search on them, train or fetch the references, and ask these about what was found."""
    with store.using(plan.store, [family_key(plan.base), family_key(plan.reference)]):
        return _run(plan)


def _run(plan: Plan) -> Result:
    place: dict[str, Any] = {"dataset": plan.dataset, "store": plan.store}
    train: dict[str, Any] = {**place, "hardware": plan.hardware}
    bases = training.trained(plan.base, plan.base_seeds, **train)
    searches = searched(
        bases,
        plan.base_seeds,
        spec=plan.base,
        settings=plan.search,
        samples=plan.samples,
        generating=lambda seed, count: training.trained(plan.base, generating_seeds(seed, count), **train),
        **place,
    )
    references = training.trajectory(plan.reference, plan.reference_seeds, epochs=plan.ages, **train)
    nearest = [nearest_rows(search, base, plan.dataset.x_train) for search, base in zip(searches, bases, strict=True)]
    ask = partial(
        transferability.transfer_tables,
        searches,
        nearest=nearest,
        base_seeds=plan.base_seeds,
        reference_seeds=plan.reference_seeds,
        nested=plan.nested,
    )
    counterfactuals = transferability.counterfactual_table(searches, plan.base_seeds, nearest=nearest)
    asked = ask(references)
    pairs = [transferability.pairs(transfers) for transfers in asked]
    right = _accuracy(bases, plan.dataset)
    measured = [
        transferability.rates(counterfactuals, transfers)
        | transferability.intervals(rates)
        | transferability.distance_interval(counterfactuals)
        | transferability.before_projection(counterfactuals, transfers)
        | {"base_accuracy": right, "reference_accuracy": _accuracy(models, plan.dataset)}
        for transfers, rates, models in zip(asked, pairs, references, strict=True)
    ]
    metrics = measured[-1]
    if isinstance(plan.dataset.space, PixelSpace):
        metrics["found_as_bytes"] = transferability.share_as_bytes(searches, bases)
    tables = {"counterfactuals": counterfactuals, "transfers": asked[-1], "pairs": pairs[-1]}
    if plan.by_seed:
        (tables["transfers_seed"],) = ask([training.trained(plan.base, plan.reference_seeds, **train)])
        tables["pairs"]["rate_seed"] = transferability.pairs(tables["transfers_seed"]).rate
        metrics |= transferability.minus_seed(tables["pairs"])
    if plan.continued:
        tables |= {"transfers": _by_age(plan, asked), "pairs": _by_age(plan, pairs)}
    tables |= {"survivorship": transferability.survivorship(counterfactuals, asked[-1]), "curves": _curves(plan)}
    shown = examples.examples(searches, asked[-1], plan.dataset)
    if shown:
        tables["examples"] = examples.table(shown, plan.dataset)
    return Result(
        metrics=metrics,
        tables=tables,
        curve=_by_age(plan, [pd.DataFrame([metrics])[CURVE] for metrics in measured]) if plan.continued else None,
        pictures=examples.pictures(shown, plan.dataset),
        kept=_kept(plan, len(searches[0].factual)),
        data={"version": plan.dataset.version, "about": plan.dataset.about},
    )


def _kept(plan: Plan, many: int) -> list[str]:
    """Return the files of the store that hold the counterfactuals of each base."""
    files = [
        search_file(plan.base, seed, settings=plan.search, many=many, store=plan.store) for seed in plan.base_seeds
    ]
    return [path.relative_to(plan.store).as_posix() for path in files]


def _by_age(plan: Plan, tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the tables of all ages in one, whose first column says how many extra epochs the references had."""
    extra = [age - plan.base["training"]["epochs"] for age in plan.ages]
    return pd.concat(dict(zip(extra, tables, strict=True)), names=["extra_epochs"]).reset_index(level=0)


def _curves(plan: Plan) -> pd.DataFrame:
    """Return the training curves of bases and references: one row per role, seed and epoch."""
    roles = (("base", plan.base, plan.base_seeds), ("reference", plan.reference, plan.reference_seeds))
    tables = [training.curves(spec, seeds, store=plan.store).assign(role=role) for role, spec, seeds in roles]
    return pd.concat(tables, ignore_index=True)


def population(cfg: DictConfig) -> Callable[[], Result]:
    """Check a composed config of train.py; return what trains, or fetches, its population."""
    _check_parts(cfg)
    known("population", cfg.population, ("pool", "size"))
    spec, settings = base_spec(cfg), cfg.population
    one_of("population.pool", settings.pool, ("base", "reference"))
    seeds = member_seeds(cfg.seed, settings.pool, whole("population.size", settings.size, least=1, most=POOL_SIZE))
    dataset, place, hardware = _dataset(cfg), store.prepare(cfg.paths.store), _hardware(cfg)
    spec = identified(spec, dataset.version)
    training.check(spec, dataset)

    def train() -> Result:
        with store.using(place, [family_key(spec)]):
            training.trained(spec, seeds, dataset=dataset, store=place, hardware=hardware)
            curves = training.curves(spec, seeds, store=place)
        last = curves[curves.epoch == curves.epoch.max()].drop(columns=["epoch", "seed"]).mean()
        many = f"{len(seeds)} models" if len(seeds) > 1 else "1 model"
        log.info("%s: test accuracy %.3f, AUROC %.3f on average", many, last.test_accuracy, last.test_auroc)
        for seed in seeds:
            file = training.model_file(spec, seed, store=place)
            log.info("seed %d: %s, its curve in %s", seed, file, file.with_suffix(".csv").name)
        return Result(metrics={**last.to_dict(), "models": len(seeds)}, tables={"curves": curves})

    return train


def _typed() -> set[str]:
    """Return the names of the settings that the user, or the sweep, has given."""
    overrides = HydraConfig.get().overrides.task if HydraConfig.initialized() else []
    return {override.lstrip("+~").partition("=")[0] for override in overrides}


def _dataset(cfg: DictConfig) -> Dataset:
    if not isinstance(cfg.paths.data, str) or not cfg.paths.data:
        raise InputError(f"paths.data={cfg.paths.data}: takes a folder")
    return load(base_spec(cfg)["dataset"], Path(cfg.paths.data))


def _check_parts(cfg: DictConfig) -> None:
    """Refuse what the shared parts of the config do not know, and secrets; use as many threads as they say."""
    check_config(cfg)
    for part, names in PARTS.items():
        if not isinstance(cfg[part], DictConfig):
            raise InputError(f"{part}={cfg[part]}: takes the keys {', '.join(names)}")
        known(part, cfg[part], names)
    _check_numbers(cfg)
    threads = cfg.trainer.threads
    torch.set_num_threads(THREADS if threads is None else whole("trainer.threads", threads, least=1))


def _check_numbers(cfg: DictConfig) -> None:
    """Refuse what is not finite, which no result.json can hold, and what is larger than a report takes.

    Also where nothing reads the setting: else it ends the job when all has been computed.
    """
    for name, value in leaves(cfg):
        if isinstance(value, int | float) and not abs(value) <= MOST:  # nan, too
            raise InputError(f"{name}={value}: takes a finite number, of at most 2^64")


def _hardware(cfg: DictConfig) -> training.Hardware:
    """Return where to run; refuse what this machine does not have."""
    settings = cfg.trainer
    one_of("trainer.accelerator", settings.accelerator, ("cpu", "gpu"))
    one_of("trainer.stacked", settings.stacked, (None, True, False))
    if settings.accelerator == "gpu":
        if not torch.cuda.is_available():
            raise InputError("trainer.accelerator=gpu: torch sees no CUDA device here; trainer=cpu works everywhere")
        # TensorFloat-32 keeps 10 bits of 23: logits near 0 would change sides. Kernels chosen by their speed would
        # differ between runs.
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    return training.Hardware(settings.accelerator, settings.stacked)


def _accuracy(models: Sequence[Model], dataset: Dataset) -> float:
    """Mean over models of the share of the test split that a model puts in its class."""
    right = [(predicted(logits(model, dataset.x_test)) == dataset.y_test).float().mean() for model in models]
    return float(torch.stack(right).mean())
