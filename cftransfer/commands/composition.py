"""Compose jobs of a sweep that differ in values alone out of one composition.

Hydra 1.3 reads every file anew and makes every list of defaults anew for each job, twice: once to see that it can be
composed, once to run it. For these configurations that is a quarter of a second a job, more than all else that a job
whose models are in the store costs. Which files a job is made of depends on its choices of groups only; values are laid
over them afterwards, here as there by Hydra's own function.
"""

import copy
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

BASIC = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"


def variable(name: str, default: str) -> str:
    """Return a variable of the environment, for configs; what is empty is as good as not there, unlike in oc.env."""
    return os.environ.get(name) or default


OmegaConf.register_new_resolver("variable", variable, replace=True)


def as_value(path: Path) -> str:
    """Return a path as Hydra reads it in a word: in quotes where it has more than letters, digits and `._/-`."""
    text = str(path)
    if re.fullmatch(r"[\w./-]+", text, re.ASCII):
        return text
    # A backslash stands for itself, but before what it would escape.
    quoted = re.sub(r"(\\*)('|\$\{|$)", _escaped, text)
    return f"'{quoted}'"


def _escaped(match: re.Match[str]) -> str:
    return 2 * match[1] + (f"\\{match[2]}" if match[2] else "")


class OncePerChoice(Callback):
    """Composes so where the jobs are run in this process; other launchers take Hydra's own way along to theirs."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Hydra calls this before the first job of a sweep."""
        hydra = GlobalHydra.instance().hydra
        if config.hydra.launcher._target_ == BASIC and hydra and isinstance(hydra.config_loader, ConfigLoaderImpl):
            once_per_choice(hydra.config_loader)


def once_per_choice(loader: ConfigLoaderImpl) -> None:
    """Let `loader.load_sweep_config` compose once for each choice of groups, with the same outcome."""
    whole, composed = loader.load_sweep_config, dict[tuple[str, ...], DictConfig]()

    def load_sweep_config(master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        overrides = [_parsed(word) for word in sweep_overrides]
        values = [override for override in overrides if _is_value(override, loader)]
        choices = tuple(str(override.input_line) for override in overrides if override not in values)
        if choices not in composed:
            composed[choices] = whole(master_config, list(choices))
        config = copy.deepcopy(composed[choices])
        loader._apply_overrides_to_config(values, config)
        _note(config, [override for override in overrides if not override.is_hydra_override()])
        OmegaConf.copy_cache(from_config=master_config, to_config=config)  # so that ${now:…} is one time for all jobs
        return config

    loader.load_sweep_config = load_sweep_config  # type: ignore[method-assign]


@cache
def _parsed(word: str) -> Override:
    return OverridesParser.create().parse_override(word)


def _is_value(override: Override, loader: ConfigLoaderImpl) -> bool:
    group = loader.repository.group_exists(override.key_or_group) and not isinstance(override.value(), dict)
    return not group and not override.is_hydra_override()


def _note(config: DictConfig, overrides: list[Any]) -> None:
    """Write down in the config what was typed, as Hydra does."""
    style = config.hydra.job.config.override_dirname
    config.hydra.overrides.task = [override.input_line for override in overrides]
    config.hydra.job.override_dirname = get_overrides_dirname(
        overrides, kv_sep=style.kv_sep, item_sep=style.item_sep, exclude_keys=style.exclude_keys
    )
