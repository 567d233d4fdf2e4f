"""Distances between a reference and its base, on the same scale whatever was changed between the two."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import pandas as pd
from torch import Tensor

from cftransfer.columns import matrix
from cftransfer.measuring.statistics import LEVEL, share_interval
from cftransfer.models.prediction import predicted


class Seen(NamedTuple):
    """A model's answers for n inputs, computed once for all models that it is compared with.

    classes: (n,). probabilities: (n,) of class 1, or (n, K), float64. logits: (n,), or (n, K) centred in each row, as a
    shift of all logits changes no probability; float64.
    """

    classes: Tensor
    probabilities: Tensor
    logits: Tensor


def seen(logits: Tensor) -> Seen:
    """logits: (n,) or (n, K) → the quantities that the distances need."""
    exact = logits.double()
    if logits.dim() == 1:
        return Seen(predicted(logits), exact.sigmoid(), exact)
    return Seen(predicted(logits), exact.softmax(1), exact - exact.mean(1, keepdim=True))


def disagreement(base: Seen, reference: Seen) -> Tensor:
    """Return the share of inputs that the two models put in different classes."""
    return (base.classes != reference.classes).double().mean()


def prob_difference(base: Seen, reference: Seen) -> Tensor:
    """Return the mean difference of probabilities, in [0, 1].

    |Δp| for two classes; half the sum of |Δp| over classes (total variation) for more, which for two is also |Δp|.
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
    """Return one row per base × reference, with their distances; nested: of base i with reference i alone.

    bases: logits on the test split. references: for each reference, a list of its logits, or one entry per base if the
    reference is made from the base.
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
    """Return the mean of each distance over pairs, and for `disagreement` also its interval over models."""
    over = share_interval(matrix(pairs, "disagreement"), level=level)
    means = {name: float(pairs[name].mean()) for name in MEASURES}
    return means | {"disagreement_low": over.low, "disagreement_high": over.high}
