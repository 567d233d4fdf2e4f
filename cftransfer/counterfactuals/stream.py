"""Rows through an iterative method, each at its own pace and without knowing of its neighbours."""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

State: TypeAlias = dict[str, Tensor]  # by name, (batch_size, …): one entry per row in work; `x` is where the row stands


def stream(
    start: Callable[[Tensor, Tensor], State],
    step: Callable[[State, Tensor], tuple[State, Tensor]],
    x: Tensor,
    target: Tensor,
    *,
    iterations: int,
    batch_size: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Step every row of x: (n, *input), target: (n,) until it is done or `iterations` steps old.

    Returns x′: (n, *input), done: (n,) bool, steps: (n,) int64.

    start(x, target) gives the state of new rows. step(state, age) gives the next state, and which rows are done where
    they stand, before that step. A row that leaves makes room for the next one in the queue. Every pass has exactly
    `batch_size` rows, empty places included, since matrix kernels round differently for different shapes: a row then
    gets the same steps alone and in any company, and the same bits where all sizes are multiples of 16. Kernels treat
    the rest of other sizes apart; x′ can then differ by rounding, which a search may amplify (measured with layers of 5
    and 10 features: 7e-8 in most networks, 1e-5 in an untrained one).
    """
    waiting = torch.arange(len(x), device=x.device)
    place = torch.full((batch_size,), -1, device=x.device)  # which row is in work there; -1: none
    age = torch.zeros(batch_size, dtype=torch.long, device=x.device)
    state = start(x.new_zeros(batch_size, *x.shape[1:]), target.new_zeros(batch_size))
    reached, finished = x.clone(), torch.zeros(len(x), dtype=torch.bool, device=x.device)
    steps = torch.zeros(len(x), dtype=torch.long, device=x.device)
    while True:
        free = (place < 0).nonzero().flatten()[: len(waiting)]
        if len(free):
            place[free], waiting = waiting[: len(free)], waiting[len(free) :]
            age[free] = 0
            for name, fresh in start(x[place[free]], target[place[free]]).items():
                state[name][free] = fresh
        elif (place < 0).all():
            return reached, finished, steps
        following, done = step(state, age)
        leaving = (place >= 0) & (done | (age >= iterations))
        if leaving.any():
            rows = place[leaving]
            reached[rows], finished[rows], steps[rows] = state["x"][leaving], done[leaving], age[leaving]
            place[leaving] = -1
        state = following
        age += 1
