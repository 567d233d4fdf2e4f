"""What a transferability rate is to be compared with: the same question about points that are no counterfactuals.

A rate of .6 says little by itself: a reference puts many a point in the target class whatever the search did.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cftransfer.counterfactuals.search import BLOCK, Counterfactuals, distance
from cftransfer.data.pixels import unit
from cftransfer.models.prediction import Model, device_of, logits, predicted, rows_at_once

DRAWS = 5  # random directions per counterfactual; the share of a pair of 1,000 is then known to within .01


@dataclass(frozen=True)
class Nearest:
    """The training row nearest to each factual. rows: (n, *input) as the data set has them; l2: (n,), NaN for none."""

    rows: Tensor
    l2: Tensor


def random_points(x: Tensor, reached: Tensor, *, generator: torch.Generator) -> Iterator[Tensor]:
    """x, reached: (n, *input) → DRAWS times (n, *input): x, each displaced as far (L2) as `reached` is, anywhere.

    Directions are uniform on the sphere; a component that would leave the box [0, 1] is mirrored, which keeps the
    length, and cut off only where neither side has room for it.
    """
    length = (reached - x).flatten(1).norm(dim=1)
    for _ in range(DRAWS):
        step = torch.randn(x.shape, generator=generator)
        step = step * (length / step.flatten(1).norm(dim=1)).view(-1, *[1] * (x.dim() - 1))
        outside = (x + step < 0) | (x + step > 1)
        yield torch.where(outside, x - step, x + step).clamp(0, 1)


def random_share(search: Counterfactuals, references: Sequence[Model], *, seed: int) -> Tensor:
    """Return (references, n): the share of a factual's random points that a reference puts in the target class."""
    shares = torch.zeros(len(references), len(search.factual), dtype=torch.double)
    generator = torch.Generator().manual_seed(seed)
    for rows in torch.arange(len(search.factual)).split(rows_at_once(search.factual, numbers=BLOCK)):
        factual, reached, target = search.factual[rows], search.counterfactual[rows], search.target[rows]
        for points in random_points(factual, reached, generator=generator):
            for index, reference in enumerate(references):
                shares[index, rows] += (predicted(logits(reference, points)) == target).double() / DRAWS
    return shares


def nearest_rows(search: Counterfactuals, base: Model, x_train: Tensor) -> Nearest:
    """Return the training row nearest (L2) to each factual among those that the base puts in its target class."""
    classes, place = predicted(logits(base, x_train)), device_of(base)
    nearest = torch.zeros(len(search.factual), dtype=torch.long)
    least = torch.full((len(search.factual),), float("inf"))
    for side in (0, 1):
        candidates, asking = (classes == side).nonzero().flatten(), (search.target == side).nonzero().flatten()
        # Distances of a few rows to some candidates at a time, since these may be many; or none.
        for rows in asking.split(256) if len(candidates) else ():
            x = search.factual[rows].flatten(1).to(place)
            for some in candidates.split(rows_at_once(x_train, numbers=BLOCK)):
                apart = torch.cdist(x, unit(x_train[some].to(place)).flatten(1))
                closest, index = (answer.cpu() for answer in apart.min(1))
                closer = closest < least[rows]
                nearest[rows[closer]], least[rows[closer]] = some[index[closer]], closest[closer]
    rows = x_train[nearest]
    l2 = distance(search.factual, rows)  # anew, for cdist rounds
    return Nearest(rows, l2.masked_fill(least.isinf(), float("nan")))


def nearest_share(search: Counterfactuals, nearest: Nearest, reference: Model) -> Tensor:
    """Return (n,): 1 where the reference puts the row of `nearest_rows` in the target class, else 0; NaN for no row."""
    answer = (predicted(logits(reference, nearest.rows)) == search.target).double()
    return answer.masked_fill(nearest.l2.isnan(), float("nan"))


def prior_share(target: Tensor, factual_logit: Tensor) -> Tensor:
    """Return (n,): the probability that a coin gives the target class.

    The coin falls on class 1 as often as the reference does; factual_logit: (n,) its logits at the factuals.
    """
    ones = predicted(factual_logit).double().mean()
    return torch.where(target == 1, ones, 1 - ones)
