"""CIFAR-10 (Krizhevsky 2009) as a balanced binary task: airplane against the other nine classes, 32 × 32 pixels."""

import io
import logging
import tarfile
import zlib
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np

from cftransfer import atomic
from cftransfer.data.dataset import Dataset
from cftransfer.data.download import alone, checked
from cftransfer.data.images import balanced, from_images
from cftransfer.errors import InputError
from cftransfer.settings import check_int

log = logging.getLogger(__name__)

AIRPLANE, CLASSES = 0, 10
SIDE, BATCH = 32, 10_000  # pixels; images per file of the archive
SIZES = {"train": 50_000, "test": 10_000}  # images of all of CIFAR-10
ARRAYS = ("x_train", "y_train", "x_test", "y_test")
# The version for C programs holds bytes. The version for Python holds pickles, and loading one can run any code.
URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
MEMBERS = {
    "train": [f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6)],
    "test": ["cifar-10-batches-bin/test_batch.bin"],
}
BYTES = 2**30  # most bytes of the unpacked arrays: five times CIFAR-10
REMEDY = "fix it, or delete it, and it is made again from a download"


def cifar10_airplane(folder: Path, *, split_seed: int = 0) -> Dataset:
    """Class 1 is an airplane, class 0 one of the other nine classes, drawn evenly by `split_seed`.

    Reads `folder`/cifar10.npz: x_train (n, 32, 32, 3) uint8, y_train (n,) 0 to 9, x_test, y_test. A missing file is
    made from cifar-10-binary.tar.gz, which is downloaded unless it lies in the same folder. Raises InputError for a
    file that cannot be used.
    """
    check_int("dataset.split_seed", split_seed, least=0)
    path = folder / "cifar10.npz"
    if not path.is_file():
        _make(folder, path)
    arrays = _read(path)
    parts, taken = [], []
    for split, most in SIZES.items():
        x, y = arrays[f"x_{split}"], arrays[f"y_{split}"]
        rows = balanced(y, AIRPLANE, split_seed=split_seed, what=f"{path}: {split}")
        parts.append((np.ascontiguousarray(x[rows].transpose(0, 3, 1, 2)), y[rows] == AIRPLANE))
        taken.append(f"{len(rows):,} of {len(y):,} {split} images (CIFAR-10 has {most:,})")
    return from_images(
        "cifar10_airplane",
        train=parts[0],
        test=parts[1],
        classes=("other", "airplane"),
        about=" and ".join(taken),
    )


def _read(path: Path) -> dict[str, np.ndarray]:
    """Return the four arrays of the file, checked."""
    try:
        with ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > BYTES:
            raise ValueError(f"its arrays have {unpacked:,} bytes, more than {BYTES:,}")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name]) for name in ARRAYS}
    # MemoryError: a header announces more than memory holds; NotImplementedError: an unknown compression.
    except (OSError, ValueError, KeyError, EOFError, MemoryError, NotImplementedError, BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())}); {REMEDY}") from error
    for split in SIZES:
        x, y = arrays[f"x_{split}"], arrays[f"y_{split}"]
        if y.ndim != 1 or not np.isin(y, range(CLASSES)).all():
            raise InputError(f"{path}: y_{split} is {y.dtype} {y.shape}; it takes (n,) numbers from 0 to 9; {REMEDY}")
        if x.dtype != np.uint8 or x.shape != (len(y), 32, 32, 3):
            raise InputError(f"{path}: x_{split} is {x.dtype} {x.shape}, not uint8 ({len(y)}, 32, 32, 3); {REMEDY}")
    return arrays


def _make(folder: Path, path: Path) -> None:
    """Write the arrays of the archive to `path`, unless another process did so while this process waited."""
    archive = folder / "cifar-10-binary.tar.gz"
    with atomic.disk(path):
        folder.mkdir(parents=True, exist_ok=True)
        with alone(path):
            if path.is_file():
                return
            theirs = archive.exists()
            if not theirs:
                log.info("%s is not there: downloading CIFAR-10 (170 MB)", path)
            checked(URL, archive, sha256=SHA256)
            content = io.BytesIO()
            np.savez(content, **_unpacked(archive))
            atomic.write(path, content.getvalue())
            if not theirs:
                archive.unlink()


def _unpacked(archive: Path) -> dict[str, Any]:
    """Return the four arrays from records of one class byte and 3 × 32 × 32 colour bytes; no file is unpacked."""
    length = 1 + 3 * SIDE * SIDE
    arrays = {}
    try:
        with tarfile.open(archive) as members:
            for split, names in MEMBERS.items():
                read = [members.extractfile(name) for name in names]
                content = b"".join(part.read(BATCH * length) for part in read if part)
                records = np.frombuffer(content, np.uint8).reshape(-1, length)
                arrays[f"x_{split}"] = records[:, 1:].reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
                arrays[f"y_{split}"] = records[:, 0]
    except (OSError, ValueError, KeyError, EOFError, tarfile.TarError, zlib.error) as error:
        raise InputError(f"{archive}: cannot be read ({' '.join(str(error).split())}); delete it") from error
    return arrays
