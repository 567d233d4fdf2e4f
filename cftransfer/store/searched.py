"""The counterfactuals of bases: read from the store, or searched and stored."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from cftransfer.data.dataset import Dataset
from cftransfer.data.pixels import PixelSpace, unit
from cftransfer.errors import InputError
from cftransfer.measuring.stage_seconds import Stopwatch, timed
from cftransfer.models.adapter import as_model
from cftransfer.models.prediction import Asked
from cftransfer.searching.candidates import Background, Counterfactuals
from cftransfer.searching.constraint import constraint
from cftransfer.searching.engine import Generating, proposed, search
from cftransfer.settings import check_int
from cftransfer.spec import Spec, content_of, key, model_key
from cftransfer.store import artifacts
from cftransfer.store.locks import hold
from cftransfer.targets import source_of

log = logging.getLogger(__name__)

IMPORTED = "imported"  # the method that reads a file
GREY, GREYS = ("possible", "actionable"), {"pixels": "whole grey levels"}  # their meaning for images
# Settings that older stored searches lack, with the value of the old behaviour; at this value they are not in the key.
LATER = {("ensemble", "agree"): 1}
TRIES = 3  # attempts, if searches are damaged or gone right after they were made


def factuals(dataset: Dataset, samples: int | None) -> Tensor:
    """Return the first `samples` inputs of the test split, or all for None: the same for every base."""
    return unit(dataset.x_test if samples is None else dataset.x_test[: check_int("samples", samples)])


def check_search(
    settings: Mapping[str, Any], dataset: Dataset, model: Asked, *, samples: int | None = None, base: int = 0
) -> None:
    """Raise an InputError, naming the key, for settings that the method refuses, for example with this kind of model.

    The method is called without rows, on an untrained model. Imported counterfactuals of a base, 0, 1, …, are read and
    checked against the `samples` factuals.
    """
    method, constraints, others = _parts(of_base(settings, base))
    rows = factuals(dataset, samples) if method == IMPORTED else unit(dataset.x_test[:0])
    shape = () if dataset.outputs == 1 else (dataset.outputs,)
    asked = (lambda x: x.new_zeros(len(x), *shape) + x.sum()) if method == IMPORTED else model
    proposed(
        method,
        as_model(asked),
        rows,
        rows.new_zeros(len(rows)).long(),
        constraint=constraint(constraints, dataset.space),
        space=dataset.space,
        background=_background(dataset),
        generating=None,
        settings=others,
        complete=True,
    )


def of_base(settings: Mapping[str, Any], base: int) -> dict[str, Any]:
    """Return the settings of a search on base 0, 1, …: `{base}` in the path of an import becomes the number.

    InputError for an import without a file or without units.
    """
    if settings.get("_target_") != IMPORTED:
        return dict(settings)
    for name, takes in (("path", "the path of a file"), ("units", "original or unit")):
        if not isinstance(settings.get(name), str) or settings[name] in ("", "???"):
            raise InputError(f"counterfactual.{name}: is missing; takes {takes}, as in counterfactual.{name}=…")
    return {**settings, "path": settings["path"].replace("{base}", str(base))}


def imported_content(settings: Mapping[str, Any], bases: int) -> str:
    """Return a hash of the files that are imported for the first `bases`; "" without an import."""
    if settings.get("_target_") != IMPORTED:
        return ""
    paths = [of_base(settings, base)["path"] for base in range(bases)]
    return key("imported", [content_of("counterfactual.path", path) for path in paths])


def run_search(
    model: Asked,
    x: Tensor,
    *,
    settings: Mapping[str, Any],
    dataset: Dataset,
    generating: Generating | None = None,
) -> Counterfactuals:
    """Return `search` with a config's settings: x, (n, *input), on one base model."""
    method, constraints, others = _parts(settings)
    return search(
        model,
        x,
        space=dataset.space,
        method=method,
        constraints=constraints,
        background=_background(dataset),
        generating=generating,
        **others,
    )


def searched(
    bases: Sequence[Asked],
    seeds: Sequence[int],
    *,
    spec: Spec,
    settings: Mapping[str, Any],
    samples: int | None,
    dataset: Dataset,
    store: Path,
    generating: Callable[[int, int], Sequence[Asked]],
    watch: Stopwatch | None = None,
) -> list[Counterfactuals]:
    """Return the counterfactuals of every base, from the store or searched and stored.

    generating: a base's seed and a number → that many models of its spec, with seeds of their own. watch: counts the
    seconds of the bases that are searched here, including the training of generating models.
    """
    x = factuals(dataset, samples)
    own = {seed: of_base(settings, base) for base, seed in enumerate(seeds)}

    def file(seed: int) -> Path:
        return searches_file(spec, seed, settings=own[seed], many=len(x), dataset=dataset, store=store)

    files = {seed: file(seed) for seed in seeds}
    names = [path.stem for path in files.values()]

    def make(seed: int, base: Asked) -> None:
        with timed(watch, "searching", 1):
            result = run_search(base, x, settings=own[seed], dataset=dataset, generating=partial(generating, seed))
        if file(seed) != files[seed]:
            raise InputError(f"counterfactual.path={own[seed]['path']}: changed while it was read; run the job again")
        found = len(result.rows[result.found].unique())  # a factual may have several
        log.info("searched %d counterfactuals on base %d: found %d", len(x), seed, found)
        about = {"base": {**spec, "seed": seed}, "counterfactual": own[seed], "samples": len(x)}
        kept = {name: part for name, part in vars(result).items() if isinstance(part, Tensor) and name != "factual"}
        artifacts.save(store, "counterfactuals", files[seed].stem, kept, about)

    for _ in range(TRIES):  # a damaged artifact is moved aside when it is loaded
        if not all(path.exists() for path in files.values()):
            with hold(store, names):
                for seed, base in zip(seeds, bases, strict=True):
                    if not files[seed].exists():
                        make(seed, base)
        loaded = [artifacts.load(store, "counterfactuals", name) for name in names]
        kept = [found[0] for found in loaded if found]
        parts: list[dict[str, Any]] = [{**part, "factual": x[part["row"]] if "row" in part else x} for part in kept]
        if len(parts) == len(seeds):
            return [Counterfactuals(**part) for part in parts]
    raise InputError(f"paths.store={store}: searches are damaged or gone as soon as they are made; check its disk")


def searches_file(
    spec: Spec, seed: int, *, settings: Mapping[str, Any], many: int, dataset: Dataset, store: Path
) -> Path:
    """Return the path of the counterfactuals of `many` factuals on one base, existing or not.

    settings: from `of_base`. An import counts by its content, not by its path.
    """
    code, method = source_of("counterfactual", settings), str(settings.get("_target_"))
    known = {name: value for name, value in settings.items() if value != LATER.get((method, name), object())}
    if method == IMPORTED:
        known["content"] = content_of("counterfactual.path", known.pop("path"))
    free = {} if dataset.version == dataset.model_version else {"data": dataset.version}  # mutability and direction
    # Keys of earlier versions, which allowed every point of the box, lack it.
    greys = GREYS if isinstance(dataset.space, PixelSpace) and known["constraints"] in GREY else {}
    name = key("counterfactuals", model_key(spec, seed), known, many, *[part for part in (code, free, greys) if part])
    return artifacts.artifact(store, "counterfactuals", name)


def _background(dataset: Dataset) -> Background:
    return Background(dataset.x_train, dataset.y_train)


def _parts(settings: Mapping[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """Return the method, the constraints and the method's own settings from a config's settings."""
    if "constraints" not in settings:
        raise InputError("counterfactual.constraints: is missing")
    others = {name: value for name, value in settings.items() if name not in ("_target_", "constraints")}
    return settings.get("_target_", ""), settings["constraints"], others
