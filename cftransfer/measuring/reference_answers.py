"""Ask references: once about the inputs that bases share, then about the counterfactuals of each base in turn."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from cftransfer.measuring.controls import Nearest, nearest_shares, random_share
from cftransfer.measuring.noisy_execution import Noise, invalidation
from cftransfer.measuring.stored_logits import StoredLogits
from cftransfer.models.prediction import Asked, logits
from cftransfer.searching.candidates import Counterfactuals


class OfEachBase(NamedTuple):
    """A reference that is made from the bases: one model for each base, which is asked about that base alone."""

    models: Sequence[Asked]


Reference: TypeAlias = Asked | StoredLogits | OfEachBase


class ReferenceAnswers(NamedTuple):
    """The answers of a reference, `reference` of its group, about the n counterfactuals of one base.

    factual_logit, logit, relaxed: (n,) or (n, K) logits at the factuals, at the counterfactuals, and at these before
    projection; relaxed: None if nothing was projected, or if the reference cannot be asked.
    random, nearest: (n,) float64, its answers about the controls; NaN if it cannot be asked.
    invalidation: (n,) float64, the share of noisy counterfactuals that it does not put in the target class, NaN if it
    cannot be asked or nothing was found; None without noise.
    """

    reference: int
    factual_logit: Tensor
    logit: Tensor
    relaxed: Tensor | None
    random: Tensor
    nearest: Tensor
    invalidation: Tensor | None = None


def reference_answers(
    searches: Sequence[Counterfactuals],
    references: Sequence[Sequence[Reference]],
    *,
    nearest: Sequence[Nearest | None],
    nested: bool,
    noise: Noise | None = None,
) -> Iterator[list[list[ReferenceAnswers]]]:
    """Yield, for every base, the answers of each group of references; arguments as in `long_tables.transfer_tables`.

    Models are asked one by one, because stacking is not faster: on one thread, 80 MLPs of 4×64 answered 1,000 rows of
    COMPAS in 38 ms stacked and in 39 ms one by one (31 ms with 4,096 rows a pass). Stacking also rounds differently.
    """
    shared = {
        (group, index, base): said
        for group, models in enumerate(references)
        for index, model in enumerate(models)
        if not isinstance(model, StoredLogits)
        for base, said in _about_shared_inputs(model, searches, nearest, [index] if nested else range(len(searches)))
    }
    for base, search in enumerate(searches):
        met = [[base] if nested else range(len(models)) for models in references]
        models = [
            (_on(references[group][index], base), group, index) for group, some in enumerate(met) for index in some
        ]
        able = [model for model, *_ in models if not isinstance(model, StoredLogits)]
        random = iter(random_share(search, able))
        noisy = iter(() if noise is None else invalidation(search, able, noise))
        answers: list[list[ReferenceAnswers]] = [[] for _ in references]
        for model, group, index in models:
            if isinstance(model, StoredLogits):
                unknown = torch.full((len(search),), torch.nan, dtype=torch.double)
                factual_logit, logit = model.of(base, search, bases=len(searches))
                lost = None if noise is None else unknown
                said = ReferenceAnswers(index, factual_logit, logit, None, unknown, unknown, lost)
            else:
                factual_logit, nearby = shared.pop((group, index, base))
                relaxed = None if search.relaxed is None else logits(model, search.relaxed)
                logit = logits(model, search.counterfactual)
                controls = (next(random), nearby)
                said = ReferenceAnswers(index, factual_logit, logit, relaxed, *controls, next(noisy, None))
            answers[group].append(said)
        yield answers


def _on(reference: Reference, base: int) -> Asked | StoredLogits:
    return reference.models[base] if isinstance(reference, OfEachBase) else reference


def _about_shared_inputs(
    model: Asked | OfEachBase,
    searches: Sequence[Counterfactuals],
    nearest: Sequence[Nearest | None],
    bases: Sequence[int],
) -> Iterator[tuple[int, tuple[Tensor, Tensor]]]:
    """Yield, for each of `bases`, a model's logits at the factuals, and its shares of `control_nearest`.

    If a base has the factuals of the first base, its answers are reused.
    """
    if isinstance(model, OfEachBase):
        for base in bases:
            yield from _about_shared_inputs(model.models[base], searches, nearest, [base])
        return
    some = [searches[base] for base in bases]
    first = logits(model, some[0].factual)
    shares = nearest_shares(some, [nearest[base] for base in bases], model)
    for base, search, share in zip(bases, some, shares, strict=True):
        same = torch.equal(search.factual, some[0].factual)
        yield base, (first if same else logits(model, search.factual), share)
