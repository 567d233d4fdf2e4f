"""Run rows through an iterative method, each at its own pace and independent of the others.

Every pass has exactly `batch_size` rows, empty places included, because matrix kernels round differently for different
shapes. A row thus takes the same steps alone and in any batch, with the same bits if all sizes are multiples of 16. For
other sizes kernels treat the remainder separately, so x′ can differ by rounding, which a search may amplify (measured
with layers of 5 and 10 features: 7e-8 in most networks, 1e-5 in an untrained one). For images, empty places dominate
the cost, so their passes are halved while the remaining rows fit (`pass_size`).
"""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

# Images in the smallest pass: the CNN and ResNet-18 gave the same bits in passes of 4, 8, 16 and 32 images, but not in
# passes of 1 and 2 (torch 2.13, CPU, one and two threads).
FEWEST = 4

State: TypeAlias = dict[str, Tensor]  # name → (batch_size, …), one entry per row in work


def run_rows(
    start: Callable[..., State],
    step: Callable[[State, Tensor], tuple[State, Tensor, State]],
    *rows: Tensor,
    iterations: int,
    batch_size: int,
) -> tuple[State, Tensor, Tensor]:
    """Step every row of `rows`, each (n, …), until it is done or `iterations` steps old.

    Returns the results of each row's last step by name, (n, …) each, done: (n,) bool, steps: (n,) int64.

    start(*rows) gives the state of new rows. step(state, age) gives for each row the results to keep if it leaves now,
    taken before the step, whether it is done, and the next state. A row that leaves makes room for the next in the
    queue; when the queue is empty, passes shrink with the remaining rows.
    """
    many, device = len(rows[0]), rows[0].device
    batch_size = pass_size(rows[0], many, batch_size)
    waiting = torch.arange(many, device=device)
    place = torch.full((batch_size,), -1, device=device)  # the row in work at each place; -1: empty
    age = torch.zeros(batch_size, dtype=torch.long, device=device)
    state = start(*(part.new_zeros(batch_size, *part.shape[1:]) for part in rows))
    reached: State = {}
    finished = torch.zeros(many, dtype=torch.bool, device=device)
    steps = torch.zeros(many, dtype=torch.long, device=device)
    while True:
        free = (place < 0).nonzero().flatten()[: len(waiting)]
        if len(free):
            place[free], waiting = waiting[: len(free)], waiting[len(free) :]
            age[free] = 0
            for name, fresh in start(*(part[place[free]] for part in rows)).items():
                state[name][free] = fresh
        elif reached and (place < 0).all():
            return reached, finished, steps
        standing, done, following = step(state, age)
        reached = reached or {name: part.new_zeros(many, *part.shape[1:]) for name, part in standing.items()}
        leaving = (place >= 0) & (done | (age >= iterations))
        if leaving.any():
            left = place[leaving]
            for name, part in standing.items():
                reached[name][left] = part[leaving]
            finished[left], steps[left] = done[leaving], age[leaving]
            place[leaving] = -1
        state = following
        age += 1
        smaller = pass_size(rows[0], int((place >= 0).sum()) + len(waiting), len(place))
        if 0 < smaller < len(place):
            kept = (place < 0).int().argsort(stable=True)[:smaller]  # rows in work first
            place, age, state = place[kept], age[kept], {name: part[kept] for name, part in state.items()}


def pass_size(x: Tensor, many: int, batch_size: int) -> int:
    """Return the size of a pass for `many` rows like x, (n, *input): `batch_size`, halved for images while they fit.

    Tables would gain little from smaller passes (3 % of a search of 300 rows) and move by rounding. Without rows it is
    0: methods are called without rows to check their settings, and a step then costs nothing.
    """
    while x.dim() > 2 and batch_size % 2 == 0 and batch_size // 2 >= max(many, FEWEST):
        batch_size //= 2
    return batch_size if many else 0


def in_passes(ask: Callable[..., tuple[Tensor, ...]], *rows: Tensor, batch_size: int) -> tuple[Tensor, ...]:
    """Return ask(*rows), (n, …) each, computed on `pass_size` rows at a time; rows: (n, …) each."""
    answers = []
    for parts in zip(*(part.split(batch_size) for part in rows), strict=True):
        many = len(parts[0])
        size = pass_size(rows[0], many, batch_size)
        padded = [torch.cat([part, part.new_zeros(size - many, *part.shape[1:])]) for part in parts]
        answers.append([answer[:many] for answer in ask(*padded)])
    return tuple(torch.cat(parts) for parts in zip(*answers, strict=True))
