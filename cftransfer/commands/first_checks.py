"""Checks of a composed config without torch, because importing it takes seconds."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from cftransfer.commands.secrets import check_config, leaves
from cftransfer.errors import InputError
from cftransfer.jobs.schema import MAX_NUMBER
from cftransfer.settings import CHOICES, WHOLE, check_choice, check_int, check_keys
from cftransfer.spec import PARTS
from cftransfer.targets import OWN
from cftransfer.tracking.connection import checked

GROUPS = {
    "trainer": ("accelerator", "threads", "stacked"),
    "input": ("step", "rows", "distance_weight"),
    "paths": ("data", "store"),
    "wandb": ("mode", "project", "entity", "group", "tags", "notes", "finish_timeout"),
    "replicates": ("bases", "references", "splits"),  # of transfer.py
    "execution": ("sigma", "draws"),  # of transfer.py
    "population": ("pool", "size"),  # of train.py
}
TOP_LEVEL = {*GROUPS, *PARTS, "counterfactual", "reference", "seed", "samples", "plausibility", "export"}
SHARED = ("trainer", "input", "paths", "wandb")
BESIDE = {"replicates": ("execution",), "population": ()}  # further groups of the same command


def check_names(cfg: DictConfig) -> None:
    """Refuse keys that are not words."""
    _check_words(OmegaConf.to_container(cfg, resolve=False))


def check_settings(cfg: DictConfig, *, models: str) -> None:
    """Refuse unknown groups and keys, secrets, and values outside the limits of a setting.

    Numbers that result.json cannot hold are refused even if nothing reads the setting: writing the result would fail at
    the very end.

    models: the group with the numbers of models, replicates or population.
    """
    check_config(cfg)
    check_names(cfg)
    for group in (*SHARED, models, *BESIDE[models]):
        check_keys(group, cfg[group], GROUPS[group])
    checked(OmegaConf.to_container(cfg.wandb, resolve=True))
    for name, path in cfg.paths.items():
        if not isinstance(path, str) or not path:
            raise InputError(f"paths.{name}={path}: must be a folder")
    for name, value in sorted(leaves(cfg), key=lambda leaf: leaf[0].startswith("reference.")):  # references last
        if isinstance(value, int | float) and not abs(value) <= MAX_NUMBER:  # also false for nan
            raise InputError(f"{name}={value}: must be a finite number, of at most 2^64")
        _check_value(cfg, name, value)
    _check_top_level(cfg)


def _check_words(config: Any, above: str = "") -> None:
    """Refuse keys that are numbers: JSON has only words as keys, and cannot sort words and numbers together."""
    for name, part in config.items() if isinstance(config, dict) else ():
        if not isinstance(name, str):
            raise InputError(f"{above}.{name}: a key is a word; let it begin with a letter")
        _check_words(part, f"{above}.{name}" if above else name)


def _check_value(cfg: DictConfig, name: str, value: Any) -> None:
    """Refuse a value outside the limits of its name; null and settings of foreign functions are not checked."""
    setting = name.removeprefix("reference.")
    part = setting.partition(".")[0]
    if value is None or (part in OWN and _target(cfg, part, patched=setting != name) not in OWN[part]):
        return
    if setting in CHOICES:
        check_choice(name, value, CHOICES[setting])
    elif setting in WHOLE or name.startswith("extra_"):
        least, most = WHOLE.get(setting, (1, None))
        check_int(name, value, least=least, most=most)


def _target(cfg: DictConfig, part: str, *, patched: bool) -> Any:
    own, patch = (OmegaConf.select(cfg, f"{place}{part}._target_") for place in ("", "reference."))
    return patch if patched and patch is not None else own


def _check_top_level(cfg: DictConfig) -> None:
    """Refuse top-level keys that belong in a group, such as `+layers=8`, and an experiment under its own name."""
    for name in sorted({str(name) for name in cfg} - TOP_LEVEL):
        if name in ("experiment", "sweep", "debug"):
            first = "'# @package _global_'"
            raise InputError(f"{name}: its settings are read at the top level; make {first} the first line of its file")
        homes = [f"{group!s}.{name}" for group in cfg if isinstance(cfg[group], DictConfig) and name in cfg[group]]
        if homes:
            raise InputError(f"{name}: no such key at the top level; did you mean {' or '.join(homes)}?")
