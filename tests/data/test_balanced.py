"""Balanced tasks: as many of the positive class as of others, evenly over these."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cftransfer.data.images import balanced
from cftransfer.data.pixels import PixelSpace, unit
from cftransfer.errors import InputError


@given(st.lists(st.integers(1, 30), min_size=2, max_size=8), st.integers(0, 2**32), st.data())
def test_as_many_positives_as_others_drawn_evenly(sizes, seed, data):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    positive = data.draw(st.integers(0, len(sizes) - 1))
    ours, theirs = sizes[positive], sum(sizes) - sizes[positive]
    rows = balanced(labels, positive, split_seed=seed, what="here")
    assert len(set(rows)) == len(rows) == 2 * min(ours, theirs)
    taken = np.bincount(labels[rows], minlength=len(sizes))
    assert taken[positive] == min(ours, theirs)
    others = [(many, most) for index, (many, most) in enumerate(zip(taken, sizes)) if index != positive]
    most_taken = max(many for many, _ in others)
    assert all(many >= most_taken - 1 or many == most for many, most in others)  # fewer only where there are no more
    assert np.array_equal(rows, balanced(labels, positive, split_seed=seed, what="here"))


def test_another_seed_draws_others_in_another_order():
    labels = np.repeat(np.arange(4), 50)
    first, second = (balanced(labels, 0, split_seed=seed, what="") for seed in (0, 1))
    assert set(first[labels[first] == 0]) == set(second[labels[second] == 0])
    assert set(first) != set(second)
    assert (labels[first[:50]] == 0).any() != (labels[first[:50]] == 0).all()  # a mixture from the start


def test_what_does_not_divide_goes_to_other_classes_with_other_seeds():
    labels = np.repeat(np.arange(4), [4, 50, 50, 50])  # 4 of 3 classes: one gives two
    twice = {np.bincount(labels[balanced(labels, 0, split_seed=seed, what="")])[1:].argmax() for seed in range(30)}
    assert twice == {0, 1, 2}


def test_of_a_larger_positive_class_another_seed_draws_other_images():
    labels = np.array([0] * 37 + [1] * 24)
    first, second = (balanced(labels, 0, split_seed=seed, what="") for seed in (0, 1))
    assert np.bincount(labels[first]).tolist() == np.bincount(labels[second]).tolist() == [24, 24]
    assert set(first[labels[first] == 0]) != set(second[labels[second] == 0])


def test_no_image_of_any_other_class_is_an_error():
    with pytest.raises(InputError, match=r"here: has no image of any other class; .* add them$"):
        balanced(np.array([1, 1]), 1, split_seed=0, what="here")


def test_no_positive_image_is_an_error():
    with pytest.raises(InputError, match=r"here: has no image of the positive class; .* add them$"):
        balanced(np.array([1, 1, 2]), 0, split_seed=0, what="here")


def test_bytes_and_numbers_are_each_others_inverse():
    bytes_ = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    x = unit(bytes_)
    assert x.dtype == torch.float32
    assert (x.min(), x.max()) == (0, 1)
    assert torch.equal(x, torch.arange(256).view(1, 1, 16, 16) / 255)
    assert unit(x) is x
    assert np.array_equal(PixelSpace((1, 16, 16)).decode(x), bytes_.permute(0, 2, 3, 1).numpy())
