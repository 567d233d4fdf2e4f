"""What a method answers: where it went, and what it claims of that; the engine judges (search.py)."""

from typing import NamedTuple

from torch import Tensor


class Answer(NamedTuple):
    """x: (n, *input), the counterfactuals, or where the search stood. done: (n,) bool, what is claimed to be one.

    iterations: (n,) int64, steps or queries taken.
    relaxed, crossed: (n, *input) and (n,) bool, where the relaxation of the constraint first was on the target's side
    and whether it ever was, before anything was projected; None where there is no such moment.
    """

    x: Tensor
    done: Tensor
    iterations: Tensor
    relaxed: Tensor | None = None
    crossed: Tensor | None = None
