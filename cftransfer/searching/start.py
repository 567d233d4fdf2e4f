"""Starting counterfactuals for methods that refine one without a gradient."""

from torch import Tensor

from cftransfer.models.prediction import Asked
from cftransfer.searching.candidates import Background, Candidates
from cftransfer.searching.constraint import Constraint
from cftransfer.settings import check_choice
from cftransfer.targets import call_target

STARTS = {"growing_spheres": 100, "minimal": 51, "nearest": 1}  # with the fewest iterations of each


def check_start(start: str) -> int:
    """Return the fewest iterations of a start; InputError unless it is one of STARTS."""
    return STARTS[check_choice("counterfactual.start", start, tuple(STARTS))]


def begun_with(
    start: str,
    model: Asked,
    x: Tensor,
    target: Tensor,
    *,
    constraint: Constraint,
    background: Background | None,
    confidence: float,
    iterations: int,
    batch_size: int,
) -> Candidates:
    """Return the counterfactuals that a start finds with the given settings, and its own defaults for the others."""
    given = {"constraint": constraint, "background": background, "confidence": confidence, "iterations": iterations}
    offered = {**given, "batch_size": batch_size}
    found: Candidates = call_target(
        "counterfactual", {"_target_": start}, model, x, target, offered=offered, complete=False
    )
    return found
