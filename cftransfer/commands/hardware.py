"""Where jobs run: the one place that sets what is global to a process (threads, waiting, cuDNN)."""

import os
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from cftransfer.errors import InputError
from cftransfer.settings import check_choice, check_int

if TYPE_CHECKING:
    from cftransfer.models.build import Hardware


def wait_passively() -> None:
    """Have OpenMP's threads sleep while they wait, instead of spinning on cores that others need.

    Called before torch is imported, which reads it once. Two sweeps at once on two cores took 278 s with spinning
    threads, 15.5 s without.
    """
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY"):
        if os.environ.get(name) == "":  # means unset, but libgomp complains
            del os.environ[name]
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def hardware_of(settings: DictConfig) -> "Hardware":
    """Return where to train and search; InputError, naming the key, for what this machine does not have."""
    import torch

    from cftransfer.models.build import Hardware

    check_choice("trainer.accelerator", settings.accelerator)
    check_choice("trainer.stacked", settings.stacked)
    if settings.accelerator == "gpu" and not torch.cuda.is_available():
        raise InputError("trainer.accelerator=gpu: torch sees no CUDA device here; trainer=cpu works everywhere")
    threads = None if settings.threads is None else check_int("trainer.threads", settings.threads)
    return Hardware(settings.accelerator, settings.stacked, threads)


def use(hardware: "Hardware", *, images: bool) -> None:
    """Set this process up for a job: its threads, and on a GPU what makes two runs equal.

    Without `trainer.threads`, one thread for tables, whose matrices are too small to share, and the job's own share of
    the machine's cores for images.
    """
    import torch

    torch.set_num_threads(hardware.threads or (_share() if images else 1))
    if hardware.accelerator == "gpu":
        # TensorFloat-32 keeps 10 bits of 23: logits near 0 would change sides. Kernels chosen by their speed would
        # differ between runs.
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False


def _share() -> int:
    """Return the cores of this job: those that it may run on, or fewer where OMP_NUM_THREADS says so."""
    cores = len(os.sched_getaffinity(0))
    said = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(said)) if said.isdecimal() and int(said) else cores
