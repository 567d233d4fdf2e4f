"""The hardware of jobs: the one place with settings that are global to a process (threads, cuDNN)."""

from typing import TYPE_CHECKING

from omegaconf import DictConfig

from cftransfer import cores
from cftransfer.errors import InputError
from cftransfer.settings import check_choice, check_int

if TYPE_CHECKING:
    from cftransfer.models.build import Hardware


def hardware_of(settings: DictConfig) -> "Hardware":
    """Return the hardware for training and searching; InputError, naming the key, if this machine lacks it."""
    import torch

    from cftransfer.models.build import Hardware

    check_choice("trainer.accelerator", settings.accelerator)
    check_choice("trainer.stacked", settings.stacked)
    if settings.accelerator == "gpu" and not torch.cuda.is_available():
        raise InputError("trainer.accelerator=gpu: torch sees no CUDA device here; trainer=cpu works everywhere")
    threads = None if settings.threads is None else check_int("trainer.threads", settings.threads)
    return Hardware(settings.accelerator, settings.stacked, threads)


def use(hardware: "Hardware", *, images: bool) -> None:
    """Set this process up for a job: its threads and, on a GPU, reproducible arithmetic.

    Without `trainer.threads`, tables get one thread, because their matrices are too small to share, and images the
    job's share of the machine's cores.
    """
    import torch

    torch.set_num_threads(hardware.threads or (cores.share() if images else 1))
    if hardware.accelerator == "gpu":
        # TensorFloat-32 keeps 10 bits of 23, so logits near 0 would change sign. Kernels chosen by speed would differ
        # between runs.
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
