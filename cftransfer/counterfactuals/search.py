"""The engine around a method: it poses the question, checks the answers on the base again, and keeps them."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from cftransfer import store as artifacts
from cftransfer.counterfactuals.answer import Answer
from cftransfer.counterfactuals.constraint import constraint
from cftransfer.data.dataset import Dataset
from cftransfer.data.pixels import unit
from cftransfer.errors import InputError
from cftransfer.models.prediction import Model, device_of, differentiable, logits, margin, predicted, rows_at_once
from cftransfer.spec import Spec, call, chosen, generating_seeds, key, model_key, whole

log = logging.getLogger(__name__)

Generating: TypeAlias = Callable[[int], Sequence[Model]]  # how many → models of the base's spec, of other seeds

TRIES = 3  # of making what is damaged or gone as soon as it is made
BLOCK = 2**23  # inputs in work at once, 32 MiB: 55 images of 224 × 224 pixels, all rows of a table


@dataclass(frozen=True)
class Counterfactuals:
    """What a method found on one base, one entry per factual.

    factual, counterfactual: (n, *input) float32; x′ is where the search ended, found or not.
    target: (n,) int64, the class that the base does not predict for the factual.
    factual_logit, logit: (n,) the base's logits of class 1 at x and at x′, each by a fresh forward pass.
    done: (n,) bool, what the method claims; found: (n,) bool, what the base and the constraint confirm of it.
    iterations: (n,) int64, steps or queries taken.
    relaxed: (n, *input) float32, where the search first was on the target's side before anything was projected;
    relaxed_found: (n,) bool, whether it ever was, confirmed by the base. None where nothing had to be projected.
    """

    factual: Tensor
    counterfactual: Tensor
    target: Tensor
    factual_logit: Tensor
    logit: Tensor
    done: Tensor
    found: Tensor
    iterations: Tensor
    relaxed: Tensor | None = None
    relaxed_found: Tensor | None = None


def factuals(dataset: Dataset, samples: int | None) -> Tensor:
    """Return the first `samples` inputs of the test split, or all for None: the same for every base."""
    return unit(dataset.x_test if samples is None else dataset.x_test[: whole("samples", samples, least=1)])


def check(settings: Mapping[str, Any], dataset: Dataset, model: Model, seeds: Sequence[int] = ()) -> None:
    """Raise an InputError, naming the key, for settings that the method, or a model like this one, refuses.

    It is asked about no rows at all, and the model is one that has not been trained. seeds: of the bases, each of which
    may need models of its own.
    """
    if "generating" in signature(chosen("counterfactual", settings)).parameters:
        for seed in seeds:
            generating_seeds(seed, 1)
    nothing = unit(dataset.x_test[:0])
    asked = (lambda x: x.flatten(1).sum(1)) if differentiable(model) else model
    _answer(asked, nothing, nothing.new_zeros(0), settings, dataset=dataset)


def search(
    model: Model,
    x: Tensor,
    *,
    settings: Mapping[str, Any],
    dataset: Dataset,
    generating: Generating | None = None,
) -> Counterfactuals:
    """Search a counterfactual of every factual x: (n, *input) in [0, 1] on one base model.

    Success is judged here, not by the method: x′, as stored in float32, has to satisfy the constraint, and goes through
    the base once more. generating: gives models of the base's spec for methods that search on several.
    """
    factual_logit, place = logits(model, x), device_of(model)
    target = 1 - predicted(factual_logit)
    answer = _answer(model, x.to(place), target.to(place), settings, dataset=dataset, generating=generating)
    reached, done, iterations = answer.x.cpu(), answer.done.cpu(), answer.iterations.cpu()
    logit = logits(model, reached)
    holds = constraint(settings["constraints"], dataset.space).holds(reached, x)
    found = done & holds & (margin(logit, target) > 0)
    before: tuple[Tensor, ...] = ()
    if answer.relaxed is not None and answer.crossed is not None:
        relaxed = answer.relaxed.cpu()
        before = (relaxed, answer.crossed.cpu() & (margin(logits(model, relaxed), target) > 0))
    return Counterfactuals(x, reached, target, factual_logit, logit, done, found, iterations, *before)


def _answer(
    model: Model,
    x: Tensor,
    target: Tensor,
    settings: Mapping[str, Any],
    *,
    dataset: Dataset,
    generating: Generating | None = None,
) -> Answer:
    """Ask a method, which names what it needs in its signature: dataset, constraint, generating."""
    if "constraints" not in settings:
        raise InputError("counterfactual.constraints: is missing")
    kept = constraint(settings["constraints"], dataset.space, place=x.device)
    given = {"constraint": kept, "dataset": dataset, "generating": generating}
    method = {name: value for name, value in settings.items() if name != "constraints"}
    answer: Answer = call("counterfactual", method, model, x, target, offered=given)
    return answer._replace(relaxed=None, crossed=None) if kept.exact else answer


def searched(
    bases: Sequence[Model],
    seeds: Sequence[int],
    *,
    spec: Spec,
    settings: Mapping[str, Any],
    samples: int | None,
    dataset: Dataset,
    store: Path,
    generating: Callable[[int, int], Sequence[Model]],
) -> list[Counterfactuals]:
    """Return the counterfactuals of every base, from the store or searched and stored.

    generating: of a base's seed and a number, as many models of its spec, of seeds that neither it nor any other has.
    """
    x = factuals(dataset, samples)
    files = {seed: file(spec, seed, settings=settings, many=len(x), store=store) for seed in seeds}
    keys = {seed: path.stem for seed, path in files.items()}

    def lacking() -> list[int]:
        return [seed for seed in seeds if not files[seed].exists()]

    def make(seed: int) -> None:
        base = bases[list(seeds).index(seed)]
        result = search(base, x, settings=settings, dataset=dataset, generating=partial(generating, seed))
        log.info("searched %d counterfactuals on base %d: found %d", len(x), seed, result.found.sum())
        about = {"base": {**spec, "seed": seed}, "counterfactual": settings, "samples": len(x)}
        kept = {name: part for name, part in vars(result).items() if name != "factual" and part is not None}
        artifacts.save(store, "counterfactuals", keys[seed], kept, about)

    for _ in range(TRIES):  # what turns out to be damaged has been moved aside when it is loaded
        if lacking():
            with artifacts.hold(store, keys.values()):
                for seed in lacking():
                    make(seed)
        stored = [_stored(store, keys[seed], x) for seed in seeds]
        whole_ones = [found for found in stored if found is not None]
        if len(whole_ones) == len(seeds):
            return whole_ones
    raise InputError(f"paths.store={store}: searches are damaged or gone as soon as they are made; check its disk")


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


def _stored(store: Path, name: str, x: Tensor) -> Counterfactuals | None:
    """Return stored counterfactuals of the factuals x, which all bases share in memory and none keeps in its file."""
    loaded = artifacts.load(store, "counterfactuals", name)
    return None if loaded is None else Counterfactuals(**{**loaded[0], "factual": x})
