"""Small real images, cut out of the two photographs that scikit-learn ships, laid out as the real data sets are.

Crops of the flower are the positive class; the temple's, in strips from left to right, are all others.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_image

ORANGE = "n07747607"


def crops(photo: str, many: int, *, side: int, seed: int, part: tuple[float, float] = (0, 1)) -> np.ndarray:
    """(many, side, side, 3) bytes, from anywhere between two shares of the photograph's width."""
    picture, generator = load_sample_image(photo), np.random.default_rng(seed)
    height, width, _ = picture.shape
    tops = generator.integers(0, height - side, many)
    lefts = generator.integers(int(part[0] * (width - side)), int(part[1] * (width - side)) + 1, many)
    return np.stack([picture[top : top + side, left : left + side] for top, left in zip(tops, lefts)])


def put_cifar10(folder: Path, *, train: int = 90, test: int = 45) -> Path:
    """Write `folder`/cifar10.npz with so many airplanes, and a third as many of each of the nine other classes."""
    arrays = {}
    for split, many in (("train", train), ("test", test)):
        x = [crops("flower.jpg", many, side=32, seed=len(split))]
        y = [np.zeros(many)]
        for label in range(1, 10):
            part = ((label - 1) / 9, label / 9)
            x.append(crops("china.jpg", many // 3, side=32, seed=label * len(split), part=part))
            y.append(np.full(many // 3, label))
        arrays |= {f"x_{split}": np.concatenate(x), f"y_{split}": np.concatenate(y).astype(np.uint8)}
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "cifar10.npz", **arrays)
    return folder / "cifar10.npz"


def put_tree(
    root: Path,
    *,
    counts: Sequence[int] = (24, 12),
    others: Sequence[str] = ("n01", "n02", "n03"),
    positive: str = ORANGE,
    side: int = 48,
) -> Path:
    """Write `root`/{train,val}/<class>/*.JPEG: so many of `positive`, and half as many of each of `others`."""
    for split, many in zip(("train", "val"), counts):
        for name, images in _classes(split, many, others, positive, side):
            place = root / split / name
            place.mkdir(parents=True)
            for index, image in enumerate(images):
                Image.fromarray(image).save(place / f"{name}_{index}.JPEG", quality=95)
    return root


def _classes(
    split: str, many: int, others: Sequence[str], positive: str, side: int
) -> Iterator[tuple[str, np.ndarray]]:
    yield positive, crops("flower.jpg", many, side=side, seed=len(split))
    for index, name in enumerate(others):
        part = (index / len(others), (index + 1) / len(others))
        yield name, crops("china.jpg", many // 2, side=side, seed=len(split) + index, part=part)
