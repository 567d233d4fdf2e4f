"""ReLU networks made of linear layers, and networks with other weights that compute the same function."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

Layer = tuple[Tensor, Tensor]  # (out, in) weights and (out,) biases


def relu_network(trained: Any) -> nn.Module:
    """Return a plain network with the linear layers of a trained one: (n, columns) → (n,) logits."""
    layers = [part for part in trained.modules() if isinstance(part, nn.Linear)]
    return _network([(layer.weight, layer.bias) for layer in layers])


def deepened(network: nn.Module) -> nn.Module:
    """Return the network with an identity as an extra hidden layer, since a ReLU's output is ≥ 0 (Chen et al. 2016)."""
    layers = _layers(network)
    width = len(layers[-2][1])
    return _network([*layers[:-1], (torch.eye(width), torch.zeros(width)), layers[-1]])


def widened(network: nn.Module) -> nn.Module:
    """Return the network with every hidden unit twice, each copy with half of the weight (Chen et al. 2016)."""
    first, *rest = _layers(network)
    doubled = [(torch.cat([first[0]] * 2), torch.cat([first[1]] * 2))]
    doubled += [(torch.cat([torch.cat([w / 2] * 2, 1)] * 2), torch.cat([b] * 2)) for w, b in rest[:-1]]
    return _network([*doubled, (torch.cat([rest[-1][0] / 2] * 2, 1), rest[-1][1])])


def permuted_units(network: nn.Module) -> nn.Module:
    """Return the network with the units of its hidden layers permuted."""
    generator, layers = torch.Generator().manual_seed(0), _layers(network)
    orders = [torch.randperm(len(bias), generator=generator) for _, bias in layers[:-1]]
    every: Any = slice(None)
    arriving, leaving = [every, *orders], [*orders, every]
    placed = zip(layers, arriving, leaving, strict=True)
    return _network([(weight[out][:, into], bias[out]) for (weight, bias), into, out in placed])


def permuted_inputs(network: nn.Module, columns: Tensor) -> nn.Module:
    """Return the network for inputs x[:, columns]; columns: (columns,) int64, a permutation."""
    (weight, bias), *rest = _layers(network)
    return _network([(weight[:, columns], bias), *rest])


def _layers(network: nn.Module) -> list[Layer]:
    return [(part.weight, part.bias) for part in network.modules() if isinstance(part, nn.Linear)]


def _network(layers: Sequence[Layer]) -> nn.Module:
    return nn.Sequential(*_parts(layers), nn.Flatten(0)).eval().requires_grad_(False)


def _parts(layers: Sequence[Layer]) -> Iterable[nn.Module]:
    for place, (weight, bias) in enumerate(layers):
        layer = nn.Linear(weight.shape[1], len(weight))
        layer.load_state_dict({"weight": weight.detach().clone(), "bias": bias.detach().clone()})
        yield layer
        if place < len(layers) - 1:
            yield nn.ReLU()
