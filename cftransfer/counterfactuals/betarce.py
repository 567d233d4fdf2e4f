"""BetaRCE (Stępka, Stefanowski, Lango 2025): a counterfactual that holds, with a stated confidence, on most models.

Equation:
    quantile at (1 − credibility) / 2 of Beta(1 + a, 1 + models − a) ≥ delta, a the models that agree on x′
Source:
    Stępka, Stefanowski, Lango 2025, Counterfactual explanations with probabilistic guarantees on their robustness to
    model change, https://arxiv.org/abs/2408.04842
"""

from math import ceil, log

import torch
from scipy.special import betaincinv
from torch import Tensor

from cftransfer.errors import InputError
from cftransfer.models.prediction import Asked, lead, rows_at_once
from cftransfer.searching.candidates import Background, Candidates
from cftransfer.searching.constraint import Constraint
from cftransfer.searching.descent import ROUNDING, check_confidence, criterion, positive
from cftransfer.searching.distance import BLOCK
from cftransfer.searching.engine import Generating
from cftransfer.searching.rows import in_passes
from cftransfer.searching.shells import grow
from cftransfer.searching.start import begun_with, check_start
from cftransfer.settings import check_float, check_int
from cftransfer.spec import GENERATING


def betarce(
    model: Asked,
    x: Tensor,
    target: Tensor,
    *,
    constraint: Constraint,
    background: Background | None = None,
    generating: Generating | None = None,
    delta: float = 0.8,
    credibility: float = 0.9,
    models: int = 32,
    draws: int = 50,
    radius: float = 0.1,
    start: str = "growing_spheres",
    confidence: float = 0.5,
    iterations: int = 2000,
    batch_size: int = 64,
) -> Candidates:
    """x: (n, *input) in [0, 1], target: (n,) classes → Candidates; no gradient is needed.

    Draws `models` models of the base's spec, from seeds that belong to this base and to no reference; a is how many of
    them put a point in the target class. With a uniform prior, the share of all such models that agree is Beta(1 + a,
    1 + models − a). A point is robust if the (1 − credibility) / 2 quantile is at least `delta` (their δ and α), that
    is if at least `agreeing` models agree, and if the base gives the target at least the `confidence`. Shells grow
    around the counterfactual of `start`, as in `growing_spheres`, until one has a robust point; the robust point
    nearest to the factual is returned. iterations: half for `start`, half for draws in the shells. The authors leave
    the prior open; their code uses Jeffreys' prior, under which the quantile is a little higher.

    >>> agreeing(32, delta=0.8, credibility=0.9)
    30
    """
    check_int("counterfactual.models", models, least=1, most=GENERATING)
    for name, share in (("delta", delta), ("credibility", credibility)):
        check_float(f"counterfactual.{name}", share, inside="between 0 and 1", among=lambda number: 0 < number < 1)
    enough = agreeing(models, delta=delta, credibility=credibility)
    check_int("counterfactual.draws", draws, least=1)
    check_int("counterfactual.iterations", iterations, least=2 * max(check_start(start), 1 + draws))
    check_int("counterfactual.batch_size", batch_size, least=1)
    positive("radius", radius)
    check_confidence(confidence)
    if generating is None and len(x):
        raise InputError("counterfactual: betarce counts models that agree; generating=[…] gives them")
    begun = begun_with(
        start,
        model,
        x,
        target,
        constraint=constraint,
        background=background,
        confidence=confidence,
        iterations=iterations // 2,
        batch_size=batch_size,
    )
    others, (sure, needed) = generating(models) if generating else (), criterion(confidence)

    def robust(points: Tensor, target: Tensor) -> Tensor:
        with torch.no_grad():
            agree = sum((lead(other(points), target) >= ROUNDING).long() for other in others)
            return (sure(model(points), target) >= needed) & (agree >= enough)

    passes = rows_at_once(x, rows=batch_size, numbers=BLOCK // draws)
    reached, done, taken = begun.x.clone(), begun.claimed.clone(), begun.iterations + begun.claimed
    (at_once,) = in_passes(lambda *rows: (robust(*rows),), begun.x, target.to(x), batch_size=passes)
    done &= at_once
    left = (begun.claimed & ~done).nonzero().flatten()
    grown = grow(
        robust,
        x[left],
        target[left],
        centre=begun.x[left],
        constraint=constraint,
        draws=draws,
        radius=radius,
        rounds=(iterations - iterations // 2 - 1) // draws,
        batch_size=passes,
    )
    reached[left], done[left] = grown.x, grown.claimed
    taken[left] += grown.iterations
    return Candidates(reached, done, taken)


def agreeing(models: int, *, delta: float, credibility: float) -> int:
    """Return the least a with the (1 − credibility) / 2 quantile of Beta(1 + a, 1 + models − a) at `delta` or above.

    InputError if even all models are too few; it names a sufficient number. The quantile at a = models is
    ((1 − credibility) / 2) ** (1 / (models + 1)).
    """
    tail = (1 - credibility) / 2
    for agree in range(models + 1):
        if betaincinv(1 + agree, 1 + models - agree, tail) >= delta:
            return agree
    most, wanted = tail ** (1 / (models + 1)), ceil(log(tail) / log(delta)) - 1
    way_out = f"counterfactual.models={wanted} reaches it" if wanted <= GENERATING else "lower it, or the credibility"
    said = f"{models} models that all agree show no more at a credibility of {credibility}"
    raise InputError(f"counterfactual.delta={delta}: must be at most {most:.3f}; {said}; {way_out}")
