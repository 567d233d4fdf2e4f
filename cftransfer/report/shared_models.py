"""The models that jobs have in common, by the settings that decide them."""

import json
from collections.abc import Mapping
from typing import Any

from cftransfer.jobs.read import Job
from cftransfer.spec import PARTS


def models_of(job: Job) -> frozenset[str]:
    """Return names of a job's bases, of its references if they have seeds of their own, and of its splits if several.

    Two jobs with a name in common share these models: the i-th of one is the i-th of the other.
    """
    config = job.result.config
    base: dict[str, Any] = {part: config.get(part) for part in PARTS}
    patch = config.get("reference") or {}
    kinds = {"bases": base}
    if patch.get("seeds", "reference") == "reference":
        kinds["references"] = {part: _patched(base[part], patch.get(part)) for part in PARTS}
    if (splits := job.metrics.get("splits") or 1) > 1:
        kinds["splits"] = {"dataset": base["dataset"], "splits": splits}
    return frozenset(json.dumps([kind, spec, config.get("seed")], sort_keys=True) for kind, spec in kinds.items())


def _patched(part: Any, patch: Any) -> Any:
    """Return a part of the base's spec with its patch, which replaces it if it names another function."""
    if not (isinstance(part, Mapping) and isinstance(patch, Mapping)) or "_target_" in patch:
        return part if patch is None else patch
    return {**part, **patch}
