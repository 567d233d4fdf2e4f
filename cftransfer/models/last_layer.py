"""The last linear layer of a model: its input features, from which its weights make the logits."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cftransfer.errors import InputError
from cftransfer.models.prediction import Asked, margin
from cftransfer.models.sklearn_models import SklearnModel

ROWS = 16  # rows on which the model's logits are compared with the layer's
ROUNDING = 1e-5  # allowed difference in logits
PRECISION = 1e-3  # relative difference: logits computed from probabilities near 1 are no more precise


class LastLayer(NamedTuple):
    """features: x, (n, *input) → the model's logits and φ(x), (n, d + 1), with a last column of 1 for the bias.

    outputs: rows of weights, 1 for the logit of class 1, or K for K ≥ 2 classes.
    """

    features: Callable[[Tensor], tuple[Tensor, Tensor]]
    outputs: int


def last_layer(model: Asked, x: Tensor, *, method: str) -> LastLayer:
    """Return the last layer of a model; the logits must be linear in the layer's input features.

    In a torch module, given directly or as `Model(module)`, it is the last nn.Linear, and a hook reads its input in the
    forward pass. A logistic regression of scikit-learn is a last layer as a whole. x: (n, *input) rows on which the
    layer's output is compared with the model's. method: named in the InputError for any other model.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> layer = last_layer(net, torch.zeros(0, 2), method="roar")
    >>> logits, features = layer.features(torch.rand(5, 2))
    >>> tuple(features.shape), layer.outputs
    ((5, 4), 1)
    """
    inside = getattr(model, "f", model)
    if isinstance(inside, SklearnModel) and inside.linear:
        return LastLayer(lambda rows: (model(rows), _with_one(rows.flatten(1))), inside.outputs)
    linear = [part for part in inside.modules() if isinstance(part, nn.Linear)] if isinstance(inside, nn.Module) else []
    if not linear:
        needs = f"{method} needs a torch module that ends in an nn.Linear, or model=logistic_regression"
        raise InputError(f"counterfactual: {needs}; give the module itself, or search with another method")
    head = linear[-1]

    def features(rows: Tensor) -> tuple[Tensor, Tensor]:
        seen: list[Tensor] = []
        hook = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            logits = model(rows)
        finally:
            hook.remove()
        return logits, _with_one(seen[-1]) if seen else rows.new_zeros(len(rows), 0)

    if len(x):
        _check(head, *features(x[:ROWS]), method=method)
    return LastLayer(features, head.out_features)


def _with_one(features: Tensor) -> Tensor:
    return torch.cat([features, features.new_ones(len(features), 1)], 1)


def _check(head: nn.Linear, logits: Tensor, features: Tensor, *, method: str) -> None:
    """Refuse a model with margins other than the layer's own."""
    said = "its logits do not come from its last nn.Linear"
    if features.shape[1:] == (head.in_features + 1,) and len(features) == len(logits):
        with torch.no_grad():
            own = nn.functional.linear(features[:, :-1], head.weight, head.bias)
            own = own[:, 0] if own.shape[1] == 1 else own[:, 1] - own[:, 0] if own.shape[1] == 2 else own
        if own.shape == logits.shape:
            first = torch.zeros(len(own), device=own.device)
            expected, given = margin(own, first), margin(logits.detach(), first)
            if torch.allclose(expected.to(given), given, rtol=PRECISION, atol=ROUNDING):
                return
    way_out = "give a module that ends in this layer, or search with another method"
    raise InputError(f"counterfactual: {method} changes the weights of the base's last layer, and {said}; {way_out}")
