"""Composes the jobs of a sweep once per choice of groups, instead of twice per job.

Why this patches a private method: Hydra 1.3 reads every file and rebuilds every defaults list twice per job, to
validate it and to run it. This takes .25 s per job, longer than a job with all models in the store. The files of a job
depend only on its choices of groups; values are applied to the composed files afterwards, here as in Hydra, by Hydra's
own function. No public API separates the two steps. `test_hydra_still_composes_every_job_twice` fails once Hydra does
this itself: then delete this file. If Hydra renames these functions, sweeps are composed Hydra's way.
"""

import copy
from functools import cache
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

try:
    from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname

    POSSIBLE = hasattr(ConfigLoaderImpl, "_apply_overrides_to_config")
except ImportError:
    POSSIBLE = False

# Launchers that compose their jobs in this process; others pickle Hydra's loader.
COMPOSING_HERE = (
    "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
    "hydra_plugins.cftransfer_launchers._local.LocalLauncher",
    "hydra_plugins.cftransfer_launchers._slurm.SlurmLauncher",  # it then calls compose_as_hydra_does
)


class FastSweepComposition(Callback):
    """Changes the loader of a sweep if its launcher supports that."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Change the loader; Hydra calls this before the first job of a sweep."""
        hydra = GlobalHydra.instance().hydra
        if POSSIBLE and hydra and config.hydra.launcher._target_ in COMPOSING_HERE:
            compose_once_per_choice(hydra.config_loader)


def compose_once_per_choice(loader: Any) -> None:
    """Make `loader.load_sweep_config` compose once per choice of groups, with the same result."""
    whole, composed = loader.load_sweep_config, dict[tuple[str, ...], DictConfig]()

    def load_sweep_config(master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        overrides = [_parsed(word) for word in sweep_overrides]
        values = [override for override in overrides if _is_value(override, loader)]
        choices = tuple(str(override.input_line) for override in overrides if override not in values)
        if choices not in composed:
            composed[choices] = whole(master_config, list(choices))
        config = copy.deepcopy(composed[choices])
        loader._apply_overrides_to_config(values, config)
        _record(config, [override for override in overrides if not override.is_hydra_override()])
        OmegaConf.copy_cache(from_config=master_config, to_config=config)  # so that ${now:…} is the same in all jobs
        return config

    loader.load_sweep_config = load_sweep_config


def compose_as_hydra_does(loader: Any) -> None:
    """Undo `compose_once_per_choice`."""
    vars(loader).pop("load_sweep_config", None)


@cache
def _parsed(word: str) -> Override:
    return OverridesParser.create().parse_override(word)


def _is_value(override: Override, loader: Any) -> bool:
    group = loader.repository.group_exists(override.key_or_group) and not isinstance(override.value(), dict)
    return not group and not override.is_hydra_override()


def _record(config: DictConfig, overrides: list[Any]) -> None:
    """Write the job's own overrides into its config, as Hydra does."""
    style = config.hydra.job.config.override_dirname
    config.hydra.overrides.task = [override.input_line for override in overrides]
    config.hydra.job.override_dirname = get_overrides_dirname(
        overrides, kv_sep=style.kv_sep, item_sep=style.item_sep, exclude_keys=style.exclude_keys
    )
