"""The specification of a model, the key under which it is stored, and the pools of seeds."""

import hashlib
import json
from pathlib import Path
from typing import Any, TypeAlias

from cftransfer.errors import InputError
from cftransfer.settings import check_int
from cftransfer.targets import source_of

Spec: TypeAlias = dict[str, Any]  # settings for each of PARTS, as resolved plain data

FORMAT = 2  # increase when the same spec no longer gives the same artifact
PARTS = ("dataset", "model", "training", "rows", "perturbation")
ALL_ROWS = {"_target_": "all"}  # the training split unchanged
UNPERTURBED = {"_target_": "none"}  # the weights after training, unchanged
# Settings that were added later, at values that change nothing. They are not in a key, so stored models stay valid.
UNCHANGED: dict[str, dict[str, Any]] = {
    "model": {"dropout": 0.0},
    "training": {"optimizer": "adam", "weight_decay": 0.0, "label_smoothing": 0.0},
}
# Settings with paths or feature tables; the key has the content of the data instead.
PLACES = {"dataset": ("root", "path", "test_path", "features"), "model": ("weights",), "rows": ("dataset",)}
POOLS = ("base", "reference", "generating")  # the third is for methods that train further models
POOL_SIZE = 1000
IN_POOL = 20  # seeds of each base in the generating pool, which is enough for 50 bases
GENERATING = 64  # most models that a method trains for one base
BEYOND = 10**16  # above all pools: from here, each base has the seeds of its generating models after the first 20


def with_hashes(spec: Spec, version: str) -> Spec:
    """Return the spec with hashes of its data, of the weights it starts from, and of code that is not ours.

    Without hashes, a model trained on one file would be served for the file that replaced it.
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
        if not Path(str(path)).is_file():  # reading a pipe or a device might never end
            raise OSError(None, "no such file")
        with Path(str(path)).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise InputError(f"{name}={path}: cannot be read ({error.strerror}); takes a path to a file") from error


def key(*parts: Any) -> str:
    """Return the first 16 hex digits of the sha256 of the canonical JSON of `parts` and the format version.

    Anything outside `parts` (paths, hardware, loggers) cannot change the key.
    """
    text = json.dumps([FORMAT, *parts], sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def model_key(spec: Spec, seed: int) -> str:
    """Return the key of one trained model."""
    return key({**without_paths(spec), "seed": seed})


def lineage_key(spec: Spec, seed: int) -> str:
    """Return the key that is common to a model after any number of epochs."""
    return key("lineage", {**without_epochs(spec), "seed": seed})


def family_key(spec: Spec) -> str:
    """Return the key that is common to all models of one spec, for any seed and number of epochs."""
    return key("family", without_epochs(spec))


def without_epochs(spec: Spec) -> Spec:
    """Return the part of a spec that does not depend on the number of epochs or on paths of files."""
    return without_paths(at_epoch(spec, None))


def without_paths(spec: Spec) -> Spec:
    """Return the spec without paths of files and without settings that change nothing."""
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
    """Return the spec of the same model after `epochs` epochs, None for any number."""
    return {**spec, "training": {**spec["training"], "epochs": epochs}}


def member_seeds(seed: int, pool: str, count: int) -> list[int]:
    """Return the seeds of the first `count` models of a pool: base 0, 1, …; reference 1000, 1001, … for `seed` 0.

    Pools never overlap, neither for one `seed` nor between two.
    """
    check_int("seed", seed)  # a model's seed has 63 bits
    start = (seed * len(POOLS) + POOLS.index(pool)) * POOL_SIZE
    return list(range(start, start + count))


def generating_seeds(base_seed: int, count: int) -> list[int]:
    """Return the seeds of the first `count` ≤ GENERATING models that a method trains for one base.

    No other base and no other pool has any of them. The first IN_POOL lie in the generating pool, so that models in
    older stores keep their keys; the others lie above all pools.
    """
    pools, base = divmod(base_seed, POOL_SIZE)
    if base >= POOL_SIZE // IN_POOL:
        most = POOL_SIZE // IN_POOL
        raise InputError(f"replicates.bases: at most {most} if the search trains models of its own")
    start = (pools + POOLS.index("generating")) * POOL_SIZE + base * IN_POOL
    beyond = BEYOND + base_seed * GENERATING
    return [*range(start, start + min(count, IN_POOL)), *range(beyond, beyond + max(0, count - IN_POOL))]
