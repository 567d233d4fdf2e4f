"""Keys and tokens have no place in a setting: settings are written into configs, logs, tables, pages and W&B."""

import netrc
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cftransfer.errors import InputError

NAMES = re.compile(r"api_?key|token(?!iz)|passw|secret|credential", re.IGNORECASE)  # of settings and of variables
# What W&B, Hugging Face, GitHub, OpenAI and Amazon give out; not part of a path, where hashes stand.
SHAPES = re.compile(
    r"(?<![\w./-])([0-9a-f]{40}|wandb_v\d_\w{20,}|hf_\w{30,}|gh[a-z]_\w{30,}|github_pat_\w{20,}|sk-[\w-]{20,}|AKIA\w{16})"
    r"(?![\w./-])"
)
SHORTEST = 12  # letters; a shorter value of a variable may stand in any word by chance
WAY_OUT = (
    "settings are written down; give it to wandb login, or put it into WANDB_API_KEY, and make a new one if it leaked"
)


def check_words(words: Iterable[str]) -> None:
    """Raise an InputError, which does not repeat it, for a key or token among the words of a command.

    Asked before Hydra writes the words into the job's folder.
    """
    for word in words:
        name, sign, value = word.partition("=")
        _check(name.lstrip("+~"), value if sign else word)


def check_config(cfg: DictConfig) -> None:
    """Raise the same for the values of a composed config, where formulas such as ${oc.env:…} may have put one."""
    try:
        values = OmegaConf.to_container(cfg, resolve=True)
    except OmegaConfBaseException:  # such a job ends before anything is written, with a line of its own
        return
    for name, value in _leaves(values):
        _check(name, value)


def _check(name: str, value: str) -> None:
    shown = "a setting" if _is_secret(name) else name
    if _is_secret(value) or (NAMES.search(name.rpartition(".")[2]) and value not in ("", "null", "None")):
        raise InputError(f"{shown}: takes no key or token; {WAY_OUT}")


def _is_secret(text: str) -> bool:
    return bool(SHAPES.search(text)) or any(secret in text for secret in _known())


@cache
def _known() -> frozenset[str]:
    """Return the secrets that this process can see: in its environment, and in the user's netrc, as W&B does."""
    values = {value for name, value in os.environ.items() if NAMES.search(name)}
    with suppress(OSError, netrc.NetrcParseError, UnicodeDecodeError):
        hosts = netrc.netrc(os.environ.get("NETRC")).hosts.values()
        values |= {password for *_, password in hosts if password}
    return frozenset(value for value in values if len(value) >= SHORTEST and not value.startswith("/"))


def _leaves(value: Any, name: str = "") -> Iterable[tuple[str, str]]:
    parts = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for part, inner in parts:
        yield from _leaves(inner, f"{name}.{part}" if name else str(part))
    if isinstance(value, str):
        yield name, value
