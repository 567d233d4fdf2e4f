"""CIFAR-10's file: its source, the part of it that is read, and its possible faults."""

import hashlib
import io
import tarfile

import numpy as np
import pytest
import torch
from photos import put_cifar10

from cftransfer.data.cifar10_airplane import MEMBERS, cifar10_airplane
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
        ({"y_test": np.ones(180)}, "test: has no image of the positive class; a balanced task needs some: add them"),
        ({"y_test": np.zeros(180)}, "test: has no image of any other class"),
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


def archived(folder, *, batch=36):
    """Put the archive of the version for C programs there, with smaller files; return its arrays and its checksum."""
    generator, arrays = np.random.default_rng(0), {}
    with tarfile.open(folder / "cifar-10-binary.tar.gz", "w:gz") as archive:
        for name in [name for names in MEMBERS.values() for name in names]:
            y = np.arange(batch, dtype=np.uint8) % 10 * (np.arange(batch) % 2).astype(np.uint8)
            x = generator.integers(0, 256, (batch, 3, 32, 32), dtype=np.uint8)
            arrays[name] = x, y
            content = np.concatenate([y[:, None], x.reshape(batch, -1)], axis=1).tobytes()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return arrays, hashlib.sha256((folder / "cifar-10-binary.tar.gz").read_bytes()).hexdigest()


def test_the_archive_is_decoded_once_and_left_where_it_was(tmp_path, monkeypatch):
    arrays, checksum = archived(tmp_path)
    monkeypatch.setattr(f"{cifar10_airplane.__module__}.SHA256", checksum)
    first = cifar10_airplane(tmp_path, split_seed=0)
    with np.load(tmp_path / "cifar10.npz") as file:
        for split, names in MEMBERS.items():
            x, y = (np.concatenate([arrays[name][part] for name in names]) for part in (0, 1))
            assert np.array_equal(file[f"x_{split}"], x.transpose(0, 2, 3, 1))
            assert np.array_equal(file[f"y_{split}"], y)
    (tmp_path / "cifar-10-binary.tar.gz").unlink()
    assert cifar10_airplane(tmp_path, split_seed=0).version == first.version
    assert [path.name for path in tmp_path.iterdir()] == ["cifar10.npz"]


def test_an_archive_that_is_another_is_named(tmp_path):
    archived(tmp_path)
    with pytest.raises(InputError, match=r"cifar-10-binary.tar.gz: cannot be used .*has the checksum .*; delete it"):
        cifar10_airplane(tmp_path, split_seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["cifar-10-binary.tar.gz"]


def test_without_a_network_it_says_where_the_archive_goes(tmp_path, monkeypatch):
    monkeypatch.setattr(f"{cifar10_airplane.__module__}.URL", "http://127.0.0.1:9/cifar-10-binary.tar.gz")
    with pytest.raises(InputError, match=r"127.0.0.1:9.*cannot be downloaded.* put it at .*cifar-10-binary.tar.gz"):
        cifar10_airplane(tmp_path / "data", split_seed=0)
    assert not list((tmp_path / "data").iterdir())
