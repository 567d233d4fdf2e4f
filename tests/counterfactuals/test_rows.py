"""Rows in work: each is stepped until it is done, and no more empty places are computed than has to be."""

import pytest
import torch

from cftransfer.searching.rows import in_passes, run_rows


def counted(lasts, shape, batch_size, iterations=50):
    """Run rows that last so many steps, and return the points that they reached, and the rows of every pass."""
    passes = []
    x = torch.arange(1.0, len(lasts) + 1).view(-1, *[1] * len(shape)).expand(-1, *shape)

    def start(x, last):
        return {"x": x.clone(), "sum": torch.zeros_like(x), "last": last.clone()}

    def step(state, age):
        passes.append(len(age))
        return {"sum": state["sum"]}, age >= state["last"], {**state, "sum": state["sum"] + state["x"]}

    reached, done, steps = run_rows(start, step, x, torch.tensor(lasts), iterations=iterations, batch_size=batch_size)
    torch.testing.assert_close(reached["sum"], x * steps.view(-1, *[1] * len(shape)))
    return done.tolist(), steps.tolist(), passes


def test_passes_of_images_shrink_by_halves_down_to_four():
    lasts = [1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 9, 1, 1, 60]
    done, steps, passes = counted(lasts, (3, 8, 8), batch_size=16)
    assert (done, steps) == ([True] * 15 + [False], [*lasts[:-1], 50])
    assert passes == [16] * 2 + [16] + [8] + [4] * 47  # ages 0 and 1 of all, 2 of ten, 3 of six, then of two and one
    assert counted([5, 7], (1, 8, 8), batch_size=32)[2] == [4] * 8
    assert counted([5, 7, 1, 1, 1], (1, 8, 8), batch_size=6)[2] == [6] * 8  # a half would have less than four
    assert set(counted([2] * 40, (1, 8, 8), batch_size=32)[2]) == {32, 8}


def test_passes_of_tables_keep_their_size():
    assert set(counted([1] * 9 + [20], (13,), batch_size=16)[2]) == {16}


def test_no_rows_end_after_one_empty_pass():
    assert counted([], (3, 8, 8), batch_size=16) == ([], [], [0])


@pytest.mark.parametrize(("shape", "sizes"), [((3, 8, 8), [16, 4]), ((13,), [16, 16])])
def test_a_last_pass_of_images_is_no_larger_than_it_has_to_be(shape, sizes):
    x, passes = torch.rand(19, *shape), []

    def ask(rows):
        passes.append(len(rows))
        return (rows * 2,)

    assert torch.equal(in_passes(ask, x, batch_size=16)[0], x * 2)
    assert passes == sizes
