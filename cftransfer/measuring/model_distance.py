"""How far a reference is from its base: on one axis, whatever was changed between the two."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import pandas as pd
from torch import Tensor

from cftransfer.columns import matrix
from cftransfer.measuring.statistics import LEVEL, share_interval
from cftransfer.models.prediction import predicted


class Seen(NamedTuple):
    """What a model says of n inputs, once for all models that it is compared with.

    classes: (n,). probabilities: (n,) of class 1, or (n, K), float64. logits: (n,), or (n, K) with a mean of 0 in each
    row, since a shift of all logits changes no probability; float64.
    """

    classes: Tensor
    probabilities: Tensor
    logits: Tensor


def seen(logits: Tensor) -> Seen:
    """logits: (n,) or (n, K) → what the distances need of them."""
    exact = logits.double()
    if logits.dim() == 1:
        return Seen(predicted(logits), exact.sigmoid(), exact)
    return Seen(predicted(logits), exact.softmax(1), exact - exact.mean(1, keepdim=True))


def disagreement(base: Seen, reference: Seen) -> Tensor:
    """Return the share of inputs that the two put in different classes."""
    return (base.classes != reference.classes).double().mean()


def prob_difference(base: Seen, reference: Seen) -> Tensor:
    """Return the mean difference of probabilities, in [0, 1].

    Of two classes |Δp|; of more half the sum of |Δp| over classes, the total variation, which is the same for two.
    """
    apart = (base.probabilities - reference.probabilities).abs()
    return apart.mean() if apart.dim() == 1 else apart.sum(1).mean() / 2


def logit_rmse(base: Seen, reference: Seen) -> Tensor:
    """Return the root of the mean squared difference of logits."""
    return (base.logits - reference.logits).square().mean().sqrt()


MEASURES: Mapping[str, Callable[[Seen, Seen], Tensor]] = {
    "disagreement": disagreement,
    "prob_difference": prob_difference,
    "logit_rmse": logit_rmse,
}


def model_distances(bases: Sequence[Tensor], references: Sequence[Sequence[Tensor]], *, nested: bool) -> pd.DataFrame:
    """One row per base × reference, with the distances of the two; nested: of base i with reference i alone.

    bases: logits at the test split. references: of each the same, or one for each base where it is made of them.
    """
    known = [[seen(logits) for logits in some] for some in references]
    rows = [
        {"base": i, "reference": j, **_distances(base, reference[i % len(reference)])}
        for i, base in enumerate(map(seen, bases))
        for j, reference in enumerate(known)
        if i == j or not nested
    ]
    return pd.DataFrame(rows)


def _distances(base: Seen, reference: Seen) -> dict[str, float]:
    return {name: float(of(base, reference)) for name, of in MEASURES.items()}


def mean_distances(pairs: pd.DataFrame, *, level: float = LEVEL) -> dict[str, float]:
    """Return the mean of each distance over pairs, and of `disagreement` its interval over models."""
    over = share_interval(matrix(pairs, "disagreement"), level=level)
    means = {name: float(pairs[name].mean()) for name in MEASURES}
    return means | {"disagreement_low": over.low, "disagreement_high": over.high}
