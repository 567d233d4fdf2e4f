"""The two moons."""

from pathlib import Path

import pytest
import torch

from cftransfer.data.moons import moons
from cftransfer.errors import InputError

FOLDER = Path("data")  # not there, and not looked at


def test_moons_are_balanced_and_in_the_box():
    data = moons(FOLDER, rows=400, noise=0.1, test_share=0.25, split_seed=3)
    assert data.input_shape == (2,)
    assert (len(data.x_train), len(data.x_test)) == (300, 100)
    assert data.y_train.mean() == data.y_test.mean() == 0.5
    assert ((data.x_test >= 0) & (data.x_test <= 1)).all()
    assert torch.equal(data.x_train, moons(FOLDER, rows=400, noise=0.1, test_share=0.25, split_seed=3).x_train)


@pytest.mark.parametrize(("setting", "value"), [("rows", 3), ("noise", -1), ("split_seed", -1), ("test_share", 2)])
def test_an_impossible_setting_is_named(setting, value):
    with pytest.raises(InputError, match=f"dataset.{setting}={value}"):
        moons(FOLDER, **{"rows": 100, "noise": 0.1, "test_share": 0.2, "split_seed": 0, setting: value})
