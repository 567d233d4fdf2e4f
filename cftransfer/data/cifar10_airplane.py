"""CIFAR-10 (Krizhevsky 2009) as a balanced binary task: airplane against the other nine classes, 32 × 32 pixels."""

import cftransfer.torchvision_repair  # noqa: F401  (before torchvision)

# isort: split
import io
import logging
import zlib
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from cftransfer import store
from cftransfer.data.dataset import Dataset
from cftransfer.data.download import alone
from cftransfer.data.images import balanced, digest, from_images
from cftransfer.errors import InputError
from cftransfer.spec import whole

log = logging.getLogger(__name__)

AIRPLANE, CLASSES = 0, 10
SIZES = {"train": 50_000, "test": 10_000}  # of the whole of CIFAR-10
ARRAYS = ("x_train", "y_train", "x_test", "y_test")
ANEW = "mend it, or delete it and it will be made again from a download"


def cifar10_airplane(folder: Path, *, split_seed: int) -> Dataset:
    """Class 1 is an airplane, class 0 one of the other nine classes, drawn evenly by `split_seed`.

    Reads `folder`/cifar10.npz: x_train (n, 32, 32, 3) uint8, y_train (n,) 0 to 9, x_test, y_test. What is not there is
    downloaded by torchvision, checksums and all, and decoded into that file. Raises InputError for a file that cannot
    be used.
    """
    whole("dataset.split_seed", split_seed, least=0)
    path = folder / "cifar10.npz"
    if not path.is_file():
        _download(folder, path)
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
        version=digest(*(array for part in parts for array in part)),
        about=" and ".join(taken),
    )


def _read(path: Path) -> dict[str, np.ndarray]:
    """Return the four arrays of the file, checked."""
    try:
        with path.open("rb") as opened, np.load(opened) as file:
            arrays = {name: file[name] for name in ARRAYS}
    except (OSError, ValueError, KeyError, EOFError, TypeError, BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())}); {ANEW}") from error
    for split in SIZES:
        x, y = arrays[f"x_{split}"], arrays[f"y_{split}"]
        if y.ndim != 1 or not np.isin(y, range(CLASSES)).all():
            raise InputError(f"{path}: y_{split} is {y.dtype} {y.shape}; it takes (n,) numbers from 0 to 9; {ANEW}")
        if x.dtype != np.uint8 or x.shape != (len(y), 32, 32, 3):
            raise InputError(f"{path}: x_{split} is {x.dtype} {x.shape}, not uint8 ({len(y)}, 32, 32, 3); {ANEW}")
    return arrays


def _download(folder: Path, path: Path) -> None:
    from torchvision.datasets import CIFAR10

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with alone(path):
            if path.is_file():  # another process has put it there while this one waited
                return
            log.info("%s is not there: downloading CIFAR-10 (170 MB)", path)
            splits = {split: CIFAR10(folder, train=split == "train", download=True) for split in SIZES}
    except (OSError, RuntimeError, EOFError, zlib.error) as error:  # RuntimeError: a checksum that does not match
        reason = " ".join(str(error).split())
        raise InputError(
            f"{CIFAR10.url}: cannot be downloaded to {folder} ({reason}); get it in another way and put the archive "
            f"there, or its images as {path} (docs/datasets.md)"
        ) from error
    arrays = {f"x_{split}": data.data for split, data in splits.items()}
    arrays |= {f"y_{split}": np.array(data.targets, dtype=np.uint8) for split, data in splits.items()}
    content = io.BytesIO()
    np.savez(content, **arrays)
    store.write(path, content.getvalue())
