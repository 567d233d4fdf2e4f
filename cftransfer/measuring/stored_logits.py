"""A model's existing answers, used in place of the model."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cftransfer.errors import InputError
from cftransfer.searching.candidates import Counterfactuals


@dataclass(frozen=True, eq=False)
class StoredLogits:
    """The earlier answers of a reference, in place of the reference itself.

    factual, counterfactual: (bases, n) logits of class 1, or (bases, n, K), of every base's factuals and
    counterfactuals, entry by entry (`Counterfactuals`); for a single base also (n,) or (n, K). There is no random and
    no nearest control, since these need the model.
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
                raise InputError(f"StoredLogits.{name}: has shape {shape} for {bases} bases; must be {takes}")
            if given.isnan().any():
                raise InputError(f"StoredLogits.{name}: has logits that are not a number")
            parts.append(given if shape == wanted else given[base])
        return parts[0], parts[1]
