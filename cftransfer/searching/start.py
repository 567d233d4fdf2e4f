"""Where methods begin that go on from a counterfactual and need no gradient themselves."""

from torch import Tensor

from cftransfer.models.prediction import Asked
from cftransfer.searching.candidates import Background, Candidates
from cftransfer.searching.constraint import Constraint
from cftransfer.settings import check_choice
from cftransfer.targets import call_target

STARTS = {"growing_spheres": 100, "minimal": 51, "nearest": 1}  # and the fewest iterations that each takes


def check_start(start: str) -> int:
    """Return the fewest iterations that a start takes; InputError unless it is one of STARTS."""
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
    """Return the counterfactuals that one of STARTS finds with its own defaults, but for the settings given here."""
    given = {"constraint": constraint, "background": background, "confidence": confidence, "iterations": iterations}
    offered = {**given, "batch_size": batch_size}
    found: Candidates = call_target(
        "counterfactual", {"_target_": start}, model, x, target, offered=offered, complete=False
    )
    return found
