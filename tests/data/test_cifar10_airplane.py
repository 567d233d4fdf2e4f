"""CIFAR-10's file: where it comes from, what is taken of it, and what may be wrong with it."""

import numpy as np
import pytest
import torch
from photos import put_cifar10

from cftransfer.data.cifar10_airplane import cifar10_airplane
from cftransfer.errors import InputError


def test_airplanes_against_the_rest(tmp_path):
    path = put_cifar10(tmp_path)
    data = cifar10_airplane(tmp_path, split_seed=0)
    for x, y, many in ((data.x_train, data.y_train, 90), (data.x_test, data.y_test, 45)):
        assert x.shape == (2 * many, 3, 32, 32)
        assert x.dtype == torch.uint8
        assert y.mean() == 0.5
    with np.load(path) as file:
        originals = {image.tobytes(): label for image, label in zip(file["x_train"], file["y_train"])}
    labels = [originals[x.permute(1, 2, 0).contiguous().numpy().tobytes()] for x in data.x_train]  # pixels in place
    assert [label == 0 for label in labels] == data.y_train.bool().tolist()
    assert np.bincount(labels).tolist() == [90] + [10] * 9
    assert data.about == (
        "180 of 360 train images (CIFAR-10 has 50,000) and 90 of 180 test images (CIFAR-10 has 10,000)"
    )


def test_the_version_is_of_the_content(tmp_path):
    put_cifar10(tmp_path)
    first, again, other = (cifar10_airplane(tmp_path, split_seed=seed) for seed in (0, 0, 1))
    assert first.version == again.version != other.version
    put_cifar10(tmp_path, train=60)
    assert cifar10_airplane(tmp_path, split_seed=0).version != first.version


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"x_train": None}, "cannot be read .*x_train"),
        ({"x_test": np.zeros((5, 3, 32, 32), np.uint8)}, r"x_test is uint8 \(5, 3, 32, 32\), not uint8 \(180, 32, 32"),
        ({"x_train": np.zeros((360, 32, 32, 3), np.float32)}, "x_train is float32"),
        ({"y_train": np.full(360, 10)}, "y_train is .*it takes .n,. numbers from 0 to 9"),
        ({"y_train": np.zeros((360, 1))}, "y_train is float64 .360, 1.; it takes"),
        ({"y_train": np.array(3)}, "y_train is int64 ..; it takes"),
        ({"y_test": np.ones(180)}, "test: has no image of the positive class"),
        ({"y_test": np.zeros(180)}, "test: has 180 images of the positive class and 0 others"),
    ],
    ids=str,
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, change, said):
    path = put_cifar10(tmp_path)
    with np.load(path) as file:
        arrays = {name: array for name, array in ({**file} | change).items() if array is not None}
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=rf"cifar10.npz: {said}"):
        cifar10_airplane(tmp_path, split_seed=0)


def test_a_truncated_file_is_named(tmp_path):
    path = put_cifar10(tmp_path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputError, match=r"cifar10.npz: cannot be read"):
        cifar10_airplane(tmp_path, split_seed=0)


def test_what_torchvision_downloads_is_decoded_once(tmp_path, monkeypatch):
    """A stand-in for torchvision's download, which checks 170 MB against its own checksums: no network here."""
    put_cifar10(tmp_path / "elsewhere")
    asked = []

    class Downloaded:
        url = "https://example.org/cifar-10.tar.gz"

        def __init__(self, root, *, train, download):
            asked.append((root, train, download))
            with np.load(tmp_path / "elsewhere" / "cifar10.npz") as file:
                split = "train" if train else "test"
                self.data, self.targets = file[f"x_{split}"], file[f"y_{split}"].tolist()

    monkeypatch.setattr("torchvision.datasets.CIFAR10", Downloaded)
    first = cifar10_airplane(tmp_path / "data", split_seed=0)
    again = cifar10_airplane(tmp_path / "data", split_seed=0)
    assert asked == [(tmp_path / "data", True, True), (tmp_path / "data", False, True)]
    assert first.version == again.version == cifar10_airplane(tmp_path / "elsewhere", split_seed=0).version


def test_without_a_network_it_says_where_the_file_goes(tmp_path, monkeypatch):
    monkeypatch.setattr("torchvision.datasets.CIFAR10.url", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    with pytest.raises(InputError, match=r"127.0.0.1:9.*cannot be downloaded.*cifar10.npz"):
        cifar10_airplane(tmp_path, split_seed=0)
    assert not (tmp_path / "cifar10.npz").exists()
