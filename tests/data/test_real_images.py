"""The real images under paths.data, if they are there: those that are drawn."""

import numpy as np
import pytest
import torch
from conftest import ROOT

from cftransfer.data.cifar10_airplane import cifar10_airplane
from cftransfer.data.imagenet_orange import imagenet_orange

pytestmark = pytest.mark.data


def test_cifar10_is_balanced_evenly_over_the_other_nine_classes():
    data = cifar10_airplane(ROOT / "data", split_seed=0)
    assert (len(data.x_train), len(data.x_test)) == (10_000, 2_000)
    assert (data.y_train.mean(), data.y_test.mean()) == (0.5, 0.5)
    with np.load(ROOT / "data" / "cifar10.npz") as file:
        label = {image.tobytes(): y for image, y in zip(file["x_train"], file["y_train"])}
    drawn = [label[image.permute(1, 2, 0).contiguous().numpy().tobytes()] for image in data.x_train]
    counts = np.bincount(drawn)
    assert counts[0] == 5000
    assert sorted(counts[1:]) == [555] * 4 + [556] * 5


def test_imagenet_is_orange_against_all_others_and_a_second_job_finds_it_prepared():
    ask = {"root": "imagenet", "size": 224, "corrupt": "refuse", "split_seed": 0}
    data, again = (imagenet_orange(ROOT / "data", **ask) for _ in range(2))
    assert data.x_train.shape == (1000, 3, 224, 224)
    assert data.x_test.shape == (200, 3, 224, 224)
    assert torch.equal(data.x_test, again.x_test)
    # Oranges are: their pictures hold more red than blue, more so than others do.
    orange = (data.x_train[:, 0].float() - data.x_train[:, 2].float()).mean((1, 2))
    assert orange[data.y_train == 1].mean() > orange[data.y_train == 0].mean() + 30
