"""Rows through an iterative method, each at its own pace and without knowing of its neighbours.

Every pass has exactly `batch_size` rows, empty places included, since matrix kernels round differently for different
shapes: a row then gets the same steps alone and in any company, and the same bits where all sizes are multiples of 16.
Kernels treat the rest of other sizes apart; x′ can then differ by rounding, which a search may amplify (measured with
layers of 5 and 10 features: 7e-8 in most networks, 1e-5 in an untrained one).
"""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

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
    in the queue.
    """
    many, device = len(rows[0]), rows[0].device
    batch_size = batch_size if many else 0  # what settings are checked with; a step costs nothing then
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


def in_passes(ask: Callable[..., tuple[Tensor, ...]], *rows: Tensor, batch_size: int) -> tuple[Tensor, ...]:
    """Return ask(*rows), (n, …) each, asked about exactly `batch_size` rows at a time; rows: (n, …) each."""
    answers = []
    batch_size = batch_size if len(rows[0]) else 0
    for parts in zip(*(part.split(max(1, batch_size)) for part in rows), strict=True):
        many = len(parts[0])
        padded = [torch.cat([part, part.new_zeros(batch_size - many, *part.shape[1:])]) for part in parts]
        answers.append([answer[:many] for answer in ask(*padded)])
    return tuple(torch.cat(parts) for parts in zip(*answers, strict=True))
