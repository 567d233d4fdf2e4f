"""References made from their bases by changing weights: noise on them, or some hidden features left out.

They cost no training. The seed of reference j decides its change, which is the same for every base and differs between
references, so bases and references are crossed as usual.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import nn

from cftransfer.errors import InputError
from cftransfer.models.prediction import Asked
from cftransfer.settings import check_choice, check_float
from cftransfer.targets import call_target

Perturb = Callable[[nn.Module, torch.Generator], None]  # changes a network in place


def weight_noise(*, epsilon: float, norm: str, network: None = None) -> Perturb:  # noqa: ARG001
    """Add uniform noise of at most `epsilon` ≥ 0 to every weight: absolute (linf), or times the weight (relative)."""
    check_float("perturbation.epsilon", epsilon, inside="≥ 0", among=lambda size: 0 <= size < float("inf"))
    check_choice("perturbation.norm", norm)

    def add_noise(model: nn.Module, random: torch.Generator) -> None:
        for weight in model.parameters():
            noise = epsilon * (2 * torch.rand(weight.shape, generator=random) - 1)
            weight.add_(noise if norm == "linf" else noise * weight)

    return add_noise


def dropout_models(*, share: float, network: None = None) -> Perturb:  # noqa: ARG001
    """Leave out a `share` of the hidden features, in [0, 1), for good; the others are scaled up as in dropout.

    Hidden features are the inputs of every linear layer except the first; in a convolutional network, of all linear
    layers.
    """
    inside = "from 0 up to, not including, 1"
    check_float("perturbation.share", share, inside=inside, among=lambda part: 0 <= part < 1)

    def leave_out(model: nn.Module, random: torch.Generator) -> None:
        linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
        convolves = any(isinstance(module, nn.Conv2d) for module in model.modules())
        if not (hidden := linear if convolves else linear[1:]):
            raise InputError(
                "perturbation=dropout_models: the base has no hidden features to leave out; choose model=mlp"
            )
        for layer in hidden:
            layer.weight.mul_((torch.rand(layer.in_features, generator=random) >= share) / (1 - share))

    return leave_out


def check_perturbation(settings: Mapping[str, Any]) -> None:
    """Raise an InputError, naming the key, for impossible settings."""
    call_target("perturbation", settings, network=None)


def perturbed(base: Asked, settings: Mapping[str, Any], *, seed: int) -> Asked:
    """Return a copy of a trained network with weights changed by a seed; InputError for a model without weights."""
    change: Perturb = call_target("perturbation", settings, network=None)
    if not isinstance(base, nn.Module):
        way_out = "choose a network, as in model=mlp"
        raise InputError(
            f"perturbation={settings['_target_']}: changes weights of a network, but the base has none; {way_out}"
        )
    copy = deepcopy(base).cpu()
    with torch.no_grad():
        change(copy, torch.Generator().manual_seed(seed))
    device = next(base.parameters()).device
    return copy.eval().to(device)
