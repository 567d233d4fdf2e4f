"""The second opinion: whether candidates, wherever they come from, are counterfactuals of the base."""

from dataclasses import replace
from typing import Any

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
) -> Counterfactuals:
    """Check counterfactuals that were made elsewhere, by another library or by hand, as the engine checks its own.

    Args:
        model: the base (`as_model`).
        x: (n, *input) factuals in [0, 1], or a DataFrame in original units, which `space` encodes.
        counterfactuals: the same for the points proposed, row by row.
        space: what the inputs mean; needed for the constraints possible and actionable, and for DataFrames.
        target: None for the class that the base gives to x′ (where that is x's own, the base's second choice), one
            class in the model's own words, or one per row.
        constraints: none, box, possible or actionable; by default possible with a space, else box.

    Returns:
        Counterfactuals: `found` where the base puts x′, but not x, in the target class and the constraint allows it;
        every other row has its reason as `status`.

    >>> import torch
    >>> base = torch.nn.Linear(1, 1)
    >>> _ = base.load_state_dict({"weight": torch.tensor([[1.0]]), "bias": torch.tensor([-0.5])})
    >>> judge(base, torch.tensor([[0.2], [0.2]]), torch.tensor([[0.6], [0.4]])).status.tolist()
    ['found', 'lost']
    """
    framed, name = isinstance(x, pd.DataFrame), constraints or ("box" if space is None else "possible")
    base, rows = as_model(model, space=space, framed=framed), as_inputs(x, space, boxed=name != "none")
    reached = as_inputs(counterfactuals, space, name="counterfactuals", clip=False)
    if rows.shape != reached.shape:
        raise InputError(f"counterfactuals: have shape {tuple(reached.shape)}, their factuals {tuple(rows.shape)}")
    kept = constraint(name, space, inputs=rows)
    reached = _settled(rows, reached, kept, original=as_inputs(x, space, clip=False))
    factual_logit = logits(base, rows)
    aims = targets(factual_logit, target, names=base.classes)
    if target is None:  # of points made elsewhere: the class that they reach, if it is another one
        classes = predicted(logits(base, reached))
        aims = torch.where(classes != predicted(factual_logit), classes, aims)
    claimed = torch.ones(len(rows), dtype=torch.bool)
    candidates = Candidates(reached, claimed, torch.zeros(len(rows), dtype=torch.long))
    found = judged(base, rows, candidates, target=aims, constraint=kept, factual_logit=factual_logit)
    made = {"method": "imported", "constraints": kept.name}
    return replace(found, base=base, space=space, settings=made, framed=framed)


def _settled(x: Tensor, reached: Tensor, kept: Constraint, *, original: Tensor) -> Tensor:
    """Return x′ where a feature that did not change is as x has it, and rounding of other libraries is undone.

    original: (n, *input) the factuals before numbers beyond a feature's range were put at its end.
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
    """Return what the base and the constraint confirm of the candidates: x′, as stored in float32, is asked once more.

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
    )
