"""What a model is made of, and the key under which it is kept; the pools that models' seeds come from."""

import hashlib
import json
from pathlib import Path
from typing import Any, TypeAlias

from cftransfer.errors import InputError
from cftransfer.settings import check_int
from cftransfer.targets import source_of

Spec: TypeAlias = dict[str, Any]  # a dictionary of settings for each of PARTS, resolved, plain data

FORMAT = 2  # raise it when the same spec would no longer give the same artifact
PARTS = ("dataset", "model", "training", "rows", "perturbation")
ALL_ROWS = {"_target_": "all"}  # the rows of the training split as they are
UNPERTURBED = {"_target_": "none"}  # the weights as training left them
# Settings that came later, at values that change nothing: no part of a key, or models that were stored would be lost.
UNCHANGED: dict[str, dict[str, Any]] = {
    "model": {"dropout": 0.0},
    "training": {"optimizer": "adam", "weight_decay": 0.0, "label_smoothing": 0.0},
}
# Files, and tables of features; the identity of a data set is that of its content.
PLACES = {"dataset": ("root", "path", "test_path", "features"), "model": ("weights",), "rows": ("dataset",)}
POOLS = ("base", "reference", "generating")  # the third is for methods that train models of their own
POOL_SIZE = 1000
IN_POOL = 20  # seeds of a base's own within the generating pool; 50 bases then have such seeds
GENERATING = 64  # models at most that a method trains for one base
BEYOND = 10**16  # above the seeds of all pools: from here on, each base has the seeds of its models after the first 20


def with_hashes(spec: Spec, version: str) -> Spec:
    """Return the spec with what identifies content: of its data, the weights it starts from, and code that is not ours.

    Otherwise a model trained on one file would be served for the file that replaced it.
    """
    weights = spec["model"].get("weights")
    content = {
        "data": version,
        "weights": content_of("model.weights", weights) if weights else "",
        "model_source": source_of("model", spec["model"]),
    }
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


def key(*parts: Any) -> str:
    """Return the first 16 hex digits of the sha256 of the canonical JSON of `parts` and the format version.

    Whatever is not in `parts` (paths, hardware, loggers) cannot change the key.
    """
    text = json.dumps([FORMAT, *parts], sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def model_key(spec: Spec, seed: int) -> str:
    """Return the key of one trained model."""
    return key({**without_paths(spec), "seed": seed})


def lineage_key(spec: Spec, seed: int) -> str:
    """Return the key that a model shares with the same model after more or fewer epochs."""
    return key("lineage", {**without_epochs(spec), "seed": seed})


def family_key(spec: Spec) -> str:
    """Return the key that models of one spec share, of whatever seed and after however many epochs."""
    return key("family", without_epochs(spec))


def without_epochs(spec: Spec) -> Spec:
    """Return what the specs of a model share after more or fewer epochs, wherever its files lie."""
    return without_paths(at_epoch(spec, None))


def without_paths(spec: Spec) -> Spec:
    """Return the spec without the places of files, wherever these now lie, and without what changes nothing."""
    kept = {
        part: {name: value for name, value in spec[part].items() if not _left_out(part, name, value)}
        for part in PARTS
        if part in spec and spec[part] not in (ALL_ROWS, UNPERTURBED)
    }
    return {name: value for name, value in spec.items() if name not in PARTS} | kept


def _left_out(part: str, name: str, value: Any) -> bool:
    unchanged = UNCHANGED.get(part, {})
    return name in PLACES.get(part, ()) or (name in unchanged and unchanged[name] == value)


def at_epoch(spec: Spec, epochs: int | None) -> Spec:
    """Return the spec of the same model after another number of epochs, None for any."""
    return {**spec, "training": {**spec["training"], "epochs": epochs}}


def member_seeds(seed: int, pool: str, count: int) -> list[int]:
    """Return the seeds of the first `count` models of a pool: base 0, 1, …; reference 1000, 1001, … for `seed` 0.

    Pools never meet, neither within a seed nor between two.
    """
    check_int("seed", seed)  # a model's seed has 63 bits
    start = (seed * len(POOLS) + POOLS.index(pool)) * POOL_SIZE
    return list(range(start, start + count))


def generating_seeds(base_seed: int, count: int) -> list[int]:
    """Return the seeds of the first `count` ≤ GENERATING models that a method trains for one base.

    No other base, and no pool, has any of them. The first IN_POOL lie in the generating pool, as they always did, so
    that models in older stores keep their keys; the others lie above all pools.
    """
    pools, base = divmod(base_seed, POOL_SIZE)
    if base >= POOL_SIZE // IN_POOL:
        most = POOL_SIZE // IN_POOL
        raise InputError(f"replicates.bases: at most {most} where the search trains models of its own")
    start = (pools + POOLS.index("generating")) * POOL_SIZE + base * IN_POOL
    beyond = BEYOND + base_seed * GENERATING
    return [*range(start, start + min(count, IN_POOL)), *range(beyond, beyond + max(0, count - IN_POOL))]
