"""Name, group and tags of a W&B run, from a job's resolved settings and its chosen options."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cftransfer.errors import InputError
from cftransfer.jobs.provenance import RunningJob
from cftransfer.jobs.schema import Result

LONGEST_NAME, LONGEST_TAG, LONGEST_WORD = 120, 64, 128  # letters; W&B refuses longer ones
REFUSED = "/\\#?%:"  # by W&B, in the name of a project
# Settings of a job's precision or place, which are not part of its name.
PRECISION = ("samples", "replicates.", "paths.", "trainer.", "wandb", "debug", "hydra.", "population.", "export")
TOLD = ("experiment", "dataset", "model", "model@reference.model", "counterfactual", "sweep", "trainer", "seed")

Settings = Mapping[str, Any]


def run_id(folder: Path, what: str = "") -> str:
    """Return the id of a run, from a job's folder and settings or from the folder of a sweep's report."""
    return hashlib.sha256("\n".join([str(folder), *[what] * bool(what)]).encode()).hexdigest()[:12]


def described(job: RunningJob | Result, *, git: Mapping[str, Any] | None, versions: Settings) -> dict[str, Any]:
    """Return the arguments of wandb.init for a job: name, job type, group, tags, notes and config."""
    code = {"choices": job.choices, "code": git or {"commit": None, "dirty": None}, "versions": dict(versions)}
    own = job.config["wandb"]
    return {
        "name": name(job.config, job.choices, job.overrides),
        "job_type": job_type(job.choices),
        "group": word("wandb.group", own.get("group")) or (job.sweep and group(job.sweep)),
        "tags": tags(job.config, job.choices),
        "notes": own.get("notes"),
        "config": job.config | code,
    }


def job_type(choices: Settings) -> str:
    """Return the experiment, or "train" for train.py, which has none."""
    return str(choices.get("experiment") or "train")


def name(config: Settings, choices: Settings, overrides: Iterable[str]) -> str:
    """Return the job's name in words, such as "more_layers compas mlp 4×64 → 6×64"."""
    model, patch = config["model"], dict(config.get("reference") or {})
    reference = _patched(model, patch.get("model") or {})
    words = [job_type(choices), choices.get("dataset"), _network(choices.get("model"), model)]
    if (other := _other(model, reference, choices)) is not None:
        words += ["→", other]
    words += _patches(config["training"], patch.get("training") or {})
    if choices.get("counterfactual") not in (None, "gradient"):
        words.append(choices["counterfactual"])
    words += _typed(overrides)
    if config["seed"] != 0:
        words.append(f"seed {config['seed']}")
    text = " ".join(str(word) for word in words if word)
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"


def tags(config: Settings, choices: Settings) -> list[str]:
    """Return experiment, data set and counterfactual method, then the user's own tags."""
    own = [job_type(choices), choices.get("dataset"), choices.get("counterfactual")]
    given = config["wandb"].get("tags") or []
    if not isinstance(given, list) or not all(isinstance(tag, str) and 0 < len(tag) <= LONGEST_TAG for tag in given):
        raise InputError(f"wandb.tags={given}: must be words of at most {LONGEST_TAG} letters, as in wandb.tags=[a,b]")
    return list(dict.fromkeys(str(tag) for tag in [*own, *given] if tag))


def word(key: str, value: Any, *, otherwise: str = ", or null") -> str | None:
    """Return a user's word for W&B, or None; a whole number counts as a word.

    Raises InputError, naming `key`, for words that W&B would refuse. otherwise: text on other allowed values.
    """
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if text is None:
        return None
    if not isinstance(text, str) or not 0 < len(text.strip()) <= LONGEST_WORD:
        raise InputError(f"{key}={value}: must be a word of at most {LONGEST_WORD} letters{otherwise}")
    return text.strip()


def project(key: str, value: Any) -> str:
    """Return the name of a project; InputError, naming `key`, for a name that W&B would refuse or replace."""
    name = word(key, value, otherwise="")
    if name is None or set(REFUSED) & set(name):
        raise InputError(f"{key}={value}: must be a word, without any of {' '.join(REFUSED)}")
    return name


def group(sweep: str) -> str:
    """Return the group of a sweep's jobs: its folder, relative to where it was run; only the end of a long path."""
    return sweep if len(sweep) <= LONGEST_WORD else f"…{sweep[1 - LONGEST_WORD :]}"


def _patched(model: Settings, patch: Settings) -> Settings:
    return patch if "_target_" in patch else {**model, **patch}


def _network(option: str | None, model: Settings) -> str:
    return " ".join(word for word in (option, _shape(model)) if word)


def _shape(model: Settings) -> str:
    """Return layers × width if the model has both, otherwise ""."""
    return f"{model['layers']}×{model['width']}" if {"layers", "width"} <= set(model) else ""


def _other(model: Settings, reference: Settings, choices: Settings) -> str | None:
    """Return the reference in words if its model differs from the base's; its option only if that differs as well."""
    if reference == model:
        return None
    if reference["_target_"] != model["_target_"]:
        return _network(choices.get("reference.model") or reference["_target_"].rpartition(".")[2], reference)
    changed = [f"{key}={value}" for key, value in reference.items() if value != model.get(key) and key not in _SHAPE]
    return " ".join([*([_shape(reference)] if _shape(reference) != _shape(model) else []), *changed])


_SHAPE = ("layers", "width")


def _patches(training: Settings, patch: Settings) -> list[str]:
    """Return the differences in the reference's training, such as "+20 epochs"."""
    words = []
    for key, value in patch.items():
        if key == "epochs" and value > training["epochs"]:
            words.append(f"+{value - training['epochs']} epochs")
        elif value != training[key]:
            words.append(f"{key} {training[key]} → {value}")
    return words


def _typed(overrides: Iterable[str]) -> list[str]:
    """Return the other typed or swept settings by the last part of their names, such as "confidence=0.9"."""
    words = []
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        shape = key in ("model.layers", "model.width") or key.startswith(("extra_", "reference."))
        if key not in TOLD and not key.startswith(PRECISION) and not shape:
            words.append(f"{key.rpartition('.')[2]}={value}")
    return words
