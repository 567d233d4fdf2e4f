"""A model's answers that are there already, and stand for the model."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cftransfer.errors import InputError
from cftransfer.searching.candidates import Counterfactuals


@dataclass(frozen=True, eq=False)
class StoredLogits:
    """What a reference said earlier, in the place of the reference itself.

    factual, counterfactual: (bases, n) logits of class 1, or (bases, n, K), of every base's factuals and
    counterfactuals, entry by entry (`Counterfactuals`); of a single base also (n,) or (n, K). Neither a random nor a
    nearest control of them.
    """

    factual: Any
    counterfactual: Any

    def of(self, base: int, search: Counterfactuals, *, bases: int) -> tuple[Tensor, Tensor]:
        """Return the logits at the factuals and at the counterfactuals of one base; InputError for other shapes."""
        wanted = tuple(search.factual_logit.shape)
        parts = []
        for name in ("factual", "counterfactual"):
            value = getattr(self, name)
            given = (value.detach().cpu() if isinstance(value, Tensor) else torch.from_numpy(np.array(value))).float()
            shape = tuple(given.shape)
            if shape != (bases, *wanted) and not (bases == 1 and shape == wanted):
                takes = f"{(bases, *wanted)}" + (f" or {wanted}" if bases == 1 else "")
                raise InputError(f"StoredLogits.{name}: has shape {shape} for {bases} bases; takes {takes}")
            if given.isnan().any():
                raise InputError(f"StoredLogits.{name}: has logits that are not a number")
            parts.append(given if shape == wanted else given[base])
        return parts[0], parts[1]
