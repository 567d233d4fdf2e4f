"""How far a reference is from its base: on one axis, whatever was changed between the two."""

from collections.abc import Callable, Mapping, Sequence

import pandas as pd
from torch import Tensor

from cftransfer.columns import matrix
from cftransfer.measuring.statistics import two_way_interval
from cftransfer.models.prediction import predicted


def disagreement(base: Tensor, reference: Tensor) -> Tensor:
    """Logits of two models at the same inputs, (n,) or (n, K) → the share of inputs that they put in two classes."""
    return (predicted(base) != predicted(reference)).double().mean()


def prob_difference(base: Tensor, reference: Tensor) -> Tensor:
    """Logits, (n,) or (n, K) → the mean difference of probabilities, in [0, 1].

    Of two classes |Δp|; of more half the sum of |Δp| over classes, the total variation, which is the same for two.
    """
    if base.dim() == 1:
        return (base.double().sigmoid() - reference.double().sigmoid()).abs().mean()
    return (base.double().softmax(1) - reference.double().softmax(1)).abs().sum(1).mean() / 2


def logit_rmse(base: Tensor, reference: Tensor) -> Tensor:
    """Logits, (n,) or (n, K) → the root of their mean squared difference.

    Of K classes each row's logits are first moved to a mean of 0, since a shift of all of them changes no probability.
    """
    if base.dim() > 1:
        base, reference = (logits - logits.mean(1, keepdim=True) for logits in (base, reference))
    return (base.double() - reference.double()).square().mean().sqrt()


MEASURES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "disagreement": disagreement,
    "prob_difference": prob_difference,
    "logit_rmse": logit_rmse,
}


def model_distances(bases: Sequence[Tensor], references: Sequence[Sequence[Tensor]], *, nested: bool) -> pd.DataFrame:
    """One row per base × reference, with the distances of the two; nested: of base i with reference i alone.

    bases: logits at the test split. references: of each the same, or one for each base where it is made of them.
    """
    rows = [
        {"base": i, "reference": j, **_distances(base, reference[i % len(reference)])}
        for i, base in enumerate(bases)
        for j, reference in enumerate(references)
        if i == j or not nested
    ]
    return pd.DataFrame(rows)


def _distances(base: Tensor, reference: Tensor) -> dict[str, float]:
    return {name: float(of(base, reference)) for name, of in MEASURES.items()}


def mean_distances(pairs: pd.DataFrame) -> dict[str, float]:
    """Return the mean of each distance over pairs, and of `disagreement` its interval over models."""
    over = two_way_interval(matrix(pairs, "disagreement"))
    means = {name: float(pairs[name].mean()) for name in MEASURES}
    return means | {"disagreement_low": max(over.low, 0.0), "disagreement_high": min(over.high, 1.0)}
