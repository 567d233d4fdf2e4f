"""Refuses keys and tokens in settings, because settings are written to configs, logs, tables, pages and W&B.

A secret is recognised by the name of its setting; the two that W&B and SLURM keep in the environment, by value.
"""

import os
import re
from collections.abc import Iterable, Iterator
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cftransfer.errors import InputError, refuse

# Excludes tokenizers and numbers of tokens.
NAME = (
    r"(?:(?:api|access|private)_?key|token(?!iz|s(?![a-z]))|passw|passphrase|secret|credential|jwt|(?<![a-z:])pwd)\w*"
)
# api_key=…, {password: …}, export MY_TOKEN=…; a name with an empty value is allowed.
GIVEN = re.compile(
    rf"""(?<![\w.])([\w.]*{NAME})["']?(?:=(?=[^\s=])|:\s*(?=\S))(?!(?:null|true|false|''|"")(?!\w))""", re.I
)
# dataset.features has the columns of a table, which may have names like token_count or passwd_age.
COLUMNS = re.compile(r"dataset\.features[.=].*")
LOOKED_UP = re.compile(rf"\$\{{[^}},]*_?{NAME}", re.I)  # ${oc.env:MY_TOKEN}
BY_VALUE = ("WANDB_API_KEY", "SLURM_JWT")
SHORTEST = 8  # letters; a shorter value may occur in any word by chance
WAY_OUT = "settings are written to files; give it to wandb login or WANDB_API_KEY, and make a new one if it leaked"


class RefuseSecrets(Callback):
    """Checks the whole composed config, including Hydra's own settings, before Hydra makes a folder."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Check the config; Hydra calls this before a single job."""
        try:
            check_config(config)
        except InputError as error:
            refuse(str(error))

    on_multirun_start = on_run_start


def check_words(words: Iterable[str]) -> None:
    """Raise an InputError for a key or token in the words of a command; the message does not repeat the secret."""
    for word in words:
        for name in BY_VALUE:
            secret = os.environ.get(name, "")
            if len(secret) >= SHORTEST and secret in word:
                raise InputError(f"a setting holds the value of {name}: takes no key or token; {WAY_OUT}")
        if found := LOOKED_UP.search(word):
            raise InputError(f"{found[0]}}}: takes no key or token; {WAY_OUT}")
        if found := GIVEN.search(COLUMNS.sub("", word)):
            raise InputError(f"{found[1]}: takes no key or token; {WAY_OUT}")


def check_config(cfg: DictConfig) -> None:
    """Raise an InputError for a key or token in a composed config; formulas are not resolved."""
    check_words(OmegaConf.to_yaml(cfg).splitlines())


def leaves(node: DictConfig | ListConfig, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield name and value of all settings, resolved one by one; skips settings that cannot be resolved."""
    keys: Iterable[Any] = node if isinstance(node, DictConfig) else range(len(node))
    for key in keys:
        part = f"{name}.{key}" if name else str(key)
        try:
            value = node[key]
        except OmegaConfBaseException:
            continue
        if isinstance(value, DictConfig | ListConfig):
            yield from leaves(value, part)
        else:
            yield part, value
