"""Candidates, proposed by a method, and Counterfactuals, judged by the base and the constraint."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from cftransfer.data.pixels import PixelSpace
from cftransfer.data.space import FeatureSpace
from cftransfer.errors import InputError
from cftransfer.models.prediction import Asked, margin, predicted


class Background(NamedTuple):
    """The training split, for methods that look at it. x: (n, *input) in [0, 1] or bytes; y: (n,) classes."""

    x: Tensor
    y: Tensor


def needs(background: Background | None, what: str) -> Background:
    """Return the training split; InputError without one, which says that `what` needs it."""
    if background is None:
        raise InputError(f"counterfactual: {what} needs the training split, as background=(x_train, y_train)")
    return background


class Candidates(NamedTuple):
    """The proposals of a method. x: (n, *input), the counterfactuals, or the last point of a search that failed.

    claimed: (n,) bool, whether the method takes it for a counterfactual. iterations: (n,) int64, steps or queries
    taken.
    relaxed, crossed: (n, *input) and (n,) bool, the first point in the relaxation of the constraint that was in the
    target class before any projection, and whether there was one; None for methods without a relaxation.
    row: (n,) int64, the factual of each proposal, if factuals have several; every factual has at least one. None if
    proposal i is for factual i.
    target: (n,) int64, the class that each proposal aims at, used if the caller names none and the method knows better
    than the base's second choice; otherwise None.
    no_row: (n,) bool, whether the training split lacks a row for the method to go to; None for methods without such
    rows.
    """

    x: Tensor
    claimed: Tensor
    iterations: Tensor
    relaxed: Tensor | None = None
    crossed: Tensor | None = None
    row: Tensor | None = None
    target: Tensor | None = None
    no_row: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Counterfactuals:
    """Judged counterfactuals of one base: one entry per factual, or one per proposal if factuals have several.

    factual, counterfactual: (n, *input) float32; x′ is where the search ended, found or not.
    target: (n,) int64, the class aimed at.
    factual_logit, logit: (n,), or (n, K), the base's logits at x and at x′, each by a fresh forward pass.
    claimed: (n,) bool, whether the method proposed x′ as a counterfactual; found: (n,) bool, whether the base and the
    constraint confirm it; possible: (n,) bool, whether x′ satisfies the constraint.
    iterations: (n,) int64, steps or queries taken; 0 if nothing was searched.
    relaxed: (n, *input) float32, the search's first point on the target's side, before any projection; relaxed_found:
    (n,) bool, whether there was one, confirmed by the base. None if no projection was needed.
    row: (n,) int64, the number of each entry's factual, if factuals have several; every factual has at least one. None
    if entry i is for factual i.
    no_row: (n,) bool, whether the training split lacks a row that the method needs; None for methods without such rows.
    base, space: the model and the space that they were found with; None if read from a store.
    generating: the models that the method searched on in addition to the base; they cannot be references.
    framed: whether the factuals came as a DataFrame.
    settings: how they were made: method, constraints and the method's own settings.
    """

    factual: Tensor
    counterfactual: Tensor
    target: Tensor
    factual_logit: Tensor
    logit: Tensor
    claimed: Tensor
    found: Tensor
    possible: Tensor
    iterations: Tensor
    relaxed: Tensor | None = None
    relaxed_found: Tensor | None = None
    row: Tensor | None = None
    no_row: Tensor | None = None
    base: Asked | None = field(default=None, repr=False)
    space: FeatureSpace | PixelSpace | None = field(default=None, repr=False)
    generating: tuple[Asked, ...] = field(default=(), repr=False)
    settings: dict[str, Any] = field(default_factory=dict)
    framed: bool = False

    def __len__(self) -> int:
        return len(self.factual)

    @property
    def rows(self) -> Tensor:
        """(n,) int64: the number of each entry's factual."""
        return torch.arange(len(self)) if self.row is None else self.row

    @property
    def proposal(self) -> Tensor:
        """(n,) int64: 0, 1, … within the entries of one factual, in their order."""
        if self.row is None:
            return torch.zeros(len(self), dtype=torch.long)
        order = self.row.argsort(stable=True)
        first = torch.searchsorted(self.row[order], self.row[order])  # first entry of the same factual
        return torch.empty_like(self.row).scatter(0, order, torch.arange(len(self)) - first)

    def entry(self, factual: int, proposal: int = 0) -> int:
        """Return the index of the entry that holds a proposal."""
        return factual if self.row is None else int((self.row == factual).nonzero()[proposal])

    @property
    def margin(self) -> Tensor:
        """(n,) float32: the base's margin of the target at x′ (`prediction.margin`)."""
        return margin(self.logit, self.target)

    @property
    def in_target(self) -> Tensor:
        """(n,) bool: whether the base already puts the factual in the target class, which leaves nothing to find."""
        return predicted(self.factual_logit) == self.target

    @property
    def status(self) -> np.ndarray:
        """(n,) words: found, or the reason why not.

        in_target: the factual was already in the target class. lost_by_projection: it was a counterfactual until it was
        projected onto the constraint. no_row: the training split has no row that the method could go to. not_found: the
        method gave up. not_possible: the constraint forbids it. lost: the base does not confirm it.
        """
        crossed = self.relaxed_found if self.relaxed_found is not None else torch.zeros_like(self.found)
        without = self.no_row if self.no_row is not None else torch.zeros_like(self.found)
        reasons = [
            (self.found, "found"),
            (self.in_target, "in_target"),
            (~self.claimed & crossed, "lost_by_projection"),
            (~self.claimed & without, "no_row"),
            (~self.claimed, "not_found"),
            (~self.possible, "not_possible"),
        ]
        return np.select([flags.numpy() for flags, _ in reasons], [word for _, word in reasons], "lost")
