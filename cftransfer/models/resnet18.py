"""ResNet-18 (He, Zhang, Ren, Sun 2016), from torchvision, with GroupNorm in place of BatchNorm."""

import cftransfer.models.torchvision_repair  # noqa: F401  (before torchvision)

# isort: split
import logging
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from cftransfer.errors import InputError
from cftransfer.models.cnn import group_norm
from cftransfer.models.mlp import logits_of

log = logging.getLogger(__name__)

HEAD = "fc."  # the last layer, which depends on the classes
BYTES = 2**30  # most bytes of a file of weights; this network has 45 MB
REWRITE = "write one with safetensors.torch.save_file(model.state_dict(), path)"
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
NUMBERS = (torch.float16, torch.bfloat16, torch.float32, torch.float64, *INTEGERS)  # convertible to float32
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")  # of BatchNorm; GroupNorm has none


def resnet18(*, weights: str | None = None, input_shape: tuple[int, ...], outputs: int = 1) -> nn.Module:
    """(n, 3, height, width) → (n,) logits.

    outputs: 1, or K ≥ 3 for (n, K) logits.
    weights: path to a state dict of such a network (.safetensors); None draws all weights. torch's own format is not
        read: it is a pickle, and even torch's restricted reader has had flaws that ran code.
        The file's last layer is used if it has the right number of logits, and drawn by the seed otherwise; BatchNorm's
        running statistics are left out. With hydra.verbose=true the log names unused tensors.
    """
    from torchvision.models import resnet

    if len(input_shape) != 3 or input_shape[0] != 3:
        raise InputError(
            f"model=resnet18: needs images of three channels, not inputs of shape {input_shape}; use model=mlp"
        )
    network = resnet.ResNet(resnet.BasicBlock, [2, 2, 2, 2], num_classes=outputs, norm_layer=group_norm)
    if weights is not None:
        _load(network, Path(weights))
    return nn.Sequential(network, logits_of(outputs))


def _load(network: nn.Module, path: Path) -> None:
    given, own = _state(path), network.state_dict()
    unused = [name for name in given if name.endswith(STATISTICS)]
    unused += [
        name for name in given if name.startswith(HEAD) and (name not in own or given[name].shape != own[name].shape)
    ]
    taken = {name: tensor for name, tensor in given.items() if name not in unused}
    wrong = sorted(set(taken) - set(own)) or sorted(set(own) - set(taken) - {name for name in own if HEAD in name})
    wrong = wrong or [name for name, tensor in taken.items() if tensor.shape != own[name].shape]
    if wrong:
        raise InputError(f"model.weights={path}: is not a state dict of this network; {wrong[0]} does not fit")
    network.load_state_dict({**own, **taken})
    log.debug("%s: %d tensors taken; not taken: %s", path, len(taken), ", ".join(unused) or "none")


def _state(path: Path) -> dict[str, Tensor]:
    try:
        if path.stat().st_size > BYTES:
            raise OSError(None, f"has more than {BYTES:,} bytes")
        loaded = load_file(path)
    except (OSError, ValueError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise InputError(f"model.weights={path}: cannot be read as safetensors ({reason}); {REWRITE}") from error
    other = [f"{name} ({tensor.dtype})" for name, tensor in loaded.items() if tensor.dtype not in NUMBERS]
    if other:
        raise InputError(f"model.weights={path}: holds {other[0]}; it takes floats of 16 bits or more, or integers")
    if not all(tensor.float().isfinite().all() for tensor in loaded.values()):
        raise InputError(f"model.weights={path}: holds numbers that are not finite")
    return loaded
