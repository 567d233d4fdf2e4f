"""What a transferability rate is to be compared with: the same question about points that are no counterfactuals.

A rate of .6 says little by itself: a reference puts many a point in the target class whatever the search did.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from cftransfer.counterfactuals.search import Counterfactuals
from cftransfer.models.prediction import Model, logits, predicted

DRAWS = 5  # random directions per counterfactual; the share of a pair of 1,000 is then known to within .01


def random_points(search: Counterfactuals, *, seed: int) -> Iterator[Tensor]:
    """Yield DRAWS times (n, *input): the factuals, each displaced as far (L2) as its counterfactual, anywhere.

    Directions are uniform on the sphere; a component that would leave the box [0, 1] is mirrored, which keeps the
    length, and cut off only where neither side has room for it.
    """
    generator = torch.Generator().manual_seed(seed)
    x = search.factual
    length = (search.counterfactual - x).flatten(1).norm(dim=1)
    for _ in range(DRAWS):
        step = torch.randn(x.shape, generator=generator)
        step = step * (length / step.flatten(1).norm(dim=1)).view(-1, *[1] * (x.dim() - 1))
        outside = (x + step < 0) | (x + step > 1)
        yield torch.where(outside, x - step, x + step).clamp(0, 1)


def random_share(search: Counterfactuals, references: Sequence[Model], *, seed: int) -> Tensor:
    """Return (references, n): the share of a factual's random points that a reference puts in the target class."""
    shares = torch.zeros(len(references), len(search.factual), dtype=torch.double)
    for points in random_points(search, seed=seed):
        for index, reference in enumerate(references):
            shares[index] += (predicted(logits(reference, points)) == search.target).double() / DRAWS
    return shares


def nearest_rows(search: Counterfactuals, base: Model, x_train: Tensor) -> Tensor:
    """Return (n, *input): the training row nearest (L2) to each factual among those that the base puts in its target.

    NaN for a factual whose target class the base gives to no training row.
    """
    classes = predicted(logits(base, x_train))
    nearest = torch.full_like(search.factual, float("nan"))
    for side in (0, 1):
        candidates, asking = x_train[classes == side], (search.target == side).nonzero().flatten()
        if len(candidates):
            for rows in asking.split(256):  # distances of a few rows at a time, since there may be many candidates
                distance = torch.cdist(search.factual[rows].flatten(1), candidates.flatten(1))
                nearest[rows] = candidates[distance.argmin(1)]
    return nearest


def nearest_share(search: Counterfactuals, nearest: Tensor, reference: Model) -> Tensor:
    """Return (n,): 1 where the reference puts the row of `nearest_rows` in the target class, else 0; NaN for no row."""
    answer = (predicted(logits(reference, nearest)) == search.target).double()
    return answer.masked_fill(nearest.flatten(1).isnan().any(1), float("nan"))


def prior_share(target: Tensor, factual_logit: Tensor) -> Tensor:
    """Return (n,): the probability that a coin gives the target class.

    The coin falls on class 1 as often as the reference does; factual_logit: (n,) its logits at the factuals.
    """
    ones = predicted(factual_logit).double().mean()
    return torch.where(target == 1, ones, 1 - ones)
