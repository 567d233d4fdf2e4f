"""The specs of base and reference from a composed config; the reference's is the base's with the patch."""

import json
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, MissingMandatoryValue, OmegaConfBaseException

from cftransfer.errors import InputError
from cftransfer.settings import check_choice, flat
from cftransfer.spec import PARTS, Spec


def base_spec(cfg: DictConfig) -> Spec:
    """Return the spec of the base models from a composed config."""
    for part in PARTS:
        if not isinstance(cfg[part], DictConfig):
            raise InputError(f"{part}={cfg[part]}: must be an option of conf/{part}")
    try:
        return {part: OmegaConf.to_container(cfg[part], resolve=True, throw_on_missing=True) for part in PARTS}
    except MissingMandatoryValue as error:
        raise InputError(f"{error.full_key}: has no value; give it one, as in {error.full_key}=…") from error


def reference_spec(cfg: DictConfig) -> Spec:
    """Merge the experiment's patch, `reference` without `seeds`, onto the base's spec.

    Raises InputError for a key that the base lacks, for a patch that changes nothing, and for a reference that is the
    base itself: the rate would be meaningless. A whole model, rule of rows, or perturbation in the patch (with a
    `_target_`) replaces the base's. The patch may name the same model with other seeds: the diagonal of a matrix.
    """
    base = base_spec(cfg)
    if not isinstance(cfg.reference, DictConfig):
        raise InputError(f"reference={cfg.reference}: must be a mapping, for example reference.seeds=reference")
    patch = _resolved_patch(cfg)
    seeds = check_choice("reference.seeds", patch.pop("seeds", None))
    if "dataset" in patch:
        raise InputError("reference.dataset: base and reference share one input space; patch model or training")
    merged = _merged_strictly(base, patch)
    for part in PARTS:
        if not isinstance(merged[part], dict):
            raise InputError(f"reference.{part}={merged[part]}: must be keys of {part}, as in reference.{part}.…=…")
    if patch and merged == base and not (_replaces(patch, "model") and seeds == "reference"):
        raise InputError(f"reference={json.dumps(patch)}: changes nothing; for other seeds alone use experiment=seed")
    if not patch and seeds == "base":
        raise InputError(
            "reference.seeds=base: without a patch the reference is the base; add one, or reference.seeds=reference"
        )
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


def _replaces(patch: Mapping[str, Any], part: str) -> bool:
    return isinstance(patch.get(part), dict) and "_target_" in patch[part]


def _merged_strictly(base: Spec, patch: Mapping[str, Any]) -> Spec:
    replaced = {part: patch[part] for part in ("model", "rows", "perturbation") if _replaces(patch, part)}
    strict = OmegaConf.create({**base, **replaced})
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
