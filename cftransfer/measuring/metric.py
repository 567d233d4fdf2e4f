"""The named rates as a torchmetrics metric. Jobs use the same functions, without importing torchmetrics."""

import cftransfer.models.torchvision_repair  # noqa: F401  (before torchmetrics, which imports torchvision)

# isort: split
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from cftransfer.settings import check_int


def counted(target: Tensor, agreement: Tensor, transferred: Tensor, *, classes: int = 2) -> Tensor:
    """(n,) found rows each, of classes and of 0 and 1 → counts (classes, 2, 2) by target, agreement and transfer."""
    cells = 4 * target.long() + 2 * agreement.long() + transferred.long()
    return torch.bincount(cells, minlength=4 * classes).view(classes, 2, 2)


def named_rates(cells: Tensor) -> dict[str, Tensor]:
    """cells: (K, 2, 2) shares or counts of found rows by target, agreement and transfer → rates; NaN for 0 / 0."""

    def rate(part: Tensor) -> Tensor:
        return part[..., 1].sum() / part.sum()

    return {
        "rate": rate(cells),
        "agreement": cells[:, 1].sum() / cells.sum(),
        "rate_conditional": rate(cells[:, 1]),
        "rate_disagree": rate(cells[:, 0]),
        **{f"rate_to_{target}": rate(part) for target, part in enumerate(cells)},
    }


class TransferabilityRate(Metric):
    """The named rates of one pair of models, for any Lightning or torchmetrics code.

    Only counts are kept, and added over batches and processes: any split of the rows gives the same rates.

    classes: their number, K ≥ 2.

    >>> rate = TransferabilityRate()
    >>> rate.update(base_pred=torch.tensor([[0, 1], [1, 0]]), reference_pred=torch.tensor([[0, 1], [1, 1]]),
    ...             target=torch.tensor([1, 0]), found=torch.tensor([True, True]))
    >>> float(rate.compute()["rate"])
    0.5
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    rows: Tensor
    cells: Tensor

    def __init__(self, *, classes: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.classes = check_int("classes", classes, least=2)
        self.add_state("rows", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("cells", torch.zeros(classes, 2, 2, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, base_pred: Tensor, reference_pred: Tensor, target: Tensor, found: Tensor) -> None:
        """Count rows.

        base_pred, reference_pred: (n, 2) classes, 0, 1, …, that each model gives to the factual and to the
        counterfactual; target: (n,) classes; found: (n,) bool. ValueError for other shapes and classes, and for a found
        row that the base does not move from another class into the target class.
        """
        rows = (len(target),)
        for name, given, shape in (
            ("base_pred", base_pred, (*rows, 2)),
            ("reference_pred", reference_pred, (*rows, 2)),
            ("target", target, rows),
            ("found", found, rows),
        ):
            if given.shape != shape:
                raise ValueError(f"{name}: has shape {tuple(given.shape)}, not {shape}; predictions are (n, 2)")
        found, target = found.bool(), target.long()
        if (found & ((base_pred[:, 1] != target) | (base_pred[:, 0] == target))).any():
            raise ValueError("found: is true for a row that the base does not move from another class to the target")
        if ((target < 0) | (target >= self.classes)).any():
            raise ValueError(f"target: has classes beyond 0 to {self.classes - 1}; classes=… says how many there are")
        agreement = base_pred[:, 0] == reference_pred[:, 0]
        transferred = reference_pred[:, 1] == target
        self.rows += len(target)
        self.cells += counted(target[found], agreement[found], transferred[found], classes=self.classes)

    def compute(self) -> dict[str, Tensor]:
        """Return found, rate, agreement, rate_conditional, rate_disagree, rate_end_to_end and rate_to_0 to rate_to_K−1.

        Rates are in [0, 1], or NaN if they are shares of nothing.
        """
        cells = self.cells.double()
        found = cells.sum() / self.rows
        named = named_rates(cells)
        return {"found": found, **named, "rate_end_to_end": found * named["rate"].nan_to_num(0)}
