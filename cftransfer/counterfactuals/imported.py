"""Counterfactuals read from a file that another library or a person made: nothing is searched.

Equation:
    none: the points are read from a file, and the base and the constraint confirm them
Source:
    the library that made the file, for example DiCE: Mothilal, Sharma, Tan 2020, https://arxiv.org/abs/1905.07697
"""

import torch
from torch import Tensor

from cftransfer.data.pixels import PixelSpace
from cftransfer.data.proposals import read_proposals
from cftransfer.data.space import FeatureSpace
from cftransfer.errors import InputError
from cftransfer.models.prediction import Asked, logits
from cftransfer.searching.candidates import Candidates
from cftransfer.searching.constraint import Constraint
from cftransfer.searching.judging import aims_of, proposed_for, settled


def imported(
    model: Asked,
    x: Tensor,
    target: Tensor,
    *,
    constraint: Constraint,
    space: FeatureSpace | PixelSpace | None = None,
    path: str,
    units: str,
    index: str | None = None,
) -> Candidates:
    """x: (n, *input) in [0, 1], target: (n,) classes → Candidates, read from the file `path` (`read_proposals`).

    index: the column with each row's factual, 0 … n − 1; a factual may have several rows or none. None for one row per
    factual, in order. Every row is claimed and aims at the class that it reaches; the base and the constraint judge it.
    As in `judge`, rounding of other libraries is undone. A data set clips factuals to each feature's range, so x′
    beyond the same end is clipped as well.
    """
    rows = x.cpu()
    points, factuals = read_proposals(path, shape=rows.shape[1:], space=space, units=units, index=index)
    named = f"counterfactual.path={path}: "
    if factuals is None and len(points) != len(rows):
        way_out = "give one row each, or counterfactual.index=COLUMN, or set samples"
        raise InputError(f"{named}has {len(points)} rows for {len(rows)} factuals; {way_out}")
    if factuals is not None and ((wrong := (factuals < 0) | (factuals >= len(rows))).any()):
        first = int(wrong.argmax())
        limits = f"the job has 0 to {len(rows) - 1}; samples takes more or fewer of the test split"
        raise InputError(f"{named}column {index!r}: row {first} is of factual {factuals[first]}, and {limits}")
    row = None if factuals is None else torch.from_numpy(factuals)
    order = slice(None) if row is None else row.argsort(stable=True)
    found = proposed_for(rows, torch.from_numpy(points)[order], None if row is None else row[order])
    if found.row is not None:  # sorted by factual, factuals without a row included
        again = found.row.argsort(stable=True)
        by = None if torch.equal(found.row[again], torch.arange(len(rows))) else found.row[again]
        found = found._replace(x=found.x[again], claimed=found.claimed[again], row=by)
    of = slice(None) if found.row is None else found.row
    factual, reached = rows[of], found.x
    beyond = ((factual == 0) & (reached < 0)) | ((factual == 1) & (reached > 1))
    if units == "original":
        reached = torch.where(beyond, factual, reached)
    reached = settled(factual, reached, constraint.to(torch.device("cpu")), original=factual)
    aims = aims_of(model, reached, factual_logit=logits(model, rows)[of], otherwise=target.cpu()[of])
    return found._replace(x=reached, target=aims)
