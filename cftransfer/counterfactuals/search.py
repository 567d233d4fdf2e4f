"""The engine around a method: it poses the question, checks the answers on the base again, and keeps them."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cftransfer import store as artifacts
from cftransfer.data.dataset import Dataset
from cftransfer.data.pixels import unit
from cftransfer.models.prediction import Model, device_of, logits, margin, predicted, rows_at_once
from cftransfer.spec import Spec, call, key, model_key, whole

log = logging.getLogger(__name__)

BLOCK = 2**23  # inputs in work at once, 32 MiB: 55 images of 224 × 224 pixels, all rows of a table


@dataclass(frozen=True)
class Counterfactuals:
    """What a method found on one base, one entry per factual.

    factual, counterfactual: (n, *input) float32; x′ is where the search ended, found or not.
    target: (n,) int64, the class that the base does not predict for the factual.
    factual_logit, logit: (n,) the base's logits of class 1 at x and at x′, each by a fresh forward pass.
    done: (n,) bool, what the method claims; found: (n,) bool, what the base confirms of it.
    iterations: (n,) int64, steps taken.
    """

    factual: Tensor
    counterfactual: Tensor
    target: Tensor
    factual_logit: Tensor
    logit: Tensor
    done: Tensor
    found: Tensor
    iterations: Tensor


def factuals(dataset: Dataset, samples: int | None) -> Tensor:
    """Return the first `samples` inputs of the test split, or all for None: the same for every base."""
    return unit(dataset.x_test if samples is None else dataset.x_test[: whole("samples", samples, least=1)])


def check(settings: Mapping[str, Any], dataset: Dataset) -> None:
    """Raise an InputError, naming the key, for settings that the method refuses: it is asked about no rows at all."""
    nothing = unit(dataset.x_test[:0])
    call("counterfactual", settings, lambda x: x.flatten(1).sum(1), nothing, nothing.new_zeros(0), space=dataset.space)


def search(model: Model, x: Tensor, *, settings: Mapping[str, Any], dataset: Dataset) -> Counterfactuals:
    """Search a counterfactual of every factual x: (n, *input) in [0, 1] on one base model.

    Success is judged here, not by the method: x′, as stored in float32, goes through the base once more.
    """
    factual_logit, place = logits(model, x), device_of(model)
    target = 1 - predicted(factual_logit)
    answer = call("counterfactual", settings, model, x.to(place), target.to(place), space=dataset.space)
    reached, done, iterations = (tensor.cpu() for tensor in answer)
    logit = logits(model, reached)
    inside = ((reached >= 0) & (reached <= 1)).flatten(1).all(1)
    found = done & inside & (margin(logit, target) > 0)
    return Counterfactuals(x, reached, target, factual_logit, logit, done, found, iterations)


def searched(
    bases: Sequence[nn.Module],
    seeds: Sequence[int],
    *,
    spec: Spec,
    settings: Mapping[str, Any],
    samples: int | None,
    dataset: Dataset,
    store: Path,
) -> list[Counterfactuals]:
    """Return the counterfactuals of every base, from the store or searched and stored."""
    x = factuals(dataset, samples)
    files = {seed: file(spec, seed, settings=settings, many=len(x), store=store) for seed in seeds}
    keys = {seed: path.stem for seed, path in files.items()}

    def lacking() -> list[int]:
        return [seed for seed in seeds if not files[seed].exists()]

    if lacking():
        with artifacts.hold(store, keys.values()):
            for seed in lacking():
                result = search(bases[list(seeds).index(seed)], x, settings=settings, dataset=dataset)
                log.info("searched %d counterfactuals on base %d: found %d", len(x), seed, result.found.sum())
                about = {"base": {**spec, "seed": seed}, "counterfactual": settings, "samples": len(x)}
                kept = {name: tensor for name, tensor in vars(result).items() if name != "factual"}
                artifacts.save(store, "counterfactuals", keys[seed], kept, about)
    return [_stored(store, keys[seed], x) for seed in seeds]


def file(spec: Spec, seed: int, *, settings: Mapping[str, Any], many: int, store: Path) -> Path:
    """Return where the counterfactuals of `many` factuals on one base are, or would be, kept."""
    name = key("counterfactuals", model_key(spec, seed), dict(settings), many)
    return artifacts.artifact(store, "counterfactuals", name)


def distance(x: Tensor, other: Tensor, *, p: float = 2) -> Tensor:
    """x, other: (n, *input) → (n,) float64: the p-norm of their difference, in units of the input's range.

    p = 0 counts the inputs that differ; p = inf is the largest difference.
    """
    parts = (tensor.split(rows_at_once(x, numbers=BLOCK)) for tensor in (x, other))
    differences = ((unit(a).double() - unit(b).double()).flatten(1) for a, b in zip(*parts, strict=True))
    return torch.cat([torch.linalg.vector_norm(difference, p, dim=1) for difference in differences])


def _stored(store: Path, name: str, x: Tensor) -> Counterfactuals:
    """Return stored counterfactuals of the factuals x, which all bases share in memory and none keeps in its file."""
    loaded = artifacts.load(store, "counterfactuals", name)
    assert loaded is not None, f"{artifacts.artifact(store, 'counterfactuals', name)} vanished"
    return Counterfactuals(**{**loaded[0], "factual": x})
