"""The second opinion: whether candidates, from any source, are counterfactuals of the base."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cftransfer.data.pixels import PixelSpace
from cftransfer.data.space import FeatureSpace
from cftransfer.errors import InputError
from cftransfer.models.adapter import as_model
from cftransfer.models.prediction import Asked, Target, leads, logits, predicted, targets
from cftransfer.searching.candidates import Candidates, Counterfactuals
from cftransfer.searching.constraint import Constraint, constraint
from cftransfer.searching.inputs import ROUNDING, as_inputs


def judge(
    model: Any,
    x: Any,
    counterfactuals: Any,
    *,
    space: FeatureSpace | PixelSpace | None = None,
    target: Target = None,
    constraints: str | None = None,
    factual: Any = None,
) -> Counterfactuals:
    """Check counterfactuals that were made elsewhere, by another library or by hand, as the engine checks its own.

    Args:
        model: the base (`as_model`).
        x: (n, *input) factuals in [0, 1], or a DataFrame in original units, which `space` encodes.
        counterfactuals: the proposed points, in the same form, row by row; with `factual`, several for one factual.
        space: the meaning of the inputs; needed for the constraints possible and actionable, and for DataFrames.
        target: None for the class that the base gives to x′ (or, if that is x's own class, the base's second
            choice), one class by the model's own name, or one per row.
        constraints: none, box, possible or actionable; by default possible with a space, otherwise box.
        factual: for each row of `counterfactuals`, the number of its row of x, 0, 1, …; by default row i is for row i.
            A factual may have several rows, each judged, or no row, which gives the status `not_found`.

    Returns:
        Counterfactuals: `found` where the base puts x′, but not x, in the target class and the constraint allows it;
        every other row has its reason as `status`. Entries are in the order of the proposed points; factuals
            without points come last.

    >>> import torch
    >>> base = torch.nn.Linear(1, 1)
    >>> _ = base.load_state_dict({"weight": torch.tensor([[1.0]]), "bias": torch.tensor([-0.5])})
    >>> judge(base, torch.tensor([[0.2], [0.2]]), torch.tensor([[0.6], [0.4]])).status.tolist()
    ['found', 'lost']
    """
    framed, name = isinstance(x, pd.DataFrame), constraints or ("box" if space is None else "possible")
    base, rows = as_model(model, space=space, framed=framed), as_inputs(x, space, boxed=name != "none")
    reached = as_inputs(counterfactuals, space, name="counterfactuals", clip=False)
    if factual is None and rows.shape != reached.shape:
        raise InputError(f"counterfactuals: have shape {tuple(reached.shape)}, their factuals {tuple(rows.shape)}")
    kept = constraint(name, space, inputs=rows)
    factual_logit, original = logits(base, rows), as_inputs(x, space, clip=False)
    aims = targets(factual_logit, target, names=base.classes)
    proposals = proposed_for(rows, reached, None if factual is None else _numbers(factual, len(reached), len(rows)))
    if proposals.row is not None:
        rows, original, factual_logit, aims = (part[proposals.row] for part in (rows, original, factual_logit, aims))
    candidates = proposals._replace(x=settled(rows, proposals.x, kept, original=original))
    if target is None:
        aims = aims_of(base, candidates.x, factual_logit=factual_logit, otherwise=aims)
    found = judged(base, rows, candidates, target=aims, constraint=kept, factual_logit=factual_logit)
    made = {"method": "imported", "constraints": kept.name}
    return replace(found, base=base, space=space, settings=made, framed=framed)


def _numbers(factual: Any, many: int, factuals: int) -> Tensor:
    """Return the number of the factual of each point, (many,) int64; InputError outside 0 … factuals − 1."""
    numbers = np.asarray(factual.detach().cpu() if isinstance(factual, Tensor) else factual)
    if numbers.shape != (many,) or (many and numbers.dtype.kind not in "iu"):
        raise InputError(f"factual: must be the row of x of each of the {many} counterfactuals, as whole numbers")
    if (wrong := np.flatnonzero((numbers < 0) | (numbers >= factuals))).size:
        raise InputError(f"factual: has {numbers[wrong[0]]} in row {wrong[0]}, and x the rows 0 to {factuals - 1}")
    return torch.from_numpy(numbers.astype(np.int64))


def proposed_for(x: Tensor, points: Tensor, row: Tensor | None) -> Candidates:
    """Return points made elsewhere as candidates; a factual without points gets itself, not claimed.

    x: (n, *input); points: (m, *input); row: (m,) the factual of each point, None for one per factual, in order.
    """
    claimed = torch.ones(len(points), dtype=torch.bool)
    if row is not None:
        without = (torch.bincount(row, minlength=len(x)) == 0).nonzero().flatten()
        points, row = torch.cat([points, x[without]]), torch.cat([row, without])
        claimed = torch.cat([claimed, torch.zeros(len(without), dtype=torch.bool)])
        row = None if torch.equal(row, torch.arange(len(x))) else row
    return Candidates(points, claimed, torch.zeros(len(points), dtype=torch.long), row=row)


def aims_of(model: Asked, reached: Tensor, *, factual_logit: Tensor, otherwise: Tensor) -> Tensor:
    """Return the target, (n,), of points made elsewhere: the class that they reach, if it is not the factual's.

    otherwise: (n,) the target of the other points.
    """
    classes = predicted(logits(model, reached))
    return torch.where(classes != predicted(factual_logit), classes, otherwise)


def settled(x: Tensor, reached: Tensor, kept: Constraint, *, original: Tensor) -> Tensor:
    """Return x′ with unchanged features exactly as in x, and with rounding of other libraries undone.

    original: (n, *input) the factuals before they were clipped to each feature's range.
    """
    reached = torch.where(reached == original, x, reached)
    nearest = kept.project(reached, x)
    rounded = ((nearest - reached).abs() <= ROUNDING).flatten(1).all(1)
    return torch.where(rounded.view(-1, *[1] * (x.dim() - 1)), nearest, reached)


def judged(
    model: Asked,
    x: Tensor,
    candidates: Candidates,
    *,
    target: Tensor,
    constraint: Constraint,
    factual_logit: Tensor,
) -> Counterfactuals:
    """Return the candidates as judged by the constraint and by a fresh forward pass of the base on x′ in float32.

    x: (n, *input); target: (n,); factual_logit: (n,) or (n, K), the base's at x.
    """
    reached, claimed = candidates.x.cpu(), candidates.claimed.cpu()
    logit = logits(model, reached)
    possible = constraint.to(torch.device("cpu")).holds(reached, x)
    found = claimed & possible & leads(logit, target) & (predicted(factual_logit) != target)
    before: dict[str, Tensor] = {}
    if candidates.relaxed is not None and candidates.crossed is not None:
        relaxed = candidates.relaxed.cpu()
        crossed = candidates.crossed.cpu() & leads(logits(model, relaxed), target)
        before = {"relaxed": relaxed, "relaxed_found": crossed}
    return Counterfactuals(
        factual=x,
        counterfactual=reached,
        target=target,
        factual_logit=factual_logit,
        logit=logit,
        claimed=claimed,
        found=found,
        possible=possible,
        iterations=candidates.iterations.cpu(),
        relaxed=before.get("relaxed"),
        relaxed_found=before.get("relaxed_found"),
        row=candidates.row,
        no_row=None if candidates.no_row is None else candidates.no_row.cpu(),
    )
