"""Rows through an iterative method, each at its own pace and without knowing of its neighbours.

Every pass has exactly `batch_size` rows, empty places included, since matrix kernels round differently for different
shapes: a row then gets the same steps alone and in any company, and the same bits where all sizes are multiples of 16.
Kernels treat the rest of other sizes apart; x′ can then differ by rounding, which a search may amplify (measured with
layers of 5 and 10 features: 7e-8 in most networks, 1e-5 in an untrained one). Passes of images, whose empty places cost
more than all else, are halved while what is left fits (`pass_size`).
"""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

# Images of the smallest pass: the CNN and ResNet-18 gave the same bits in passes of 4, 8, 16 and 32 images, and others
# in passes of 1 and 2 (torch 2.13, CPU, one and two threads).
FEWEST = 4

State: TypeAlias = dict[str, Tensor]  # by name, (batch_size, …): one entry per row in work


def run_rows(
    start: Callable[..., State],
    step: Callable[[State, Tensor], tuple[State, Tensor, State]],
    *rows: Tensor,
    iterations: int,
    batch_size: int,
) -> tuple[State, Tensor, Tensor]:
    """Step every row of `rows`, each (n, …), until it is done or `iterations` steps old.

    Returns what its last step said of a row by name, (n, …) each, done: (n,) bool, steps: (n,) int64.

    start(*rows) gives the state of new rows. step(state, age) says of each row, before that step, what is to be kept of
    it should it leave, and whether it is done; and gives the next state. A row that leaves makes room for the next one
    in the queue; when the queue is empty, passes shrink with what is left.
    """
    many, device = len(rows[0]), rows[0].device
    batch_size = pass_size(rows[0], many, batch_size)
    waiting = torch.arange(many, device=device)
    place = torch.full((batch_size,), -1, device=device)  # which row is in work there; -1: none
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
            kept = (place < 0).int().argsort(stable=True)[:smaller]  # those in work first
            place, age, state = place[kept], age[kept], {name: part[kept] for name, part in state.items()}


def pass_size(x: Tensor, many: int, batch_size: int) -> int:
    """Return the size of a pass for `many` rows like x, (n, *input): `batch_size`, of images halved while they fit.

    Tables gain little from less (3 % of a search of 300 rows), and would move by rounding. 0 for no rows: with these,
    settings are checked, and a step costs nothing.
    """
    while x.dim() > 2 and batch_size % 2 == 0 and batch_size // 2 >= max(many, FEWEST):
        batch_size //= 2
    return batch_size if many else 0


def in_passes(ask: Callable[..., tuple[Tensor, ...]], *rows: Tensor, batch_size: int) -> tuple[Tensor, ...]:
    """Return ask(*rows), (n, …) each, asked about `pass_size` rows at a time; rows: (n, …) each."""
    answers = []
    for parts in zip(*(part.split(batch_size) for part in rows), strict=True):
        many = len(parts[0])
        size = pass_size(rows[0], many, batch_size)
        padded = [torch.cat([part, part.new_zeros(size - many, *part.shape[1:])]) for part in parts]
        answers.append([answer[:many] for answer in ask(*padded)])
    return tuple(torch.cat(parts) for parts in zip(*answers, strict=True))
