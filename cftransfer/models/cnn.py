"""The convolutional network."""

from torch import Tensor, nn

from cftransfer.errors import InputError
from cftransfer.models.mlp import logits_of
from cftransfer.settings import check_int

GROUPS = 8  # groups of channels in GroupNorm; fewer if the width is not divisible by it
# Pixels of the shorter side: the most after the first block, and where pooling ends.
LARGEST, SMALLEST = 64, 4
# Pixels and channels from which channels_last pays off; measured on a core with 32 images of 3 × 8² to 3 × 224².
PIXELS, CHANNELS = 32, 16


def cnn(*, layers: int = 4, width: int = 16, input_shape: tuple[int, ...], outputs: int = 1) -> nn.Module:
    """`layers` ≥ 1 blocks of 3 × 3 convolution, GroupNorm and ReLU: (n, channels, height, width) → (n,) logits.

    The first block has `width` ≥ 1 channels. Each further block first halves the resolution by max pooling and doubles
    the channels, until the shorter side has 4 pixels; deeper blocks keep both. Images larger than 64 pixels are reduced
    by a larger, strided first kernel (224: 7 × 7, stride 4), so that depth has a similar meaning for all. The mean over
    positions is normalised (LayerNorm) and feeds one linear unit. Without this normalisation all channels, and with
    them the logit, rise and fall together: test accuracy on CIFAR-10 airplane jumps by up to .10 between epochs. No
    BatchNorm, because it couples the rows of a batch. outputs: 1, or K ≥ 3 for (n, K) logits.
    """
    check_int("model.layers", layers)
    check_int("model.width", width)
    if len(input_shape) != 3:
        raise InputError(f"model=cnn: needs images, not inputs of shape {input_shape}; use model=mlp")
    channels, side = input_shape[0], min(input_shape[1:])
    large = side >= PIXELS and width >= CHANNELS
    stride = 1
    while side > LARGEST * stride:
        stride *= 2
    side = -(-side // stride)
    blocks = [*_block(channels, width, kernel=max(3, 2 * stride - 1), stride=stride)]
    for _ in range(layers - 1):
        following = width
        if side > SMALLEST:
            blocks.append(nn.MaxPool2d(2))
            side, following = side // 2, 2 * width
        blocks += _block(width, following)
        width = following
    every = *blocks, _MeanOverPositions(), nn.LayerNorm(width), nn.Linear(width, outputs), logits_of(outputs)
    return _ChannelsLast(*every) if large else nn.Sequential(*every)


def _block(channels: int, width: int, *, kernel: int = 3, stride: int = 1) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(channels, width, kernel, stride=stride, padding=kernel // 2, bias=False)
    return convolution, group_norm(width), nn.ReLU(inplace=True)


def group_norm(channels: int) -> nn.GroupNorm:
    """Return GroupNorm with the largest number of groups, up to GROUPS, that divides `channels`."""
    return nn.GroupNorm(max(groups for groups in range(1, GROUPS + 1) if channels % groups == 0), channels)


class _ChannelsLast(nn.Sequential):
    """Modules that get images in the channels_last layout, which suits the CPU's kernels.

    Pooling is seven times as fast and convolution a fifth faster, but GroupNorm half as fast. Numbers move by rounding.
    """

    def forward(self, x: Tensor) -> Tensor:
        # vmap does not support torch.channels_last; these strides are the same.
        return super().forward(x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2) if x.is_cpu else x)


class _MeanOverPositions(nn.Module):
    """Global average pooling; torch's adaptive pooling has no deterministic gradient on a GPU."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))
