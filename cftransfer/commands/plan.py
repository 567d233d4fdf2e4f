"""A composed config → everything that a job needs, checked, in the order in which the job uses it."""

import logging
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from cftransfer import store
from cftransfer.commands.hardware import hardware_of
from cftransfer.commands.patch import base_spec, reference_spec, unread
from cftransfer.commands.splits import by_split, check_splits, joined_identity
from cftransfer.data.dataset import Dataset, load
from cftransfer.data.other_table import other_rows
from cftransfer.data.pixels import PixelSpace
from cftransfer.data.space import FeatureSpace
from cftransfer.errors import InputError
from cftransfer.jobs.schema import version_of
from cftransfer.measuring.noisy_execution import Noise, noise_on
from cftransfer.models.build import Hardware, build_for, check_training, fitted_in_one_go
from cftransfer.models.perturbation import check_perturbation
from cftransfer.models.training_rows import shifted, trained_on
from cftransfer.settings import check_choice, check_float, check_int
from cftransfer.spec import UNPERTURBED, Spec, at_epoch, generating_seeds, member_seeds, with_hashes
from cftransfer.store.searched import IMPORTED, check_search, imported_content
from cftransfer.targets import parameters

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything a job needs, checked: a bad setting is refused before anything is trained, searched or written."""

    base: Spec
    reference: Spec
    base_seeds: list[int]
    reference_seeds: list[int]
    nested: bool  # each base meets only the reference of its own seed
    search: dict[str, Any]
    samples: int | None
    dataset: Dataset
    reference_dataset: Dataset  # the same, except for the training rows of rows=shift
    store: Path
    hardware: Hardware
    imported: str = ""  # identifies the content of imported files of counterfactuals
    noise: Noise | None = None  # for carrying counterfactuals out roughly
    plausibility: bool = False  # whether counterfactuals are compared with training rows of their target class
    further_splits: "tuple[Plan, ...]" = ()  # the plans for further splits of the rows

    @property
    def split_seed(self) -> int:
        """The seed of the plan's split of the rows."""
        return int(self.base["dataset"]["split_seed"])

    @property
    def identity(self) -> dict[str, Any]:
        """The description of all data that the job reads: its data set, the references', files of counterfactuals."""
        if self.further_splits:
            every = [replace(self, further_splits=()), *self.further_splits]
            return joined_identity({one.split_seed: one.identity for one in every})
        said = {**self.dataset.identity}
        if self.reference_dataset is not self.dataset:
            said |= {"notes": list(self.reference_dataset.notes), "shifted": self.reference_dataset.version}
        if self.imported:
            said |= {"imported": self.imported, "from_files": True}
        return said

    @property
    def version(self) -> str:
        """The identity of all data that the job reads, from `jobs.schema.version_of`."""
        return version_of(self.identity)

    @property
    def continued(self) -> bool:
        """Whether the references are the bases themselves, trained further."""
        return self.nested and at_epoch(self.reference, self.base["training"]["epochs"]) == self.base

    @property
    def epochs(self) -> list[int]:
        """Epochs after which references are asked: one number, or every extra epoch if bases are trained further."""
        first, last = (spec["training"]["epochs"] for spec in (self.base, self.reference))
        return list(range(first + 1, last + 1)) if self.continued else [last]

    @property
    def by_seed(self) -> bool:
        """Whether references of the bases' own spec are asked as well.

        A new architecture is also a new seed, so the effect of the seed alone is measured on the same counterfactuals.
        """
        return not self.nested and not self.perturbed and self.reference != self.base

    @property
    def perturbed(self) -> bool:
        """Whether the references are the bases themselves, with changed weights."""
        return self.reference["perturbation"] != UNPERTURBED


@dataclass(frozen=True, kw_only=True)
class Training:
    """Everything train.py needs, checked: the models of one pool of one spec."""

    spec: Spec
    seeds: list[int]
    dataset: Dataset
    store: Path
    hardware: Hardware
    export: Path | None  # folder for copies that need no cftransfer


def plan(cfg: DictConfig, *, typed: Collection[str] = ()) -> Plan:
    """Return the plan of a composed config; InputError, naming the key, for settings that cannot run.

    typed: the names of the settings given by the user or the sweep.
    """
    configs = by_split(cfg)
    first, *others = (_on_split(own, typed) for own in configs)
    if others:
        check_splits([first.dataset, *(other.dataset for other in others)])
    return replace(first, further_splits=tuple(others))


def _on_split(cfg: DictConfig, typed: Collection[str]) -> Plan:
    """Return the plan of a config for the split of the rows that `dataset.split_seed` names."""
    bases, references = _replicates(cfg)
    _check_distances(cfg, typed)
    specs, nested = (base_spec(cfg), reference_spec(cfg)), cfg.reference.seeds == "base"
    dataset = _dataset(cfg)  # late, since it may need a download
    reference_dataset = reference_data(cfg, dataset, specs)
    base = with_hashes(specs[0], dataset.model_version)
    reference = with_hashes(specs[1], reference_dataset.model_version)
    _check_models(base, reference, dataset, nested=nested)
    if any(name.startswith("dataset.features") for name in typed) and cfg.counterfactual.constraints != "actionable":
        log.info("dataset.features: mutable and direction matter only under counterfactual.constraints=actionable")
    base_seeds = member_seeds(cfg.seed, "base", bases)
    search = _search(cfg, base, dataset, base_seeds)
    if cfg.samples is not None and check_int("samples", cfg.samples) > len(dataset.x_test):
        log.info("samples=%d: the test split has %d factuals; taking all", cfg.samples, len(dataset.x_test))
    return Plan(
        base=base,
        reference=reference,
        base_seeds=base_seeds,
        reference_seeds=base_seeds if nested else member_seeds(cfg.seed, "reference", references),
        nested=nested,
        search=search,
        samples=cfg.samples,
        dataset=dataset,
        reference_dataset=reference_dataset,
        store=store.prepare(cfg.paths.store),
        hardware=hardware_of(cfg.trainer),
        imported=imported_content(search, bases),
        noise=_noise(cfg, dataset),
        plausibility=_plausibility(cfg, dataset),
    )


def plan_training(cfg: DictConfig) -> Training:
    """Return the plan of a composed config of train.py; InputError, naming the key, for settings that cannot run."""
    pool = check_choice("population.pool", cfg.population.pool)
    size = check_int("population.size", cfg.population.size)
    if cfg.export is not None and (not isinstance(cfg.export, str) or not cfg.export):
        raise InputError(f"export={cfg.export}: must be a folder, or null")
    seeds, spec, dataset = member_seeds(cfg.seed, pool, size), base_spec(cfg), _dataset(cfg)
    spec = with_hashes(spec, dataset.model_version)
    check_training(spec, dataset)
    place, hardware = store.prepare(cfg.paths.store), hardware_of(cfg.trainer)
    export = None if cfg.export is None else Path(cfg.export)
    return Training(spec=spec, seeds=seeds, dataset=dataset, store=place, hardware=hardware, export=export)


def _noise(cfg: DictConfig, dataset: Dataset) -> Noise | None:
    """Return the noise of a job, None if sigma is 0."""
    sigma, draws = cfg.execution.sigma, check_int("execution.draws", cfg.execution.draws)
    check_float("execution.sigma", sigma, inside="from 0, no noise, up to 1", among=lambda one: 0 <= one <= 1)
    return noise_on(dataset.space, cfg.counterfactual.constraints, sigma=sigma, draws=draws) if sigma else None


def _plausibility(cfg: DictConfig, dataset: Dataset) -> bool:
    if check_choice("plausibility", cfg.plausibility) and isinstance(dataset.space, PixelSpace):
        log.info("plausibility=true: applies to tables only; left out for these images")
        return False
    return bool(cfg.plausibility)


def _replicates(cfg: DictConfig) -> tuple[int, int]:
    bases, references = (check_int(f"replicates.{name}", cfg.replicates[name]) for name in ("bases", "references"))
    return bases, references


def _check_distances(cfg: DictConfig, typed: Collection[str]) -> None:
    """Check the distances of the reference from the base (`extra_…`), and that the experiment reads them."""
    for name in [str(name) for name in cfg if str(name).startswith("extra_")]:
        check_int(name, cfg[name], least=1)
        if unread(cfg, name) and name in typed:
            raise InputError(f"{name}: this experiment's patch does not use it; choose another experiment")


def _dataset(cfg: DictConfig) -> Dataset:
    return load(base_spec(cfg)["dataset"], Path(cfg.paths.data))


def reference_data(cfg: DictConfig, dataset: Dataset, specs: tuple[Spec, Spec]) -> Dataset:
    """Return the data set of the references: the base's, or with the training rows that reference.rows=shift names."""
    base, reference = (spec["rows"] for spec in specs)
    dataset_spec = specs[0]["dataset"]
    if base["_target_"] == "shift":
        raise InputError("rows=shift: is for references only, as in experiment=shift; dataset=… is the base's data")
    if reference["_target_"] != "shift":
        return dataset
    changed = reference.get("dataset")
    if not isinstance(changed, dict) or not changed:
        takes = "must have the settings of dataset that differ from the base's"
        key = "path=other.csv" if dataset_spec["_target_"] == "table" else "states=[CA]"
        raise InputError(f"reference.rows.dataset: {takes}, such as +reference.rows.dataset.{key}")
    folder = Path(cfg.paths.data)
    if changed.get("_target_", dataset_spec["_target_"]) == "table" == dataset_spec["_target_"]:
        moved = _moved_to_file(dataset, dataset_spec, changed, folder)
    else:
        moved = shifted(dataset, load({**dataset_spec, **changed}, folder))
    if moved.model_version == dataset.model_version:
        raise InputError("reference.rows.dataset: gives the base's own training rows; choose another place or time")
    return moved


def _moved_to_file(dataset: Dataset, given: Spec, changed: Spec, folder: Path) -> Dataset:
    """Return the data set of a table with the rows of a second file as its training split."""
    assert isinstance(dataset.space, FeatureSpace)
    own = {name: value for name, value in changed.items() if name != "_target_"}
    try:
        rows, y, weight, notes = other_rows(dataset.space, dataset.classes, given=given, changed=own, folder=folder)
        return trained_on(dataset, rows, y, weight=weight, notes=notes)
    except InputError as error:
        key = "reference.rows." if str(error).startswith("dataset.") else "reference.rows.dataset: "
        raise InputError(f"{key}{error}") from error


def _check_models(base: Spec, reference: Spec, dataset: Dataset, *, nested: bool) -> None:
    """Refuse specs that cannot be trained, and a reference that equals its own base."""
    check_training(base, dataset)
    try:
        check_training(reference, dataset)
    except InputError as error:
        raise InputError(f"reference.{error}") from error
    same = {**base, "training": reference["training"]} == reference
    if same and base != reference and fitted_in_one_go(base, dataset):
        way_out = "choose a network, such as model=mlp, or another experiment"
        name = base["model"]["_target_"].rpartition(".")[2]
        raise InputError(f"model={name}: is fitted without epochs, and reference.training changes nothing; {way_out}")
    _check_perturbation(base, reference, nested=nested)
    if nested and reference["training"]["epochs"] < base["training"]["epochs"]:
        raise InputError("reference.training.epochs: must be at least training.epochs with reference.seeds=base")


def _check_perturbation(base: Spec, reference: Spec, *, nested: bool) -> None:
    """Refuse changed weights of bases, and references with changed weights and another change."""
    if base["perturbation"] != UNPERTURBED:
        raise InputError("perturbation: is for references only, as in experiment=weight_noise")
    if reference["perturbation"] == UNPERTURBED:
        return
    check_perturbation(reference["perturbation"])
    if nested or {**reference, "perturbation": UNPERTURBED} != base:
        way_out = "leave out the rest of the patch, and reference.seeds"
        raise InputError(
            f"reference.perturbation={reference['perturbation']['_target_']}: changes the bases themselves; {way_out}"
        )


def _search(cfg: DictConfig, base: Spec, dataset: Dataset, seeds: list[int]) -> dict[str, Any]:
    """Return the search's settings; refuse those that the method or the base's model does not accept."""
    settings: dict[str, Any] = OmegaConf.to_container(cfg.counterfactual, resolve=True)  # type: ignore[assignment]
    if "generating" in parameters("counterfactual", settings):
        for seed in seeds:
            generating_seeds(seed, 1)
    untrained = build_for(dataset, base["model"], seed=0)
    for number in range(len(seeds) if settings.get("_target_") == IMPORTED else 1):
        check_search(settings, dataset, untrained, samples=cfg.samples, base=number)
    return settings
