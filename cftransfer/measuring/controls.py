"""Controls for a transferability rate: the same question about points that are not counterfactuals.

A rate of .6 says little by itself: a reference puts many points in the target class, whatever the search did.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from cftransfer.data.pixels import unit
from cftransfer.models.prediction import Asked, device_of, logits, number_of_classes, predicted, rows_at_once
from cftransfer.searching.candidates import Counterfactuals
from cftransfer.searching.distance import BLOCK, distance

DRAWS = 5  # random directions per counterfactual; with 1,000, a pair's share is then known to within .01


@dataclass(frozen=True)
class Nearest:
    """The training row nearest to each factual.

    x_train: the training split of the data set; index: (n,) int64, rows of it; l2: (n,), NaN if there is no such row.
    """

    x_train: Tensor
    index: Tensor
    l2: Tensor


def random_points(x: Tensor, reached: Tensor, *, generator: torch.Generator) -> Iterator[Tensor]:
    """x, reached: (n, *input) → DRAWS times (n, *input): x, moved as far (L2) as `reached` is, in a random direction.

    Directions are uniform on the sphere. A component that would leave the box [0, 1] is mirrored, which keeps the
    length; it is clipped only if neither side has room for it.
    """
    length = (reached - x).flatten(1).norm(dim=1)
    for _ in range(DRAWS):
        step = torch.randn(x.shape, generator=generator)
        step = step * (length / step.flatten(1).norm(dim=1)).view(-1, *[1] * (x.dim() - 1))
        outside = (x + step < 0) | (x + step > 1)
        yield torch.where(outside, x - step, x + step).clamp(0, 1)


def random_share(search: Counterfactuals, references: Sequence[Asked]) -> Tensor:
    """Return (references, n): the share of a factual's random points that a reference puts in the target class."""
    shares = torch.zeros(len(references), len(search.factual), dtype=torch.double)
    generator = control_generator(search)
    for rows in torch.arange(len(search.factual)).split(rows_at_once(search.factual, numbers=BLOCK)):
        factual, reached, target = search.factual[rows], search.counterfactual[rows], search.target[rows]
        draws = random_points(factual, reached, generator=generator)
        while some := list(islice(draws, rows_at_once(factual[None], numbers=BLOCK))):  # as many as fit in one pass
            points = torch.cat(some)
            classes = [predicted(logits(reference, points)).view(len(some), -1) for reference in references]
            for each in zip(*classes, strict=True):
                shares[:, rows] += (torch.stack(each) == target).double() / DRAWS
    return shares


def control_generator(search: Counterfactuals) -> torch.Generator:
    """Return the generator of the random control, seeded by a hash of the factuals and counterfactuals.

    A small seed, such as a base's number, may also have generated the data; then directions would depend on the rows.
    """
    content = hashlib.sha256(b"control_random")
    for part in (search.factual, search.counterfactual):
        content.update(part.contiguous().numpy().data)
    return torch.Generator().manual_seed(int.from_bytes(content.digest()[:8]) >> 1)


def nearest_rows(search: Counterfactuals, base: Asked, x_train: Tensor) -> Nearest:
    """Return the training row nearest (L2) to each factual among those that the base puts in its target class."""
    classes, place = predicted(logits(base, x_train)), device_of(base)
    nearest = torch.zeros(len(search.factual), dtype=torch.long)
    least = torch.full((len(search.factual),), float("inf"))
    for side in search.target.unique().tolist():
        candidates, asking = (classes == side).nonzero().flatten(), (search.target == side).nonzero().flatten()
        # A few rows and candidates at a time, since there may be many; without candidates, none.
        for rows in asking.split(256) if len(candidates) else ():
            x = search.factual[rows].flatten(1).to(place)
            for some in candidates.split(rows_at_once(x_train, numbers=BLOCK)):
                apart = torch.cdist(x, unit(x_train[some].to(place)).flatten(1))
                closest, index = (answer.cpu() for answer in apart.min(1))
                closer = closest < least[rows]
                nearest[rows[closer]], least[rows[closer]] = some[index[closer]], closest[closer]
    l2 = distance(search.factual, x_train[nearest])  # recomputed, since cdist rounds
    return Nearest(x_train, nearest, l2.masked_fill(least.isinf(), float("nan")))


def nearest_shares(
    searches: Sequence[Counterfactuals], nearest: Sequence[Nearest | None], reference: Asked
) -> list[Tensor]:
    """Return (n,) per base: 1 if the reference puts the row of `nearest_rows` in the target class, 0 if not.

    NaN if there is no row. Each training row is asked about once, however many factuals it is nearest to.
    """
    shares = [torch.full((len(search),), torch.nan, dtype=torch.double) for search in searches]
    known = [(share, search, one) for share, search, one in zip(shares, searches, nearest, strict=True) if one]
    if not known:
        return shares
    x_train = known[0][-1].x_train
    asked, classes = torch.zeros(len(x_train), dtype=torch.bool), torch.zeros(len(x_train), dtype=torch.long)
    for *_, one in known:
        asked[one.index] = True
    for rows in asked.nonzero().flatten().split(rows_at_once(x_train, numbers=BLOCK)):
        classes[rows] = predicted(logits(reference, x_train[rows]))
    for share, search, one in known:
        share.copy_(classes[one.index] == search.target).masked_fill_(one.l2.isnan(), torch.nan)
    return shares


def prior_share(target: Tensor, factual_logit: Tensor, *, once: Tensor | None = None) -> Tensor:
    """Return (n,): the probability that a random guess gives the target class.

    The guess is each class as often as the reference predicts it; factual_logit: (n,) or (n, K), the reference's logits
    at the factuals. once: (n,) bool, the entries to count, so that a factual with several counterfactuals counts once;
    all by default.
    """
    classes = predicted(factual_logit if once is None else factual_logit[once])
    shares = classes.bincount(minlength=number_of_classes(factual_logit)).double() / max(1, len(classes))
    return shares[target]
