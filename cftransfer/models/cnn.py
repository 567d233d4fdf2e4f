"""The convolutional network."""

from torch import Tensor, nn

from cftransfer.errors import InputError
from cftransfer.models.mlp import logits_of
from cftransfer.settings import check_int

GROUPS = 8  # channels are normalised in as many groups; fewer where the width is not divisible by it
# Pixels of the shorter side: what the first block makes of it at most, and where pooling ends.
LARGEST, SMALLEST = 64, 4
# Pixels and channels from which on channels_last pays; measured on a core with 32 images of 3 × 8 × 8 to 3 × 224 × 224.
PIXELS, CHANNELS = 32, 16


def cnn(*, layers: int = 4, width: int = 16, input_shape: tuple[int, ...], outputs: int = 1) -> nn.Module:
    """`layers` ≥ 1 blocks of 3 × 3 convolution, GroupNorm and ReLU: (n, channels, height, width) → (n,) logits.

    The first block has `width` ≥ 1 channels. Before each further one the resolution is halved by max pooling and the
    channels are doubled, until 4 pixels are left of the shorter side; deeper blocks keep both. Images larger than 64
    pixels are brought below by a larger, strided first kernel (224: 7 × 7, stride 4), so that depth means much the same
    for all. The mean over positions, normalised (LayerNorm), feeds one linear unit. Without that last step all channels
    rise and fall together, and with them the logit: test accuracy on CIFAR-10 airplane jumps by up to .10 from one
    epoch to the next. No BatchNorm: it couples the rows of a batch. outputs: 1, or K ≥ 3 for (n, K) logits.
    """
    check_int("model.layers", layers)
    check_int("model.width", width)
    if len(input_shape) != 3:
        raise InputError(f"model=cnn: takes images, not inputs of shape {input_shape}; use model=mlp")
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
    """Return GroupNorm in the largest number of groups, up to GROUPS, that divides `channels`."""
    return nn.GroupNorm(max(groups for groups in range(1, GROUPS + 1) if channels % groups == 0), channels)


class _ChannelsLast(nn.Sequential):
    """Modules that get images with the channels of a pixel side by side in memory, as the CPU's kernels like them.

    Pooling is seven times as fast, convolution by a fifth; GroupNorm is half as fast. Numbers move by rounding.
    """

    def forward(self, x: Tensor) -> Tensor:
        # vmap knows no torch.channels_last; these strides are the same.
        return super().forward(x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2) if x.is_cpu else x)


class _MeanOverPositions(nn.Module):
    """Global average pooling; torch's adaptive one has no deterministic gradient on a GPU."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))
