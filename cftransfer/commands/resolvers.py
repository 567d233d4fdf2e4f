"""All functions for formulas in configs, as in `${add:${model.layers},2}`."""

import os

from omegaconf import OmegaConf


def add(*numbers: float) -> float:
    """Return the sum, for settings that are relative to another setting."""
    return sum(numbers)


def grown(share: float, percent: float) -> float:
    """Return a share increased by `percent` of itself."""
    return share * (1 + percent / 100)


def variable(name: str, default: str) -> str:
    """Return an environment variable; an empty variable counts as unset, unlike in `oc.env`."""
    return os.environ.get(name) or default


def gpus_for(accelerator: str) -> int | None:
    """Return the GPUs to request for one job: 1 for trainer=gpu, otherwise None, which requests none."""
    return 1 if accelerator == "gpu" else None


for resolver in (add, grown, variable, gpus_for):
    OmegaConf.register_new_resolver(resolver.__name__, resolver, replace=True)
