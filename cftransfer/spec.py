"""What a model is made of: the base's spec, the reference's patch on it, and the key under which each is kept."""

import hashlib
import importlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, MissingMandatoryValue, OmegaConfBaseException

from cftransfer.errors import InputError

Spec: TypeAlias = dict[str, Any]  # {"dataset": {...}, "model": {...}, "training": {...}}, resolved, plain data

FORMAT = 1  # raise it when the same spec would no longer give the same artifact
PARTS = ("dataset", "model", "training")
PLACES = {"dataset": ("root",), "model": ("weights",)}  # settings that say where a file lies; its content is identified
TARGETS = {part: f"cftransfer.{part}s." for part in ("model", "counterfactual")} | {"dataset": "cftransfer.data."}
TAKES = {"dataset": "folder", "model": "input_shape", "counterfactual": "target"}  # each function of a part takes it
POOLS = ("base", "reference", "generating")  # the third is for methods that train models of their own
POOL_SIZE = 1000
GENERATING = 20  # models at most that a method trains for one base; 50 bases then have such models of their own

OmegaConf.register_new_resolver("add", lambda *numbers: sum(numbers), replace=True)


def base_spec(cfg: DictConfig) -> Spec:
    """Cut the spec of the base models out of a composed config."""
    for part in PARTS:
        if not isinstance(cfg[part], DictConfig):
            raise InputError(f"{part}={cfg[part]}: takes an option of conf/{part}")
    try:
        return {part: OmegaConf.to_container(cfg[part], resolve=True, throw_on_missing=True) for part in PARTS}
    except MissingMandatoryValue as error:
        raise InputError(f"{error.full_key}: has no value; give it one, as in {error.full_key}=…") from error


def identified(spec: Spec, version: str) -> Spec:
    """Return the spec with what identifies the content of its files: its data, and the weights it starts from.

    Else a model trained on one file would be taken for a model of the file that replaced it.
    """
    weights = spec["model"].get("weights")
    content = {"data": version, "weights": content_of("model.weights", weights) if weights else ""}
    return {**spec, **{name: known for name, known in content.items() if known}}


def content_of(name: str, path: str) -> str:
    """Return the first 16 hex digits of the sha256 of a file that a setting names."""
    try:
        if not Path(str(path)).is_file():  # a pipe or a device would be read for ever
            raise OSError(None, "no such file")
        with Path(str(path)).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise InputError(f"{name}={path}: cannot be read ({error.strerror}); takes a path to a file") from error


def reference_spec(cfg: DictConfig) -> Spec:
    """Merge the experiment's patch, `reference` less its `seeds`, onto the base's spec.

    Raises InputError for a key that the base does not have, for a patch that changes nothing, and for a reference
    that would be the base itself: each would be a transferability rate that means nothing. A whole model in the patch
    (one with a `_target_`) replaces the base's; it may be the same, then of other seeds: the diagonal of a matrix.
    """
    base = base_spec(cfg)
    if not isinstance(cfg.reference, DictConfig):
        raise InputError(f"reference={cfg.reference}: takes a patch; reference.seeds=reference is the least")
    patch = _resolved_patch(cfg)
    seeds = one_of("reference.seeds", patch.pop("seeds", None), ("reference", "base"))
    if "dataset" in patch:
        raise InputError("reference.dataset: base and reference share one input space; patch model or training")
    merged = _merged_strictly(base, patch)
    for part in PARTS:
        if not isinstance(merged[part], dict):
            raise InputError(f"reference.{part}={merged[part]}: takes keys of {part}, as in reference.{part}.…=…")
    if patch and merged == base and not (_replaces_model(patch) and seeds == "reference"):
        raise InputError(f"reference={json.dumps(patch)}: changes nothing; for other seeds alone use experiment=seed")
    if not patch and seeds == "base":
        raise InputError("reference.seeds=base: without a patch the reference is the base; add one, or say reference")
    return merged


def _resolved_patch(cfg: DictConfig) -> dict[str, Any]:
    try:
        return OmegaConf.to_container(cfg.reference, resolve=True)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        formula = flat(OmegaConf.to_container(cfg.reference, resolve=False), "reference").get(str(error.full_key))
        reason = str(error).splitlines()[0]
        if isinstance(error, InterpolationKeyError):
            other = "choose another experiment, or a model that has it"
            raise InputError(f"{error.full_key}={formula}: the base has no such setting ({reason}); {other}") from error
        raise InputError(f"{error.full_key}={formula}: cannot be computed ({reason}); it takes numbers") from error


def unread(cfg: DictConfig, name: str) -> bool:
    """Return whether nothing in the experiment's patch depends on the top-level key `name`."""
    return f"${{{name}}}" not in json.dumps(OmegaConf.to_container(cfg.reference, resolve=False))


def _replaces_model(patch: Mapping[str, Any]) -> bool:
    return isinstance(patch.get("model"), dict) and "_target_" in patch["model"]


def _merged_strictly(base: Spec, patch: Mapping[str, Any]) -> Spec:
    strict = OmegaConf.create({**base, "model": patch["model"]} if _replaces_model(patch) else base)
    OmegaConf.set_struct(strict, True)
    try:
        merged = OmegaConf.merge(strict, OmegaConf.create(dict(patch)))
    except (OmegaConfBaseException, TypeError, ValueError, AttributeError) as error:
        if "not in struct" not in str(error) or not isinstance(error, OmegaConfBaseException):
            reason = " ".join(str(error).split())
            raise InputError(f"reference={json.dumps(patch)}: does not fit the base's spec ({reason})") from error
        has = ", ".join(map(str, error.parent_node or base))
        raise InputError(f"reference.{error.full_key}: no such key; there are: {has}") from error
    return OmegaConf.to_container(merged, resolve=True)  # type: ignore[return-value]


def key(*parts: Any) -> str:
    """Return the first 16 hex digits of the sha256 of the canonical JSON of `parts` and the format version.

    Whatever is not in `parts` (paths, hardware, loggers) cannot change the key.
    """
    text = json.dumps([FORMAT, *parts], sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def model_key(spec: Spec, seed: int) -> str:
    """Return the key of one trained model."""
    return key({**_anywhere(spec), "seed": seed})


def lineage_key(spec: Spec, seed: int) -> str:
    """Return the key that a model shares with the same model after more or fewer epochs."""
    return key("lineage", {**_ageless(spec), "seed": seed})


def family_key(spec: Spec) -> str:
    """Return the key that models of one spec share, of whatever seed and after however many epochs."""
    return key("family", _ageless(spec))


def _ageless(spec: Spec) -> Spec:
    return _anywhere(after(spec, None))


def _anywhere(spec: Spec) -> Spec:
    """Return the spec without the places of files, wherever these now lie."""
    kept = {
        part: {name: value for name, value in spec[part].items() if name not in PLACES.get(part, ())} for part in PARTS
    }
    return {**spec, **kept}


def after(spec: Spec, epochs: int | None) -> Spec:
    """Return the spec of the same model after another number of epochs, None for any."""
    return {**spec, "training": {**spec["training"], "epochs": epochs}}


def member_seeds(seed: int, pool: str, count: int) -> list[int]:
    """Return the seeds of the first `count` models of a pool: base 0, 1, …; reference 1000, 1001, … for `seed` 0.

    Pools never meet, neither within a seed nor between two.
    """
    whole("seed", seed, least=0, most=10**12)  # a model's seed has 63 bits
    start = (seed * len(POOLS) + POOLS.index(pool)) * POOL_SIZE
    return list(range(start, start + count))


def generating_seeds(base_seed: int, count: int) -> list[int]:
    """Return the seeds of the first `count` models that a method trains for one base: no other base has any of them."""
    pools, base = divmod(base_seed, POOL_SIZE)
    if base >= POOL_SIZE // GENERATING:
        most = POOL_SIZE // GENERATING
        raise InputError(f"replicates.bases: at most {most} where the search trains models of its own")
    start = (pools + POOLS.index("generating")) * POOL_SIZE + base * GENERATING
    return list(range(start, start + count))


def call(
    part: str, settings: Mapping[str, Any], *args: Any, offered: Mapping[str, Any] | None = None, **kwargs: Any
) -> Any:
    """Call `settings._target_` with the other settings; a setting that it does not take is named in an InputError.

    offered: what it gets if its signature asks for it by name.
    """
    function = chosen(part, settings)
    options = {name: value for name, value in settings.items() if name != "_target_"}
    takes = list(inspect.signature(function).parameters)[len(args) :]
    given = kwargs | {name: value for name, value in (offered or {}).items() if name in takes}
    known(part, options, [name for name in takes if name not in given])
    return function(*args, **options, **given)


def chosen(part: str, settings: Mapping[str, Any]) -> Callable[..., Any]:
    """Return the function that `settings._target_` names; InputError unless it is a public one of the part's package
    that takes what all functions of the part take.

    A config may be a stranger's, or come out of a result.json: it chooses among this package's own functions, and
    imports nothing else. What a module of ours has imported (`cftransfer.data.images.np`) is not its own.
    """
    name = settings.get("_target_")
    refused = InputError(f"{part}._target_={name}: takes the name of a function under {TARGETS[part]}…")
    if not isinstance(name, str) or not name.startswith(TARGETS[part]) or "._" in name:
        raise refused
    module, _, called = name.rpartition(".")
    try:
        function = getattr(importlib.import_module(module), called)
    except (ModuleNotFoundError, AttributeError) as error:
        if isinstance(error, ModuleNotFoundError) and not f"{module}.".startswith(f"{error.name}."):
            raise  # the module is there; what it imports is not
        raise InputError(f"{part}._target_={name}: no such function; {part}=… takes an option of conf/") from error
    if not inspect.isfunction(function) or (function.__module__, function.__qualname__) != (module, called):
        raise refused
    if TAKES[part] not in inspect.signature(function).parameters:
        raise InputError(f"{part}._target_={name}: makes no {part}; {part}=… takes an option of conf/")
    return function


def known(part: str, settings: Mapping[str, Any] | DictConfig, names: Sequence[str]) -> None:
    """Raise an InputError unless `settings` has exactly the keys `names`: a key that nobody reads is a mistake."""
    for name in map(str, settings):
        if name not in names:
            raise InputError(f"{part}.{name}: no such key; {part} has: {', '.join(names)}")
    for name in names:
        if name not in settings:
            raise InputError(f"{part}.{name}: is missing")


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """{"model": {"layers": 4}} → {"model.layers": 4}."""
    if not isinstance(config, dict) or not config:
        return {prefix: config}
    parts = [flat(value, f"{prefix}.{name}" if prefix else str(name)) for name, value in config.items()]
    return {name: value for part in parts for name, value in part.items()}


def whole(name: str, value: Any, *, least: int, most: int | None = None) -> int:
    """Return `value` if it is a whole number in [least, most], else raise an InputError that names the key."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
        limits = f"≥ {least}" if most is None else f"from {least} to {most}"
        raise InputError(f"{name}={value}: takes a whole number {limits}")
    return value


def real(name: str, value: Any, *, inside: str, among: Callable[[float], bool]) -> float:
    """Return `value` if it is a number for which `among` holds, else raise an InputError that says `inside`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not among(value):
        raise InputError(f"{name}={value}: takes a number {inside}")
    return float(value)


def one_of(name: str, value: Any, choices: Sequence[Any]) -> Any:
    """Return `value` if it is one of `choices`, else raise an InputError that lists them as YAML would."""
    if not any(value is choice or (isinstance(choice, str) and value == choice) for choice in choices):
        listed = ", ".join(choice if isinstance(choice, str) else json.dumps(choice) for choice in choices)
        raise InputError(f"{name}={value}: takes one of {listed}")
    return value
