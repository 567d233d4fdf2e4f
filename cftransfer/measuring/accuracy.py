"""The accuracy of models, and notes on models that have learned nothing, for which rates mean little."""

from collections.abc import Sequence

from torch import Tensor

LEARNED = 0.02  # accuracy above the share of the most frequent class; models with less have hardly learned
NAMED = 3  # models that a note names; further models are only counted


def accuracy(classes: Tensor, y: Tensor) -> float:
    """classes: (models, n), y: (n,) → the share of rows in their own class, averaged over models, in [0, 1]."""
    return float((classes == y).float().mean(1).mean())


def learned_nothing(classes: Tensor, y: Tensor, seeds: Sequence[int], *, role: str, names: Sequence[str]) -> list[str]:
    """Return a note on the models that put all rows in one class or, if there are none, on hardly better models.

    classes: (models, n) of models of these seeds, y: (n,). role: base or reference. names: of the classes.
    """
    constant = (classes == classes[:, :1]).all(1).nonzero().flatten().tolist()
    way_out = "change training.epochs, training.lr, training.batch_size or the model"
    if constant:
        named = [
            f"seed {seeds[model]} in {names[int(classes[model, 0])]!r} (right on {accuracy(classes[[model]], y):.2f})"
            for model in constant[:NAMED]
        ]
        more = f" and {len(constant) - NAMED} more" if len(constant) > NAMED else ""
        some = f"{len(constant)} of {len(classes)} {role}s put{'s' * (len(constant) == 1)} all rows of the test split"
        return [f"{some} in one class: {', '.join(named)}{more}; rates say nothing about such models; {way_out}"]
    most, right = y.long().bincount().max().item() / len(y), accuracy(classes, y)
    if right > most + LEARNED:
        return []
    return [f"{role}s are right on {right:.2f} of the test split, a constant answer on {most:.2f}; {way_out}"]
